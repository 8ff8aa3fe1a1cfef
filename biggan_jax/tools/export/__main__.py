"""Export samples, a trained model to hand on, or its program, by biggan-export or python -m biggan_jax.tools.export:

biggan-export --checkpoint=DIR --per_class=100 --out=FOLDER [--format=folder|array_record]
biggan-export --checkpoint=DIR --balance_with=own|PREPARED_SET --out=FOLDER
biggan-export model --checkpoint=DIR --out=FOLDER
biggan-export program --checkpoint=DIR --out=FILE.stablehlo [--platforms=cpu,cuda,tpu] [--truncations=2,1]

Without a word, samples are written; with --balance_with as many of each class as the real set lacks, compared with its largest
class. A folder is FOLDER/CLASS/00000.png; array_record is a prepared set, for --config.data.name=tfds --config.data.dir=FOLDER.
Either is written atomically, with export.json in it. model: weights as .safetensors, config, card and sums, for
`biggan_jax.load`. program: StableHLO, which runs with jax alone.
"""

import json
import pathlib
import sys

import jax
import numpy as np
from absl import flags

from biggan_jax import sharding
from biggan_jax.checkpoint import TrainedGenerator
from biggan_jax.config import choose
from biggan_jax.runtime import cli
from biggan_jax.runtime.files import atomic_write, is_remote, write_text, writing
from biggan_jax.sampling import flags as sampling_flags
from biggan_jax.sampling import training_data
from biggan_jax.sampling.sampler import check_finite, default_statistics
from biggan_jax.tools.classes import find_names
from biggan_jax.tools.export import model, program, samples
from biggan_jax.types import UserError

WHAT = flags.DEFINE_string("what", "samples", "samples, model or program; the word alone may stand for it.")
FORMAT = flags.DEFINE_enum("format", "folder", ["folder", "array_record"], "One folder per class, or a prepared set.")
PER_CLASS = flags.DEFINE_integer("per_class", None, "Samples of each class.", 1)
BALANCE = cli.define_path("balance_with", None, "Instead: a prepared set to balance, or own: the training data.")
OUT = cli.define_path("out", None, "The folder to write; for a program the file, which ends in .stablehlo.")
PLATFORMS = flags.DEFINE_list("platforms", ["cpu", "cuda", "tpu"], "program: where it runs.")
TRUNCATIONS = flags.DEFINE_list(
    "truncations", None, "program: thresholds whose batch-norm statistics it holds, besides those without truncation."
)

OF_SAMPLES = ("per_class", "balance_with", "format")
OF_A_PROGRAM = ("platforms", "truncations")
OF_DRAWING = ("truncation", "truncation_kind", "statistics", "passes", "seed")


def main() -> None:
    export, without_effect = choose(EXPORTS, "biggan-export", WHAT.value)
    cli.refuse(without_effect, f"on a {WHAT.value}" if WHAT.value != "samples" else "on samples")
    export()


def export_model() -> None:
    """Write the model into --out."""
    cli.require(sampling_flags.CHECKPOINT, OUT, example="model --checkpoint=runs/demo --out=digits")
    out = empty_folder()
    trained = sampling_flags.load()
    check_finite(trained)
    with writing(f"--out={out}"), samples.atomic_folder(out) as unfinished:
        model.write(unfinished, trained, out.name)
    print(f"step {trained.step} in {out}; complete its README.md before you publish it")


def export_program() -> None:
    """Write the program into --out."""
    cli.require(sampling_flags.CHECKPOINT, OUT, example="program --checkpoint=runs/demo --out=digits.stablehlo")
    out = sampling_flags.check_out(OUT.value, (".stablehlo",))
    program.check_installed()
    program.check_platforms(PLATFORMS.value)
    thresholds = truncations()
    trained = sampling_flags.load()
    samplers = [sampling_flags.make_sampler(trained, None)]
    statistics = sampling_flags.STATISTICS.value or default_statistics(trained)
    if thresholds and statistics == "running":
        raise UserError("--truncations has no meaning: this model's batch-norm statistics do not depend on truncation")
    if trained.binned and statistics.startswith("binned"):
        thresholds = thresholds or np.linspace(0, 1, len(jax.tree.leaves(trained.binned)[0])).tolist()
    samplers += [
        sampling_flags.make_sampler(trained, sampling_flags.truncation_of(trained, threshold))
        for threshold in thresholds
    ]
    serialized = program.serialize(samplers, PLATFORMS.value)
    with writing(f"--out={out}"), atomic_write(out) as unfinished:
        pathlib.Path(unfinished).write_bytes(serialized)
    held = f", with the statistics of {len(thresholds)} truncations" if thresholds else ""
    print(f"step {trained.step} for {', '.join(PLATFORMS.value)} in {out}{held}")


def truncations() -> list[float]:
    """Parse --truncations."""
    try:
        found = [float(text) for text in TRUNCATIONS.value or ()]
    except ValueError:
        found = [0.0]
    if not all(0 < threshold < np.inf for threshold in found) or len(set(found)) < len(found):
        raise UserError(
            f"--truncations={','.join(TRUNCATIONS.value)} must be different numbers above 0, such as 2,1,0.5"
        )
    return found


def empty_folder() -> pathlib.Path:
    """Return --out, a local folder that is missing or empty. Raises UserError."""
    if is_remote(OUT.value):
        raise UserError(f"--out={OUT.value} must be a local folder; copy it afterwards")
    out = pathlib.Path(OUT.value).resolve()
    if out.exists() and (not out.is_dir() or out.is_mount() or any(out.iterdir())):
        raise UserError(f"--out={out} exists and is not an empty folder; give another --out")
    return out


def export_samples() -> None:
    """Write samples into --out."""
    cli.require(sampling_flags.CHECKPOINT, OUT, example="--checkpoint=runs/demo --per_class=9 --out=samples")
    if bool(PER_CLASS.value) == bool(BALANCE.value):
        raise UserError("give either --per_class or --balance_with, such as --per_class=100")
    out = empty_folder()
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


EXPORTS = {
    "samples": (export_samples, OF_A_PROGRAM),
    "model": (export_model, (*OF_SAMPLES, *OF_A_PROGRAM, *OF_DRAWING)),
    "program": (export_program, (*OF_SAMPLES, "truncation")),
}
"""What is exported: the function, and the flags that have no effect on it."""


def run() -> None:
    if sys.argv[1:2] and not sys.argv[1].startswith("-"):
        sys.argv[1] = f"--what={sys.argv[1]}"
    cli.run(main, compiles=True)


if __name__ == "__main__":
    run()
