"""Flags of every command that draws samples: checkpoint, weights, truncation, statistics, seed."""

import math

from absl import flags

from biggan_jax.errors import UserError
from biggan_jax.flags import paths
from biggan_jax.runtime import cli

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
    ["resample", "scale", "std", "w"],
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
    ["standing", "running", "binned", "binned_as_hf"],
    "Batch-norm statistics: averaged over fresh batches; those of training; or those for the truncation that come with the "
    "weights, interpolated linearly, or as Hugging Face does. Default: binned if the checkpoint has them, else standing.",
)
PASSES = flags.DEFINE_integer("passes", 100, "Batches that standing statistics are averaged over.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the latents.", lower_bound=0, upper_bound=2**31 - 1)

CLASSES_HELP = "Class ids, ranges, names or all, such as 0,3-5,cat."
"""Begins the description of a command's --classes; see `chosen_classes`."""


def check(*, may_appear: bool = False) -> None:
    """Refuse what contradicts itself, and a checkpoint that is not there, unless it `may_appear` later."""
    if flags.FLAGS["passes"].present and STATISTICS.value not in (None, "standing"):
        raise UserError(f"--passes has no meaning with --statistics={STATISTICS.value}; it is for standing statistics")
    if TRUNCATION.value is not None and not 0 <= TRUNCATION.value < math.inf:
        raise UserError(f"--truncation={TRUNCATION.value} must be greater than 0, and finite; psi of w may be 0")
    if CHECKPOINT.value and not may_appear:
        paths.check_checkpoint(CHECKPOINT.value)
