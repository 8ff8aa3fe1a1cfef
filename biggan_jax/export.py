"""The exporting command: sets of samples to train other models with, balanced over classes.

python -m biggan_jax.export --checkpoint=DIR --per_class=100 --out=FOLDER [--format=folder|array_record]
python -m biggan_jax.export --checkpoint=DIR --balance_with=own|PREPARED_SET --out=FOLDER

The second makes, of each class, as many as the real set lacks to its largest class. A folder is FOLDER/CLASS/00000.png; array_record is
a prepared set, for --config.data.name=tfds --config.data.dir=FOLDER. Either is there whole or not at all, with export.json beside it.
"""

import contextlib
import dataclasses
import functools
import io
import json
import logging
import pathlib
import re
import shutil
from collections.abc import Iterator, Sequence

import jax
import ml_collections
import numpy as np
from absl import flags
from etils import epath
from PIL import Image

from biggan_jax import cli, sampler_flags, sampling, sharding
from biggan_jax.checkpoint import TrainedGenerator
from biggan_jax.data import make_source, shards, tfds
from biggan_jax.data.corpus import Corpus, Item
from biggan_jax.data.picture import UnreadableError
from biggan_jax.data.source import Source
from biggan_jax.edit.classes import names_of
from biggan_jax.files import is_remote, write_text
from biggan_jax.gan import GAN
from biggan_jax.latents import Truncation
from biggan_jax.progress import track
from biggan_jax.sampler import Sampler
from biggan_jax.types import Latent, UserError

logger = logging.getLogger("biggan_jax.export")

FORMAT = flags.DEFINE_enum("format", "folder", ["folder", "array_record"], "A folder a class, or a prepared set.")
PER_CLASS = flags.DEFINE_integer("per_class", None, "Samples of each class.", 1)
BALANCE = flags.DEFINE_string(
    "balance_with", None, "Instead: a prepared set that lacks them, or own: what was trained on."
)
OUT = flags.DEFINE_string("out", None, "The folder to make.")

BATCH = 64
"""Images made at a time."""

PER_SHARD = 2048
"""Images a shard, at most."""


def main() -> None:
    if not sampler_flags.CHECKPOINT.value or not OUT.value:
        raise UserError(
            "--checkpoint and --out are needed, such as --checkpoint=runs/demo --per_class=100 --out=samples"
        )
    if bool(PER_CLASS.value) == bool(BALANCE.value):
        raise UserError("one of --per_class and --balance_with says how many, such as --per_class=100")
    if is_remote(OUT.value):
        raise UserError(f"--out={OUT.value} must be a local folder; copy it when it is whole")
    out = pathlib.Path(OUT.value).absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out={out} is there and not an empty folder; give another --out")
    trained = sampler_flags.load(sharding.make_mesh())
    names, counts = wanted(trained)
    sampler = sampler_flags.ready(trained, sampler_flags.truncation_of(trained))
    about = provenance(trained, sampler, sampler_flags.SEED.value, names, counts)
    write = write_folder if FORMAT.value == "folder" else write_records
    try:
        with whole_folder(out) as unfinished:
            write(unfinished, sampler, sampler_flags.SEED.value, names, counts)
            write_text(unfinished / "export.json", json.dumps(about, indent=2) + "\n")
    except OSError as error:
        raise UserError(f"--out={out} cannot be written: {error}") from error
    print(f"{counts.sum()} images of step {trained.step} in {out}, {counts.min()} to {counts.max()} a class")


def wanted(trained: TrainedGenerator) -> tuple[list[str], np.ndarray]:
    """The classes' names, fit for folders, and how many samples of each, int [classes]."""
    classes = max(trained.gan.num_classes, 1)
    if not BALANCE.value:
        try:
            names = names_of(trained.config)
        except UserError as error:  # Samples need no data; only their names then are ids.
            logger.info("classes are named by their ids: %s", error)
            names = ()
        return folder_names(names, classes), np.full(classes, PER_CLASS.value)
    source = real_set(trained.config, BALANCE.value)
    if source.num_classes != trained.gan.num_classes:
        raise UserError(
            f"--balance_with={BALANCE.value} has {source.num_classes} classes, this model has {trained.gan.num_classes}"
        )
    counts = lacking(labels_of(source), classes)
    if not counts.any():
        raise UserError(
            f"--balance_with={BALANCE.value} has equally many images of each class already; give --per_class"
        )
    return folder_names(getattr(source, "class_names", ()), classes), counts


