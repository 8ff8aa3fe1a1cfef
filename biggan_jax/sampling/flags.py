"""Flags of every command that draws samples: checkpoint, weights, truncation, statistics, seed."""

import functools
import logging

import numpy as np

from biggan_jax.checkpoint import TrainedGenerator, load_generator
from biggan_jax.flags.drawing import (
    CHECKPOINT,
    PASSES,
    SEED,
    STATISTICS,
    TRUNCATION,
    TRUNCATION_CUTOFF,
    TRUNCATION_KIND,
    WEIGHTS,
)
from biggan_jax.latents import Stored, Truncation, allowed
from biggan_jax.sampling import pictures, sampler, training_data
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.tools import classes
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)


def load(mesh=None, path: str | None = None) -> TrainedGenerator:
    """Load the generator named by --checkpoint (or `path`) and --weights.

    Raises UserError for a model that translates images, which no command that draws from latents can use.
    """
    trained = load_generator(path or CHECKPOINT.value, mesh, live=WEIGHTS.value == "live")
    sampler.require_latents(trained.gan)
    return trained


def truncation_of(
    trained: TrainedGenerator, threshold: float | None = None, stored: Stored | None = None
) -> Truncation | None:
    """Return the truncation of the flags, else `stored`, of latents, if any. `threshold` overrides the flags'."""
    threshold, kind, cutoff = TRUNCATION.value if threshold is None else threshold, None, 0
    if threshold is None and stored:
        threshold, kind, cutoff = stored
    statistics = STATISTICS.value or sampler.default_statistics(trained)
    default = "scale" if statistics.startswith("binned") else trained.gan.default_truncation
    kind, given = TRUNCATION_KIND.value or kind or default, TRUNCATION_CUTOFF.value
    if given and (threshold is None or kind != "w"):
        raise UserError(f"--truncation_cutoff={given} needs --truncation with --truncation_kind=w")
    if threshold is not None and not allowed(threshold, kind):
        raise UserError(
            f"truncation {threshold:g} of kind {kind} must be greater than 0; 0 is for kind w, of models with w"
        )
    return None if threshold is None else Truncation(threshold, kind, given or cutoff)


def make_sampler(trained: TrainedGenerator, truncation: Truncation | None) -> Sampler:
    """Make a sampler with this truncation and the other flags."""
    return Sampler.from_checkpoint(
        trained, truncation, statistics=STATISTICS.value, passes=PASSES.value, seed=SEED.value
    )


def chosen_classes(given: list[str] | None, trained: TrainedGenerator, most: int | None = 10) -> np.ndarray:
    """Parse a command's --classes, int32 ids. Default: up to `most`, spread over all; all without `most`."""
    count = trained.gan.num_classes
    if given is None:
        return pictures.rows_of_classes(count, most or max(count, 1))
    if not "".join(given).strip():
        raise UserError("--classes is empty; give ids, ranges, names or all, such as --classes=0,3-5")
    return classes.ids_of(given, count, functools.cache(lambda: classes.find_names(trained)))


def check_shown(trained: TrainedGenerator, *, by_class: bool = True) -> None:
    """Raise UserError unless a tool can show the model's samples. Say so if it shows 8 of 16 bits.

    by_class: the tool draws classes, which models of texts and real numbers have not.
    """
    pictures.check_drawable(trained.gan.image_shape)
    if by_class and trained.gan.condition.kind == "text":
        raise UserError("this model draws images of texts, and this tool draws classes; use biggan-sample --text=TEXT")
    if by_class and trained.gan.condition.kind == "vector":
        raise UserError(
            f"this model is conditioned on {trained.gan.condition.size} real numbers, and this tool draws classes; "
            "use biggan-sample --conditions=FILE"
        )
    if training_data.bits_of(trained) == 16:
        logger.info("the training data have 16 bits; pictures show 8 of them")
