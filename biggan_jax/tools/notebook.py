"""Helpers for notebooks: a live picture of a training run, and commands."""

import contextlib
import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
from etils import epath
from PIL import Image

from biggan_jax.runtime import jsonl
from biggan_jax.runtime.files import matching
from biggan_jax.types import UserError


@contextlib.contextmanager
def watching(workdir: epath.PathLike, every: float = 5.0) -> Iterator[None]:
    """Show `picture(workdir)` in the cell; every `every` seconds, update it if the run has written something.

    with notebook.watching("runs/digits"):
        train(config, "runs/digits")
    """
    from IPython.display import Image as Shown  # Only notebooks have it.
    from IPython.display import display

    last = picture(workdir)
    shown = display(Shown(last), display_id=True)
    done = threading.Event()

    def update() -> None:
        nonlocal last
        ended = False
        while not ended:
            ended = done.wait(every)  # After the end, one more update.
            # A file may be half written; the next update reads it again.
            with contextlib.suppress(OSError, SyntaxError):
                if (now := picture(workdir)) != last:
                    last = now
                    shown.update(Shown(last))

    thread = threading.Thread(target=update, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def is_metrics(record: jsonl.Record) -> bool:
    """Whether a record has the numbers that a run logs."""
    return "images_per_second" in record and all(isinstance(value, int | float) for value in record.values())


def picture(workdir: epath.PathLike) -> bytes:
    """Draw a run so far as a PNG: its newest samples, one row per class, by averaged weights if there are any, and its losses."""
    from matplotlib.figure import Figure  # Not pyplot, which belongs to the main thread.

    workdir = epath.Path(workdir)
    records = jsonl.current_lineage(jsonl.read(workdir, "metrics", is_metrics))
    figure = Figure(figsize=(11, 4.5), dpi=80, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 3))
    left.set_axis_off()
    samples = workdir / "samples"
    grids = matching(samples, "*_ema.png") or matching(samples, "*_live.png")
    left.set_title(f"samples at step {int(grids[-1].name.split('_')[0])}" if grids else "no samples yet")
    if grids:
        left.imshow(np.asarray(Image.open(io.BytesIO(grids[-1].read_bytes()), formats=("PNG",))))
    for name in sorted({name for record in records for name in record if name.endswith("_loss")}):
        shown = [(record["step"], record[name]) for record in records if name in record]
        right.plot(*zip(*shown, strict=True), label=f"loss of {name.removesuffix('_loss').upper()}")
    right.set_title("compiling the first step")
    right.set_xlabel("step")
    right.grid(alpha=0.2)
    if records:
        right.set_title(f"step {records[-1]['step']}, {records[-1]['images_per_second']:.0f} real images/s")
        right.legend()
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def command(name: str, *flags: str) -> None:
    """Run `python -m biggan_jax.NAME FLAGS` on the CPU and print its output. Raises UserError if it fails."""
    line = [sys.executable, "-m", f"biggan_jax.{name}", *flags]
    env = os.environ | {"JAX_PLATFORMS": "cpu"}  # A TPU serves one process at a time, which is the notebook.
    with subprocess.Popen(line, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for output in process.stdout or ():
            print(output, end="")
    if process.returncode:
        raise UserError(f"the command {name} failed with status {process.returncode}; its output above says why")
