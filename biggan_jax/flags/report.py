"""Describe a run in one HTML file, by biggan-report or python -m biggan_jax.tools.report:

biggan-report runs/demo [--out=demo.html]

Curves, samples over time, scores with their protocols, diagnostics, events, config and environment. The file opens without a
network, and can be sent to others.
"""

from biggan_jax.errors import UserError
from biggan_jax.flags import paths
from biggan_jax.runtime import cli

WORKDIR = cli.define_path("workdir", None, "The folder of a run; its name alone may stand for the flag.")
OUT = cli.define_path("out", None, "The file to write. Default: report.html in the run's folder.")


def check() -> None:
    cli.require(WORKDIR, example="biggan-report runs/demo")
    if OUT.value and not OUT.value.endswith(".html"):
        raise UserError(f"--out={OUT.value} must end in .html")
    paths.check_inputs(WORKDIR, why="does not exist; give the folder of a run, such as runs/demo")


parse = cli.flags_parser(__name__, check, word=WORKDIR.name)
