"""One process of several that only communicate, for tests: `python -m tests.runtime.peer PORT PROCESS_ID`."""

import sys

import jax
import numpy as np

from biggan_jax.runtime import cli, distributed
from biggan_jax.types import UserError


def work():
    me = jax.process_index()
    assert distributed.broadcast_str(f"text of process {me}") == "text of process 0"
    assert distributed.broadcast(np.array([me, 2**31 - 1])).tolist() == [0, 2**31 - 1]
    assert distributed.all_agree(True) and not distributed.all_agree(me == 0)
    raise UserError("both fail")


if __name__ == "__main__":
    cli.log_to_stderr()
    sys.exit(distributed.run(work, (f"localhost:{sys.argv[1]}", 2, int(sys.argv[2])), 120))
