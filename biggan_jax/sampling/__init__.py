"""Draw images from a trained generator."""
