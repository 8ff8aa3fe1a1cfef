"""Plot a run's probes: singular values by layer, signals, rules and events."""

import functools
import math
import re
from collections.abc import Callable, Sequence

import numpy as np
from etils import epath
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from biggan_jax.runtime.files import atomic_write
from biggan_jax.runtime.jsonl import Record
from biggan_jax.stability import history
from biggan_jax.stability.history import Run, attempt_of, layers
from biggan_jax.stability.rules import RULES, Rule

NAMED = 48  # Up to this many layers, a colour bar names each; else it names each block once.
EMPHASISED = 3  # Layers per network that are named in the plot itself: those whose first singular value grew most.

STYLES = {r"\bbn_": ":", "^attention": "--", "conv": "-", "": "-."}
"""Line styles of layers, by the first pattern that is found in the name."""


def draw(run: Run, out: epath.Path, rules: Sequence[Rule] = RULES) -> list[epath.Path]:
    """Write all pictures to the folder `out`, which is created, and return their paths. rules: those for the run's data."""
    figures = {"spectra": spectra_figure(run), "signals": signals_figure(run, rules)}
    figures |= {
        f"layers_{name}": layers_figure(run, name) for name in history.networks(run.probes) if layers(run.probes, name)
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        with atomic_write(out / f"{name}.png") as unfinished:
            figure.savefig(unfinished, format="png")
    return [out / f"{name}.png" for name in figures]


def spectra_figure(run: Run) -> Figure:
    """Plot the first singular value of every weight of each network over steps, as in Brock et al. 2019, fig. 3."""
    shown = history.networks(run.probes)
    figure = Figure(figsize=(9.5 * len(shown), 9), dpi=110, layout="constrained")
    for axes, network in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        names = layers(run.probes, network)
        axes.set_title(f"{shown[network]}: largest singular value of each normalised weight")
        axes.set_xlabel("step")
        axes.set_ylabel("sigma_0")
        if not names:
            axes.text(0.5, 0.5, "no weight is normalised", transform=axes.transAxes, ha="center")
            continue
        colours = [*map(colormaps["turbo"], np.linspace(0.03, 0.97, len(names)))]
        # A single probe shows no growth.
        emphasised = history.by_growth(run.probes, network)[:EMPHASISED] if len(run.probes) > 1 else []
        ends = {}
        for name, colour in zip(names, colours, strict=True):
            steps, values = history.singular_values(run.probes, network, name)
            style = next(style for pattern, style in STYLES.items() if re.search(pattern, name))
            (line,) = axes.plot(steps, values[:, 0], style, color=colour, label=name, linewidth=1.0)
            line.set_marker("." if len(steps) == 1 else "")
            if name in emphasised:
                line.set(linewidth=2.4, zorder=3)
            if name in emphasised and np.isfinite(values[-1, 0]):
                ends[name] = values[-1, 0], colour
            for tail in run.abandoned:
                steps, values = history.singular_values(tail, network, name)
                axes.plot(steps, values[:, 0], color=colour, linewidth=0.8, alpha=0.4, zorder=1)
        _log(axes)
        if ends:
            _name_ends(axes, ends)
        _mark_events(axes, run, named=True)
        _layer_bar(figure, axes, names, colours)
    figure.suptitle(
        "convolutions solid, conditional batch norm dotted, attention dashed, linear and embedding dash-dotted; "
        "widest: grew most" + ("; faint: attempts that were rolled back" if run.abandoned else ""),
        fontsize=9,
    )
    return figure


def layers_figure(run: Run, network: str) -> Figure:
    """Plot sigma_0, sigma_1 and sigma_2 of each weight of the network in a panel of its own, on one scale."""
    names = layers(run.probes, network)
    figure, grid = _small_multiples(len(names), width=2.1, height=1.5, shared=True)
    for axes, name in zip(grid, names, strict=True):
        for probes, alpha in [(tail, 0.3) for tail in run.abandoned] + [(run.probes, 1.0)]:
            steps, values = history.singular_values(probes, network, name)
            for i, colour in enumerate(("tab:blue", "tab:cyan", "0.6")):
                label = f"sigma_{i}" * (alpha == 1)
                axes.plot(steps, values[:, i], color=colour, alpha=alpha, linewidth=1.1, label=label)
        axes.set_title(_short(name), fontsize=7, pad=2)
        _mark_events(axes, run)
    for axes in grid:
        _log(axes)
        axes.tick_params(labelsize=6)
    # Matplotlib labels the last row only; above the gaps in it, a panel of the row before is the lowest.
    for axes in grid[-grid[0].get_gridspec().ncols :]:
        axes.tick_params(labelbottom=True)
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    title = f"{history.networks(run.probes)[network]}: the three largest singular values of each weight, from input to output"
    figure.suptitle(title, fontsize=9)
    return figure


def signals_figure(run: Run, rules: Sequence[Rule] = RULES) -> Figure:
    """Plot every signal over steps, then the value and the threshold of each rule, and the events."""
    names = dict.fromkeys(name for record in run.probes for name in record["signals"])
    real = history.signal(run.probes, "score_of_real")[1]
    names = {name: None for name in names if name != "score_of_real"}
    titled = {f"rule: {rule.signal}": rule for rule in rules}
    panels: dict[str, Callable] = {name: functools.partial(history.signal, name=name) for name in names}
    panels |= {title: functools.partial(history.rule_values, rule=rule) for title, rule in titled.items()}
    panels = {title: series for title, series in panels.items() if len(series(run.probes)[0])}
    figure, grid = _small_multiples(len(panels), width=3.2, height=2.1)
    for axes, (title, series) in zip(grid, panels.items(), strict=True):
        rule = titled.get(title)
        for tail in run.abandoned:
            axes.plot(*series(tail), color="tab:blue", alpha=0.35, linewidth=1.0)
        steps, figures = series(run.probes)
        axes.plot(steps, figures, color="tab:blue", linewidth=1.3, marker="." if len(steps) < 30 else "", markersize=3)
        broken = [str(event["step"]) for event in run.events if rule and event.get("signal") == rule.signal]
        if title == "score" and len(real):
            axes.axhline(real[-1], color="tab:green", linestyle="--", linewidth=0.9, label="real images")
            axes.legend(fontsize=6)
        if rule:
            axes.axhline(rule.threshold, color="tab:red", linestyle="--", linewidth=0.9)
        tripped = f" (verdict at step {', '.join(broken)})" if broken else ""
        axes.set_title(title + tripped, fontsize=8, color="tab:red" if broken else "black", pad=3)
        finite = figures[np.isfinite(figures)]
        if len(finite) and finite.min() > 0 and finite.max() > 30 * finite.min():
            axes.set_yscale("log")
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.2)
        _mark_events(axes, run)
    for axes in grid[1:]:
        axes.sharex(grid[0])
    figure.suptitle(_legend_of_events(run), fontsize=8)
    figure.supxlabel("step", fontsize=8)
    return figure


