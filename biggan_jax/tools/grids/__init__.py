"""Owns sheets of samples: what is drawn beside what, so that a person sees what a G has learnt. Must not know scores."""
