"""Owns records by step in a run's folder, a line of JSON each. Must not know what they say.

On a disk lines are appended to NAME.jsonl; in an object store, where nothing can be appended to, parts NAME-<first step>.jsonl.
"""

import json
from collections.abc import Iterator
from typing import Any

from etils import epath

from biggan_jax.runtime.files import is_remote, write_text

Record = dict[str, Any]
"""With `step`, and `attempt` where that is not 0."""


class JsonLines:
    """Writes the records of one attempt of a run that goes on from the step `start`.

    Those of the same attempt and later steps, left by a run that died, are dropped, at the start all of the attempt; those of other
    attempts stay.
    """

    LINES_A_PART = 100

    def __init__(self, workdir: epath.PathLike, name: str, start: int, attempt: int = 0):
        self._folder, self._name, self._start, self._attempt = epath.Path(workdir), name, start, attempt
        self._appends = not is_remote(workdir)
        self._lines: list[str] = []  # Of the part that is being written.
        for file in _parts(self._folder, name):
            lines = file.read_text().splitlines()
            kept = [line for line in lines if self._stays(parsed(line))]
            if kept != lines:
                write_text(file, "".join(line + "\n" for line in kept))
            if not self._appends and file == self._part():
                self._lines = kept

    def write(self, record: Record) -> None:
        line = json.dumps(record | ({"attempt": self._attempt} if self._attempt else {}))
        if self._appends:
            with open(self._folder / f"{self._name}.jsonl", "a") as file:
                file.write(line + "\n")
            return
        self._lines.append(line)
        # The part is written anew each time: a crash loses nothing, and a part stays small.
        self.flush()
        if len(self._lines) >= self.LINES_A_PART:
            self._start, self._lines = record["step"], []

    def flush(self) -> None:
        if self._lines:
            self._part().write_text("\n".join(self._lines) + "\n")

    def _part(self) -> epath.Path:
        attempt = f"{self._attempt}-" if self._attempt else ""
        return self._folder / f"{self._name}-{attempt}{self._start:08d}.jsonl"

    def _stays(self, record: Record | None) -> bool:
        return record is not None and (record.get("attempt", 0) != self._attempt or 0 < self._start >= record["step"])


def read(workdir: epath.PathLike, name: str) -> list[Record]:
    """All records, by attempt and step; the half line of a run that was killed as it wrote is none."""
    lines = (line for file in _parts(epath.Path(workdir), name) for line in file.read_text().splitlines())
    return sorted(filter(None, map(parsed, lines)), key=lambda r: (r.get("attempt", 0), r["step"]))


def lineage(records: list[Record], stop: int | None = None) -> list[Record]:
    """Those that led to where a run is, or, with `stop`, to that step: of each step the last attempt's, none that was gone back on."""
    kept: list[Record] = []
    for record in records:  # By attempt: the first of a later one tells from where it went on.
        while kept and kept[-1]["step"] >= record["step"]:
            kept.pop()
        kept.append(record)
    return [record for record in kept if stop is None or record["step"] <= stop]


def _parts(folder: epath.Path, name: str) -> Iterator[epath.Path]:
    return (file for file in sorted(folder.glob(f"{name}*.jsonl")) if file.name[len(name)] in ".-")


def parsed(line: str) -> Record | None:
    """The line's record; None for what is none, such as the half line of a run that was killed as it wrote."""
    try:
        record = json.loads(line)
        return record if isinstance(record["step"], int) else None
    except (ValueError, KeyError, TypeError):
        return None
