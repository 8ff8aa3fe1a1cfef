"""Train: `python -m biggan_jax.main --config=configs/quickstart.py --workdir=DIR [--config.batch_size=64]`.

Exit statuses: 0: num_steps are done; 75: interrupted by a signal or a lost process, rerun the command to resume; 3: the run
collapsed; 2: a user error.
"""

from biggan_jax.runtime import cli
from biggan_jax.runtime import flags as runtime_flags
from biggan_jax.train import train

CONFIG = cli.define_config("A config file, or the name of one in configs/.")
WORKDIR = cli.define_path("workdir", None, "Folder of the training run, local or gs://.")


def main() -> int | None:
    cli.require(CONFIG, WORKDIR, example="--config=quickstart --workdir=runs/quickstart")
    return runtime_flags.run(lambda: cli.SUCCESS if train(CONFIG.value, WORKDIR.value) else cli.RUN_AGAIN)


run = cli.command(main, compiles=True)

if __name__ == "__main__":
    run()
