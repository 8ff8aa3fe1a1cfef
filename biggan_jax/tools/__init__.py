"""Tools for trained models: grids, latent edits, exports, a local page, notebook helpers."""
