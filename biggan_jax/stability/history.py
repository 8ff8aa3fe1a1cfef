"""The records of a run's probes as series: by layer, by signal, by rule."""

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

NETWORKS = {"generator": "G", "discriminator": "D"}
"""Names in the records, and for people."""

Values = np.ndarray
"""float64 [probes, 3], largest first; NaN for missing values, since a log axis has no zero."""


class Run(NamedTuple):
    """probes: the records on the current lineage. abandoned: for each attempt, its records that were rolled back. events: the
    collapse monitor's."""

    probes: list[Record]
    abandoned: list[list[Record]]
    events: list[Record]


def read(workdir: epath.PathLike) -> Run:
    """Read the records in a run's folder; truncated lines are skipped. Raise UserError if no probe is recorded."""
    workdir = epath.Path(workdir)
    if not workdir.is_dir():
        raise UserError(f"--workdir={workdir} is not a folder; give that of a run")
    probes = [r for r in jsonl.read(workdir, PROBES) if _is_dict(r.get("signals")) and _is_dict(r.get("singular"))]
    if not probes:
        raise UserError(
            f"{workdir} has no probes in {PROBES}.jsonl; a run writes them unless stability.every is 0, "
            f"and --checkpoint={workdir} shows the singular values of its latest checkpoint"
        )
    kept = jsonl.current_lineage(probes)
    on_lineage = {(attempt_of(r), r["step"]) for r in kept}
    abandoned: dict[int, list[Record]] = collections.defaultdict(list)
    for record in probes:
        if (attempt_of(record), record["step"]) not in on_lineage:
            abandoned[attempt_of(record)].append(record)
    # Start with the probe before, so that the abandoned line in a plot starts on the other.
    before = lambda tail: [r for r in kept if r["step"] < tail[0]["step"] and attempt_of(r) <= attempt_of(tail[0])][-1:]
    return Run(kept, [before(tail) + tail for tail in abandoned.values()], recovery.events(workdir))


def layers(probes: Iterable[Record], network: str) -> list[str]:
    """Return the network's normalised weights, from its input to its output."""
    names = {name for record in probes for name in record["singular"].get(network, {})}
    return sorted(names, key=lambda name: layer_order(name, network))


def singular_values(probes: list[Record], network: str, layer: str) -> tuple[np.ndarray, Values]:
    """Return (steps, values) of one weight."""
    found = [record["singular"].get(network, {}).get(layer, [math.nan]) for record in probes]
    return _steps(probes), np.array([three(values) for values in found])


def signal(probes: list[Record], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (steps, values) of one signal, without the probes that lack it, as most lack a score."""
    found = [record for record in probes if name in record["signals"]]
    return _steps(found), np.array([_number(record["signals"][name]) for record in found])


def rule_values(probes: list[Record], rule: Rule) -> tuple[np.ndarray, np.ndarray]:
    """Return (steps, values) of a rule at each probe, without the probes to which it does not apply."""
    found = []
    for i, record in enumerate(probes):
        with contextlib.suppress(KeyError):  # Probes of another version may lack a signal.
            if (value := rule.value(probes[: i + 1])) is not None:
                found.append((record, value))
    return _steps([record for record, _ in found]), np.array([_number(value) for _, value in found])


def by_growth(probes: list[Record], network: str) -> list[str]:
    """Return the network's weights by the growth of their first singular value, the fastest first."""
    growth = {}
    for layer in layers(probes, network):
        first, last = singular_values(probes, network, layer)[1][[0, -1], 0]
        growth[layer] = last / first
    # NaN comes first.
    return sorted(growth, key=lambda layer: -growth[layer] if math.isfinite(growth[layer]) else -math.inf)


def attempt_of(record: Record) -> int:
    """Return the attempt of a probe or an event; 0 is not written."""
    return record.get("attempt", 0)


def layer_order(name: str, network: str) -> tuple:
    """Return a sort key that orders weights from input to output by their names: blocks by number, each with its attention."""
    head, *inside = name.split(".")
    kind, *numbers = head.split("_")
    ends = {"conv_in": -1, "conv_out": 1, "embed": 2, "linear": -1 if network == "generator" else 1}
    within = [_within(part) for part in inside]
    if head in ends:
        return ends[head], (), 0, (), head, within
    numbers = tuple(int(n) for n in numbers if n.isdigit())
    return 0, numbers[:1], int(kind == "attention"), numbers[1:], kind, within


def _within(part: str) -> tuple:
    """Order within a block: by number, batch norm before its convolution, the skip connection last."""
    kind, _, number = part.partition("_")
    return (int(number) if number.isdigit() else math.inf if number else 0), kind


def three(values) -> list[float]:
    """Return three values; NaN replaces missing and non-positive ones."""
    values = [_number(value) for value in values][:3]
    return [value if value > 0 else math.nan for value in values] + [math.nan] * (3 - len(values))


def _number(value) -> float:
    with contextlib.suppress(TypeError, ValueError):
        return float(value)
    return math.nan


def _steps(records: list[Record]) -> np.ndarray:
    return np.array([record["step"] for record in records])


def _is_dict(value) -> bool:
    return isinstance(value, dict)