def _small_multiples(count: int, *, width: float, height: float, shared: bool = False) -> tuple[Figure, list]:
    """Return a figure with `count` panels in a grid, about 8 wide to 5 high; `shared`: with the same axes."""
    columns = max(1, min(count, round(math.sqrt(count * 1.6 * height / width))))
    rows = -(-count // columns)
    figure = Figure(figsize=(max(6, columns * width), rows * height + 0.6), dpi=110, layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False, sharex=shared, sharey=shared).flat)
    for axes in grid[count:]:
        axes.remove()
    return figure, grid[:count]


def _mark_events(axes, run: Run, *, named: bool = False) -> None:
    """Draw vertical lines at events and at their onsets, faint if rolled back; if `named`, with a label."""
    on_lineage = {(attempt_of(record), record["step"]) for record in run.probes}
    for event in run.events:
        alpha = 1.0 if (attempt_of(event), event["step"]) in on_lineage else 0.35
        axes.axvline(event["step"], color="tab:red", linewidth=0.9, alpha=alpha, zorder=1)
        if isinstance(event.get("onset"), int):
            axes.axvline(event["onset"], color="tab:orange", linestyle=":", linewidth=1.2, alpha=alpha, zorder=1)
        if named:
            _name_line(axes, event["step"], _label(event, run), "tab:red", top=True)
    for record, before in zip(run.probes[1:], run.probes, strict=False):
        if attempt_of(record) != attempt_of(before):
            axes.axvline(before["step"], color="tab:green", linestyle="-.", linewidth=0.9, zorder=1)
            if named:
                _name_line(axes, before["step"], f"attempt {attempt_of(record)}", "tab:green", top=False)


