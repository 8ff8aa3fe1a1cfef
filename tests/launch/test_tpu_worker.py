"""launch/tpu_worker.sh alone: the moment between `run` and the start of training."""

import fcntl
import os
import shutil
import signal
import subprocess
import time

from tests.launch.rig import ROOT, executable


def worker(folder, *words):
    shutil.copy(ROOT / "launch" / "tpu_worker.sh", folder)
    environment = os.environ | {"PATH": f"{folder}/bin:{os.environ['PATH']}"}
    return subprocess.Popen(["bash", folder / "tpu_worker.sh", *words], env=environment)


def test_run_forgets_the_process_id_of_the_last_training(tmp_path):
    executable(tmp_path / "bin" / "setsid", "#!/bin/sh\n")  # Do not start training, so that this state lasts.
    (tmp_path / "pid").write_text("1")
    assert worker(tmp_path, "run", "--config=x").wait(20) == 0
    assert not (tmp_path / "pid").exists()


def test_stop_waits_for_the_process_id(tmp_path):
    training = subprocess.Popen(["sleep", "60"])
    with open(tmp_path / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stopping = worker(tmp_path, "stop")
        time.sleep(0.5)
        assert stopping.poll() is None and training.poll() is None
        (tmp_path / "pid").write_text(str(training.pid))
        assert stopping.wait(20) == 0
    assert training.wait(20) == -signal.SIGTERM
