"""Describe a run in one HTML file: the work of biggan-report."""

from etils import epath

from biggan_jax.flags.report import OUT, WORKDIR
from biggan_jax.runtime import cli
from biggan_jax.runtime.files import write_text, writing
from biggan_jax.tools.report import run as run_report


def main() -> None:
    workdir = epath.Path(WORKDIR.value)
    out = epath.Path(OUT.value) if OUT.value else workdir / "report.html"
    text = run_report.report(workdir)
    with writing(f"--out={out}"):
        write_text(out, text)
    print(f"{out}: {len(text.encode()) / 1e6:.1f} MB")


run = cli.command(main)


if __name__ == "__main__":
    run()
