"""Owns what a run's looks say, as series: by layer, by signal, by rule. Must not know how it is shown."""

import collections
import contextlib
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from etils import epath

from biggan_jax.runtime import jsonl
from biggan_jax.runtime.jsonl import Record
from biggan_jax.runtime.metric_writer import PROBES
from biggan_jax.stability import recovery
from biggan_jax.stability.rules import Rule
from biggan_jax.types import UserError

PLAYERS = {"generator": "G", "discriminator": "D"}

Values = np.ndarray
"""float64 [looks, 3], largest first; nan where there is none, since a log axis has no zero."""


class Run(NamedTuple):
    """looks: those that led to where the run is; abandoned: of each attempt that was gone back on, what it saw since; events: the
    guard's."""

    looks: list[Record]
    abandoned: list[list[Record]]
    events: list[Record]


def read(workdir: epath.PathLike) -> Run:
    """What a run's folder says of its stability; a half line is none. Raises UserError if there is nothing."""
    workdir = epath.Path(workdir)
    if not workdir.is_dir():
        raise UserError(f"--workdir={workdir} is not a folder; give that of a run")
    looks = [r for r in jsonl.read(workdir, PROBES) if _is_dict(r.get("signals")) and _is_dict(r.get("singular"))]
    if not looks:
        raise UserError(
            f"{workdir} has no looks in {PROBES}.jsonl; a run writes them unless stability.every is 0, "
            f"and --checkpoint={workdir} shows the singular values of its latest checkpoint"
        )
    kept = jsonl.lineage(looks)
    places = {(attempt_of(r), r["step"]) for r in kept}
    left: dict[int, list[Record]] = collections.defaultdict(list)
    for look in looks:
        if (attempt_of(look), look["step"]) not in places:
            left[attempt_of(look)].append(look)
    # From the last look before, so that the line starts where it left the other.
    before = lambda tail: [r for r in kept if r["step"] < tail[0]["step"] and attempt_of(r) <= attempt_of(tail[0])][-1:]
    return Run(kept, [before(tail) + tail for tail in left.values()], recovery.events(workdir))


def layers(looks: Iterable[Record], player: str) -> list[str]:
    """The player's normalised weights, from its input to its output."""
    names = {name for look in looks for name in look["singular"].get(player, {})}
    return sorted(names, key=lambda name: place(name, player))


def singular_values(looks: list[Record], player: str, layer: str) -> tuple[np.ndarray, Values]:
    """(steps, values) of one weight."""
    found = [look["singular"].get(player, {}).get(layer, [math.nan]) for look in looks]
    return _steps(looks), np.array([three(values) for values in found])


def signal(looks: list[Record], name: str) -> tuple[np.ndarray, np.ndarray]:
    """(steps, figures) of one signal, where it is there: a score is not at every look."""
    with_it = [look for look in looks if name in look["signals"]]
    return _steps(with_it), np.array([_number(look["signals"][name]) for look in with_it])


def judged(looks: list[Record], rule: Rule) -> tuple[np.ndarray, np.ndarray]:
    """(steps, values) of what a rule of the guard makes of the looks up to each, where it says anything."""
    found = []
    for i, look in enumerate(looks):
        with contextlib.suppress(KeyError):  # Another version's looks may lack a signal.
            if (value := rule.value(looks[: i + 1])) is not None:
                found.append((look, value))
    return _steps([look for look, _ in found]), np.array([_number(value) for _, value in found])


def fastest(looks: list[Record], player: str) -> list[str]:
    """The player's weights by the growth of their first singular value, the fastest first."""
    growth = {}
    for layer in layers(looks, player):
        first, last = singular_values(looks, player, layer)[1][[0, -1], 0]
        growth[layer] = last / first
    # What is no number has outgrown all.
    return sorted(growth, key=lambda layer: -growth[layer] if math.isfinite(growth[layer]) else -math.inf)


def attempt_of(record: Record) -> int:
    """The attempt in which a look or an event was; the first is not written."""
    return record.get("attempt", 0)


def place(name: str, player: str) -> tuple:
    """Sorts weights from a network's input to its output, as far as their names say: blocks by number, each with its attention."""
    head, *inside = name.split(".")
    kind, *numbers = head.split("_")
    ends = {"conv_in": -1, "conv_out": 1, "embed": 2, "linear": -1 if player == "generator" else 1}
    within = [_within(part) for part in inside]
    if head in ends:
        return ends[head], (), 0, (), head, within
    numbers = tuple(int(n) for n in numbers if n.isdigit())
    return 0, numbers[:1], int(kind == "attention"), numbers[1:], kind, within


def _within(part: str) -> tuple:
    """Within a block by number, what conditions a convolution before it, and the way around last."""
    kind, _, number = part.partition("_")
    return (int(number) if number.isdigit() else math.inf if number else 0), kind


def three(values) -> list[float]:
    """The three largest of one weight; nan where there is none, or no positive one."""
    values = [_number(value) for value in values][:3]
    return [value if value > 0 else math.nan for value in values] + [math.nan] * (3 - len(values))


def _number(value) -> float:
    with contextlib.suppress(TypeError, ValueError):
        return float(value)
    return math.nan


def _steps(looks: list[Record]) -> np.ndarray:
    return np.array([look["step"] for look in looks])


def _is_dict(value) -> bool:
    return isinstance(value, dict)
