"""Captions of images: texts as arrays of bytes, and which of an image's captions a step reads."""

from collections.abc import Sequence
from typing import Any

import ml_collections
import numpy as np
from etils import epath

from biggan_jax.data import shuffle
from biggan_jax.types import UserError

CAPTION = 10
"""First number of the stream of random draws that chooses captions; see shuffle."""


def length_of(config: ml_collections.ConfigDict) -> int:
    """Return how many bytes of a caption the config's model reads; 0 for a model that reads none."""
    return 0 if config.model.get("condition_dim", 0) else config.model.get("text_length", 0)


def takes_conditions_of_images(config: ml_collections.ConfigDict) -> bool:
    """Return whether an image of the config's model may have several conditions: captions or embeddings."""
    return "captions" in config.model


def has_captions(source: Any) -> bool:
    """Return whether a source reads captions: int32 labels [N, K, L]."""
    return bool(getattr(source, "caption_length", 0))


def encode(texts: Sequence[str], length: int) -> np.ndarray:
    """Return the bytes of texts, int32 [N, length], with zeros behind the last; longer texts are cut.

    >>> encode(["ab"], 3).tolist()
    [[97, 98, 0]]
    """
    found = np.zeros((len(texts), length), np.int32)
    for row, text in zip(found, texts, strict=True):
        own = np.frombuffer(text.encode(errors="replace").replace(b"\0", b"")[:length], np.uint8)
        row[: len(own)] = own
    return found


def read_lines(path: str) -> list[str]:
    """Read the lines of a file of texts, without empty ones. Raises UserError."""
    try:
        lines = epath.Path(path).read_bytes().decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--texts={path} cannot be read as UTF-8 text: {error!r:.100}") from error
    return [line for line in lines if line.strip()]


def encode_given(texts: Sequence[str], length: int, where: str) -> np.ndarray:
    """Return the bytes of texts, int32 [N, length]. Raises UserError, which calls them `where`, if one is empty or too long."""
    cleaned = [" ".join(text.split()) for text in texts]
    if not cleaned or not all(cleaned):
        raise UserError(f"{where} has no text; give some words, such as --text='a red flag'")
    for text in cleaned:
        if (size := len(text.encode(errors="replace"))) > length:
            raise UserError(f"{where}: {text!r:.60} has {size:,} bytes, and this model reads {length}; shorten it")
    return encode(cleaned, length)


def decode(row: np.ndarray) -> str:
    """Return the text of bytes [L], without the zeros behind its last."""
    return bytes(row[row > 0].astype(np.uint8).tolist()).decode(errors="ignore")


def choose(labels: np.ndarray, count: int, seed: int, attempt: int, positions: np.ndarray) -> np.ndarray:
    """Return `count` of each image's conditions [N, K, ...], drawn again at each position: [N, count, ...].

    None is drawn twice, unless an image has fewer. labels: int32 bytes of captions, of which those without a byte are none, or
    float32. Those of one condition an image may be [N, k].
    """
    labels = labels[:, None] if labels.ndim == 2 else labels
    there = (labels > 0).any(-1) if labels.dtype.kind == "i" else np.ones(labels.shape[:2], bool)
    keys = np.stack([shuffle.hashes((seed, attempt, CAPTION, k), positions) for k in range(labels.shape[1])], axis=1)
    order = np.lexsort((keys, ~there), axis=1)  # Those that are there first, in the order of their keys.
    places = np.arange(count) % np.maximum(there.sum(1, keepdims=True), 1)
    return labels[np.arange(len(labels))[:, None], np.take_along_axis(order, places, axis=1)]


def first_captions(labels: np.ndarray) -> np.ndarray:
    """Return the first condition of each image, [N, ...], of several [N, K, ...]; others as they are."""
    return labels[:, 0] if labels.ndim == 3 else labels
