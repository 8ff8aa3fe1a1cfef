"""A GPU's seconds in one step by kind of kernel, from a trace of JAX's profiler."""

import collections
import csv
import glob
import gzip
import json
import pathlib
import re
import tempfile
from collections.abc import Callable

import jax

KINDS = {
    "convolution": r"cudnn|xmma|convolve|implicit_gemm|wgrad|dgrad|fprop|cutlass.*conv",
    "matrix product": r"gemm|cublas|nvjet|cutlass",
    "change of layout": r"nchwToNhwc|nhwcToNchw|transpose|copy",
    "all-reduce": r"nccl|all_reduce",
    "sum": r"reduce",
    "copy of memory": r"^Mem(cpy|set)",
}
"""{kind: what the names of its kernels contain}; the first that matches counts, any other is a fusion."""


def kernels(step: Callable[[], object]) -> list[tuple[str, str, int, float]]:
    """Run a compiled step under the profiler. Returns (kind, kernel, calls, seconds), the longest first."""
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            jax.block_until_ready(step())
        (file,) = glob.glob(f"{folder}/**/*.trace.json.gz", recursive=True)
        return read(json.loads(gzip.decompress(pathlib.Path(file).read_bytes())))


def read(trace: dict) -> list[tuple[str, str, int, float]]:
    """Sum the events of the streams of GPUs in a trace of Chrome's format, whose durations are microseconds."""
    events = trace["traceEvents"]
    gpus = {e["pid"] for e in events if e.get("name") == "process_name" and "GPU" in e["args"]["name"]}
    streams = {
        (e["pid"], e["tid"])
        for e in events
        if e.get("name") == "thread_name" and e["pid"] in gpus and e["args"]["name"].startswith("Stream")
    }
    calls: collections.Counter[str] = collections.Counter()
    seconds: collections.Counter[str] = collections.Counter()
    for e in events:
        if e.get("ph") == "X" and (e["pid"], e["tid"]) in streams:
            calls[e["name"]] += 1
            seconds[e["name"]] += e["dur"] / 1e6
    return [(kind_of(name), name, calls[name], spent) for name, spent in seconds.most_common()]


def kind_of(kernel: str) -> str:
    return next((kind for kind, pattern in KINDS.items() if re.search(pattern, kernel)), "fusion")


def write(rows: list[tuple[str, str, int, float]], file: str) -> None:
    """Write a table: the sum of each kind, then each kernel."""
    sums: collections.Counter[str] = collections.Counter()
    for kind, _, _, spent in rows:
        sums[kind] += spent
    with open(file, "w") as stream:
        table = csv.writer(stream, delimiter="\t", lineterminator="\n")
        table.writerow(("kind", "kernel", "calls", "seconds"))
        table.writerows((kind, "all", "", f"{spent:.6f}") for kind, spent in sums.most_common())
        table.writerows((kind, name, calls, f"{spent:.6f}") for kind, name, calls, spent in rows)
