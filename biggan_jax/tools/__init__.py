"""Commands for people with a trained model: grids, latent edits, exports, a local page, notebooks."""
