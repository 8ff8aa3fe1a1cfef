"""Names that several commands take; tests/test_flags.py compares them with the tables of the modules that import jax."""

ENCODERS = ("dinov2-vitl14", "clip-vit-b32", "clip-vit-l14-336", "swav-resnet50")
"""Feature networks whose weights are a file of their authors'."""

WITHOUT_CLASSES = (*ENCODERS, "captions")
"""Feature networks without classes."""

NETWORKS = ("inception-2015", "inception-2015-spatial", "efficientnet-lite0", "classifier", "captions", *ENCODERS)
"""Feature networks."""

SCORES = (
    "fid",
    "is",
    "kid",
    "prdc",
    "intra_fid",
    "agreement",
    "fd_infinity",
    "fid_interval",
    "kid_interval",
    "cmmd",
    "authenticity",
    "cas",
    "lpips",
)
"""Metrics."""

FORMS = "an .npz, a folder of pictures, a prepared set's folder"
"""What a set of images may be, for messages."""
