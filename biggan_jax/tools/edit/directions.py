"""Attributes of images, measured without a network, and directions in z along which they change, learned from samples."""

import logging
from typing import NamedTuple

import numpy as np
from etils import epath

from biggan_jax.family import Family
from biggan_jax.runtime.files import expand_home, read_npz
from biggan_jax.sampling.pictures import to_rgb
from biggan_jax.sampling.styles import check
from biggan_jax.tools import classes
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)


class Direction(NamedTuple):
    """vector: float32 [dim_z], of norm one. accuracy: on held-out samples. chance: that of the most frequent label."""

    vector: np.ndarray
    accuracy: float
    chance: float


def find(z: np.ndarray, labels: np.ndarray, seed: int = 0) -> Direction:
    """Fit a logistic regression of labels, 0 or 1 [N], on z [N, dim_z]; return the normal of its decision plane.

    A fifth of the samples is held out; a direction that is no better than chance on them is warned of. As Shen et al. 2020
    (InterFaceGAN), sec. 2.2, who use an SVM. Raises UserError if there are too few samples.
    """
    order = np.random.default_rng(seed).permutation(len(z))
    held_out, rest = np.split(order, [int(len(z) * 0.2)])
    if len(held_out) == 0 or len(np.unique(labels[rest])) < 2:
        raise UserError(f"a direction needs at least 5 samples with both labels, 0 and 1; there are {len(z)} samples")
    weights, bias = _logistic_regression(z[rest].astype(np.float64), labels[rest].astype(np.float64))
    correct = (z[held_out] @ weights + bias > 0) == labels[held_out]
    share = labels[held_out].mean()
    accuracy, chance = float(correct.mean()), float(max(share, 1 - share))
    if accuracy <= chance:
        what = "held-out accuracy %.3f is not above chance, %.3f: images may not change as the labels say"
        logger.warning(f"the direction predicts nothing: {what}; use more samples", accuracy, chance)
    return Direction((weights / np.linalg.norm(weights)).astype(np.float32), accuracy, chance)


def _logistic_regression(x: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, float]:
    """Minimise the logistic loss with a ridge on the weights by Newton's method; return weights [D] and bias."""
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    # Separable labels have no finite optimum without a ridge.
    ridge = np.append(np.ones(x.shape[1] - 1), 1e-6)
    w = np.zeros(x.shape[1])
    for _ in range(20):
        p = 0.5 * (1 + np.tanh(0.5 * x @ w))
        gradient = x.T @ (p - labels) + ridge * w
        hessian = (x.T * (p * (1 - p))) @ x + np.diag(ridge)
        w -= np.linalg.solve(hessian, gradient)
    return w[:-1], w[-1]


def as_labels(scores: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Convert scores [N] to 0 or 1: whether above the median of samples with equal y; labels 0 and 1 are returned as they are.

    y: [N] or [N, num_classes]. Medians are taken within a class because classes differ by more than z does, and the
    direction should change a sample within its class.
    """
    if np.isin(scores, (0, 1)).all():
        return scores.astype(int)
    _, group, counts = np.unique(y, axis=0, return_inverse=True, return_counts=True)
    group = group.reshape(-1)
    # A single sample is never above its own median, so it is compared with all samples.
    medians = [np.median(scores[group == g] if n > 1 else scores) for g, n in enumerate(counts)]
    return (scores > np.array(medians)[group]).astype(int)


def moved(z: np.ndarray, vector: np.ndarray, by: float, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Move z [N, dim_z] along the direction, in equal steps from -by to +by: ([N, columns, dim_z], steps [columns])."""
    steps = np.linspace(-by, by, columns, dtype=np.float32)
    return z[:, None] + steps[:, None] * vector, steps


def moved_w(ws: np.ndarray, stored: "Stored", by: float, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Move w's [N, styles, dim_w] along a direction in its layers, as `moved`: ([N, columns, styles, dim_w], steps [columns])."""
    steps = np.linspace(-by, by, columns, dtype=np.float32)
    along = steps[:, None, None] * np.float32(stored.unit) * np.asarray(stored.layers)[:, None] * stored.vector
    return ws[:, None] + along.astype(np.float32), steps


def read_scores(path: str, count: int) -> np.ndarray:
    """Read one number per sample, float [count]: the array `labels` of an .npz, or the last column of a .csv or .txt.

    A first line without a number at its end is a header. Raises UserError for another count, or values that are not numbers.
    """
    try:
        if epath.Path(path).suffix == ".npz":
            scores = read_npz(path)["labels"].astype(np.float64)
        else:
            last = [line.split(",")[-1].strip() for line in epath.Path(path).read_text().splitlines() if line.strip()]
            try:
                scores = np.array(last, np.float64)
            except ValueError:  # The first line may be a header.
                scores = np.array(last[1:], np.float64)
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path} is no .npz with `labels`, and no text with a number a line: {error}") from error
    if scores.shape != (count,) or not np.isfinite(scores).all():
        raise UserError(f"{path} must have a finite number for each of {count} samples, not shape {list(scores.shape)}")
    return scores


class Stored(NamedTuple):
    """A direction of a file, or a sum of such directions.

    vector: [dim_z or dim_w], of norm one; of a sum of any norm, in w [styles, dim_w]. attribute: its name, or "". layers: bool
    [styles], those whose w it moves; None: it is in z. unit: the standard deviation that a step of 1 is.
    """

    vector: np.ndarray
    attribute: str = ""
    layers: np.ndarray | None = None
    unit: float = 1.0


def read_direction(path: str, gan: Family, component: int = 1) -> Stored:
    """Read a direction, normalised to norm one. component: which of several, from 1. Raises UserError."""
    try:
        arrays = read_npz(path)
        vectors = np.atleast_2d(arrays["direction"].astype(np.float32))
        attribute, unit = str(arrays.get("attribute", "")), float(arrays.get("unit", 1.0))
        layers = arrays["layers"].astype(bool) if "layers" in arrays else None
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path} is not an .npz with an array `direction`: {error}") from error
    if component > len(vectors):
        raise UserError(f"--component={component}: {path} has {len(vectors)} directions")
    vector = vectors[component - 1]
    styles = 0 if layers is None else check(gan, f"{path}, a direction in w,").styles
    size = gan.dim_z if layers is None else getattr(gan, "dim_w", 0)
    length = np.linalg.norm(vector)
    if vector.shape != (size,) or not np.isfinite(length * unit) or not length * unit:
        raise UserError(f"{path}: direction {list(vector.shape)} must be [{size}] for this model, finite, not 0")
    if layers is not None and layers.shape != (styles,):
        raise UserError(f"{path}: its layers {list(layers.shape)} must be [{styles}] for this model")
    return Stored(vector / length, attribute, layers, unit)


