"""Grids of samples that show what a generator has learned."""
