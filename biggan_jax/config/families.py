"""The keys of `config.model`: one section of defaults for each family of GANs.

docs/config_keys.md is made from the comments here.
"""

from collections.abc import Callable
from typing import Any

from biggan_jax.config.keys import choice, fraction, non_negative, positive

Section = Callable[[], dict[str, Any]]
SECTIONS: dict[str, Section] = {}
"""{family: its section}. A section returns {key: default}, with a Key in place of a default to restrict its values."""


def register(family: str, section: Section) -> None:
    """Add a family's keys: `section` returns a dict display, with a comment above or behind each key."""
    SECTIONS[family] = section


def biggan() -> dict[str, Any]:
    """Return the keys of BigGAN and BigGAN-deep (Brock et al. 2019)."""
    return {
        "resolution": 128,  # Image height and width in pixels: a row of models.tables.WIDTHS.
        "num_classes": non_negative(1000, at_most=2**24),  # Classes of the data; 0: unconditional.
        "ch": positive(96, at_most=2**12),  # Channel multiplier. In the paper 96 for BigGAN, 128 for BigGAN-deep.
        "g_ch": non_negative(0, at_most=2**12),  # Channel multiplier of G; 0: ch.
        "d_ch": non_negative(0, at_most=2**12),  # Channel multiplier of D; 0: ch.
        # Length of z. With skip_z it must be a multiple of the number of chunks (G's blocks + 1).
        "dim_z": positive(120, at_most=2**16),
        "shared_dim": positive(128, at_most=2**16),  # Length of G's class embedding.
        # One class embedding for all of G's batch norms; False: one per batch norm (SA-GAN), needs skip_z=False.
        "shared_embedding": True,
        "skip_z": True,  # Split z into chunks, one per block (BigGAN). BigGAN-deep ignores it: each block gets all of z.
        "depth": positive(2, at_most=64),  # Blocks per resolution, BigGAN-deep only.
        "g_attention": (64,),  # Sizes in pixels of G's feature maps that self-attention follows.
        "d_attention": (64,),  # Sizes in pixels of D's feature maps that self-attention follows.
        "d_wide": True,  # D's blocks change channels at the first convolution; False: at the second (SN-GAN).
        # G's last convolution has ch filters and the image is the first 3, as in the released BigGAN-deep.
        "pad_rgb": False,
        # Distribution of z: names in latents.PRIORS; a*b is the product, a|b gives each half of z.
        "prior": "normal",
        "init": "orthogonal",  # Initialization of weights: orthogonal (the paper's), xavier, normal.
        "bn_eps": positive(1e-4),  # Added to batch norm's variances (paper).
        "bn_out_eps": non_negative(0.0),  # eps of G's last batch norm; 0: bn_eps. BigGAN-PyTorch always uses 1e-5.
        "bn_momentum": fraction(0.9),  # Weight of the old running statistics in batch norm's moving average.
        "spectral_eps": positive(1e-4),  # Smallest norm a power iteration divides by (paper).
        "spectral_iterations": positive(1, at_most=1000),  # Power iterations per update.
        # Singular vectors in evaluation: step (one more power iteration, then discarded) or stored (Hugging Face).
        "spectral_eval": choice("step", "stored"),
        "g_spectral_norm": True,  # Spectral normalization of G's weights; False: SN-GAN.
        "d_spectral_norm": True,  # Spectral normalization of D's weights; without it use a penalty such as R1.
    }


register("biggan", biggan)
register("biggan_deep", biggan)
