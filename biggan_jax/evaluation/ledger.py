"""Owns keeping scores, each with its protocol, and showing them. Must not know how they are worked out."""

import dataclasses
import datetime
import json
from typing import Any

from etils import epath

from biggan_jax.evaluation.judge import Scores
from biggan_jax.evaluation.protocol import Protocol
from biggan_jax.files import is_remote, write_text

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
"""One judgement as a line of JSON: step, of (what was judged), time, protocol, scores, by_class."""


def record(of: str, step: int | None, protocol: Protocol, scores: Scores) -> Record:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    described = {"step": step, "of": of, "time": now, "protocol": dataclasses.asdict(protocol)}
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
    """All that were kept, the oldest first. A line that a killed process left unfinished is passed over."""
    path = folder / name
    found = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def known(found: list[Record], of: str, step: int | None, protocol: Protocol) -> Record | None:
    """The judgement of just this by just this protocol, if there is one."""
    same = lambda r: r["of"] == of and r["step"] == step and r["protocol"] == dataclasses.asdict(protocol)
    return next(filter(same, reversed(found)), None)


def table(found: list[Record]) -> str:
    """Markdown: a table for each protocol, under its words, a row for each step or file. Later judgements of the same win."""
    groups: dict[str, dict] = {}
    for r in found:
        groups.setdefault(json.dumps(r["protocol"], sort_keys=True), {})[r["of"], r["step"]] = r
    return "\n\n".join(_one(list(group.values())) for group in groups.values())


def _one(found: list[Record]) -> str:
    protocol = Protocol(**found[0]["protocol"])
    found = sorted(found, key=lambda r: (r["step"] is None, r["step"] or 0))
    names = [name for name in dict.fromkeys(n for r in found for n in r["scores"]) if name not in UNSHOWN]
    title = lambda name: FIELD_NAMES.get(name, _plain(name)) if protocol.comparable else _plain(name)
    rows = [["step" if found[0]["step"] is not None else "of", *map(title, names)]]
    rows += [[_row_name(r), *(_figure(r["scores"], name) for name in names)] for r in found]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|")
    return protocol.words() + "\n\n" + "\n".join(lines)


def _plain(name: str) -> str:
    return name.replace("_", " ").replace("frechet", "Frechet")


def _row_name(r: Record) -> str:
    return str(r["step"]) if r["step"] is not None else epath.Path(r["of"]).name


def _figure(scores: dict[str, float], name: str) -> str:
    if name not in scores:
        return ""
    spread = scores.get(SPREADS.get(name, ""))
    return f"{scores[name]:.4g}" + (f" ± {spread:.2g}" if spread is not None else "")
