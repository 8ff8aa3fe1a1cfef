"""Train a GAN, or resume a training run: the work of biggan-train."""

import logging

from biggan_jax import config as configs
from biggan_jax.flags.train import CONFIG, ON_DAMAGE, WORKDIR
from biggan_jax.runtime import cli
from biggan_jax.runtime import flags as runtime_flags
from biggan_jax.train import train

logger = logging.getLogger(__name__)


def main() -> int | None:
    if cli.is_preset("finetune") and (dropped := configs.drop_data_settings(CONFIG.value, cli.given_keys())):
        logger.info("%s", dropped)
    return runtime_flags.run(
        lambda: cli.SUCCESS if train(CONFIG.value, WORKDIR.value, ON_DAMAGE.value) else cli.RUN_AGAIN
    )


run = cli.command(main, compiles=True)

if __name__ == "__main__":
    run()