def real_set(config: ml_collections.ConfigDict, which: str) -> Source:
    """The set in the folder `which`, or, for `own`, what the config trained on."""
    if which == "own":
        return make_source(config)
    form = tfds.checked_of(epath.Path(which)).get("form", {})
    config = config.copy_and_resolve_references()
    config.data.update(name="tfds", dataset="", dir=which, resize=form.get("resize", config.data.resize))
    return tfds.open_tfds(config, "train")


def labels_of(source: Source) -> np.ndarray:
    """The label of each image that has one, int [N]; no picture is decoded."""
    if hasattr(source, "labels"):
        return source.labels
    labels = []
    for number in track(range(len(source)), "labels"):
        with contextlib.suppress(UnreadableError):
            labels.append(source.label(source.example(number)))
    return np.array(labels)


def lacking(labels: np.ndarray, classes: int) -> np.ndarray:
    """How many images each class has fewer than the largest, int [classes]."""
    counts = np.bincount(labels, minlength=classes)
    return counts.max() - counts


def folder_names(names: Sequence[str], classes: int) -> list[str]:
    """The names, if each can name a folder of its own, else ids, of equally many digits, so that they sort by number."""
    plain = [name for name in names if re.fullmatch(r"[^./\0][^/\0]*", name)]
    if len(set(plain)) == classes:
        return plain
    return [f"{label:0{len(str(classes - 1))}d}" for label in range(classes)]


def provenance(trained: TrainedGenerator, sampler: Sampler, seed: int, names: list[str], counts: np.ndarray) -> dict:
    """What made the set: export.json."""
    return {
        "checkpoint": str(trained.path),
        "step": trained.step,
        "weights": "live" if trained.live else "ema",
        "truncation": sampler.truncation and str(sampler.truncation),
        "statistics": sampler.statistics,
        "seed": seed,
        "resolution": trained.gan.generator.resolution,
        "images": int(counts.sum()),
        "images_per_class": dict(zip(names, counts.tolist(), strict=True)),
    }


def pictures(
    sampler: Sampler, seed: int, labels: np.ndarray, numbers: np.ndarray, what: str = "images"
) -> Iterator[np.ndarray]:
    """For each label, and number among its class's samples, an image uint8 [H, W, 3], a batch in memory at a time.

    An image hangs on (seed, label, number) alone: of a larger set of the same seed, a smaller one is a part.
    """
    for start in track(range(0, len(labels), BATCH), what):
        batch = slice(start, start + BATCH)
        count = len(labels[batch])
        rows = np.minimum(np.arange(start, start + BATCH), len(labels) - 1)
        z = _latents(sampler.gan, sampler.truncation, seed, labels[rows], numbers[rows])
        images = sampling.images(sampler.gan, sampler.weights, sampler.moments, z, labels[rows])
        yield from sampling.to_uint8(np.asarray(images)[:count])


@functools.partial(jax.jit, static_argnums=0)
def _latents(gan: GAN, truncation: Truncation | None, seed: int, labels: jax.Array, numbers: jax.Array) -> Latent:
    def one(label, number):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), label), number)
        return sampling.draw_latents(gan, key, 1, truncation)[0]

    return jax.vmap(one)(labels, numbers)


def rows_of(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label and number of every sample, int32 [N] each, class by class."""
    labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    return labels, np.concatenate([np.arange(count, dtype=np.int32) for count in counts])


def write_folder(out: pathlib.Path, sampler: Sampler, seed: int, names: list[str], counts: np.ndarray) -> None:
    for label in np.flatnonzero(counts):
        (out / names[label]).mkdir()
    labels, numbers = rows_of(counts)
    for label, number, image in zip(labels, numbers, pictures(sampler, seed, labels, numbers), strict=True):
        (out / names[label] / f"{number:05d}.png").write_bytes(png(image))


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
        images = pictures(self.sampler, self.seed, self.labels, self.numbers, self.what)
        for label, number, image in zip(self.labels, self.numbers, images, strict=True):
            yield Item(f"{self.names[label]}/{number:05d}.png", int(label), png(image))


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


def png(image: np.ndarray) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, "PNG")
    return encoded.getvalue()


@contextlib.contextmanager
def whole_folder(out: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder to fill, which becomes `out` when it is whole, and vanishes if it does not get that far."""
    unfinished = out.with_name(f".{out.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        unfinished.rename(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def run() -> None:
    cli.run(main)


if __name__ == "__main__":
    run()
