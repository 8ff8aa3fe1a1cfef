"""One HTML file that describes a run."""
