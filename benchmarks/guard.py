"""Plays runs that are left alone and runs that are made to collapse, and says what the guard makes of each.

    python benchmarks/guard.py --out=runs/guard [--colour=DIR] [--only=TEXT]     # plays what is not played yet
    python benchmarks/guard.py --out=runs/guard --report                         # judges all that was played

No run is stopped, so that its samples can be seen to go bad, and the rules can be tried on the record afterwards: the verdict
is a function of the record alone. `--colour`: a prepared set of small colour pictures. What is judged: benchmarks/README.md.
"""

import argparse
import json
import pathlib
import subprocess
import sys

from biggan_jax import json_lines
from biggan_jax.checkpoint import checkpoint_steps
from biggan_jax.stability.rules import judge

LOOKS = [
    "--config.stability.every=10",
    "--config.stability.on_collapse=ignore",
    "--config.stability.nonfinite_limit=100000",
]
LOOKS += [
    "--config.score.every=50",
    "--config.score.num=300",
    "--config.checkpoint_every=50",
    "--config.sample_every=50",
]
LOOKS += ["--config.log_every=10"]

ROUNDS = {"healthy": 600, "collapse": 300}

HARM = {
    "d_lr_x50": ["--config.optimizer.d_lr=0.04"],
    "no_spectral_norm": ["--config.model.d_spectral_norm=False"],
    "batch_of_2": ["--config.batch_size=2"],
}
"""What makes a run collapse: D's learning rate 50 times the recipe's; D without spectral norm; two images a batch."""


def cases(out: pathlib.Path, colour: str | None) -> dict[str, list[str]]:
    """Flags of each run by name. Those that collapse go on from a healthy one's end, but for those `from_scratch`."""
    data = {"digits": ["--config=quickstart"]}
    if colour:
        data["colour"] = ["--config=quickstart", "--config.data.name=tfds", f"--config.data.dir={colour}"]
        data["colour"] += ["--config.model.num_classes=9", "--config.model.resolution=32", "--config.data.flip=True"]
    runs = {}
    for name, flags in data.items():
        for seed in range(10 if name == "digits" else 2):
            runs[f"healthy-{name}-{seed}"] = [*flags, f"--config.seed={seed}"]
        for harm, change in HARM.items():
            for seed in range(2 if name == "digits" else 1):
                start = [f"--config.init_from={out / f'healthy-{name}-{seed}'}"]
                runs[f"collapse-{name}-{harm}-{seed}"] = [*flags, *change, *start, f"--config.seed={seed + 100}"]
    for harm in ("d_lr_x50", "batch_of_2"):
        runs[f"collapse-digits-{harm}-from_scratch"] = [*data["digits"], *HARM[harm]]
    return {
        name: [*flags, *LOOKS, f"--config.num_steps={ROUNDS[name.partition('-')[0]]}", f"--workdir={out / name}"]
        for name, flags in runs.items()
    }


def play(out: pathlib.Path, name: str, flags: list[str]) -> None:
    if max(checkpoint_steps(out / name), default=0) >= ROUNDS[name.partition("-")[0]]:
        return
    print(f"playing {name}", flush=True)
    done = subprocess.run([sys.executable, "-m", "biggan_jax.main", *flags])
    if done.returncode:
        print(f"guard: {name} ended with status {done.returncode}", file=sys.stderr, flush=True)


def first_verdict(records: list[dict]):
    """The verdict at which the guard would have stopped the run, or None."""
    verdicts = (judge(records[: i + 1]) for i in range(len(records)))
    return next(filter(None, verdicts), None)


def report(out: pathlib.Path, names: list[str]) -> list[dict]:
    rows = []
    for name in names:
        records = json_lines.lineage(json_lines.read(out / name, "stability"))
        if not records:
            continue
        verdict = first_verdict(records)
        scores = {r["step"]: r["signals"]["score"] for r in records if "score" in r["signals"]}
        row = {"run": name, "rounds": records[-1]["step"], "scores": scores}
        rows.append(row | (verdict._asdict() if verdict else {}))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/guard"))
    parser.add_argument("--colour")
    parser.add_argument("--only", default="")
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    wanted = {name: flags for name, flags in cases(options.out, options.colour).items() if options.only in name}
    if options.report:
        print(json.dumps(report(options.out, list(wanted)), indent=1))
        return
    for name, flags in wanted.items():
        play(options.out, name, flags)


if __name__ == "__main__":
    main()
