"""Owns sets of samples to train other models with. `python -m biggan_jax.tools.export --help` says how to make one.

It must not know how G is trained.
"""
