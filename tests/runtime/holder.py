"""Hold the lock of a workdir, for tests: `python -m tests.runtime.holder WORKDIR HEARTBEAT_SECONDS`.

Waits for a file `go` beside the workdir if there is one named `ready`. Then adds a line to `written` in the workdir every
20 ms until stdin ends. Sleeps before it writes running.json, so that processes that start at once meet.
"""

import os
import pathlib
import select
import sys
import time

from biggan_jax.runtime import cli, workdir_lock
from biggan_jax.types import UserError


def hold(workdir):
    while (workdir.parent / "ready").exists() and not (workdir.parent / "go").exists():
        time.sleep(0.001)
    try:
        with workdir_lock.WorkdirLock(workdir) as lock:
            print("held", flush=True)
            while not select.select([0], [], [], 0.02)[0]:
                lock.check()
                with open(workdir / "written", "a") as file:
                    file.write(f"{os.getpid()}\n")
    except UserError as error:
        cli.complain(f"error: {error}")
        sys.exit(cli.USER_ERROR)


if __name__ == "__main__":
    cli.is_command = True
    cli.log_to_stderr()
    workdir_lock.HEARTBEAT_SECONDS = float(sys.argv[2])
    write = workdir_lock.WorkdirLock._write
    workdir_lock.WorkdirLock._write = lambda *args: (time.sleep(0.1), write(*args))[1]
    hold(pathlib.Path(sys.argv[1]))
