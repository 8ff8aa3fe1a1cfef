"""Flags of commands that run in several processes."""

from absl import flags

from biggan_jax.errors import UserError

MULTIHOST = flags.DEFINE_bool(
    "multihost", False, "Run as one of several processes with the same command; detects TPU pods, Slurm, MPI and GKE."
)
COORDINATOR = flags.DEFINE_string("coordinator", None, "--multihost, if no cluster is found: HOST:PORT of process 0.")
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "With --coordinator: the number of processes.")
PROCESS_ID = flags.DEFINE_integer("process_id", None, "With --coordinator: the number of this process, from 0.")
ARRIVE_WITHIN = flags.DEFINE_integer("arrive_within", 300, "--multihost: seconds to wait for the other processes.", 1)


def check() -> None:
    """Refuse flags of a cluster without --multihost."""
    if not MULTIHOST.value and any(flag.value is not None for flag in (COORDINATOR, NUM_PROCESSES, PROCESS_ID)):
        raise UserError("--coordinator, --num_processes and --process_id need --multihost")
