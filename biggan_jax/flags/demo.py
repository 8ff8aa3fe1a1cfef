"""Train on real digits in minutes, draw samples, evaluate them, by biggan-demo or python -m biggan_jax.demo:

biggan-demo [--seed=0] [--out=runs/demo]
"""

from absl import flags

from biggan_jax.config import config_path
from biggan_jax.runtime import cli

CONFIG = cli.define_config("A config file, or the name of a preset; see biggan-config list.")
SEED = flags.DEFINE_integer("seed", None, "Seed, instead of the config's.", lower_bound=0, upper_bound=2**31 - 1)
OUT = cli.define_path("out", "runs/demo", "Folder of the run.")

flags.FLAGS.set_default("config", str(config_path("quickstart")))

parse = cli.flags_parser(__name__)
