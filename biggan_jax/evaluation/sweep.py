"""The curve of fidelity against variety over truncations (Brock et al. 2019, App. D), and its marked points."""

import math
from typing import NamedTuple

from etils import epath

from biggan_jax.evaluation.results import Protocol
from biggan_jax.runtime.files import atomic_write, write_text


class Point(NamedTuple):
    """truncation: the threshold, or None. distance, score: Frechet distance and Inception Score."""

    truncation: float | None
    distance: float
    score: float
    score_std: float


def marked(points: list[Point], score_of_real: float) -> dict[str, Point]:
    """Return the four points that the paper reports (Table 2); the one at the score of real images if the curve reaches it."""
    marks = {"no truncation": next((point for point in points if point.truncation is None), None)}
    marks["best distance"] = min(points, key=lambda point: point.distance)
    if min(point.score for point in points) <= score_of_real <= max(point.score for point in points):
        marks["score of real images"] = min(points, key=lambda point: abs(point.score - score_of_real))
    marks["best score"] = max(points, key=lambda point: point.score)
    return {name: point for name, point in marks.items() if point}


def lines(
    marks: dict[str, Point], protocol: Protocol, score_of_real: float, real: tuple[float, float] | None = None
) -> str:
    """Format the marked points as a table, with the distance and the score of real images that are scored as samples."""
    distance, score = names_of(protocol)
    text = [f"{'':22}{'truncation':>12}{distance:>20}{score:>18}"]
    for name, point in marks.items():
        threshold = "none" if point.truncation is None else f"{point.truncation:.3g}"
        text.append(f"{name:22}{threshold:>12}{point.distance:20.2f}{point.score:18.2f}")
    if real:
        text.append(f"{'real images':22}{'':>12}{real[0]:20.2f}{real[1]:18.2f}")
    if "score of real images" not in marks and not math.isnan(score_of_real):
        text.append(f"the curve does not reach the {score} of real images, {score_of_real:.2f}")
    return "\n".join(text)


def names_of(protocol: Protocol) -> tuple[str, str]:
    """Return the names of distance and score for this protocol's network."""
    return ("FID", "IS") if protocol.comparable else ("Frechet distance", "inception score")


def draw(path: epath.Path, points: list[Point], marks: dict[str, Point], protocol: Protocol, real: float) -> None:
    """Draw the curve as a PNG: distance over score, with thresholds beside the points."""
    from matplotlib.figure import Figure  # Not pyplot, whose state belongs to the notebook.

    distance, score = names_of(protocol)
    figure = Figure(figsize=(8, 6), dpi=120, layout="constrained")
    axes = figure.subplots()
    curve = [point for point in points if point.truncation is not None]
    axes.plot([p.score for p in curve], [p.distance for p in curve], "-o", color="0.55", markersize=3.5, zorder=1)
    for point in curve[:: max(1, len(curve) // 10)]:
        at = point.score, point.distance
        axes.annotate(f"{point.truncation:.2g}", at, (5, 4), textcoords="offset points", fontsize=7, color="0.4")
    # Markers of different size, since one point may be several marks.
    for (name, point), marker, size in zip(marks.items(), "so^D", (17, 13, 9, 6), strict=False):
        at = "" if point.truncation is None else f" (t = {point.truncation:.2g})"
        label = f"{name}{at}: {distance} {point.distance:.2f}, {score} {point.score:.2f}"
        axes.plot(point.score, point.distance, marker, ms=size, mfc="none", mew=2, label=label)
    if not math.isnan(real):
        axes.axvline(real, color="0.75", linestyle=":", label=f"{score} of real images: {real:.2f}", zorder=0)
    axes.set_xlabel(f"{score}, higher is better")
    axes.set_ylabel(f"{distance}, lower is better")
    axes.set_title(protocol.words(), fontsize=6.5, loc="left", wrap=True)
    axes.legend(fontsize=8)
    axes.grid(alpha=0.2)
    with atomic_write(path) as unfinished:
        figure.savefig(unfinished, format="png")


def store(folder: epath.Path, name: str, points: list[Point], protocol: Protocol, real: float) -> dict[str, Point]:
    """Write NAME.csv, which begins with comments on the protocol of all its lines, and NAME.png; return the marked points."""
    marks = marked(points, real)
    rows = [f"# {line}" for line in protocol.words().splitlines()]
    rows.append("truncation,frechet_distance,inception_score,inception_score_std,marked")
    for point in points:
        threshold = "none" if point.truncation is None else f"{point.truncation:g}"
        names = "; ".join(name for name, mark in marks.items() if mark is point)
        rows.append(",".join([threshold, *(f"{value:.6g}" for value in point[1:]), names]))
    write_text(folder / f"{name}.csv", "\n".join(rows) + "\n")
    draw(folder / f"{name}.png", points, marks, protocol, real)
    return marks
