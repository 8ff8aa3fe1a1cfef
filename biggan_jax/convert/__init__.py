"""Convert weights from other projects and back, array by array and bit by bit. Only this package imports PyTorch.

For usage, see `biggan-convert --help`.
"""
