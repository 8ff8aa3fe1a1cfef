"""Train healthy runs and runs that are made to collapse, and report what the collapse monitor finds in each.

    python benchmarks/guard.py --out=runs/guard [--colour=DIR] [--only=TEXT]     # trains the runs that are missing
    python benchmarks/guard.py --out=runs/guard --report                         # evaluates the rules on all runs

A collapse starts from a healthy run: with changed settings, or as that run goes on and a harm of harms.py befalls it. No run is
stopped, so its samples show the collapse, and rules can be tried on its record afterwards: a verdict depends only on the record.
`--colour`: a prepared data set of small colour images in 9 classes. For the results see docs/stability.md.
"""

import argparse
import contextlib
import json
import math
import pathlib
import shutil
import sys
from typing import Any, NamedTuple

import harms
import jax
import ml_collections
from matplotlib.figure import Figure

from biggan_jax import config as configs
from biggan_jax.checkpoint import checkpoint_steps
from biggan_jax.runtime import jsonl
from biggan_jax.runtime.metric_writer import PROBES as RECORD
from biggan_jax.stability.recovery import CollapseError
from biggan_jax.stability.rules import RULES, Rule, evaluate
from biggan_jax.train import train
from biggan_jax.types import UserError

PROBES = {
    "stability.every": 10,
    "stability.on_collapse": "ignore",
    "stability.nonfinite_limit": 100_000,
    "score.num": 300,
    "log_every": 10,
}
EVERY = {"healthy": 50, "collapse": 10}
"""Steps between scores, checkpoints and sample grids."""

STEPS = {"healthy": 600, "collapse": 200}
SHORT = {"healthy": 300, "collapse": 150}
"""Steps of runs on digits, and on colours."""

BEFALLS = 20
"""Steps after the healthy run's end at which a harm of harms.py befalls it."""

HEALTHY = {
    "least_squares": {"loss": "least_squares"},
    "non_saturating_r1": {"loss": "non_saturating", "regularizer.r1": 0.1},
    "wasserstein_gp": {"loss": "wasserstein", "regularizer.gp": 10.0},
    "dragan": {"loss": "non_saturating", "regularizer.dragan": 10.0},
    "relativistic_average": {"loss": "relativistic_average"},
    "relativistic_pairs_r1_r2": {"loss": "relativistic_pairs", "regularizer.r1": 0.1, "regularizer.r2": 0.1},
    "auxiliary_classes": {"condition.d": "ac"},
    "contrastive": {"condition.d": "contrastive", "condition.embed_dim": 64},
    "d2dce": {"condition.d": "d2dce", "condition.embed_dim": 64},
    "multi_hinge": {"condition.d": "multi_hinge", "loss": "multi_hinge"},
    "unconditional": {"model.num_classes": 0},
    "diffaugment": {"augment.policy": ("colour", "translation", "cutout")},
    "ada": {"augment.ada": ("blit", "geometry", "colour"), "augment.target": 0.6, "augment.speed": 20_000.0},
    "apa": {"augment.apa": True, "augment.target": 0.6, "augment.speed": 20_000.0},
    "lecam": {"regularizer.lecam": 0.3, "regularizer.lecam_start": 100},
    "consistency": {"regularizer.cr": 10.0, "regularizer.cr_fake": 10.0},
    "consistency_of_latents": {"regularizer.zcr_d": 5.0, "regularizer.zcr_g": 0.5},
    "top_k": {"regularizer.top_k": 0.95, "regularizer.top_k_steps": 50},
}
"""Changes of the quickstart with which it trains as well: losses, penalties, heads of classes, augmentations."""

HARM = {
    "d_lr_x50": {"optimizer.d_lr": 0.04},
    "g_lr_x10": {"optimizer.g_lr": 0.004},
    "weak_d": {"optimizer.d_lr": 1e-5, "d_steps": 1},
    "batch_of_2": {"batch_size": 2, "optimizer.d_lr": 0.0016, "optimizer.g_lr": 0.0016},
    "no_spectral_norm": {"model.g_spectral_norm": False, "model.d_spectral_norm": False, "optimizer.d_lr": 0.008},
}
"""Changes that make a run collapse. Batches of 2 and missing spectral norm do little in so few steps, so learning rates are raised
too: 2 and 4 times, and D's 10 times."""

