"""Export samples, balanced over classes, to train other models, by biggan-export or python -m biggan_jax.tools.export:

biggan-export --checkpoint=DIR --per_class=100 --out=FOLDER [--format=folder|array_record]
biggan-export --checkpoint=DIR --balance_with=own|PREPARED_SET --out=FOLDER

The second makes as many samples of each class as the real set lacks, compared with its largest class. A folder is
FOLDER/CLASS/00000.png; array_record is a prepared set, for --config.data.name=tfds --config.data.dir=FOLDER. Either is written
atomically, with export.json in it.
"""

import json
import pathlib

import numpy as np
from absl import flags

from biggan_jax import sharding
from biggan_jax.checkpoint import TrainedGenerator
from biggan_jax.runtime import cli
from biggan_jax.runtime.files import is_remote, write_text, writing
from biggan_jax.sampling import flags as sampling_flags
from biggan_jax.sampling import training_data
from biggan_jax.tools.classes import find_names
from biggan_jax.tools.export import samples
from biggan_jax.types import UserError

FORMAT = flags.DEFINE_enum("format", "folder", ["folder", "array_record"], "One folder per class, or a prepared set.")
PER_CLASS = flags.DEFINE_integer("per_class", None, "Samples of each class.", 1)
BALANCE = cli.define_path("balance_with", None, "Instead: a prepared set to balance, or own: the training data.")
OUT = cli.define_path("out", None, "The folder to write.")


def main() -> None:
    cli.require(sampling_flags.CHECKPOINT, OUT, example="--checkpoint=runs/demo --per_class=9 --out=samples")
    if bool(PER_CLASS.value) == bool(BALANCE.value):
        raise UserError("give either --per_class or --balance_with, such as --per_class=100")
    if is_remote(OUT.value):
        raise UserError(f"--out={OUT.value} must be a local folder; copy it afterwards")
    out = pathlib.Path(OUT.value).resolve()
    if out.exists() and (not out.is_dir() or out.is_mount() or any(out.iterdir())):
        raise UserError(f"--out={out} exists and is not an empty folder; give another --out")
    trained = sampling_flags.load(sharding.make_mesh())
    shape = trained.gan.image_shape
    sampling_flags.check_shown(trained)
    if FORMAT.value == "array_record" and shape[0] != shape[1]:
        raise UserError(f"--format=array_record stores square images, not {shape[0]} x {shape[1]}; use folder")
    names, counts = wanted(trained)
    sampler = sampling_flags.make_sampler(trained, sampling_flags.truncation_of(trained))
    seed = sampling_flags.SEED.value
    about = {
        "checkpoint": str(trained.path),
        "step": trained.step,
        "weights": "live" if trained.live else "ema",
        "truncation": sampler.truncation and str(sampler.truncation),
        "statistics": sampler.statistics,
        "seed": seed,
        "resolution": shape[0],
        "images": int(counts.sum()),
        "images_per_class": dict(zip(names, counts.tolist(), strict=True)),
    }
    write = samples.write_folder if FORMAT.value == "folder" else samples.write_records
    with writing(f"--out={out}"), samples.atomic_folder(out) as unfinished:
        write(unfinished, sampler, seed, names, counts)
        write_text(unfinished / "export.json", json.dumps(about, indent=2) + "\n")
    each = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    print(f"{counts.sum()} images of step {trained.step} in {out}, {each} per class")


def wanted(trained: TrainedGenerator) -> tuple[list[str], np.ndarray]:
    """Return the names of the classes' folders, and the number of samples of each class, int [classes]."""
    classes, own = max(trained.gan.num_classes, 1), find_names(trained)
    if not BALANCE.value:
        return samples.folder_names(own, classes), np.full(classes, PER_CLASS.value)
    source, real = samples.real_set(trained.config, BALANCE.value), f"--balance_with={BALANCE.value}"
    if source.num_classes != trained.gan.num_classes:
        raise UserError(f"{real} has {source.num_classes} classes, but this model has {trained.gan.num_classes}")
    names = tuple(getattr(source, "class_names", ()))
    if own and names and own != names:
        raise UserError(f"{real} has other classes, or another order, than the model's own data")
    counts = samples.lacking(training_data.labels_of(source), classes)
    if not counts.any():
        raise UserError(f"{real} is balanced already; give --per_class instead")
    return samples.folder_names(names, classes), counts


run = cli.command(main, compiles=True)

if __name__ == "__main__":
    run()
