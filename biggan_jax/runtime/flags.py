"""Run a command's work in several processes, as its flags say."""

from collections.abc import Callable

from biggan_jax.flags.processes import ARRIVE_WITHIN, COORDINATOR, MULTIHOST, NUM_PROCESSES, PROCESS_ID
from biggan_jax.runtime import distributed


def run(work: Callable[[], int | None]) -> int | None:
    """Call work(), in several processes if --multihost is given, and return its exit status (None: 0)."""
    if MULTIHOST.value:
        cluster = COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value
        return distributed.run(work, cluster, ARRIVE_WITHIN.value)
    return work()
