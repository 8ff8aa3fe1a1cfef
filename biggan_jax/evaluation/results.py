"""Owns keeping scores, each with its protocol, and showing them. Must not know how they are worked out."""

import contextlib
import dataclasses
import datetime
import functools
import json
from collections.abc import Sequence
from typing import Any

from etils import epath

from biggan_jax.evaluation.metrics import Scores
from biggan_jax.evaluation.protocol import Protocol
from biggan_jax.runtime.files import is_remote, write_text

SCORES, TABLE = "scores.jsonl", "scores.md"

SPREADS = {"inception_score": "inception_score_std", "kernel_distance": "kernel_distance_std"}
"""Figures that are a mean, and where its standard deviation is."""

UNSHOWN = {*SPREADS.values(), "kernel_distance_subset"}
"""That have no column of their own."""

FIELD_NAMES = {
    "frechet_distance": "FID",
    "inception_score": "IS",
    "kernel_distance": "KID",
    "frechet_distance_in_class": "intra-class FID",
}
"""What the field calls a figure, if it is of its standard network."""

Record = dict[str, Any]
"""One judgement as a line of JSON, with these FIELDS."""

FIELDS = ("step", "of", "content", "time", "protocol", "judged", "scores", "by_class")


def record(
    of: str, content: str, step: int | None, protocol: Protocol, wanted: Sequence[str], scores: Scores
) -> Record:
    """of: where what was judged lay; content: a hash of it, by which it is known; wanted: names in judge.SCORES."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    described = {
        "step": step,
        "of": of,
        "content": content,
        "time": now,
        "protocol": dataclasses.asdict(protocol),
        "judged": list(wanted),
    }
    return described | {"scores": scores.overall, "by_class": scores.by_class}


def keep(folder: epath.Path, record: Record, name: str = SCORES) -> None:
    """Adds it to the folder's scores; what is there stays."""
    path = folder / name
    line = json.dumps(record) + "\n"
    if is_remote(path):
        write_text(path, (path.read_text() if path.exists() else "") + line)
        return
    with open(path, "ab+") as file:
        # After the half line of a process that was killed, a new one begins.
        ends = file.seek(0, 2) == 0 or (file.seek(-1, 2), file.read(1))[1] == b"\n"
        file.write((line if ends else "\n" + line).encode())


def records(folder: epath.Path, name: str = SCORES) -> list[Record]:
    """All that were kept, the oldest first. What is no record of this version, or half of one, is passed over."""
    path = folder / name
    found = []
    for line in path.read_text().splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            read = json.loads(line)
            Protocol(**read["protocol"])
            found.append({field: read[field] for field in FIELDS})
    return found


def known(found: list[Record], content: str, step: int | None, protocol: Protocol) -> Record | None:
    """All that was judged of just this by just this protocol, as one record, if anything was."""
    same = [
        r for r in found if (r["content"], r["step"], r["protocol"]) == (content, step, dataclasses.asdict(protocol))
    ]
    return functools.reduce(_merged, same) if same else None


def _merged(first: Record, later: Record) -> Record:
    return later | {
        "judged": list(dict.fromkeys(first["judged"] + later["judged"])),
        "scores": first["scores"] | later["scores"],
        "by_class": first["by_class"] | later["by_class"],
    }


def table(found: list[Record]) -> str:
    """Markdown: a table for each protocol, under its words, a row for each step or file. Later figures of the same win."""
    groups: dict[str, dict] = {}
    for r in found:
        group = groups.setdefault(Protocol(**r["protocol"]).key, {})
        what = r["content"], r["step"]
        group[what] = _merged(group.get(what, r), r)
    return "\n\n".join(_one(list(group.values())) for group in groups.values())


def _one(found: list[Record]) -> str:
    protocol = Protocol(**found[0]["protocol"])
    found = sorted(found, key=lambda r: (r["step"] is None, r["step"] or 0))
    names = [name for name in dict.fromkeys(n for r in found for n in r["scores"]) if name not in UNSHOWN]
    title = lambda name: FIELD_NAMES.get(name, _plain(name)) if protocol.comparable else _plain(name)
    rows = [["step" if found[0]["step"] is not None else "of", *map(title, names)]]
    several = len({r["step"] for r in found}) < len(found)
    rows += [[_row_name(r, several), *(_figure(r["scores"], name) for name in names)] for r in found]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|")
    return protocol.words() + "\n\n" + "\n".join(lines)


def _plain(name: str) -> str:
    return name.replace("_", " ").replace("frechet", "Frechet")


def _row_name(r: Record, several: bool) -> str:
    """The step, with its place where others of that step are beside it; or the file."""
    if r["step"] is None:
        return epath.Path(r["of"]).name
    return f"{r['step']} ({r['of']})" if several else str(r["step"])


def _figure(scores: dict[str, float], name: str) -> str:
    if name not in scores:
        return ""
    spread = scores.get(SPREADS.get(name, ""))
    return f"{scores[name]:.4g}" + (f" ± {spread:.2g}" if spread is not None else "")
