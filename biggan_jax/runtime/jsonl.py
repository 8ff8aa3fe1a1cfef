"""Read and write JSON Lines files of records by training step.

On a disk, lines are appended to NAME.jsonl. In an object store, where nothing can be appended, they go to parts
NAME-<first step>.jsonl. A line that is no record, such as after a fault of the disk, never stops a run: it is left out and named,
and the run that writes the file moves it to NAME.jsonl.damaged.
"""

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from etils import epath

from biggan_jax.runtime.files import is_remote, matching, write_text
from biggan_jax.runtime.text import escape_all

logger = logging.getLogger(__name__)

Record = dict[str, Any]  # Has the key `step`, and `attempt` where that is not 0.
Valid = Callable[[Record], bool]
"""Whether a record has what its readers need, beside a step and an attempt."""


class Line(NamedTuple):
    """A line of a file. record: None if it is damaged."""

    number: int
    raw: bytes
    record: Record | None


class JsonLines:
    """Write the records of one attempt, which starts or resumes at step `start`.

    Its records after `start` (all, if `start` is 0), left by a run that died, are dropped. Those of other attempts stay.
    """

    LINES_PER_PART = 100

    def __init__(self, workdir: epath.PathLike, name: str, start: int, attempt: int = 0, valid: Valid = lambda _: True):
        self._folder, self._name, self._start, self._attempt = epath.Path(workdir), name, start, attempt
        self._appends = not is_remote(workdir)
        self._lines: list[str] = []  # Lines of the current part.
        for file in _parts(self._folder, name):
            kept = [line.raw.decode() for line in set_aside(file, valid) if line.record and self._is_kept(line.record)]
            text = "".join(line + "\n" for line in kept)
            if file.read_bytes() != text.encode():
                write_text(file, text)
            if not self._appends and file == self._part():
                self._lines = kept

    def write(self, record: Record) -> None:
        line = json.dumps(record | ({"attempt": self._attempt} if self._attempt else {}))
        if self._appends:
            with open(self._folder / f"{self._name}.jsonl", "a") as file:
                file.write(line + "\n")
            return
        self._lines.append(line)
        self._part().write_text("\n".join(self._lines) + "\n")  # The whole part each time: a crash loses nothing.
        if len(self._lines) >= self.LINES_PER_PART:
            self._start, self._lines = record["step"], []

    def _part(self) -> epath.Path:
        attempt = f"{self._attempt}-" if self._attempt else ""
        return self._folder / f"{self._name}-{attempt}{self._start:08d}.jsonl"

    def _is_kept(self, record: Record) -> bool:
        return record.get("attempt", 0) != self._attempt or 0 < self._start >= record["step"]


def read(workdir: epath.PathLike, name: str, valid: Valid = lambda _: True) -> list[Record]:
    """Read all records, sorted by attempt and step. Damaged lines are left out, and named in a warning."""
    records = [record for file in _parts(epath.Path(workdir), name) for record in read_file(file, valid)]
    return sorted(records, key=lambda r: (r.get("attempt", 0), r["step"]))


def read_file(file: epath.Path, valid: Valid = lambda _: True) -> list[Record]:
    """Read the records of one file, in its order; [] if it is missing. Damaged lines are left out, and named in a warning."""
    found = lines(file, valid) if file.exists() else []
    _warn(file, found, "left out")
    return [line.record for line in found if line.record]


def set_aside(file: epath.Path, valid: Valid = lambda _: True) -> list[Line]:
    """Move a file's damaged lines to FILE.damaged, and name them in a warning; return the others."""
    found = lines(file, valid)
    damaged, whole = [line for line in found if not line.record], [line for line in found if line.record]
    if damaged:
        aside = file.parent / f"{file.name}.damaged"
        before = aside.read_bytes() if aside.exists() else b""
        aside.write_bytes(before + b"".join(line.raw + b"\n" for line in damaged))
        write_text(file, "".join(line.raw.decode() + "\n" for line in whole))
        _warn(file, damaged, f"set aside in {aside.name}")
    return whole


def lines(file: epath.Path, valid: Valid = lambda _: True) -> list[Line]:
    """Return a file's lines, but for empty ones and a last one without an end, which a crash cut off."""
    *ended, last = file.read_bytes().split(b"\n")
    found = [Line(i, raw, parse(raw, valid)) for i, raw in enumerate([*ended, last], 1) if raw.strip()]
    return found[:-1] if last.strip() and not found[-1].record else found


def parse(line: bytes, valid: Valid = lambda _: True) -> Record | None:
    """Parse one line; None if it is no record."""
    try:
        record = escape_all(json.loads(line.decode()))
        counts = all(type(count) is int and 0 <= count < 2**53 for count in (record["step"], record.get("attempt", 0)))
        return record if counts and valid(record) else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def current_lineage(records: list[Record], stop: int | None = None) -> list[Record]:
    """The records on the current lineage (up to `stop`): the latest attempt per step, rolled-back ones dropped."""
    kept: list[Record] = []
    for record in records:  # Sorted by attempt: the first record of an attempt shows where it resumed.
        while kept and kept[-1]["step"] >= record["step"]:
            kept.pop()
        kept.append(record)
    return [record for record in kept if stop is None or record["step"] <= stop]


def _parts(folder: epath.Path, name: str) -> Iterator[epath.Path]:
    return (file for file in matching(folder, f"{name}[.-]*jsonl") if file.suffix == ".jsonl")


_named: set[tuple[str, tuple[int, ...], str]] = set()


def _warn(file: epath.Path, found: list[Line], what: str) -> None:
    """Name a file's damaged lines, once a process."""
    numbers = tuple(line.number for line in found if not line.record)
    if numbers and (str(file), numbers, what) not in _named:
        _named.add((str(file), numbers, what))
        some = ", ".join(map(str, numbers[:5])) + (f" and {len(numbers) - 5} more" if len(numbers) > 5 else "")
        these = f"line {some} is no record, and is" if len(numbers) == 1 else f"lines {some} are no records, and are"
        logger.warning("%s: %s %s", file, these, what)
