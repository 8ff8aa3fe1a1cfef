"""The exporting command: sets of samples to train other models with, balanced over classes.

python -m biggan_jax.tools.export --checkpoint=DIR --per_class=100 --out=FOLDER [--format=folder|array_record]
python -m biggan_jax.tools.export --checkpoint=DIR --balance_with=own|PREPARED_SET --out=FOLDER

The second makes, of each class, as many as the real set lacks to its largest class. A folder is FOLDER/CLASS/00000.png; array_record is
a prepared set, for --config.data.name=tfds --config.data.dir=FOLDER. Either is there whole or not at all, with export.json beside it.
"""

import contextlib
import json
import logging
import pathlib

import numpy as np
from absl import flags

from biggan_jax import sharding
from biggan_jax.checkpoint import TrainedGenerator
from biggan_jax.runtime import cli
from biggan_jax.runtime.files import is_remote, write_text
from biggan_jax.sampling import flags as sampling_flags
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.tools.edit.classes import names_of
from biggan_jax.tools.export.real import folder_names, labels_of, lacking, real_set
from biggan_jax.tools.export.samples import whole_folder, write_folder, write_records
from biggan_jax.types import UserError

logger = logging.getLogger("biggan_jax.tools.export")

FORMAT = flags.DEFINE_enum("format", "folder", ["folder", "array_record"], "A folder a class, or a prepared set.")
PER_CLASS = flags.DEFINE_integer("per_class", None, "Samples of each class.", 1)
BALANCE = flags.DEFINE_string(
    "balance_with", None, "Instead: a prepared set that lacks them, or own: what was trained on."
)
OUT = flags.DEFINE_string("out", None, "The folder to make.")


def main() -> None:
    if not sampling_flags.CHECKPOINT.value or not OUT.value:
        raise UserError(
            "--checkpoint and --out are needed, such as --checkpoint=runs/demo --per_class=100 --out=samples"
        )
    if bool(PER_CLASS.value) == bool(BALANCE.value):
        raise UserError("one of --per_class and --balance_with says how many, such as --per_class=100")
    if is_remote(OUT.value):
        raise UserError(f"--out={OUT.value} must be a local folder; copy it when it is whole")
    out = pathlib.Path(OUT.value).expanduser().resolve()
    if out.exists() and (not out.is_dir() or out.is_mount() or any(out.iterdir())):
        raise UserError(f"--out={out} is there and not an empty folder that could be replaced; give another --out")
    trained = sampling_flags.load(sharding.make_mesh())
    names, counts = wanted(trained)
    sampler = sampling_flags.ready(trained, sampling_flags.truncation_of(trained))
    about = provenance(trained, sampler, sampling_flags.SEED.value, names, counts)
    write = write_folder if FORMAT.value == "folder" else write_records
    try:
        with whole_folder(out) as unfinished:
            write(unfinished, sampler, sampling_flags.SEED.value, names, counts)
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
    ours, theirs = (), tuple(getattr(source, "class_names", ()))
    with contextlib.suppress(UserError):  # The model's own data need not be there.
        ours = tuple(names_of(trained.config))
    if ours and theirs and ours != theirs:
        raise UserError(f"--balance_with={BALANCE.value} has other classes than the model's own data, or another order")
    counts = lacking(labels_of(source), classes)
    if not counts.any():
        raise UserError(
            f"--balance_with={BALANCE.value} has equally many images of each class already; give --per_class"
        )
    return folder_names(getattr(source, "class_names", ()), classes), counts


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


def run() -> None:
    cli.run(main)


if __name__ == "__main__":
    run()
