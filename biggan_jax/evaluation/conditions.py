"""Conditions that samples are drawn for in place of classes: the captions, or the real numbers, of real images."""

import ml_collections
import numpy as np

from biggan_jax.data import captions
from biggan_jax.data.dataset import Source


def classes_of(source: Source | None) -> int:
    """Return the classes of a source's labels; 0 if these are captions or real numbers."""
    return 0 if source is None or has_conditions(source) else source.num_classes


def has_conditions(source: Source) -> bool:
    """Return whether the labels of a source are captions or real numbers."""
    return captions.has_captions(source) or bool(getattr(source, "condition_dim", 0))


def of_real(labels: np.ndarray, num: int, seed: int) -> np.ndarray:
    """Return conditions [num, k] of real images' [N, k], in an order drawn by the seed, all once before any is taken again."""
    return labels[np.resize(np.random.default_rng(seed).permutation(len(labels)), num)]


def named_by(config: ml_collections.ConfigDict | None) -> str:
    """Return what images of the config's model are conditioned on, other than classes: texts, real numbers, or ""."""
    if config is None:
        return ""
    if captions.length_of(config):
        return "texts"
    return "real numbers" if config.model.get("condition_dim", 0) else ""


def words(named: str, images: str = "the real images in an order by the seed") -> str:
    """Say in a protocol of which conditions samples are, in place of how classes were drawn. named: as `named_by` names them."""
    return f"{'first captions' if named == 'texts' else 'conditions'} of {images}"
