"""Owns what notebooks need besides: a run watched while it trains, from its folder, and commands. Must not know training.

IPython is imported where it is used: it is there in every notebook, and nowhere else.
"""

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
from biggan_jax.types import UserError

EVERY = 5.0
"""Seconds between looks at the folder."""


@contextlib.contextmanager
def watching(workdir: epath.PathLike, every: float = EVERY) -> Iterator[None]:
    """While entered, the cell shows `picture(workdir)`, anew whenever the run has written something.

    with notebook.watching("runs/digits"):
        train(config, "runs/digits")
    """
    from IPython.display import Image as Shown
    from IPython.display import display

    last = picture(workdir)
    shown = display(Shown(last), display_id=True)
    over = threading.Event()

    def look() -> None:
        nonlocal last
        # A file may be half written: the next look sees it whole.
        with contextlib.suppress(OSError, SyntaxError):
            if (now := picture(workdir)) != last:
                last = now
                shown.update(Shown(last))

    def keep_looking() -> None:
        while not over.wait(every):
            look()

    thread = threading.Thread(target=keep_looking, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        look()


def picture(workdir: epath.PathLike) -> bytes:
    """A run so far, as a PNG: its newest samples, by the averaged weights, a row a class, and both players' losses."""
    from matplotlib.figure import Figure  # Not pyplot, which belongs to the main thread.

    workdir = epath.Path(workdir)
    records = jsonl.current_lineage(jsonl.read(workdir, "metrics"))
    sheets = sorted(workdir.glob("samples/*_ema.png"))
    figure = Figure(figsize=(11, 4.5), dpi=80, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 3))
    left.set_axis_off()
    left.set_title(f"samples at step {int(sheets[-1].name.split('_')[0])}" if sheets else "no samples yet")
    if sheets:
        left.imshow(np.asarray(Image.open(io.BytesIO(sheets[-1].read_bytes()), formats=("PNG",))))
    for player in ("d", "g"):
        losses = [record[f"{player}_loss"] for record in records]
        right.plot([record["step"] for record in records], losses, label=f"{player.upper()}'s loss")
    right.set_xlabel("step")
    right.grid(alpha=0.2)
    if records:
        last = records[-1]
        right.set_title(f"step {last['step']}, {last['images_per_second']:.0f} real images/s")
        right.legend()
    else:
        right.set_title("compiling the first step")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def command(name: str, *flags: str) -> None:
    """Runs `python -m biggan_jax.NAME FLAGS` and shows what it says. Raises UserError if it fails.

    On the CPU: a TPU serves one process at a time, and that is the notebook.
    """
    line = [sys.executable, "-m", f"biggan_jax.{name}", *flags]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    with subprocess.Popen(
        line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for said in process.stdout or ():
            print(said, end="")
    if process.returncode:
        raise UserError(f"the command {name} ended with status {process.returncode}, for the reason above")
