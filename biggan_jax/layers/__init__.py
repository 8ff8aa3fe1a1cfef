"""Owns the layers from which every network of the house is built; must not know which networks those are."""
