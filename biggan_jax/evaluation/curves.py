"""Curves of scores over the steps of a run, with those of real images: scores.png."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from etils import epath

from biggan_jax.evaluation import results
from biggan_jax.evaluation.baseline import PREFIX
from biggan_jax.evaluation.results import Protocol
from biggan_jax.runtime.files import atomic_write

PICTURE = "scores.png"


class Series(NamedTuple):
    """A line: its name, steps [N] and values [N]."""

    name: str
    steps: Sequence[float]
    values: Sequence[float]


class Curve(NamedTuple):
    """A score over steps. title: its name for people. real: the score of real images, or None."""

    title: str
    line: Series
    real: float | None


def scored(records: Sequence[results.Record]) -> dict[str, list[Curve]]:
    """Return, by protocol in words, the curves of scores that two or more steps have."""
    groups: dict[str, list[results.Record]] = {}
    for record in records:
        if record["step"] is not None:
            groups.setdefault(Protocol(**record["protocol"]).words(), []).append(record)
    found = {words: _curves(group) for words, group in groups.items()}
    return {words: curves for words, curves in found.items() if curves}


def _curves(group: list[results.Record]) -> list[Curve]:
    protocol = Protocol(**group[0]["protocol"])
    by_step: dict[int, Mapping[str, float]] = {}
    for record in group:
        by_step[record["step"]] = {**by_step.get(record["step"], {}), **record["scores"]}
    curves = []
    for name in results.columns(by_step.values()):
        steps = sorted(step for step in by_step if name in by_step[step])
        if len(steps) > 1:
            real = [by_step[step][PREFIX + name] for step in steps if PREFIX + name in by_step[step]]
            line = Series(name, steps, [by_step[step][name] for step in steps])
            curves.append(Curve(results.title(protocol, name), line, real[-1] if real else None))
    return curves


def draw(folder: epath.Path) -> bool:
    """Draw the curves of the folder's scores.jsonl as scores.png; return whether there are any."""
    from matplotlib.figure import Figure  # Not pyplot, whose state belongs to the notebook.

    found = scored(results.read(folder / results.SCORES))
    panels = [(words, curve) for words, curves in found.items() for curve in curves]
    if not panels:
        return False
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.0 * rows + 0.8), dpi=110, layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    numbers = {words: number for number, words in enumerate(found, 1)}
    for axes, (words, (title, line, real)) in zip(grid, panels, strict=False):
        axes.plot(line.steps, line.values, marker=".", linewidth=1.3)
        if real is not None:
            axes.axhline(real, color="tab:green", linestyle="--", linewidth=1.0, label="real images")
            axes.legend(fontsize=7)
        axes.set_title(title if len(found) == 1 else f"{title} [{numbers[words]}]", fontsize=9)
        axes.set_xlabel("step", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.2)
    for axes in grid[len(panels) :]:
        axes.remove()
    lines = list(found) if len(found) == 1 else [f"[{number}] {words}" for words, number in numbers.items()]
    figure.suptitle("\n".join(lines), fontsize=6.5, wrap=True)
    with atomic_write(folder / PICTURE) as unfinished:
        figure.savefig(unfinished, format="png")
    return True