def _name_line(axes, step: int, label: str, colour: str, *, top: bool) -> None:
    """Write the label along a vertical line: left of its top, or right of its bottom."""
    position = {"xytext": (-3, -3), "ha": "right", "va": "top"} if top else {"xytext": (3, 3), "va": "bottom"}
    coordinates = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
    box = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.5}
    text = {"rotation": 90, "fontsize": 8, "color": colour, "zorder": 4, "bbox": box}
    axes.annotate(label, (step, float(top)), **position, **coordinates, **text)


def _label(event: Record, run: Run) -> str:
    attempt = f" (attempt {attempt_of(event)})" if run.abandoned else ""
    return f"{event.get('signal', 'event')}: {event.get('action', 'seen')}{attempt}"


def _legend_of_events(run: Run) -> str:
    lines = []
    for event in run.events:
        onset = f", onset {event['onset']} (dotted)" if isinstance(event.get("onset"), int) else ""
        lines.append(f"step {event['step']} (red){onset}: {_label(event, run)}")
    text = "\n".join(lines) or "no event"
    return text + ("\ngreen: where the next attempt resumes; faint: rolled back" if run.abandoned else "")


def _name_ends(axes, ends: dict[str, tuple]) -> None:
    """Write names to the right of the lines' ends, without overlap."""
    first, last = axes.dataLim.intervalx
    axes.set_xlim(first - 0.02 * (last - first), last + 0.26 * (last - first))
    least, free = axes.get_ylim()[0], -math.inf
    high = math.log(axes.get_ylim()[1] / least)
    for name, (value, colour) in sorted(ends.items(), key=lambda item: item[1][0]):
        free = max(math.log(value / least) / high, free + 0.03)
        arrow = {"arrowstyle": "-", "color": colour, "linewidth": 2, "relpos": (0, 0.5)}
        style = {"textcoords": "axes fraction", "va": "center", "fontsize": 9, "arrowprops": arrow}
        axes.annotate(_short(name), (last, value), xytext=(1.045 / 1.28, free), **style)


def _layer_bar(figure, axes, names: list[str], colours: list) -> None:
    """Draw a colour bar as the legend: one field per layer, the input lowest."""
    count = len(names)
    shown = ScalarMappable(BoundaryNorm(np.arange(count + 1) - 0.5, count), ListedColormap(colours))
    bar = figure.colorbar(shown, ax=axes, fraction=0.05, pad=0.01, aspect=40)
    if count <= NAMED:
        bar.set_ticks(range(count), labels=[*map(_short, names)])
    else:  # Name a block at the middle of its fields.
        blocks = np.array([name.split(".")[0] for name in names])
        named = list(dict.fromkeys(blocks))
        bar.set_ticks([np.flatnonzero(blocks == block).mean() for block in named], labels=named)
    bar.ax.tick_params(labelsize=7, length=2)
    bar.ax.minorticks_off()


def _log(axes) -> None:
    """Use a log axis with tick labels even if the data span less than a power of ten."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high < 1.5 * low:
        low, high = (math.sqrt(low * high) * factor for factor in (1.5**-0.5, 1.5**0.5))
        axes.set_ylim(low, high)
    named = (1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 7.0) if high < 10 * low else (1.0, 2.0, 5.0) if high < 300 * low else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(subs=named, numticks=30))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")
    axes.grid(alpha=0.2)


def _short(name: str) -> str:
    return name.removesuffix(".kernel").removesuffix(".embedding")
