"""Owns what a trained G's latents can be asked for beyond drawing them: arithmetic, directions, and the latents of a given picture.

It must not know training. `python -m biggan_jax.tools.edit --help` says how to use it.
"""
