"""Train the demo's recipe for a long time, and report whether memory and speed stay constant.

    python benchmarks/soak.py --minutes=40 --out=runs/soak --json=benchmarks/results/soak.json

Memory and steps are from the run's metrics. Speed is in steps per CPU second of the process, which other load on the machine
hardly changes. Checkpoints, scores, samples and probes are as frequent as in the demo.
"""

import argparse
import json
import os
import pathlib
import platform
import signal
import subprocess
import sys
import time

import jax
import numpy as np

from biggan_jax.runtime import jsonl


def cpu_seconds(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def soak(out: pathlib.Path, minutes: float, flags: list[str]) -> list[dict]:
    """Return [{minute, cpu_seconds, step}] of every half minute, then stop the run with SIGTERM."""
    command = [sys.executable, "-m", "biggan_jax.main", "--config=quickstart", f"--workdir={out}"]
    run = subprocess.Popen([*command, "--config.num_steps=10000000", *flags])
    began, seen = time.monotonic(), []
    while time.monotonic() - began < minutes * 60:
        time.sleep(min(30, minutes * 60))
        if run.poll() is not None:
            raise SystemExit(f"soak: the run ended early with status {run.returncode}")
        records = jsonl.read(out, "metrics")
        step = records[-1]["step"] if records else 0
        seen.append({"minute": (time.monotonic() - began) / 60, "cpu_seconds": cpu_seconds(run.pid), "step": step})
    run.send_signal(signal.SIGTERM)
    if run.wait() != 75:
        raise SystemExit(f"soak: the run ended with status {run.returncode} instead of 75")
    return seen


def fifths(seen: list[dict], records: list[dict]) -> list[dict]:
    """Return steps per CPU second and mean memory for each fifth of the time."""
    rows = []
    for i in range(5):
        part = seen[i * (len(seen) - 1) // 5 : (i + 1) * (len(seen) - 1) // 5 + 1]
        first, last = part[0], part[-1]
        in_part = [r for r in records if first["step"] < r["step"] <= last["step"]]
        mean = lambda name, rows=in_part: sum(r[name] for r in rows) / len(rows)
        speed = (last["step"] - first["step"]) / (last["cpu_seconds"] - first["cpu_seconds"])
        rows.append(
            {
                "minutes": [round(first["minute"], 1), round(last["minute"], 1)],
                "steps": [first["step"], last["step"]],
                "steps_per_cpu_second": round(speed, 2),
                "host_gb": round(mean("host_gb"), 4),
                "device_gb": round(mean("device_gb"), 6),
            }
        )
    return rows


def growth(records: list[dict]) -> float:
    """Return MB of host memory that 1,000 steps add, by a line through the second half of the records."""
    last = records[len(records) // 2 :]
    slope, _ = np.polyfit([r["step"] for r in last], [r["host_gb"] for r in last], 1)
    return float(slope) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/soak"))
    parser.add_argument("--json", type=pathlib.Path)
    options, flags = parser.parse_known_args()
    seen = soak(options.out, options.minutes, flags)
    records = jsonl.read(options.out, "metrics")
    result = {
        "minutes": options.minutes,
        "fifths": fifths(seen, records),
        "mb_per_1000_steps_of_second_half": round(growth(records), 2),
        "jax": jax.__version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
