"""Owns judging generators; must not know how they were trained."""
