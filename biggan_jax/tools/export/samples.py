"""Owns the samples of a set, one by one, and how they are laid down. Must not know command lines, nor why so many are wanted."""

import contextlib
import dataclasses
import functools
import pathlib
import shutil
from collections.abc import Iterator

import jax
import numpy as np
from etils import epath

from biggan_jax.data import shards
from biggan_jax.data.raw import Corpus, Item
from biggan_jax.gan import GAN
from biggan_jax.latents import Truncation
from biggan_jax.runtime.files import unique_suffix
from biggan_jax.runtime.progress import track
from biggan_jax.sampling import generate, pictures
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.types import Latent, UserError

BATCH = 64
"""Images made at a time."""

PER_SHARD = 2048
"""Images a shard, at most."""


def draw_pictures(
    sampler: Sampler, seed: int, labels: np.ndarray, numbers: np.ndarray, what: str = "images"
) -> Iterator[np.ndarray]:
    """For each label, and number among its class's samples, an image uint8 [H, W, 3], a batch in memory at a time.

    An image hangs on (seed, label, number) alone: of a larger set of the same seed, a smaller one is a part.
    """
    for number, label, count in track(list(generate.batches_of(sampler.gan, numbers, labels, BATCH)), what):
        z = _latents(sampler.gan, sampler.truncation, seed, label, number)
        images = generate.images(sampler.gan, sampler.weights, sampler.moments, z, label)
        yield from pictures.to_uint8(np.asarray(images)[:count])


@functools.partial(jax.jit, static_argnums=0)
def _latents(gan: GAN, truncation: Truncation | None, seed: int, labels: jax.Array, numbers: jax.Array) -> Latent:
    def one(label, number):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), label), number)
        return generate.draw_latents(gan, key, 1, truncation)[0]

    return jax.vmap(one)(labels, numbers)


def rows_of(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label and number of every sample, int32 [N] each, class by class."""
    labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    return labels, np.concatenate([np.arange(count, dtype=np.int32) for count in counts])


def write_folder(out: pathlib.Path, sampler: Sampler, seed: int, names: list[str], counts: np.ndarray) -> None:
    for label in np.flatnonzero(counts):
        (out / names[label]).mkdir()
    labels, numbers = rows_of(counts)
    for label, number, image in zip(labels, numbers, draw_pictures(sampler, seed, labels, numbers), strict=True):
        (out / names[label] / f"{number:05d}.png").write_bytes(pictures.png(image))


@dataclasses.dataclass(frozen=True)
class Samples:
    """The samples of one shard: see `data.corpus.Part`. They are made as they are asked for."""

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


def write_records(out: pathlib.Path, sampler: Sampler, seed: int, names: list[str], counts: np.ndarray) -> None:
    """A prepared set, as `data.prepare --size` lays it down."""
    labels, numbers = rows_of(counts)
    many = -(-len(labels) // PER_SHARD)
    # Classes take turns, so that each shard has nearly all of them.
    parts = [
        Samples(f"shard {i + 1} of {many}", names, sampler, seed, labels[i::many], numbers[i::many])
        for i in range(many)
    ]
    form = shards.Form(sampler.gan.generator.resolution)
    shards.prepare(Corpus(tuple(names), {"train": parts}), epath.Path(out), "samples", form, map, lambda done, of: None)


@contextlib.contextmanager
def whole_folder(out: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder to fill, which becomes `out` when it is whole, and vanishes if it does not get that far.

    Raises UserError, and keeps what is whole, if `out` cannot be had in the end.
    """
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
        raise UserError(f"{out} cannot be had ({error.strerror}); the whole set is in {unfinished}") from error