COLLAPSES = {
    "digits": {"d_lr_x50": (0, 1), "g_lr_x10": (0,), "weak_d": (0, 1), "batch_of_2": (0,), "no_spectral_norm": (0,)}
    | {harm: (0,) for harm in (*harms.STATE, *harms.DATA)},
    "colour": {"d_lr_x50": (0,), "weak_d": (0,), "batch_of_2": (0,)},
}
"""The collapses: {data: {change, or harm of harms.py: the healthy runs, by seed, from whose end they start}}."""


class Run(NamedTuple):
    """A run: the changes of the quickstart; the run that it continues, or whose weights it starts with; the harm that befalls it."""

    changes: dict[str, Any]
    continues: str = ""
    starts_from: str = ""
    harm: str = ""


def cases(colour: str | None) -> dict[str, Run]:
    """Return the runs by name. colour: the folder of a prepared set."""
    data = {"digits": {}}
    if colour:
        data["colour"] = {"data.name": "tfds", "data.dir": colour, "data.flip": True}
        data["colour"] |= {"model.num_classes": 9, "model.resolution": 32}
    runs = {}
    for name, changes in data.items():
        for seed in range(2 if name == "digits" else 1):
            runs[f"healthy-{name}-{seed}"] = Run(changes | {"seed": seed})
    runs |= {f"healthy-digits-{name}": Run(changes) for name, changes in HEALTHY.items()}
    for name, changes in data.items():
        for harm, seeds in COLLAPSES[name].items():
            for seed in seeds:
                healthy = f"healthy-{name}-{seed}"
                if harm in HARM:
                    # Networks without spectral norm cannot start from those with it.
                    start = healthy * (harm != "no_spectral_norm")
                    run = Run(changes | HARM[harm] | {"seed": seed + 100}, starts_from=start)
                else:
                    run = Run(changes | {"seed": seed}, continues=healthy, harm=harm)
                runs[f"collapse-{name}-{harm}-{seed}"] = run
    return runs


def num_steps(name: str) -> int:
    """Return the steps of a run by its name, of one that continues another those of its own."""
    kind, data, _ = name.split("-", 2)
    return (SHORT if data == "colour" else STEPS)[kind]


def config_of(out: pathlib.Path, name: str, run: Run) -> ml_collections.ConfigDict:
    """Return the config of a run."""
    c = configs.load("quickstart")
    c.num_steps = num_steps(name) + (num_steps(run.continues) if run.continues else 0)
    every = EVERY[name.partition("-")[0]]
    intervals = dict.fromkeys(("score.every", "checkpoint_every", "sample_every"), every)
    start = {"init_from": str(out / run.starts_from)} if run.starts_from else {}
    c.update_from_flattened_dict(PROBES | intervals | start | run.changes)
    configs.validate(c)
    return c


def train_one(out: pathlib.Path, name: str, run: Run) -> None:
    """Train a run, unless it is trained."""
    c = config_of(out, name, run)
    if max(checkpoint_steps(out / name), default=0) >= c.num_steps:
        return
    print(f"training {name}", flush=True)
    harmed = contextlib.nullcontext()
    if run.continues:
        shutil.rmtree(out / name, ignore_errors=True)
        shutil.copytree(out / run.continues, out / name)
        harmed = harms.befalling(run.harm, num_steps(run.continues) + BEFALLS)
    try:
        with harmed:
            assert train(c, out / name), "a signal ended it"
    except (UserError, CollapseError) as error:
        print(f"guard: {name} ended: {error}", file=sys.stderr, flush=True)


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


