"""Owns the pictures of a run's looks: spectra by layer, signals, what the guard said. Must not know how looks are read."""

import collections
import functools
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from etils import epath
from matplotlib.figure import Figure

from biggan_jax.runtime.files import atomic_write
from biggan_jax.runtime.jsonl import Record
from biggan_jax.stability.history import PLAYERS, Run, attempt_of, fastest, judged, layers, signal, singular_values
from biggan_jax.stability.rules import RULES, Rule

NAMED = 48
"""Layers up to which a colour bar names each; of more, it names each block once."""

EMPHASISED = 3
"""Layers of a player that are named in the plot itself: those whose first singular value grew most."""


def draw(run: Run, out: epath.Path) -> list[epath.Path]:
    """Writes all pictures to the folder `out`, which is made, and returns their paths."""
    figures = {"spectra": spectra_figure(run), "signals": signals_figure(run)}
    figures |= {f"layers_{player}": layers_figure(run, player) for player in PLAYERS if layers(run.looks, player)}
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in figures.items():
        paths.append(out / f"{name}.png")
        with atomic_write(paths[-1]) as unfinished:
            figure.savefig(unfinished, format="png")
    return paths


def spectra_figure(run: Run) -> Figure:
    """The first singular value of every weight of G and of D over steps, as in Brock et al. 2019, fig. 3."""
    figure = Figure(figsize=(19, 9), dpi=110, layout="constrained")
    for axes, player in zip(figure.subplots(1, 2), PLAYERS, strict=True):
        names = layers(run.looks, player)
        axes.set_title(f"{PLAYERS[player]}: largest singular value of each normalised weight")
        axes.set_xlabel("step")
        axes.set_ylabel("sigma_0")
        if not names:
            axes.text(0.5, 0.5, "no weight is normalised", transform=axes.transAxes, ha="center")
            continue
        colours = _colours(len(names))
        # Not the growth of a weight that hardly moved.
        emphasised = [name for name in fastest(run.looks, player)[:EMPHASISED] if len(run.looks) > 1]
        ends = {}
        for name, colour in zip(names, colours, strict=True):
            wide = name in emphasised
            style = {"color": colour, "linestyle": _style(name), "linewidth": 2.4 if wide else 1.0}
            style |= {"zorder": 3 if wide else 2, "marker": "." if len(run.looks) == 1 else ""}
            steps, values = singular_values(run.looks, player, name)
            axes.plot(steps, values[:, 0], label=name, **style)
            if wide and np.isfinite(values[-1, 0]):
                ends[name] = values[-1, 0], colour
            for tail in run.abandoned:
                steps, values = singular_values(tail, player, name)
                axes.plot(steps, values[:, 0], color=colour, linewidth=0.8, alpha=0.4, zorder=1)
        _log(axes)
        if ends:
            _name_ends(axes, ends)
        _mark_events(axes, run, named=True)
        _layer_bar(figure, axes, names, colours)
    figure.suptitle(
        "convolutions solid, conditional batch norm dotted, attention dashed, linear and embedding dash-dotted; "
        "widest: grew most" + ("; faint: attempts that were gone back on" if run.abandoned else ""),
        fontsize=9,
    )
    return figure


def layers_figure(run: Run, player: str) -> Figure:
    """sigma_0, sigma_1 and sigma_2 of each of the player's weights, a small plot each, on one scale."""
    names = layers(run.looks, player)
    figure, grid = _small_multiples(len(names), width=2.1, height=1.5)
    for axes, name in zip(grid, names, strict=True):
        for looks, alpha in [(tail, 0.3) for tail in run.abandoned] + [(run.looks, 1.0)]:
            steps, values = singular_values(looks, player, name)
            for i, colour in enumerate(("tab:blue", "tab:cyan", "0.6")):
                axes.plot(
                    steps, values[:, i], color=colour, alpha=alpha, linewidth=1.1, label=f"sigma_{i}" * (alpha == 1)
                )
        axes.set_title(_short(name), fontsize=7, pad=2)
        _mark_events(axes, run)
    first = grid[0]
    for axes in grid[1:]:
        axes.sharex(first)
        axes.sharey(first)
    for axes in grid:
        _log(axes)
        axes.tick_params(labelsize=6)
    _outer_labels_only(grid)
    handles, labels = first.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
    figure.suptitle(
        f"{PLAYERS[player]}: the three largest singular values of each weight, from input to output", fontsize=9
    )
    return figure


