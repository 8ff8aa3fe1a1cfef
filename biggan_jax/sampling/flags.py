"""Owns the flags by which every command that draws says from what, and how. Must not know what is drawn for."""

import math

import numpy as np
from absl import flags

from biggan_jax.checkpoint import TrainedGenerator, load_generator
from biggan_jax.latents import TRUNCATIONS, Truncation
from biggan_jax.sampling import pictures, sampler
from biggan_jax.types import UserError

CHECKPOINT = flags.DEFINE_string("checkpoint", None, "A workdir (its latest step), a checkpoints folder, or one step.")
WEIGHTS = flags.DEFINE_enum("weights", "ema", ["ema", "live"], "The average of G's weights, or as they were trained.")
TRUNCATION = flags.DEFINE_float("truncation", None, "How far z may be from its mode; above 0. Default: not truncated.")
TRUNCATION_KIND = flags.DEFINE_enum(
    "truncation_kind",
    None,
    list(TRUNCATIONS),
    "What the truncation t is: entries of z beyond it are drawn again (the paper's); z, truncated at 2, is multiplied by it "
    "(TF-Hub's, Hugging Face's); z's standard deviation (BigGAN-PyTorch's). Default: resample; with binned statistics, scale.",
)
STATISTICS = flags.DEFINE_enum(
    "statistics",
    None,
    list(sampler.STATISTICS),
    "Batch-norm moments: averaged over fresh batches; training's; or those for the truncation that came with the weights, "
    "interpolated, or weighed as Hugging Face does. Default: binned where there are such, else standing.",
)
PASSES = flags.DEFINE_integer("passes", 100, "Batches that standing statistics average.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 0, "Of the latents.", lower_bound=0, upper_bound=2**31 - 1)


def load(mesh=None, path: str | None = None) -> TrainedGenerator:
    """The generator that --checkpoint (or `path`) and --weights name, once what can be wrong about the other flags is checked."""
    if flags.FLAGS["passes"].present and STATISTICS.value not in (None, "standing"):
        raise UserError(
            f"--passes has no meaning with --statistics={STATISTICS.value}: they are of standing statistics"
        )
    if TRUNCATION.value is not None and not (TRUNCATION.value > 0 and math.isfinite(TRUNCATION.value)):
        raise UserError(f"--truncation={TRUNCATION.value} must be greater than 0, and finite")
    return load_generator(path or CHECKPOINT.value, mesh, live=WEIGHTS.value == "live")


def truncation_of(
    trained: TrainedGenerator, threshold: float | None = None, kind: str | None = None
) -> Truncation | None:
    """The truncation that the flags ask for, at `threshold` if that is given; `kind` stands in where they name none."""
    threshold = TRUNCATION.value if threshold is None else threshold
    statistics = STATISTICS.value or sampler.default_statistics(trained)
    usual = "scale" if statistics.startswith("binned") else "resample"
    return None if threshold is None else Truncation(threshold, TRUNCATION_KIND.value or kind or usual)


def truncation_or(stored: tuple[float, str | None] | None, trained: TrainedGenerator) -> Truncation | None:
    """The truncation that the flags ask for, else that with which latents were drawn, if their file says one."""
    if stored and TRUNCATION.value is None:
        return truncation_of(trained, *stored)
    return truncation_of(trained)


def ready(trained: TrainedGenerator, truncation: Truncation | None) -> sampler.Sampler:
    """The sampler that the flags ask for, with this truncation."""
    return sampler.ready(trained, truncation, statistics=STATISTICS.value, passes=PASSES.value, seed=SEED.value)


def chosen_classes(given: list[str] | None, num_classes: int, most: int = 10) -> np.ndarray:
    """int32 ids as a command's --classes gives them, or up to `most` spread over all."""
    if given is None:
        return pictures.rows_of_classes(num_classes, most)
    try:
        classes = np.array([int(c) for c in given or [""]], np.int32)
    except (ValueError, OverflowError):
        raise UserError(f"--classes={','.join(given)} is not a list of class ids, such as 0,1,7") from None
    check_classes(classes, num_classes)
    return classes


def check_classes(classes: np.ndarray, num_classes: int) -> None:
    """Raises UserError for an id that the model does not have."""
    wrong = [int(c) for c in classes if not 0 <= c < max(num_classes, 1)]
    if wrong:
        raise UserError(f"class {wrong[0]} is out of range: this model has classes 0 to {max(num_classes, 1) - 1}")
