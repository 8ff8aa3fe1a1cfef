"""Generate the samples of a set one by one, as many as a real set lacks; write them as a folder or as records."""

import contextlib
import dataclasses
import functools
import pathlib
import re
import shutil
from collections.abc import Iterator, Sequence

import jax
import ml_collections
import numpy as np
from etils import epath

from biggan_jax.data import forms, make_source, shards, tfds
from biggan_jax.data.dataset import Source
from biggan_jax.data.raw import Corpus, Item
from biggan_jax.family import Family
from biggan_jax.latents import Truncation
from biggan_jax.runtime.files import unique_suffix
from biggan_jax.runtime.progress import track
from biggan_jax.sampling import generate, pictures
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.types import Latent, UserError

BATCH, PER_SHARD = 64, 2048  # Images in a batch, and in a shard at most.


def draw_pictures(
    sampler: Sampler, seed: int, labels: np.ndarray, numbers: np.ndarray, what: str = "images"
) -> Iterator[np.ndarray]:
    """Generate an image uint8 [H, W, C] for each label and number within its class, one batch in memory at a time.

    An image depends only on (seed, label, number), so a larger set of the same seed contains a smaller one.
    """
    for number, label, count in track(list(generate.batches_of(sampler.gan, numbers, labels, BATCH)), what):
        z = _latents(sampler.gan, sampler.truncation, seed, label, number)
        yield from sampler.picture_batch(z, label)[:count]


@functools.partial(jax.jit, static_argnums=0)
def _latents(gan: Family, truncation: Truncation | None, seed: int, labels: jax.Array, numbers: jax.Array) -> Latent:
    key = lambda label, number: jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), label), number)
    draw = lambda label, number: generate.draw_latents(gan, key(label, number), 1, truncation)[0]
    return jax.vmap(draw)(labels, numbers)


def rows_of(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return label and number of every sample, int32 [N] each, sorted by class."""
    labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    return labels, np.concatenate([np.arange(count, dtype=np.int32) for count in counts])


@dataclasses.dataclass(frozen=True)
class Samples:
    """Samples of a set, generated on iteration, such as those of one shard; see `data.raw.Part`."""

    what: str
    names: list[str]
    sampler: Sampler = dataclasses.field(repr=False)
    seed: int
    labels: np.ndarray = dataclasses.field(repr=False)
    numbers: np.ndarray = dataclasses.field(repr=False)

    def __iter__(self) -> Iterator[Item]:
        images = draw_pictures(self.sampler, self.seed, self.labels, self.numbers, self.what)
        for label, number, image in zip(self.labels, self.numbers, images, strict=True):
            yield Item(f"{self.names[label]}/{number:05d}.png", int(label), pictures.png(image))


def write_folder(out: pathlib.Path, sampler: Sampler, seed: int, names: list[str], counts: np.ndarray) -> None:
    for label in np.flatnonzero(counts):
        (out / names[label]).mkdir()
    for item in Samples("images", names, sampler, seed, *rows_of(counts)):
        (out / item.name).write_bytes(item.encoded)


def write_records(out: pathlib.Path, sampler: Sampler, seed: int, names: list[str], counts: np.ndarray) -> None:
    """Write a prepared set, as `data.prepare --size` does."""
    labels, numbers = rows_of(counts)
    many = -(-len(labels) // PER_SHARD)
    # Interleaved, so that each shard has nearly all classes.
    part = lambda i: Samples(f"shard {i + 1} of {many}", names, sampler, seed, labels[i::many], numbers[i::many])
    corpus = Corpus(tuple(names), {"train": [part(i) for i in range(many)]})
    shards.prepare(corpus, epath.Path(out), "samples", forms.Form(sampler.gan.image_shape[0]), map)


@contextlib.contextmanager
def atomic_folder(out: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yield a temporary folder, renamed to `out` on success, removed on failure. Raises UserError if only the rename fails."""
    unfinished = out.with_name(f".{out.name}{unique_suffix()}.unfinished")
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    try:
        unfinished.rename(out)
    except OSError as error:
        raise UserError(f"{out} cannot be created ({error.strerror}); the complete set is in {unfinished}") from error


def real_set(config: ml_collections.ConfigDict, which: str) -> Source:
    """Open the set in the folder `which`, or, for `own`, the config's training data."""
    if which == "own":
        return make_source(config)
    if not epath.Path(which).exists():
        raise UserError(f"--balance_with={which} is neither own, the training data, nor the folder of a prepared set")
    form = tfds.checked_of(epath.Path(which)).get("form", {})
    config = config.copy_and_resolve_references()
    config.data.update(name="tfds", dataset="", dir=which, resize=form.get("resize", config.data.resize))
    return tfds.open_tfds(config, "train")


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
