"""Class counts and class names of a real data set."""

import contextlib
import re
from collections.abc import Sequence

import ml_collections
import numpy as np
from etils import epath

from biggan_jax.data import make_source, tfds
from biggan_jax.data.dataset import Images, Source
from biggan_jax.data.picture import UnreadableError
from biggan_jax.data.records import Records
from biggan_jax.runtime.progress import track


def real_set(config: ml_collections.ConfigDict, which: str) -> Source:
    """Open the set in the folder `which`, or, for `own`, the config's training data."""
    if which == "own":
        return make_source(config)
    form = tfds.checked_of(epath.Path(which)).get("form", {})
    config = config.copy_and_resolve_references()
    config.data.update(name="tfds", dataset="", dir=which, resize=form.get("resize", config.data.resize))
    return tfds.open_tfds(config, "train")


def labels_of(source: Source) -> np.ndarray:
    """Return the labels of all readable records, int [N], without decoding images."""
    if isinstance(source, Images):
        return source.labels
    assert isinstance(source, Records)
    labels = []
    for number in track(range(len(source)), "labels"):
        with contextlib.suppress(UnreadableError):
            labels.append(source.label(source.example(number)))
    return np.array(labels)


def lacking(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return how many images each class lacks, compared with the largest, int [classes]."""
    counts = np.bincount(labels, minlength=classes)
    return counts.max() - counts


def folder_names(names: Sequence[str], classes: int) -> list[str]:
    """Return the names, if all are distinct and valid as folder names, else ids, padded with zeros."""
    plain = [n for n in names if re.fullmatch(r"[^./][^/]*", n) and n.isprintable() and len(n.encode()) <= 255]
    if len(set(plain)) == classes:
        return plain
    return [f"{label:0{len(str(classes - 1))}d}" for label in range(classes)]
