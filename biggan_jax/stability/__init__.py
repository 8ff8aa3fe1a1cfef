"""Owns what foretells a collapse: looks at a run, the guard that judges them, and the plots that show them."""
