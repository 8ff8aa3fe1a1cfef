"""Owns the way of weights from other projects to ours and back, array by array and bit by bit. PyTorch is imported here only.

It must not know training. `python -m biggan_jax.convert --help` says how to use it.
"""
