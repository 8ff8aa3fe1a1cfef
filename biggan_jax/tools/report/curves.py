"""The curves of what a run logged, by panel."""

from collections.abc import Sequence

import numpy as np

from biggan_jax.evaluation.curves import Series
from biggan_jax.runtime.jsonl import Record

MOST = 1_000  # Points of a line, evenly spread: more cannot be seen, and make the file large.

PANELS = (
    ("Losses", lambda name: name in ("g_loss", "d_loss", "d_loss_real", "d_loss_fake") or name.endswith("_loss")),
    ("D's outputs", lambda name: name in ("d_real", "d_fake")),
    ("D's accuracy", lambda name: name.endswith(("_accuracy", "_active"))),
    ("Gradient norms", lambda name: name.endswith("grad_norm")),
    ("Images a second", lambda name: name == "images_per_second"),
    ("Memory, GB", lambda name: name.endswith("_gb")),
)
"""Panels of what a run logs: the title, and whether a metric of a name belongs there, in order."""

SKIPPED = ("step", "attempt", "steps_per_second")


def logged(records: Sequence[Record]) -> dict[str, list[Series]]:
    """Return the series of each panel by its title; a metric that belongs to none has its own."""
    names = dict.fromkeys(name for record in records for name in record if name not in SKIPPED)
    panels: dict[str, list[Series]] = {}
    for name in names:
        title = next((title for title, belongs in PANELS if belongs(name)), name)
        panels.setdefault(title, []).append(series(records, name))
    order = {title: number for number, (title, _) in enumerate(PANELS)}
    return dict(sorted(panels.items(), key=lambda item: order.get(item[0], len(order))))


def series(records: Sequence[Record], name: str) -> Series:
    """Return one metric's values, thinned evenly."""
    found = [(record["step"], record[name]) for record in records if isinstance(record.get(name), int | float)]
    chosen = np.unique(np.linspace(0, len(found) - 1, min(len(found), MOST)).round().astype(int))
    return Series(name, [found[i][0] for i in chosen], [float(found[i][1]) for i in chosen])
