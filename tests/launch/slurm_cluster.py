"""A real Slurm cluster for tests: munged, slurmctld and two slurmd on this machine.

Both nodes are this machine. The first has its host name, which JAX looks up; only Slurm uses the name of the second.
"""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import time

PROGRAMS = "munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel"

MISSING = [name for name in PROGRAMS if not shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin")]

CONFIG = """\
ClusterName=test
SlurmctldHost={host}
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
# A requeued job waits until its former credentials have expired.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
MpiDefault=none
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={nodes[0]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[0]} CPUs=4 RealMemory=1000 Gres=gpu:2
NodeName={nodes[1]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4 RealMemory=1000 Gres=gpu:2
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(("localhost", 0))
        return [s.getsockname()[1] for s in sockets]


@contextlib.contextmanager
def cluster(folder: pathlib.Path):
    """Start two nodes with two simulated GPUs each; yield the environment for Slurm's commands."""
    folder.chmod(0o700)  # munged requires it.
    (folder / "state").mkdir()
    host = socket.gethostname()
    nodes = host, f"{host}-b"
    controller, *ports = free_ports(3)
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    text = CONFIG.format(host=host, nodes=nodes, controller=controller, ports=ports, folder=folder, user=user)
    (folder / "slurm.conf").write_text(text)
    for device in ("gpu0", "gpu1"):  # Slurm requires these files but never opens them.
        (folder / device).touch()
    (folder / "gres.conf").write_text(f"Name=gpu File={folder}/gpu[0-1]\n")
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    env = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": os.environ["PATH"] + ":/usr/sbin"}
    files = {name: folder / f"munge.{name}" for name in ("socket", "pid", "log", "seed")}
    munged = [
        "munged",
        "--foreground",
        f"--key-file={key}",
        f"--socket={files['socket']}",
        f"--pid-file={files['pid']}",
    ]
    munged += [f"--log-file={files['log']}", f"--seed-file={files['seed']}", "--force"]
    with contextlib.ExitStack() as stack:
        stack.enter_context(running(munged, env))
        wait_for(files["socket"].exists, "munged's socket")
        stack.enter_context(running(["slurmctld", "-D", "-i"], env))
        for node in nodes:
            stack.enter_context(running(["slurmd", "-D", "-N", node], env))
        idle = lambda: said(env, "sinfo", "--noheader", "--format=%T").split() == ["idle"]
        wait_for(idle, f"two idle nodes; see the logs in {folder}")
        yield env
        said(env, "scancel", "--full", "--user", user)


def said(env, *command) -> str:
    return subprocess.run(command, env=env, capture_output=True, text=True).stdout


@contextlib.contextmanager
def running(command, env):
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def wait_for(condition, what: str, limit: float = 60) -> None:
    stop = time.monotonic() + limit
    while not condition():
        if time.monotonic() > stop:
            raise AssertionError(f"waited {limit} s for {what}")
        time.sleep(0.2)
