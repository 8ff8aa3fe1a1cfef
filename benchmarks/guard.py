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
OFTEN = {"healthy": 50, "collapse": 10}
"""Rounds between scores, checkpoints and sheets of samples."""

ROUNDS = {"healthy-digits": 600, "collapse-digits": 200, "healthy-colour": 300, "collapse-colour": 150}

FAST = ["--config.optimizer.d_lr=0.008"]

HARM = {
    "d_lr_x50": ["--config.optimizer.d_lr=0.04"],
    "g_lr_x10": ["--config.optimizer.g_lr=0.004"],
    "weak_d": ["--config.optimizer.d_lr=1e-5", "--config.d_steps=1"],
    "batch_of_2": ["--config.batch_size=2", "--config.optimizer.d_lr=0.0016", "--config.optimizer.g_lr=0.0016"],
    "no_spectral_norm": ["--config.model.g_spectral_norm=False", "--config.model.d_spectral_norm=False", *FAST],
}
"""What makes a run collapse: the learning rate of D 50 times, of G 10 times the recipe's; a D that hardly learns; two images a batch
with rates 2 and 4 times the recipe's, no spectral norm with D's rate 10 times: by themselves these two do little in so few rounds."""

COLLAPSES = {
    "digits": {"d_lr_x50": (0, 1), "g_lr_x10": (0,), "weak_d": (0, 1), "batch_of_2": (0,), "no_spectral_norm": (0,)},
    "colour": {"d_lr_x50": (0,), "weak_d": (0,), "batch_of_2": (0,)},
}
"""Ten: of which data, by what harm, from which healthy run's end on."""


def cases(out: pathlib.Path, colour: str | None) -> dict[str, list[str]]:
    """Flags of each run by name."""
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
                # Networks without spectral norm cannot go on from those with: they start anew.
                start = [f"--config.init_from={out / f'healthy-{name}-{seed}'}"] * (harm != "no_spectral_norm")
                runs[f"collapse-{name}-{harm}-{seed}"] = [*flags, *HARM[harm], *start, f"--config.seed={seed + 100}"]
    return {
        name: [*flags, *PROBES, *often(name), f"--config.num_steps={rounds(name)}", f"--workdir={out / name}"]
        for name, flags in runs.items()
    }


def often(name: str) -> list[str]:
    every = OFTEN[name.partition("-")[0]]
    return [f"--config.{key}={every}" for key in ("score.every", "checkpoint_every", "sample_every")]


def rounds(name: str) -> int:
    return next(count for kind, count in ROUNDS.items() if name.startswith(kind))


def play(out: pathlib.Path, name: str, flags: list[str]) -> None:
    if max(checkpoint_steps(out / name), default=0) >= rounds(name):
        return
    print(f"playing {name}", flush=True)
    done = subprocess.run([sys.executable, "-m", "biggan_jax.main", *flags])
    if done.returncode:
        print(f"guard: {name} ended with status {done.returncode}", file=sys.stderr, flush=True)


def seen(folder: pathlib.Path) -> list[dict]:
    return jsonl.current_lineage(jsonl.read(folder, RECORD))


def first_verdict(records: list[dict]):
    """The verdict at which the guard would have stopped the run, or None."""
    verdicts = (evaluate(records[: i + 1]) for i in range(len(records)))
    return next(filter(None, verdicts), None)


def worst(rule: Rule, records: list[dict]) -> float | None:
    """The value nearest to, or furthest beyond, the rule's threshold that as many looks in a row as it takes had in common."""
    values = [rule.value(records[: i + 1]) for i in range(len(records))]
    runs = [values[i : i + rule.probes] for i in range(len(values) - rule.probes + 1)]
    agreed = [max(run) if rule.below else min(run) for run in runs if None not in run]
    return (min if rule.below else max)(agreed, default=None)


def report(out: pathlib.Path, names: list[str]) -> list[dict]:
    """Of each run: its verdict, its scores, and the worst that each rule saw of it."""
    rows = []
    for name in names:
        if not (records := seen(out / name)):
            continue
        verdict = first_verdict(records)
        row = {"run": name, "rounds": records[-1]["step"], "verdict": verdict._asdict() if verdict else None}
        row["scores"] = {r["step"]: round(r["signals"]["score"], 1) for r in records if "score" in r["signals"]}
        rows.append(row | {"worst": {rule.signal: worst(rule, records) for rule in RULES}})
    return rows


def tables(rows: list[dict]) -> str:
    """For people: what each rule saw of the healthy and of the others, and when each run was stopped."""
    lines = [
        "| signal | threshold | looks in a row | worst of healthy runs | worst of collapses |",
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
        "| run | rounds | stopped at | well until | by | score before, then, at the end |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        verdict, scores = row["verdict"], sorted((int(s), v) for s, v in row["scores"].items())
        at = [str(verdict[k]) for k in ("step", "onset", "signal")] if verdict else ["-", "-", "-"]
        then = [v for s, v in scores if not verdict or s <= verdict["step"]][-1:]
        figures = ", ".join(f"{v:g}" for v in [*(v for _, v in scores[:1]), *then, *(v for _, v in scores[-1:])])
        lines.append(f"| {row['run']} | {row['rounds']} | {' | '.join(at)} | {figures} |")
    return "\n".join(lines)


def plot(out: pathlib.Path, names: list[str], path: pathlib.Path) -> None:
    """Each rule's value over the rounds: healthy runs in grey, the others in colour up to their end, with a dot at the verdict."""
    figure, axes = plt.subplots(3, 3, figsize=(14, 10), constrained_layout=True)
    colours = plt.get_cmap("tab10")
    ill = [name for name in names if name.startswith("collapse") and seen(out / name)]
    for rule, axis in zip([*RULES, None], axes.flat, strict=True):
        for name in [name for name in names if name.startswith("healthy")] + ill:
            records = seen(out / name)
            look = {"color": colours(ill.index(name) % 10), "lw": 1.5} if name in ill else {"color": "0.7", "lw": 0.8}
            if rule:
                points = [(r["step"], rule.value(records[: i + 1])) for i, r in enumerate(records)]
            else:
                points = [(r["step"], r["signals"].get("score")) for r in records]
            points = [(step, value) for step, value in points if value]
            axis.plot(*zip(*points, strict=True), **look, label=name.removeprefix("collapse-") if name in ill else None)
            verdict = first_verdict(records)
            if verdict and rule and verdict.signal == rule.signal:
                axis.plot(verdict.step, verdict.value, "o", **look)
        scale = "linear" if rule and rule.signal == "contrast" else "log"  # It has a sign.
        axis.set(yscale=scale, title=rule.signal if rule else "score (averaged G)", xlabel="round")
        if rule:
            axis.axhline(rule.threshold, color="k", ls=":", lw=1)
    axes.flat[-1].legend(fontsize=7)
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
        play(options.out, name, flags)


if __name__ == "__main__":
    main()
