"""The records of a run's probes as series, by layer, signal or rule, and as text tables of singular values."""

import contextlib
import itertools
import math
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from etils import epath

from biggan_jax import config as configs
from biggan_jax.runtime import jsonl
from biggan_jax.runtime.jsonl import Record
from biggan_jax.runtime.metric_writer import PROBES
from biggan_jax.stability import recovery
from biggan_jax.stability.rules import Rule
from biggan_jax.types import UserError

NETWORKS = {
    "generator": "G",
    "discriminator": "D",
}  # Names in the records, and for people; other networks have one name.


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
    probes = jsonl.read(workdir, PROBES, is_probe)
    if not probes:
        hint = f"--checkpoint={workdir} shows the singular values of its latest checkpoint"
        raise UserError(f"{workdir} has no probes in {PROBES}.jsonl{_why_none(workdir)}; {hint}")
    kept = jsonl.current_lineage(probes)
    on_lineage = {(attempt_of(r), r["step"]) for r in kept}
    rolled_back = [r for r in probes if (attempt_of(r), r["step"]) not in on_lineage]
    abandoned = [list(tail) for _, tail in itertools.groupby(rolled_back, attempt_of)]
    # Start with the probe before, so that the abandoned line in a plot starts on the other.
    before = lambda tail: [r for r in kept if r["step"] < tail[0]["step"] and attempt_of(r) <= attempt_of(tail[0])][-1:]
    return Run(kept, [before(tail) + tail for tail in abandoned], recovery.events(workdir))


def is_probe(record: Record) -> bool:
    """Whether a record is a probe, as MetricWriter.write_probe writes it."""
    number = lambda value: isinstance(value, int | float) and not isinstance(value, bool)
    weights = [values for network in record["singular"].values() for values in network.values()]
    return all(map(number, record["signals"].values())) and all(
        values and all(map(number, values)) for values in weights
    )


def _why_none(workdir: epath.Path) -> str:
    """Say why a run has no probes, if its config tells."""
    path = workdir / "config.json"
    if not path.exists():
        return ""
    config = configs.of_file(path)
    if not config.stability.every:
        return ": stability.every=0 writes none"
    return f": the first is due in step stability.every={config.stability.every}, its num_steps are {config.num_steps}"


def attempt_of(record: Record) -> int:
    """Return the attempt of a probe or an event; 0 is not written."""
    return record.get("attempt", 0)


def networks(probes: Iterable[Record]) -> dict[str, str]:
    """Return {name in the records: name for people} of a run's networks, G and D first."""
    recorded: set[str] = {name for record in probes for name in record["singular"]} or {*NETWORKS}
    order = [name for name in NETWORKS if name in recorded] + sorted(recorded - NETWORKS.keys())
    return {name: NETWORKS.get(name, name) for name in order}


def layers(probes: Iterable[Record], network: str) -> list[str]:
    """Return the network's normalised weights, from its input to its output."""
    return from_input(network, {name for record in probes for name in record["singular"].get(network, {})})


def from_input(network: str, names: Iterable[str]) -> list[str]:
    """Sort names of weights from input to output: blocks by number, each with its attention."""
    ends = {"conv_in": -1, "conv_out": 1, "embed": 2, "linear": -1 if network == "generator" else 1}

    def key(name: str) -> tuple:
        head, *inside = name.split(".")
        numbers = [int(number) for number in re.findall(r"_(\d+)", head)]
        # Within a block by number, batch norm before its convolution, the skip connection last.
        parts = (part.partition("_") for part in inside)
        within = [(int(n) if n.isdigit() else math.inf if n else 0, kind) for kind, _, n in parts]
        return ends.get(head, 0), numbers[:1], head.startswith("attention"), numbers[1:], head, within

    return sorted(names, key=key)


def singular_values(probes: list[Record], network: str, layer: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps, and the values of one weight as by `three`, float64 [probes, 3]."""
    found = [record["singular"].get(network, {}).get(layer, []) for record in probes]
    return _steps(probes), np.array([*map(three, found)])


def three(values: Iterable[float]) -> list[float]:
    """Return three values, the largest first; NaN replaces missing ones and 0, since a log axis has no zero."""
    return ([float(value) if value > 0 else math.nan for value in values] + [math.nan] * 3)[:3]


def signal(probes: list[Record], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (steps, values) of one signal, without the probes that lack it, as most lack a score."""
    found = [record for record in probes if name in record["signals"]]
    return _steps(found), np.array([float(record["signals"][name]) for record in found])


def rule_values(probes: list[Record], rule: Rule) -> tuple[np.ndarray, np.ndarray]:
    """Return (steps, values) of a rule at each probe, without the probes to which it does not apply."""
    found = {}
    for i in range(len(probes)):
        with contextlib.suppress(KeyError):  # Probes of another version may lack a signal.
            found[i] = rule.value(probes[: i + 1])
    found = {i: float(value) for i, value in found.items() if value is not None}
    return _steps([probes[i] for i in found]), np.array([*found.values()])


def _steps(records: list[Record]) -> np.ndarray:
    return np.array([record["step"] for record in records])


def by_growth(probes: list[Record], network: str) -> list[str]:
    """Return the network's weights by the growth of their first singular value, NaN and the fastest first."""
    sigmas = {layer: singular_values(probes, network, layer)[1][:, 0] for layer in layers(probes, network)}
    growth = {layer: values[-1] / values[0] for layer, values in sigmas.items()}
    return sorted(growth, key=lambda layer: -np.nan_to_num(growth[layer], nan=math.inf))


def summary(probes: list[Record], network: str, rows: int) -> str:
    """Return a table of the `rows` weights that grew most from the first probe to the last."""
    order = by_growth(probes, network)
    table = [("weight", "sigma_0 first", "last", "growth", "sigma_0/sigma_1 first", "last")]
    for layer in order[:rows]:
        first, last = singular_values(probes, network, layer)[1][[0, -1]]
        growth = f"x {last[0] / first[0]:.3g}"
        table.append((layer, _figure(first[0]), _figure(last[0]), growth, _ratio(first), _ratio(last)))
    more = f"\n  ... and {len(order) - rows} that grew less" if len(order) > rows else ""
    return _aligned(table) + more


def checkpoint_table(singular: dict[str, np.ndarray], network: str) -> str:
    """Return a table of one checkpoint's values, from input to output."""
    table: list[tuple[str, ...]] = [("weight", "sigma_0", "sigma_1", "sigma_2", "sigma_0/sigma_1")]
    for layer in from_input(network, singular):
        values = three(singular[layer])
        table.append((layer, *map(_figure, values), _ratio(values)))
    return _aligned(table)


def _figure(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"


def _ratio(values: Sequence[float]) -> str:
    return _figure(values[0] / values[1])


def _aligned(table: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    row = lambda name, *figures: "  ".join([name.ljust(widths[0]), *map(str.rjust, figures, widths[1:])])
    return "\n".join(row(*cells) for cells in table)
