"""What benchmarks that train share: the device, the seconds of a training, and files of figures."""

import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

import clock
import jax


def device() -> dict[str, str]:
    """Return {"device": its kind}; of a CPU nothing, since its name says little."""
    return {} if jax.default_backend() == "cpu" else {"device": jax.devices()[0].device_kind}


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, int]]:
    """Return what work() returns, its train_seconds of wall time and cpu_seconds of all threads, and the cores it could use."""
    done, wall, cpu = clock.timed(work)
    return done, {"train_seconds": round(wall), "cpu_seconds": round(cpu), "cores": len(os.sched_getaffinity(0))}


def add(results: pathlib.Path, name: str, figures: dict[str, Any]) -> None:
    """Add the figures of one model to a file of results, or replace those of its name, and print them."""
    known = json.loads(results.read_text()) if results.exists() else {}
    results.write_text(json.dumps(known | {name: figures}, indent=2) + "\n")
    print(name, json.dumps(figures), flush=True)
