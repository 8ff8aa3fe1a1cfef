"""Read and write JSON Lines files of records by training step.

On a disk, lines are appended to NAME.jsonl. In an object store, where nothing can be appended, they go to parts
NAME-<first step>.jsonl.
"""

import json
from collections.abc import Iterator
from typing import Any

from etils import epath

from biggan_jax.runtime.files import is_remote, write_text

Record = dict[str, Any]  # Has the key `step`, and `attempt` where that is not 0.


class JsonLines:
    """Write the records of one attempt, which starts or resumes at step `start`.

    Its records after `start` (all, if `start` is 0), left by a run that died, are dropped. Those of other attempts stay.
    """

    LINES_PER_PART = 100

    def __init__(self, workdir: epath.PathLike, name: str, start: int, attempt: int = 0):
        self._folder, self._name, self._start, self._attempt = epath.Path(workdir), name, start, attempt
        self._appends = not is_remote(workdir)
        self._lines: list[str] = []  # Lines of the current part.
        for file in _parts(self._folder, name):
            lines = file.read_text().splitlines()
            kept = [line for line in lines if self._is_kept(parse(line))]
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
        self._part().write_text("\n".join(self._lines) + "\n")  # The whole part each time: a crash loses nothing.
        if len(self._lines) >= self.LINES_PER_PART:
            self._start, self._lines = record["step"], []

    def _part(self) -> epath.Path:
        attempt = f"{self._attempt}-" if self._attempt else ""
        return self._folder / f"{self._name}-{attempt}{self._start:08d}.jsonl"

    def _is_kept(self, record: Record | None) -> bool:
        return record is not None and (record.get("attempt", 0) != self._attempt or 0 < self._start >= record["step"])


def read(workdir: epath.PathLike, name: str) -> list[Record]:
    """Read all records, sorted by attempt and step. Truncated lines are skipped."""
    lines = (line for file in _parts(epath.Path(workdir), name) for line in file.read_text().splitlines())
    return sorted(filter(None, map(parse, lines)), key=lambda r: (r.get("attempt", 0), r["step"]))


def current_lineage(records: list[Record], stop: int | None = None) -> list[Record]:
    """The records on the current lineage (up to `stop`): the latest attempt per step, rolled-back ones dropped."""
    kept: list[Record] = []
    for record in records:  # Sorted by attempt: the first record of an attempt shows where it resumed.
        while kept and kept[-1]["step"] >= record["step"]:
            kept.pop()
        kept.append(record)
    return [record for record in kept if stop is None or record["step"] <= stop]


def _parts(folder: epath.Path, name: str) -> Iterator[epath.Path]:
    return (file for file in sorted(folder.glob(f"{name}*.jsonl")) if file.name[len(name)] in ".-")


def parse(line: str) -> Record | None:
    """Parse one line; None if it is truncated or invalid."""
    try:
        record = json.loads(line)
        return record if isinstance(record["step"], int) else None
    except (ValueError, KeyError, TypeError):
        return None
