"""Trains the demo's recipe for a long time and says whether memory stays flat and rounds stay as fast.

    python benchmarks/soak.py --minutes=40 --out=runs/soak --json=benchmarks/results/soak.json

Memory and rounds are those of the run's own metrics. Speed is rounds for each CPU second of the process, which other work on
the machine hardly moves. The run saves, scores, draws samples and is looked at as often as the demo's.
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

from biggan_jax.runtime import jsonl


def cpu_seconds(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def soak(out: pathlib.Path, minutes: float, flags: list[str]) -> list[dict]:
    """[{minute, cpu_seconds}] every half minute, until the run is told to save and end."""
    command = [sys.executable, "-m", "biggan_jax.main", "--config=quickstart", f"--workdir={out}"]
    run = subprocess.Popen([*command, "--config.num_steps=10000000", *flags])
    began, seen = time.monotonic(), []
    while time.monotonic() - began < minutes * 60:
        time.sleep(min(30, minutes * 60))
        if run.poll() is not None:
            raise SystemExit(f"soak: the run ended by itself with status {run.returncode}")
        records = jsonl.read(out, "metrics")
        step = records[-1]["step"] if records else 0
        seen.append({"minute": (time.monotonic() - began) / 60, "cpu_seconds": cpu_seconds(run.pid), "step": step})
    run.send_signal(signal.SIGTERM)
    if run.wait() != 75:
        raise SystemExit(f"soak: the run ended with status {run.returncode} instead of 75")
    return seen


def fifths(seen: list[dict], records: list[dict]) -> list[dict]:
    """Of each fifth of the time: rounds for a CPU second, and the means of what memory was held."""
    rows = []
    for i in range(5):
        part = seen[i * (len(seen) - 1) // 5 : (i + 1) * (len(seen) - 1) // 5 + 1]
        first, last = part[0], part[-1]
        held = [r for r in records if first["step"] < r["step"] <= last["step"]]
        mean = lambda name, held=held: sum(r[name] for r in held) / len(held)
        speed = (last["step"] - first["step"]) / (last["cpu_seconds"] - first["cpu_seconds"])
        rows.append(
            {
                "minutes": [round(first["minute"], 1), round(last["minute"], 1)],
                "rounds": [first["step"], last["step"]],
                "rounds_a_cpu_second": round(speed, 2),
                "host_gb": round(mean("host_gb"), 4),
                "device_gb": round(mean("device_gb"), 6),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/soak"))
    parser.add_argument("--json", type=pathlib.Path)
    options, flags = parser.parse_known_args()
    seen = soak(options.out, options.minutes, flags)
    result = {
        "minutes": options.minutes,
        "fifths": fifths(seen, jsonl.read(options.out, "metrics")),
        "jax": jax.__version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
