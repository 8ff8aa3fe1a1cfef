"""Owns the flags by which a command works as one of several processes. Must not know what they do together."""

from collections.abc import Callable

from absl import flags

from biggan_jax.runtime import distributed
from biggan_jax.types import UserError

MULTIHOST = flags.DEFINE_bool(
    "multihost", False, "One of several processes, each started alike: TPU pods, Slurm, MPI and GKE are recognised."
)
COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "With --multihost, where nothing is recognised: HOST:PORT of process 0."
)
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "Likewise: how many processes.")
PROCESS_ID = flags.DEFINE_integer("process_id", None, "Likewise: which of them this is, from 0.")
ARRIVE_WITHIN = flags.DEFINE_integer(
    "arrive_within", 300, "With --multihost: seconds to wait for the other processes.", lower_bound=1
)


def run(work: Callable[[], int]) -> int:
    """work(), with the others where there are any, and its exit status."""
    cluster = COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value
    if MULTIHOST.value:
        return distributed.run(work, cluster, ARRIVE_WITHIN.value)
    if any(value is not None for value in cluster):
        raise UserError("--coordinator, --num_processes and --process_id need --multihost")
    return work()
