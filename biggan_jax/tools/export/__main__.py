"""Export samples, a trained model to hand on, or its program: the work of biggan-export."""

import json
import pathlib

import jax
import numpy as np

from biggan_jax import sharding
from biggan_jax.checkpoint import TrainedGenerator
from biggan_jax.flags.export import (
    BALANCE,
    FORMAT,
    OUT,
    PER_CLASS,
    PLATFORMS,
    WHAT,
    empty_folder,
    truncations,
)
from biggan_jax.runtime import cli
from biggan_jax.runtime.files import atomic_write, write_text, writing
from biggan_jax.sampling import flags as sampling_flags
from biggan_jax.sampling import training_data
from biggan_jax.sampling.sampler import check_finite, default_statistics
from biggan_jax.tools.classes import find_names
from biggan_jax.tools.export import model, program, samples
from biggan_jax.types import UserError


def main() -> None:
    EXPORTS[WHAT.value]()


def export_model() -> None:
    """Write the model into --out."""
    out = empty_folder()
    trained = sampling_flags.load()
    check_finite(trained)
    with writing(f"--out={out}"), samples.atomic_folder(out) as unfinished:
        model.write(unfinished, trained, out.name)
    print(f"step {trained.step} in {out}; complete its README.md before you publish it")


def export_program() -> None:
    """Write the program into --out."""
    out = pathlib.Path(OUT.value)
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


def export_samples() -> None:
    """Write samples into --out."""
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


EXPORTS = {"samples": export_samples, "model": export_model, "program": export_program}


run = cli.command(main, compiles=True)

if __name__ == "__main__":
    run()
