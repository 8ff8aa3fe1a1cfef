"""Deep Dream: exaggerate in a picture what a layer of a network sees in it."""
