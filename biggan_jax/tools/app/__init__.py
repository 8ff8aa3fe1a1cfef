"""A local web page that draws from a trained generator."""
