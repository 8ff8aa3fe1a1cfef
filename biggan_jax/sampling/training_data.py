"""What samples need of the data a model was trained on: their bits, labels, and conditions of real numbers."""

import contextlib
import json

import numpy as np
from etils import epath

from biggan_jax import data
from biggan_jax.checkpoint import TrainedGenerator
from biggan_jax.config import some
from biggan_jax.data import captions
from biggan_jax.data.dataset import Images, Source
from biggan_jax.data.picture import UnreadableError
from biggan_jax.data.records import Records
from biggan_jax.runtime.files import read_npz
from biggan_jax.runtime.progress import track
from biggan_jax.types import UserError

MOST_LABELS = 50_000  # Training images, evenly spread, whose labels give the frequencies of the classes.


def bits_of(trained: TrainedGenerator) -> int:
    """Return 16 if the training data have 16 bits, by the workdir's data.json or else the data themselves; 8 otherwise."""
    try:
        known = json.loads((trained.workdir / "data.json").read_text())
        if "images" in known or "dtype" in known:  # Otherwise it is no summary.
            return 16 if known.get("dtype") == "uint16" else 8
    except (OSError, ValueError, AttributeError):
        pass
    if trained.config.data.name != "tfds":
        return 8
    try:
        return 16 if data.make_source(trained.config).dtype == np.uint16 else 8  # type: ignore[attr-defined]
    except UserError:  # They may have been moved.
        return 8


def labels_of(source: Source, most: int | None = None) -> np.ndarray:
    """Return the labels of all readable records, or of `most` of them, evenly spread, int [N], without decoding images."""
    numbers = np.linspace(0, len(source) - 1, min(most or len(source), len(source))).round().astype(np.int64)
    if isinstance(source, Images):
        return source.labels[numbers]
    assert isinstance(source, Records)
    labels = []
    for number in track(numbers.tolist(), "labels"):
        with contextlib.suppress(UnreadableError):
            labels.append(source.label(source.example(number)))
    return np.array(labels)


def read_labels(trained: TrainedGenerator) -> np.ndarray:
    """Return the labels of up to MOST_LABELS training images, int [N]. Raises UserError if the data are missing."""
    try:
        return labels_of(data.make_source(trained.config), MOST_LABELS)
    except UserError as error:
        raise UserError(f"--labels=data needs the training data, but {error}; use --labels=balanced") from error


def draw_conditions(trained: TrainedGenerator, num: int, seed: int, source: Source | None = None) -> np.ndarray:
    """Draw the conditions of `num` training images, float32 [num, k], or first captions, int32 [num, L].

    source: of the training images, if it is open. Raises UserError if the data are missing.
    """
    try:
        source = source or data.make_source(trained.config)
    except UserError as error:
        way = "--text=TEXT" if trained.gan.condition.kind == "text" else "--conditions=FILE"
        raise UserError(f"conditions are drawn from the training data, but {error}; give {way}") from error
    numbers = np.random.default_rng(seed).integers(0, len(source), num)
    return captions.first_captions(source.read(numbers, np.full(num, 0.5)).labels)


def read_conditions(path: str, size: int) -> np.ndarray:
    """Read conditions float32 [N, size]: from an .npz, `condition`, y or its only array, or from a .csv of numbers alone."""
    file = epath.Path(path)
    if file.suffix == ".npz":
        arrays = read_npz(file)
        only = next(iter(arrays.values())) if len(arrays) == 1 else None
        found = arrays.get("condition", arrays.get("y", only))
        if found is None:
            raise UserError(f"--conditions={path} has the arrays {some(arrays)}; condition is needed")
    else:
        try:
            found = np.loadtxt(file.read_text().splitlines(), delimiter=",", dtype=np.float32, ndmin=2)
        except (OSError, ValueError) as error:
            raise UserError(f"--conditions={path} is no .npz, and no .csv of numbers: {error}") from error
    if found.ndim != 2 or found.shape[1] != size or not len(found) or found.dtype.kind not in "fiu":
        raise UserError(f"--conditions={path} has the shape {list(found.shape)}; this model takes [N, {size}] numbers")
    if not np.isfinite(found).all():
        raise UserError(f"--conditions={path} has values that are not finite numbers")
    return found.astype(np.float32)
