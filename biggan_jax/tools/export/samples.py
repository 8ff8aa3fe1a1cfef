"""Generate the samples of a set one by one, and write them as a folder or as records."""

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
from biggan_jax.family import Family
from biggan_jax.latents import Truncation
from biggan_jax.runtime.files import unique_suffix
from biggan_jax.runtime.progress import track
from biggan_jax.sampling import generate, pictures
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.types import Latent, UserError

BATCH = 64
"""Images in a batch."""

PER_SHARD = 2048
"""Images in a shard at most."""


def draw_pictures(
    sampler: Sampler, seed: int, labels: np.ndarray, numbers: np.ndarray, what: str = "images"
) -> Iterator[np.ndarray]:
    """Generate an image uint8 [H, W, C] for each label and number within its class, one batch in memory at a time.

    An image depends only on (seed, label, number), so a larger set of the same seed contains a smaller one.
    """
    for number, label, count in track(list(generate.batches_of(sampler.gan, numbers, labels, BATCH)), what):
        z = _latents(sampler.gan, sampler.truncation, seed, label, number)
        yield from pictures.to_uint8(np.asarray(sampler.generate_batch(z, label))[:count])


@functools.partial(jax.jit, static_argnums=0)
def _latents(gan: Family, truncation: Truncation | None, seed: int, labels: jax.Array, numbers: jax.Array) -> Latent:
    def one(label, number):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), label), number)
        return generate.draw_latents(gan, key, 1, truncation)[0]

    return jax.vmap(one)(labels, numbers)


def rows_of(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return label and number of every sample, int32 [N] each, sorted by class."""
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
    """The samples of one shard, generated on iteration; see `data.raw.Part`."""

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
    """Write a prepared set, as `data.prepare --size` does."""
    labels, numbers = rows_of(counts)
    many = -(-len(labels) // PER_SHARD)
    # Interleaved, so that each shard has nearly all classes.
    parts = [
        Samples(f"shard {i + 1} of {many}", names, sampler, seed, labels[i::many], numbers[i::many])
        for i in range(many)
    ]
    form = shards.Form(sampler.gan.image_shape[0])
    shards.prepare(Corpus(tuple(names), {"train": parts}), epath.Path(out), "samples", form, map)


@contextlib.contextmanager
def atomic_folder(out: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yield a temporary folder, which is renamed to `out` on success and removed on failure.

    Raises UserError, and keeps the complete temporary folder, if the rename fails.
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
        raise UserError(f"{out} cannot be created ({error.strerror}); the complete set is in {unfinished}") from error
