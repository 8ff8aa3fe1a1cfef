"""Sets of samples to train other models with."""