def signals_figure(run: Run) -> Figure:
    """Every signal over steps, then what each of the guard's rules made of them, with its threshold; and the events."""
    names = dict.fromkeys(name for look in run.looks for name in look["signals"])
    panels: dict[str, tuple[Callable[..., Any], Rule | None]]
    panels = {name: (functools.partial(signal, name=name), None) for name in names}
    panels |= {f"guard: {rule.signal}": (functools.partial(judged, rule=rule), rule) for rule in RULES}
    panels = {title: panel for title, panel in panels.items() if len(panel[0](run.looks)[0])}
    figure, grid = _small_multiples(len(panels), width=3.2, height=2.1)
    for axes, (title, (series, rule)) in zip(grid, panels.items(), strict=True):
        for tail in run.abandoned:
            axes.plot(*series(tail), color="tab:blue", alpha=0.35, linewidth=1.0)
        steps, figures = series(run.looks)
        axes.plot(steps, figures, color="tab:blue", linewidth=1.3, marker="." if len(steps) < 30 else "", markersize=3)
        guarded = [event for event in run.events if rule and event.get("signal") == rule.signal]
        if rule:
            axes.axhline(rule.threshold, color="tab:red", linestyle="--", linewidth=0.9)
        tripped = f" (tripped at step {', '.join(str(event['step']) for event in guarded)})" if guarded else ""
        axes.set_title(title + tripped, fontsize=8, color="tab:red" if guarded else "black", pad=3)
        positive = figures[np.isfinite(figures)]
        if len(positive) and positive.min() > 0 and positive.max() > 30 * positive.min():
            axes.set_yscale("log")
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.2)
        _mark_events(axes, run)
    for axes in grid[1:]:
        axes.sharex(grid[0])
    figure.suptitle(_legend_of_events(run), fontsize=8)
    figure.supxlabel("step", fontsize=8)
    return figure


