"""Train a GAN, or resume a training run, by biggan-train or python -m biggan_jax.main:

biggan-train --config=quickstart --workdir=DIR [--config.batch_size=64]

Exit statuses: 0: num_steps are done. 1: an unexpected error, with a traceback. 2: a user error, in one sentence. 3: the run
collapsed. 75: a signal or a lost process stopped training; rerun the command to resume. 130: Ctrl-C before or after training.
`biggan-config list` prints the presets, `biggan-config show NAME` the keys of one.
"""

import logging

from absl import flags

from biggan_jax import config as configs
from biggan_jax.runtime import cli, startup
from biggan_jax.runtime import flags as runtime_flags

logger = logging.getLogger(__name__)

CONFIG = cli.define_config("A config file, or the name of a preset; see biggan-config list.")
ON_DAMAGE = flags.DEFINE_enum(
    "on_damage",
    "refuse",
    ["refuse", "fallback"],
    "If the latest checkpoint is damaged: stop with a sentence, or set it aside and continue from the newest whole one.",
)
WORKDIR = cli.define_path("workdir", None, "Folder of the training run, local or gs://.")


def main() -> int | None:
    cli.require(CONFIG, WORKDIR, example="--config=quickstart --workdir=runs/quickstart")
    with startup.imports():
        from biggan_jax.train import train  # Here, since it imports jax, which --help and wrong flags do not need.

    if cli.is_preset("finetune") and (dropped := configs.drop_data_settings(CONFIG.value, cli.given_keys())):
        logger.info("%s", dropped)
    return runtime_flags.run(
        lambda: cli.SUCCESS if train(CONFIG.value, WORKDIR.value, ON_DAMAGE.value) else cli.RUN_AGAIN
    )


run = cli.command(main, compiles=True)

if __name__ == "__main__":
    run()
