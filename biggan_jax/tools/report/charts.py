"""Charts of a run as SVG that takes its colours from the page it is in, light or dark."""

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from biggan_jax.evaluation.curves import Series

INK, FAINT = "#010203", "#040506"
"""Colours that stand for those of the page: of text, and of axes."""

STYLE: dict[Any, Any] = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color", "axes.edgecolor", "grid.color"), FAINT),
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor", "legend.facecolor"), "none"),
    "legend.edgecolor": "none",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def svg(draw: Callable[[], Figure], salt: str) -> str:
    """Return a figure as SVG. draw: makes it. salt: makes its ids differ from those of other figures of the page."""
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": salt}):
        figure = draw()
        for text in figure.findobj(Text):
            assert isinstance(text, Text)
            if to_hex(text.get_color()) == "#000000":
                text.set_color(INK)
            if box := text.get_bbox_patch():
                box.set_visible(False)  # White boxes behind text are for paper.
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    found = file.getvalue()
    found = found[found.index("<svg") :].replace(INK, "var(--ink)").replace(FAINT, "var(--faint)")
    used = set(re.findall(r"(?:#|url\(#)([\w-]+)", found))
    return re.sub(r' id="([\w-]+)"', lambda match: match[0] if match[1] in used else "", found)


def chart(
    title: str, series: Sequence[Series], events: Sequence[int] = (), *, level: tuple[str, float] | None = None
) -> str:
    """Plot series over steps. events: steps marked by red lines. level: the name and value of a dashed line."""

    def draw() -> Figure:
        figure = Figure(figsize=(5.4, 2.7), layout="constrained")
        axes = figure.subplots()
        for one in series:
            marker = "." if len(one.steps) < 30 else ""
            axes.plot(one.steps, one.values, label=one.name, linewidth=1.3, marker=marker, markersize=4)
        if level:
            axes.axhline(level[1], color="tab:green", linestyle="--", linewidth=1.0, label=level[0])
        for step in events:
            axes.axvline(step, color="tab:red", linewidth=0.9, zorder=1)
        values = np.concatenate([np.asarray(one.values, np.float64) for one in series])
        finite = values[np.isfinite(values)]
        if len(finite) and finite.min() > 0 and finite.max() > 30 * finite.min():
            axes.set_yscale("log")
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("step", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.25)
        if len(series) > 1 or level:
            axes.legend(fontsize=7)
        return figure

    return svg(draw, title)