def _small_multiples(count: int, *, width: float, height: float) -> tuple[Figure, list]:
    """A figure of `count` plots in a grid about as wide as it is high, on paper 8 to 5."""
    columns = max(1, min(count, round(math.sqrt(count * 1.6 * height / width))))
    rows = -(-count // columns)
    figure = Figure(figsize=(max(6, columns * width), rows * height + 0.6), dpi=110, layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid[count:]:
        axes.remove()
    return figure, grid[:count]


def _outer_labels_only(grid: list) -> None:
    rows = collections.Counter(axes.get_subplotspec().colspan.start for axes in grid)
    for axes in grid:
        place = axes.get_subplotspec()
        lowest = place.rowspan.start == rows[place.colspan.start] - 1
        axes.tick_params(labelbottom=lowest, labelleft=place.colspan.start == 0)


def _mark_events(axes, run: Run, *, named: bool = False) -> None:
    """Vertical lines where the guard saw something, and at its onset, faint where that was gone back on; with names, what it was."""
    places = {(attempt_of(look), look["step"]) for look in run.looks}
    for event in run.events:
        alpha = 1.0 if (attempt_of(event), event["step"]) in places else 0.35
        axes.axvline(event["step"], color="tab:red", linewidth=0.9, alpha=alpha, zorder=1)
        if isinstance(event.get("onset"), int):
            axes.axvline(event["onset"], color="tab:orange", linestyle=":", linewidth=1.2, alpha=alpha, zorder=1)
        if named:
            _name_line(axes, event["step"], _words(event, run), "tab:red", top=True)
    for look, former in zip(run.looks[1:], run.looks, strict=False):
        if attempt_of(look) != attempt_of(former):
            axes.axvline(former["step"], color="tab:green", linestyle="-.", linewidth=0.9, zorder=1)
            if named:
                _name_line(axes, former["step"], f"attempt {attempt_of(look)}", "tab:green", top=False)


def _name_line(axes, step: int, words: str, colour: str, *, top: bool) -> None:
    """Words along a vertical line."""
    place = (
        {"xytext": (-3, -3), "ha": "right", "va": "top"} if top else {"xytext": (3, 3), "ha": "left", "va": "bottom"}
    )
    at = (step, float(top))
    coordinates = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
    box = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.5}
    axes.annotate(words, at, **coordinates, **place, rotation=90, fontsize=8, color=colour, zorder=4, bbox=box)


def _words(event: Record, run: Run) -> str:
    attempt = f" (attempt {attempt_of(event)})" if run.abandoned else ""
    return f"{event.get('signal', 'event')}: {event.get('action', 'seen')}{attempt}"


def _legend_of_events(run: Run) -> str:
    said = []
    for event in run.events:
        onset = f", onset {event['onset']} (dotted)" if isinstance(event.get("onset"), int) else ""
        said.append(f"step {event['step']} (red){onset}: {_words(event, run)}")
    words = "\n".join(said) or "the guard saw nothing"
    return words + ("\ngreen: where the next attempt goes on; faint: what was gone back on" if run.abandoned else "")


def _name_ends(axes, ends: dict[str, tuple[float, tuple]]) -> None:
    """Names lines to the right of their ends, each at least a line's height above the one below."""
    first, last = axes.dataLim.intervalx
    axes.set_xlim(first - 0.02 * (last - first), last + 0.26 * (last - first))
    least, free = axes.get_ylim()[0], -math.inf
    high = math.log(axes.get_ylim()[1] / least)
    for name, (value, colour) in sorted(ends.items(), key=lambda item: item[1][0]):
        free = max(math.log(value / least) / high, free + 0.03)
        axes.annotate(
            _short(name),
            (last, value),
            xytext=(1.045 / 1.28, free),
            textcoords="axes fraction",
            va="center",
            fontsize=9,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 2, "relpos": (0, 0.5)},
        )


def _layer_bar(figure, axes, names: list[str], colours) -> None:
    """A colour bar that is the legend: a field a layer, the input's lowest."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap

    count = len(names)
    shown = ScalarMappable(BoundaryNorm(np.arange(count + 1) - 0.5, count), ListedColormap(colours))
    bar = figure.colorbar(shown, ax=axes, fraction=0.05, pad=0.01, aspect=40)
    blocks: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        blocks.setdefault(name.split(".")[0], []).append(i)
    if count <= NAMED:
        bar.set_ticks(range(count), labels=[*map(_short, names)])
    else:  # A block at the middle of its fields.
        bar.set_ticks([np.mean(fields) for fields in blocks.values()], labels=list(blocks))
    bar.ax.tick_params(labelsize=7, length=2)
    bar.ax.minorticks_off()


def _log(axes) -> None:
    """A log axis that names some figures even where the data span less than a power of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high < 1.5 * low:
        middle = math.sqrt(low * high)
        low, high = middle / math.sqrt(1.5), middle * math.sqrt(1.5)
        axes.set_ylim(low, high)
    named = (1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 7.0) if high < 10 * low else (1.0, 2.0, 5.0) if high < 300 * low else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(subs=named, numticks=30))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.2)


def _colours(count: int) -> list:
    from matplotlib import colormaps

    return [colormaps["turbo"](x) for x in np.linspace(0.03, 0.97, count)]


def _style(name: str) -> str:
    for pattern, style in ((r"\bbn_", ":"), (r"^attention", "--"), (r"conv", "-")):
        if re.search(pattern, name):
            return style
    return "-."


def _short(name: str) -> str:
    return name.removesuffix(".kernel").removesuffix(".embedding")