def report(out: pathlib.Path, runs: dict[str, Run]) -> list[dict]:
    """Return each run's verdict, the step of its harm, scores from then on, and worst value by rule."""
    rows = []
    for name, run in runs.items():
        if not (records := probes_of(out / name)):
            continue
        verdict, start = first_verdict(records), num_steps(run.continues) if run.continues else 0
        row = {"run": name, "steps": records[-1]["step"], "verdict": verdict._asdict() if verdict else None}
        row |= {"harmed_at": start + BEFALLS * bool(run.harm)} if name.startswith("collapse") else {}
        seen = [record for record in records if "score" in record["signals"] and record["step"] > start]
        row["scores"] = {record["step"]: round(record["signals"]["score"], 1) for record in seen}
        rows.append(row | {"worst": {rule.signal: worst(rule, records) for rule in RULES}})
    return rows


def finite(value: Any) -> Any:
    """Return the figures with None for numbers that are not finite, which JSON has not."""
    if isinstance(value, dict):
        return {key: finite(of_key) for key, of_key in value.items()}
    if isinstance(value, list):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
        "| run | harmed at | stopped at | healthy until | by | score at first, at the verdict, at the end |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        verdict, scores = row["verdict"], sorted((int(s), v) for s, v in row["scores"].items())
        at = [str(verdict[k]) for k in ("step", "onset", "signal")] if verdict else ["-", "-", "-"]
        then = [v for s, v in scores if not verdict or s <= verdict["step"]][-1:]
        figures = ", ".join(f"{v:g}" for v in [*(v for _, v in scores[:1]), *then, *(v for _, v in scores[-1:])])
        lines.append(f"| {row['run']} | {row.get('harmed_at', '-')} | {' | '.join(at)} | {figures} |")
    ended = [sum(row["run"].startswith(kind) and bool(row["verdict"]) for row in rows) for kind in EVERY]
    count = [sum(row["run"].startswith(kind) for row in rows) for kind in EVERY]
    return "\n".join(
        [*lines, "", f"Stopped: {ended[0]} of {count[0]} healthy runs, {ended[1]} of {count[1]} collapses."]
    )


def plot(out: pathlib.Path, names: list[str], path: pathlib.Path) -> None:
    """Plot each rule's value over the steps: healthy runs in grey; those that it stopped in colour, with a dot at the verdict."""
    figure = Figure(figsize=(18, 16), layout="constrained")
    axes = list(figure.subplots(-(-len(RULES) // 4), 4).flat)
    for rule, axis in zip(RULES, axes, strict=False):
        drawn = 0
        for name in names:
            records = probes_of(out / name)
            verdict = first_verdict(records)
            stopped = verdict is not None and verdict.signal == rule.signal
            if not (stopped or name.startswith("healthy")):
                continue
            points = [(r["step"], rule.value(records[: i + 1])) for i, r in enumerate(records)]
            points = [(step, value) for step, value in points if value]
            if not points:
                continue
            style = (
                {"color": f"C{drawn}", "lw": 1.5, "zorder": 2} if stopped else {"color": "0.7", "lw": 0.8, "zorder": 1}
            )
            axis.plot(*zip(*points, strict=True), **style, label=name.removeprefix("collapse-") if stopped else None)
            if stopped:
                axis.plot(verdict.step, verdict.value, "o", **style)
                drawn += 1
        may_be_negative = rule.signal.endswith(("contrast", "agreement"))
        axis.set(yscale="linear" if may_be_negative else "log", title=rule.signal, xlabel="step")
        axis.axhline(rule.threshold, color="k", ls=":", lw=1)
        if drawn:
            axis.legend(fontsize=7)
    for axis in axes[len(RULES) :]:
        axis.axis("off")
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
    wanted = {name: run for name, run in cases(options.colour).items() if options.only in name}
    if options.report:
        rows = report(options.out, wanted)
        print(tables(rows))
        if options.plot:
            plot(options.out, [row["run"] for row in rows], options.plot)
        if options.json:
            options.json.write_text(json.dumps({"jax": jax.__version__, "runs": finite(rows)}, indent=1) + "\n")
        return
    for name, run in wanted.items():
        train_one(options.out, name, run)


if __name__ == "__main__":
    main()
