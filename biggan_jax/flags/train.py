"""Train a GAN, or resume a training run, by biggan-train or python -m biggan_jax.main:

biggan-train --config=quickstart --workdir=DIR [--config.batch_size=64]

Exit statuses: 0: num_steps are done. 1: an unexpected error, with a traceback. 2: a user error, in one sentence. 3: the run
collapsed. 75: a signal or a lost process stopped training; rerun the command to resume. 130: Ctrl-C before or after training.
`biggan-config list` prints the presets, `biggan-config show NAME` the keys of one.
"""

from absl import flags

from biggan_jax.flags import processes
from biggan_jax.runtime import cli

CONFIG = cli.define_config("A config file, or the name of a preset; see biggan-config list.")
ON_DAMAGE = flags.DEFINE_enum(
    "on_damage",
    "refuse",
    ["refuse", "fallback"],
    "If the latest checkpoint is damaged: stop with a sentence, or set it aside and continue from the newest whole one.",
)
WORKDIR = cli.define_path("workdir", None, "Folder of the training run, local or gs://.")


def check() -> None:
    cli.require(CONFIG, WORKDIR, example="--config=quickstart --workdir=runs/quickstart")
    processes.check()


parse = cli.flags_parser(__name__, check)
