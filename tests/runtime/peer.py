"""One host of a run that communicates but does not train: `python -m tests.runtime.peer PORT PROCESS_ID WORKDIR [FAIL]`.

FAIL, such as 1:OSError, makes that host fail after ten steps, or, as both:UserError, all of them. A run that does not fail
runs until it is told to stop.
"""

import sys
import time

import numpy as np

from biggan_jax.runtime import cli, distributed
from biggan_jax.runtime.supervised import supervised
from biggan_jax.types import UserError


def work():
    process_id, workdir, *fail = sys.argv[2:]
    assert distributed.broadcast_str(f"text of process {process_id}") == "text of process 0"
    assert distributed.broadcast(np.array([int(process_id), 2**31 - 1])).tolist() == [0, 2**31 - 1]
    assert distributed.all_agree(True) and not distributed.all_agree(process_id == "0")
    with supervised(workdir) as job:
        assert job.lock_workdir()
        for step in range(100000):
            if job.should_stop():
                return cli.RUN_AGAIN
            for host, error in (text.split(":") for text in fail):
                if step == 10 and host in (process_id, "both"):
                    if error == "OSError":  # Clean-up that waits for peers, which never arrive.
                        job.at_exit(lambda: time.sleep(1000))
                    raise {"OSError": OSError, "UserError": UserError}[error]("the disk is full of water")
            time.sleep(0.02)


if __name__ == "__main__":
    cli.log_to_stderr()
    cluster = f"localhost:{sys.argv[1]}", 2, int(sys.argv[2])
    sys.exit(distributed.run(work, cluster, 120))
