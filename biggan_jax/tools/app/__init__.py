"""Owns a local page on which a trained G is looked at. Must not be needed by anything else."""
