"""Train healthy runs and runs that are made to collapse, and report what the collapse monitor finds in each.

    python benchmarks/guard.py --out=runs/guard [--colour=DIR] [--only=TEXT]     # trains the runs that are missing
    python benchmarks/guard.py --out=runs/guard --report                         # evaluates the rules on all runs

No run is stopped, so its samples show the collapse, and rules can be tried on its record afterwards: a verdict depends only
on the record. `--colour`: a prepared data set of small colour images. For the results see benchmarks/README.md.
"""

import argparse
import json
import pathlib
import subprocess
import sys

import jax
import matplotlib.pyplot as plt

from biggan_jax.checkpoint import checkpoint_steps
from biggan_jax.runtime import jsonl
from biggan_jax.runtime.metric_writer import PROBES as RECORD
from biggan_jax.stability.rules import RULES, Rule, evaluate

PROBES = [
    "--config.stability.every=10",
    "--config.stability.on_collapse=ignore",
    "--config.stability.nonfinite_limit=100000",
    "--config.score.num=300",
    "--config.log_every=10",
]
EVERY = {"healthy": 50, "collapse": 10}
"""Steps between scores, checkpoints and sample grids."""

STEPS = {"healthy-digits": 600, "collapse-digits": 200, "healthy-colour": 300, "collapse-colour": 150}

FAST = ["--config.optimizer.d_lr=0.008"]

HARM = {
    "d_lr_x50": ["--config.optimizer.d_lr=0.04"],
    "g_lr_x10": ["--config.optimizer.g_lr=0.004"],
    "weak_d": ["--config.optimizer.d_lr=1e-5", "--config.d_steps=1"],
    "batch_of_2": ["--config.batch_size=2", "--config.optimizer.d_lr=0.0016", "--config.optimizer.g_lr=0.0016"],
    "no_spectral_norm": ["--config.model.g_spectral_norm=False", "--config.model.d_spectral_norm=False", *FAST],
}
"""Changes that make a run collapse. Batches of 2 and missing spectral norm do little in so few steps, so learning rates are raised
too: 2 and 4 times, and D's 10 times."""

COLLAPSES = {
    "digits": {"d_lr_x50": (0, 1), "g_lr_x10": (0,), "weak_d": (0, 1), "batch_of_2": (0,), "no_spectral_norm": (0,)},
    "colour": {"d_lr_x50": (0,), "weak_d": (0,), "batch_of_2": (0,)},
}
"""The collapses, 10 in all: {data: {change: the healthy runs, by seed, from whose end they start}}."""


def cases(out: pathlib.Path, colour: str | None) -> dict[str, list[str]]:
    """Return {name: flags} of the runs."""
    data = {"digits": ["--config=quickstart"]}
    if colour:
        data["colour"] = ["--config=quickstart", "--config.data.name=tfds", f"--config.data.dir={colour}"]
        data["colour"] += ["--config.model.num_classes=9", "--config.model.resolution=32", "--config.data.flip=True"]
    runs = {}
    for name, flags in data.items():
        for seed in range(10 if name == "digits" else 1):
            runs[f"healthy-{name}-{seed}"] = [*flags, f"--config.seed={seed}"]
        for harm, seeds in COLLAPSES[name].items():
            for seed in seeds:
                # Networks without spectral norm cannot start from those with it.
                start = [f"--config.init_from={out / f'healthy-{name}-{seed}'}"] * (harm != "no_spectral_norm")
                runs[f"collapse-{name}-{harm}-{seed}"] = [*flags, *HARM[harm], *start, f"--config.seed={seed + 100}"]
    return {
        name: [*flags, *PROBES, *intervals(name), f"--config.num_steps={num_steps(name)}", f"--workdir={out / name}"]
        for name, flags in runs.items()
    }


def intervals(name: str) -> list[str]:
    every = EVERY[name.partition("-")[0]]
    return [f"--config.{key}={every}" for key in ("score.every", "checkpoint_every", "sample_every")]


def num_steps(name: str) -> int:
    return next(count for kind, count in STEPS.items() if name.startswith(kind))


def train(out: pathlib.Path, name: str, flags: list[str]) -> None:
    if max(checkpoint_steps(out / name), default=0) >= num_steps(name):
        return
    print(f"training {name}", flush=True)
    done = subprocess.run([sys.executable, "-m", "biggan_jax.main", *flags])
    if done.returncode:
        print(f"guard: {name} ended with status {done.returncode}", file=sys.stderr, flush=True)


def probes_of(folder: pathlib.Path) -> list[dict]:
    return jsonl.current_lineage(jsonl.read(folder, RECORD))


def first_verdict(records: list[dict]):
    """Return the verdict at which the monitor would have stopped the run, or None."""
    verdicts = (evaluate(records[: i + 1]) for i in range(len(records)))
    return next(filter(None, verdicts), None)


