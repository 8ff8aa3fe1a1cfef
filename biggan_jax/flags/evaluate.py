"""Evaluate checkpoints, or images of any model, by biggan-evaluate or python -m biggan_jax.evaluate:

biggan-evaluate --checkpoint=DIR [--all | --watch] --network=classifier [--num=1000]
biggan-evaluate --checkpoint=DIR --truncation_sweep=0.05:1.0:20 --inception=PATH
biggan-evaluate --samples=FOLDER|A.npz --reference=FOLDER|B.npz|STATISTICS.npz|.pkl --inception=PATH
biggan-evaluate --checkpoint=DIR --ppl=w_end,z_full --lpips=PATH
biggan-evaluate --reference=FOLDER --write_statistics=STATISTICS.npz --inception=PATH

Samples and real images are folders of pictures, prepared sets or arrays; statistics are those of pytorch-fid, clean-fid, ADM or
StyleGAN. Results go to scores.jsonl and scores.md, each with its protocol. Stored results are not computed again.
"""

from absl import flags

from biggan_jax.config import choose
from biggan_jax.errors import UserError
from biggan_jax.flags import drawing, evaluation, paths, processes, values
from biggan_jax.flags.choices import ENCODERS, FORMS, SCORES, WITHOUT_CLASSES
from biggan_jax.runtime import cli

PATHS = ("z_full", "z_end", "w_full", "w_end")

ALL = flags.DEFINE_bool("all", False, "Evaluate every checkpoint of the run, not only the latest.")
WATCH = flags.DEFINE_bool("watch", False, "Evaluate every checkpoint, and new ones as they appear, until the run ends.")
EVERY = flags.DEFINE_float("watch_every", 30, "Seconds between checks for new checkpoints.", lower_bound=0.1)
SWEEP = flags.DEFINE_string("truncation_sweep", None, "LOW:HIGH:COUNT: draw the curve over COUNT truncations.")
SAMPLES = cli.define_path(
    "samples", None, "Images instead of a checkpoint: a folder of pictures or of a prepared set, or an .npz with arr_0."
)
NPZ = cli.define_path("npz", None, "The same as --samples.")
PPL = flags.DEFINE_list(
    "ppl", None, f"Instead: perceptual path lengths, some of {', '.join(PATHS)}, from --num pairs; needs --lpips."
)
WRITE = cli.define_path(
    "write_statistics", None, "Instead: write mu and sigma of the reference to this .npz, in pytorch-fid's form."
)
CONFIG = cli.define_config("With --samples: the config whose data they are compared with.")
OUT = cli.define_path("out", None, "Folder of the results. Default: the run's; with --samples, that of the samples.")


def check() -> None:
    if sum(map(bool, (drawing.CHECKPOINT.value, NPZ.value, SAMPLES.value, WRITE.value))) != 1:
        raise UserError(
            "give one of --checkpoint, --samples and --write_statistics, such as --checkpoint=runs/demo --network=classifier"
        )
    if SWEEP.value:
        values.thresholds_of(SWEEP.value)
    if evaluation.SCORES.present and not evaluation.SCORES.value:
        raise UserError(f"--scores= names no score; known are {', '.join(SCORES)}")
    for name in evaluation.SCORES.value or ():
        choose(dict.fromkeys(SCORES), "--scores", name)
    for kind in PPL.value or ():
        choose(dict.fromkeys(PATHS), "--ppl", kind)
    check_flags()
    processes.check()
    drawing.check(may_appear=ALL.value or WATCH.value)
    if not str(samples_path()).endswith(".npz"):
        paths.check_inputs(SAMPLES, NPZ, why=f"does not exist; give {FORMS}")


def samples_path() -> str | None:
    """Return what --samples, or --npz, names."""
    return SAMPLES.value or NPZ.value


def check_flags() -> None:
    """Refuse flags without effect."""
    of_samples = "num", "labels", "seed", "truncation", "statistics", "passes", "weights"
    of_files = bool(samples_path() or WRITE.value)
    without_effect = {
        **dict.fromkeys(("all", "watch", "truncation_sweep", *of_samples), of_files),
        **dict.fromkeys(("out", "scores"), bool(WRITE.value)),
        "data_dir": of_files and CONFIG.value is None,
        "inception": not evaluation.NETWORK.value.startswith("inception-2015"),
        "network_weights": evaluation.NETWORK.value not in ENCODERS,
        "truncation_kind": drawing.TRUNCATION.value is None and not SWEEP.value,
        "watch_every": not WATCH.value,
    }
    by_lpips = PPL.value or "lpips" in (evaluation.SCORES.value or ())
    without_effect |= dict.fromkeys(("lpips", "lpips_heads"), not by_lpips)
    if PPL.value:
        others = "all", "watch", "truncation_sweep", "scores", "network", "inception", "resizer", "jpeg", "reference"
        without_effect |= dict.fromkeys((*others, "reference_count"), True)
    if SWEEP.value and evaluation.NETWORK.value in WITHOUT_CLASSES:
        raise UserError(f"--truncation_sweep needs a network with classes, which {evaluation.NETWORK.value} has not")
    if SWEEP.value:
        without_effect |= dict.fromkeys(("all", "watch", "truncation", "scores"), True)
    cli.refuse([name for name, useless in without_effect.items() if useless], "here")
    # FLAGS["config"].present is true even if it was not given, because config_flags parses its default.
    if CONFIG.value is not None and not of_files:
        raise UserError("--config has no effect here; see --help")


parse = cli.flags_parser(__name__, check)
