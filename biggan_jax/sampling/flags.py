"""Flags of every command that draws samples: checkpoint, weights, truncation, statistics, seed."""

import functools
import logging

import numpy as np
from absl import flags
from etils import epath

from biggan_jax.checkpoint import TrainedGenerator, load_generator
from biggan_jax.latents import KINDS, Stored, Truncation, allowed
from biggan_jax.runtime import cli
from biggan_jax.sampling import pictures, sampler, training_data
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.tools import classes
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

CHECKPOINT = cli.define_path(
    "checkpoint", None, "A workdir (its latest step), one step, an exported model, digits, or hf://OWNER/NAME."
)
WEIGHTS = flags.DEFINE_enum("weights", "ema", ["ema", "live"], "G's averaged weights, or those being trained.")
TRUNCATION = flags.DEFINE_float(
    "truncation", None, "Truncation threshold of z, above 0, or of w (psi), from 0 on. Default: no truncation."
)
TRUNCATION_KIND = flags.DEFINE_enum(
    "truncation_kind",
    None,
    list(KINDS),
    "Meaning of the threshold t: resample entries of z beyond t (the paper); scale z, truncated at 2, by t (TF-Hub, Hugging "
    "Face); use t as z's standard deviation (BigGAN-PyTorch); or move w to its mean, by the factor t (StyleGANs). Default: "
    "resample; of StyleGANs w; with binned statistics, scale.",
)
TRUNCATION_CUTOFF = flags.DEFINE_integer(
    "truncation_cutoff", None, "With truncation of kind w: how many layers, from the first, have it. Default: all.", 1
)
STATISTICS = flags.DEFINE_enum(
    "statistics",
    None,
    list(sampler.STATISTICS),
    "Batch-norm statistics: averaged over fresh batches; those of training; or those for the truncation that come with the "
    "weights, interpolated linearly, or as Hugging Face does. Default: binned if the checkpoint has them, else standing.",
)
PASSES = flags.DEFINE_integer("passes", 100, "Batches that standing statistics are averaged over.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the latents.", lower_bound=0, upper_bound=2**31 - 1)

CLASSES_HELP = "Class ids, ranges, names or all, such as 0,3-5,cat."
"""Begins the description of a command's --classes; see `chosen_classes`."""


def load(mesh=None, path: str | None = None) -> TrainedGenerator:
    """Load the generator named by --checkpoint (or `path`) and --weights, after checking the other flags.

    Raises UserError for a model that translates images, which no command that draws from latents can use.
    """
    if flags.FLAGS["passes"].present and STATISTICS.value not in (None, "standing"):
        raise UserError(f"--passes has no meaning with --statistics={STATISTICS.value}; it is for standing statistics")
    if TRUNCATION.value is not None and not 0 <= TRUNCATION.value < np.inf:
        raise UserError(f"--truncation={TRUNCATION.value} must be greater than 0, and finite; psi of w may be 0")
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


def check_out(path: str, suffixes: tuple[str, ...] = (), context: str = "") -> epath.Path:
    """Check a command's --out before any slow work. Raises UserError for another suffix, or a missing folder.

    suffixes: "" among them stands for a folder.
    """
    out = epath.Path(path)
    if suffixes and out.suffix not in suffixes and not ("" in suffixes and out.is_dir()):
        folder = ", or be a folder without a suffix" if "" in suffixes else ""
        raise UserError(f"--out={out} must end in {' or '.join(filter(None, suffixes))}{folder}{context}")
    if not out.parent.exists():
        raise UserError(f"--out={out}: the folder {out.parent} does not exist")
    return out


def check_shown(trained: TrainedGenerator) -> None:
    """Raise UserError unless a tool can show the model's samples by class. Say so if it shows 8 of 16 bits."""
    pictures.check_drawable(trained.gan.image_shape)
    if trained.gan.condition.kind == "text":
        raise UserError("this model draws images of texts, and this tool draws classes; use biggan-sample --text=TEXT")
    if trained.gan.condition.kind == "vector":
        raise UserError(
            f"this model is conditioned on {trained.gan.condition.size} real numbers, and this tool draws classes; "
            "use biggan-sample --conditions=FILE"
        )
    if training_data.bits_of(trained) == 16:
        logger.info("the training data have 16 bits; pictures show 8 of them")
