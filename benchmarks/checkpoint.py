"""Measure how long saving and restoring a large state takes, with checksums block by block and, as before, of whole arrays.

    python benchmarks/checkpoint.py [--gigabytes=1.55] [--folder=DIR]

For the results see benchmarks/README.md.
"""

import argparse
import json
import pathlib
import tempfile
import time
from collections.abc import Callable

import jax
import numpy as np

from biggan_jax import config as configs
from biggan_jax.checkpoint import Checkpoints, checksums
from biggan_jax.state import NetworkState, TrainState

ARRAY = 2**24  # Bytes of most arrays: 64 MB and less, as BigGAN's.


def whole_arrays(x: np.ndarray) -> np.ndarray:
    """Compute the checksum of a whole array at a time, in about ten temporary arrays of its size."""
    x = np.ascontiguousarray(np.atleast_1d(x))
    return checksums._sum(x.view(checksums._word(x.dtype)), np)


def timed(action: Callable) -> tuple[float, float]:
    """Return wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return round(time.perf_counter() - wall, 2), round(time.process_time() - cpu, 2)


def measure(folder: str, state: TrainState) -> dict:
    """Save and restore the state in an empty folder: {what: (wall seconds, CPU seconds)}."""
    checkpoints = Checkpoints(folder, keep=2)
    # A run's first checkpoint is read back, so the second is measured.
    checkpoints.save(state.replace(step=np.int32(1)), configs.base())
    checkpoints.steps()
    second = state.replace(step=np.int32(2))
    found = {"checksums": timed(lambda: checksums.of_arrays(state.networks["G"].params))}
    found["save() holds training"] = timed(lambda: checkpoints.save(second, configs.base()))
    found["then, until written"] = timed(checkpoints.steps)
    found["restore"] = timed(lambda: jax.block_until_ready(checkpoints.restore(state)))
    checkpoints.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=1.55)
    parser.add_argument("--folder")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    count = max(round(options.gigabytes * 1e9 / ARRAY), 1)
    arrays = {f"layer_{i}": jax.numpy.asarray(rng.random(ARRAY // 4, np.float32)) for i in range(count)}
    integer = lambda value: jax.numpy.int32(value)
    network = NetworkState({"w": arrays}, {}, {}, ())
    state = TrainState(integer(0), integer(0), integer(0), {"G": network}, {}, {})
    block_by_block = checksums._on_host
    for name, way in (("whole arrays", whole_arrays), ("block by block", block_by_block)):
        checksums._on_host = way
        with tempfile.TemporaryDirectory(dir=options.folder and pathlib.Path(options.folder)) as folder:
            print(json.dumps({"way": name, "GB": count * ARRAY / 1e9, **measure(folder, state)}), flush=True)


if __name__ == "__main__":
    main()