def worst(rule: Rule, records: list[dict]) -> float | None:
    """Return the value nearest to the rule's threshold, or furthest beyond, that held for as many probes in a row as it needs."""
    values = [rule.value(records[: i + 1]) for i in range(len(records))]
    runs = [values[i : i + rule.probes] for i in range(len(values) - rule.probes + 1)]
    agreed = [max(run) if rule.below else min(run) for run in runs if None not in run]
    return (min if rule.below else max)(agreed, default=None)


def report(out: pathlib.Path, names: list[str]) -> list[dict]:
    """Return each run's verdict, scores, and worst value by rule."""
    rows = []
    for name in names:
        if not (records := probes_of(out / name)):
            continue
        verdict = first_verdict(records)
        row = {"run": name, "steps": records[-1]["step"], "verdict": verdict._asdict() if verdict else None}
        row["scores"] = {r["step"]: round(r["signals"]["score"], 1) for r in records if "score" in r["signals"]}
        rows.append(row | {"worst": {rule.signal: worst(rule, records) for rule in RULES}})
    return rows


def tables(rows: list[dict]) -> str:
    """Return two tables: each rule's worst values in healthy and collapsing runs, and where each run was stopped."""
    lines = [
        "| signal | threshold | probes in a row | worst of healthy runs | worst of collapses |",
        "|---|---|---|---|---|",
    ]
    for rule in RULES:
        ends = []
        for kind in ("healthy", "collapse"):
            values = [r["worst"][rule.signal] for r in rows if r["run"].startswith(kind)]
            values = [v for v in values if v is not None]
            ends.append(f"{(min if rule.below else max)(values):.3g}" if values else "-")
        sign = "<" if rule.below else ">"
        lines.append(f"| {rule.signal} | {sign} {rule.threshold:g} | {rule.probes} | {ends[0]} | {ends[1]} |")
    lines += [
        "",
        "| run | steps | stopped at | healthy until | by | score at the start, then, at the end |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        verdict, scores = row["verdict"], sorted((int(s), v) for s, v in row["scores"].items())
        at = [str(verdict[k]) for k in ("step", "onset", "signal")] if verdict else ["-", "-", "-"]
        then = [v for s, v in scores if not verdict or s <= verdict["step"]][-1:]
        figures = ", ".join(f"{v:g}" for v in [*(v for _, v in scores[:1]), *then, *(v for _, v in scores[-1:])])
        lines.append(f"| {row['run']} | {row['steps']} | {' | '.join(at)} | {figures} |")
    return "\n".join(lines)


def plot(out: pathlib.Path, names: list[str], path: pathlib.Path) -> None:
    """Plot each rule's value over the steps: healthy runs in grey, collapsing ones in colour, with a dot at the verdict."""
    figure, axes = plt.subplots(-(-(len(RULES) + 1) // 4), 4, figsize=(18, 13), constrained_layout=True)
    colours = plt.get_cmap("tab10")
    collapsing = [name for name in names if name.startswith("collapse") and probes_of(out / name)]
    for rule, axis in zip([*RULES, None], axes.flat, strict=False):
        for name in [name for name in names if name.startswith("healthy")] + collapsing:
            records = probes_of(out / name)
            style = (
                {"color": colours(collapsing.index(name) % 10), "lw": 1.5}
                if name in collapsing
                else {"color": "0.7", "lw": 0.8}
            )
            if rule:
                points = [(r["step"], rule.value(records[: i + 1])) for i, r in enumerate(records)]
            else:
                points = [(r["step"], r["signals"].get("score")) for r in records]
            points = [(step, value) for step, value in points if value]
            axis.plot(
                *zip(*points, strict=True),
                **style,
                label=name.removeprefix("collapse-") if name in collapsing else None,
            )
            verdict = first_verdict(records)
            if verdict and rule and verdict.signal == rule.signal:
                axis.plot(verdict.step, verdict.value, "o", **style)
        scale = "linear" if rule and rule.signal == "contrast" else "log"  # It can be negative.
        axis.set(yscale=scale, title=rule.signal if rule else "score (EMA of G)", xlabel="step")
        if rule:
            axis.axhline(rule.threshold, color="k", ls=":", lw=1)
    axes.flat[len(RULES)].legend(fontsize=7)
    figure.savefig(path, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/guard"))
    parser.add_argument("--colour")
    parser.add_argument("--only", default="")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--plot", type=pathlib.Path)
    options = parser.parse_args()
    wanted = {name: flags for name, flags in cases(options.out, options.colour).items() if options.only in name}
    if options.report:
        rows = report(options.out, list(wanted))
        print(tables(rows))
        if options.plot:
            plot(options.out, [row["run"] for row in rows], options.plot)
        if options.json:
            options.json.write_text(json.dumps({"jax": jax.__version__, "runs": rows}, indent=1) + "\n")
        return
    for name, flags in wanted.items():
        train(options.out, name, flags)


if __name__ == "__main__":
    main()
