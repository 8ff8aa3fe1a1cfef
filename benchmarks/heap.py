"""Measure how much memory a process keeps that saves checkpoints often, with and without giving free memory back.

    python benchmarks/heap.py [--saves=300]

Each case is a process of its own, which saves a state of 40 small arrays. For the results see benchmarks/README.md.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import jax
import numpy as np

from biggan_jax import config as configs
from biggan_jax.checkpoint import Checkpoints
from biggan_jax.runtime import heap
from biggan_jax.state import NetworkState, TrainState

ARRAYS = 40
SHAPE = 64, 64


def resident() -> float:
    """Return the resident memory of this process, in MB."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def save_often(saves: int, trims: bool) -> list[float]:
    """Return the resident memory after each save."""
    if not trims:
        heap.trim = lambda: False
    arrays = {f"layer_{i}": jax.numpy.zeros(SHAPE) for i in range(ARRAYS)}
    network = NetworkState({"w": arrays}, {}, {}, ())
    integer = lambda value: jax.numpy.int32(value)
    state = TrainState(integer(0), integer(0), integer(0), {"G": network}, {}, {})
    seen = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(folder, keep=2)
        for step in range(1, saves + 1):
            checkpoints.save(state.replace(step=np.int32(step)), configs.base())
            checkpoints.steps()
            seen.append(resident())
        checkpoints.close()
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--saves", type=int, default=300)
    parser.add_argument("--case", choices=["trimmed", "kept"])
    options = parser.parse_args()
    if not options.case:
        for case in ("kept", "trimmed"):
            subprocess.run([sys.executable, __file__, f"--saves={options.saves}", f"--case={case}"], check=True)
        return
    seen = save_often(options.saves, options.case == "trimmed")
    half = len(seen) // 2
    slope = np.polyfit(np.arange(half), seen[-half:], 1)[0] * 1000
    print(f"{options.case}: {seen[0]:.0f} MB after one save, {seen[half]:.0f} half-way, {seen[-1]:.0f} at the end")
    print(f"{options.case}: the last half grows by {slope:.2f} MB per 1,000 saves", flush=True)


if __name__ == "__main__":
    main()
