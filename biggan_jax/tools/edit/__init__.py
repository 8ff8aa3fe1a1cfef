"""Edits of a trained generator's latents: arithmetic, directions, inversion of a picture."""
