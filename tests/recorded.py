"""The training command, for tests of several hosts: it notes in the folder RECORD what its process reads and writes.

Small arrays are sharded, too, as large ones are in real runs. FAIL=HOST:STEP makes that host's data fail there, with ERROR.
"""

import os
import pathlib
import sys
import time

import jax
import numpy as np

from biggan_jax import data, sharding
from biggan_jax.checkpoint import Checkpoints
from biggan_jax.main import WORKDIR, run
from biggan_jax.types import UserError

sharding.MIN_SHARDED_SIZE = 64
host_batches = data.host_batches


def recorded_host_batches(source, config, attempt, host=0, hosts=1):
    make = host_batches(source, config, attempt, host, hosts)

    def recorded(step):
        if os.environ.get("FAIL") == f"{host}:{step}":
            raise {"UserError": UserError, "OSError": OSError}[os.environ["ERROR"]]("the disk is full of water")
        batch, unreadable = make(step)
        if folder := os.environ.get("RECORD"):
            np.savez(pathlib.Path(folder) / f"batch_{step}_{host}.npz", **batch)
        return batch, unreadable

    return recorded


def record_writes(event, arguments):
    if event != "open" or not isinstance(arguments[0], str) or not isinstance(arguments[2], int):
        return
    path, _, flags = arguments
    # Before the flags are parsed there is no folder of the run to write in.
    if flags & (os.O_WRONLY | os.O_RDWR) and WORKDIR.present and path.startswith(WORKDIR.value):
        with open(pathlib.Path(os.environ["RECORD"]) / f"writes_{jax.process_index()}", "a") as file:
            file.write(os.path.relpath(path, WORKDIR.value) + "\n")


if __name__ == "__main__":
    data.host_batches = recorded_host_batches
    if os.environ.get("ERROR") == "OSError":
        Checkpoints.close = lambda self: time.sleep(1000)  # As if it waited for others, who never come.
    if os.environ.get("RECORD"):
        sys.addaudithook(record_writes)
    run()
