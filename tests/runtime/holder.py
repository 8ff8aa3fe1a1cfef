"""Holds a folder's lease, for tests: `python -m tests.runtime.holder FOLDER SECONDS_BETWEEN_SIGNS_OF_LIFE`, as a command that writes.

Between judging and taking a folder it pauses, so that others can come between, if nothing keeps them. It waits for a file
`go` beside the folder if there is one named `ready`, adds a line to the folder's `written` every 20 ms, and ends in peace
when its stdin does.
"""

import os
import pathlib
import select
import sys
import time

from biggan_jax.runtime import cli, workdir_lock
from biggan_jax.types import UserError


def hold(folder):
    while (folder.parent / "ready").exists() and not (folder.parent / "go").exists():
        time.sleep(0.001)
    try:
        with workdir_lock.WorkdirLock(folder) as held:
            print("held", flush=True)
            while not select.select([0], [], [], 0.02)[0]:
                held.check()
                with open(folder / "written", "a") as file:
                    file.write(f"{os.getpid()}\n")
    except UserError as error:
        cli.complain(f"error: {error}")
        sys.exit(cli.USER_ERROR)


if __name__ == "__main__":
    cli._is_command = True
    cli.log_to_stderr()
    workdir_lock.EVERY = float(sys.argv[2])
    take = workdir_lock.WorkdirLock._take
    workdir_lock.WorkdirLock._take = lambda *args, **more: (time.sleep(0.1), take(*args, **more))[1]
    hold(pathlib.Path(sys.argv[1]))
