"""Owns how much memory this process holds, on its host and on its first device. Must not know what for."""

import os
import pathlib

import jax


def usage() -> dict[str, float]:
    """{host_gb, device_gb}, in 10^9 bytes: of resident pages, where the system tells, and in use on the first local device.

    A CPU device does not tell: there it is what this process's arrays hold, on all of its devices.
    """
    found = {}
    statm = pathlib.Path("/proc/self/statm")
    if statm.exists():
        found["host_gb"] = int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e9
    stats = jax.local_devices()[0].memory_stats()
    in_use = stats["bytes_in_use"] if stats else sum(array.nbytes for array in jax.live_arrays())
    return found | {"device_gb": in_use / 1e9}
