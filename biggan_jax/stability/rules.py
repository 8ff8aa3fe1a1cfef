"""Owns the verdict on a run, from the record of its looks: healthy, collapsed, or dead on arrival. Must not know what follows from it.

Thresholds come from runs that were made to collapse and from runs that were left alone: docs/stability.md.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from biggan_jax.json_lines import Record


class Verdict(NamedTuple):
    """What is wrong, and since when. `value` of `signal` at `step` is beyond `threshold`; at `onset` it was still well."""

    step: int
    onset: int
    signal: str
    value: float
    threshold: float
    sentence: str


def judge(records: Sequence[Record], expected: Sequence[float] = (), ignored: Collection[str] = ()) -> Verdict | None:
    """The verdict at the last of a run's records, in order of steps; None for a run that is well."""
    return None
