"""Memory in use by this process, on the host and on the first device."""

import os
import pathlib

import jax


def usage() -> dict[str, float]:
    """Return {host_gb, device_gb} in 10^9 bytes: resident memory (on Linux) and memory in use on the first local device.

    CPU devices report no statistics: there device_gb is the size of all live arrays.
    """
    found = {}
    statm = pathlib.Path("/proc/self/statm")
    if statm.exists():
        found["host_gb"] = int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e9
    stats = jax.local_devices()[0].memory_stats()
    in_use = stats["bytes_in_use"] if stats else sum(array.nbytes for array in jax.live_arrays())
    return found | {"device_gb": in_use / 1e9}
