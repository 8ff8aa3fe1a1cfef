"""The training command: `python -m biggan_jax.main --config=configs/quickstart.py --workdir=DIR [--config.batch_size=64]`.

Exits with 0 when num_steps are done, 75 when a signal or the end of another host stopped it before (run it again), 3 when the
run collapsed, 2 on a mistake of its user.
"""

from absl import flags

from biggan_jax.runtime import cli
from biggan_jax.runtime import flags as cluster_flags
from biggan_jax.train import train
from biggan_jax.types import UserError

CONFIG = cli.define_config("A config file, or the name of one in configs/.")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run, local or gs://.")


def main() -> int:
    if CONFIG.value is None or not WORKDIR.value:
        raise UserError("--config and --workdir are needed, such as --config=quickstart --workdir=runs/quickstart")
    return cluster_flags.run(training)


def training() -> int:
    return cli.SUCCESS if train(CONFIG.value, WORKDIR.value) else cli.RUN_AGAIN


def run() -> None:
    cli.run(main)


if __name__ == "__main__":
    run()
