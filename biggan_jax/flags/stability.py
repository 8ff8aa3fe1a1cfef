"""Plot a run's probes and tell whether it is healthy, by biggan-stability or python -m biggan_jax.stability:

biggan-stability --workdir=runs/demo [--out=DIR]     # spectra, signals and events of a run
biggan-stability --checkpoint=runs/demo              # the singular values of one checkpoint
"""

from absl import flags

from biggan_jax.errors import UserError
from biggan_jax.flags import paths
from biggan_jax.runtime import cli

WORKDIR = cli.define_path("workdir", None, "A run's folder with the records of its probes.")
OUT = cli.define_path("out", None, "Folder for the pictures. Default: stability/ in the run's folder.")
CHECKPOINT = cli.define_path("checkpoint", None, "Instead of --workdir: a checkpoint; print its singular values.")
ROWS = flags.DEFINE_integer("rows", 10, "Weights per network in the table; those that grew most.", lower_bound=1)


def check() -> None:
    if bool(WORKDIR.value) == bool(CHECKPOINT.value):
        raise UserError("--workdir or --checkpoint is needed, not both, such as --workdir=runs/demo")
    if CHECKPOINT.value:
        cli.refuse(("out", "rows"), "with --checkpoint, which prints a table of all weights")
        paths.check_checkpoint(CHECKPOINT.value)
    else:
        paths.check_inputs(WORKDIR, why="is not a folder; give that of a run")


parse = cli.flags_parser(__name__, check)
