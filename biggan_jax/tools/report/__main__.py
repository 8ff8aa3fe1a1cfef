"""Describe a run in one HTML file, by biggan-report or python -m biggan_jax.tools.report:

biggan-report runs/demo [--out=demo.html]

Curves, samples over time, scores with their protocols, diagnostics, events, config and environment. The file opens without a
network, and can be sent to others.
"""

import sys

from etils import epath

from biggan_jax.runtime import cli
from biggan_jax.runtime.files import write_text, writing
from biggan_jax.tools.report import run as run_report
from biggan_jax.types import UserError

WORKDIR = cli.define_path("workdir", None, "The folder of a run; its name alone may stand for the flag.")
OUT = cli.define_path("out", None, "The file to write. Default: report.html in the run's folder.")


def main() -> None:
    cli.require(WORKDIR, example="biggan-report runs/demo")
    workdir = epath.Path(WORKDIR.value)
    out = epath.Path(OUT.value) if OUT.value else workdir / "report.html"
    if out.suffix != ".html":
        raise UserError(f"--out={out} must end in .html")
    text = run_report.report(workdir)
    with writing(f"--out={out}"):
        write_text(out, text)
    print(f"{out}: {len(text.encode()) / 1e6:.1f} MB")


def run() -> None:
    if sys.argv[1:2] and not sys.argv[1].startswith("-"):
        sys.argv[1] = f"--workdir={sys.argv[1]}"
    cli.run(main)


if __name__ == "__main__":
    run()