def read_sum(text: str, gan: Family, component: int = 1) -> Stored:
    """Read a sum of directions such as "slant.npz - 0.5*sefa.npz:2", each of norm one, or one as `read_direction`.

    component: which of several a term without a number takes. Raises UserError for directions of different spaces.
    """
    if epath.Path(text).exists():
        return read_direction(text, gan, component)
    terms = classes.terms(text)
    stored = [_term(name, gan, component) for _, name in terms]
    if len(terms) == 1 and terms[0][0] == 1:
        return stored[0]
    if len({one.layers is None for one in stored}) > 1:
        raise UserError(f"--direction={text}: directions in z and in w have no sum; find all of them in one space")
    factors = [factor for factor, _ in terms]
    if stored[0].layers is None:
        vector = sum(factor * one.vector for factor, one in zip(factors, stored, strict=True))
        layers = None
    else:
        of_layers = [one.unit * np.asarray(one.layers)[:, None] * one.vector for one in stored]
        vector = sum(factor * one for factor, one in zip(factors, of_layers, strict=True))
        layers = np.any([np.asarray(one.layers) for one in stored], axis=0)
    vector = np.asarray(vector, np.float32)
    if not np.linalg.norm(vector) > 1e-6:
        raise UserError(f"--direction={text}: the sum is 0, so it leads nowhere")
    return Stored(vector, "", layers)


def _term(name: str, gan: Family, component: int) -> Stored:
    path, _, number = name.rpartition(":")
    if path and number.isdecimal() and int(number):
        return read_direction(expand_home(path), gan, int(number))
    return read_direction(expand_home(name), gan, component)


def luminance(images: np.ndarray) -> np.ndarray:
    """Convert uint8 [N, H, W, 1 or 3] to float64 [N, H, W] in [0, 1] (ITU-R BT.601 weights)."""
    return to_rgb(images) @ np.array([0.299, 0.587, 0.114]) / 255


def brightness(images: np.ndarray) -> np.ndarray:
    """Return the mean luminance, 0 to 1."""
    return luminance(images).mean((1, 2))


def saturation(images: np.ndarray) -> np.ndarray:
    """Return the mean difference between a pixel's largest and smallest channel: 0 for grey images, up to 1."""
    return (images.max(-1).astype(np.float64) - images.min(-1)).mean((1, 2)) / 255


def slant(images: np.ndarray) -> np.ndarray:
    """Return how far the content leans to the right, in pixels across per pixel up: 1 is 45 degrees.

    Each pixel is weighted by the difference of its luminance from the median of the border, which is taken as background.
    """
    light = luminance(images)
    border = np.concatenate([light[:, 0], light[:, -1], light[:, :, 0], light[:, :, -1]], axis=1)
    mass = np.abs(light - np.median(border, axis=1)[:, None, None]) + 1e-9
    mass /= mass.sum((1, 2), keepdims=True)
    rows, columns = np.indices(light.shape[1:])
    up = (mass * rows).sum((1, 2))[:, None, None] - rows
    across = columns - (mass * columns).sum((1, 2))[:, None, None]
    return (mass * up * across).sum((1, 2)) / (mass * up**2).sum((1, 2))


ATTRIBUTES = {"brightness": brightness, "saturation": saturation, "slant": slant}
"""Functions from images uint8 [N, H, W, C] to one number each, float64 [N]."""
