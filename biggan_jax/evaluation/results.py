"""Results and their protocols: stored as JSON lines, shown as Markdown tables."""

import contextlib
import dataclasses
import datetime
import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from biggan_jax.evaluation.baseline import ACCURACIES, PREFIX
from biggan_jax.evaluation.metrics import Results
from biggan_jax.runtime import distributed, files
from biggan_jax.runtime.text import escape_all
from biggan_jax.types import UserError

SCORES, TABLE = "scores.jsonl", "scores.md"

STDS = {"inception_score": "inception_score_std", "kernel_distance": "kernel_distance_std"}
"""Metrics that are a mean, and the name of its standard deviation."""

INTERVALS = {name: (f"{name}_low", f"{name}_high") for name in ("frechet_distance", "kernel_distance")}
"""Metrics that may have an interval, and the names of its ends."""

# Values without a column of their own.
HIDDEN = {*STDS.values(), "kernel_distance_subset", *(end for ends in INTERVALS.values() for end in ends)}

FIELD_NAMES = {
    "frechet_distance": "FID",
    "inception_score": "IS",
    "kernel_distance": "KID",
    "frechet_distance_in_class": "intra-class FID",
    "frechet_distance_infinity": "FID infinity",
}
"""The field's names of metrics, used for its standard network only."""

OTHER_NAMES = {
    "inception-2015-spatial": {"frechet_distance": "sFID"},
    "dinov2-vitl14": {"frechet_distance": "FD-DINOv2", "kernel_distance": "KD-DINOv2"},
    "clip-vit-b32": {"frechet_distance": "CLIP-FD"},
    "clip-vit-l14-336": {"gaussian_mmd": "CMMD"},
    "swav-resnet50": {"frechet_distance": "FD-SwAV"},
}
"""The field's names with other networks."""

Record = dict[str, Any]  # One evaluation as a line of JSON, with these FIELDS.

FIELDS = ("step", "of", "content", "time", "protocol", "judged", "scores", "by_class")
"""And `real`: the images, in words, of the scores whose names begin with real_; missing in older files."""


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Everything a result depends on besides the evaluated weights. Results are comparable only if all fields are equal.

    network, weights_of_network, resizer, note: see evaluation.networks. reference: which real images, and how many.
    reference_content: their hash. samples: how many generated images. labels: how their classes were drawn. truncation,
    statistics: see latents and sampler. weights: ema or live. seed: of the latents. formulas: constants of the metrics.
    """

    network: str
    weights_of_network: str
    resizer: str
    note: str
    reference: str
    reference_content: str
    samples: int
    labels: str
    truncation: str
    statistics: str
    weights: str
    seed: int
    formulas: str

    @property
    def comparable(self) -> bool:
        """Whether distances by this protocol may be called FID."""
        return not self.note

    @property
    def key(self) -> str:
        """A short hash of all fields."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()[:8]

    def words(self) -> str:
        """Describe the protocol in two lines."""
        note = f", {self.note}" if self.note else ""
        weights = f"{self.weights} weights, " if self.weights else ""
        resized = "not resized" if self.resizer == "none" else f"resized by {self.resizer}"
        return (
            f"{self.samples:,} samples ({weights}labels {self.labels}, truncation {self.truncation}, "
            f"statistics {self.statistics}, seed {self.seed}) against {self.reference}\n"
            f"network {self.network} ({self.weights_of_network[:8]}), {resized}{note}; {self.formulas}"
        )


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is evaluated. place: its path. content: its hash. step: of a checkpoint, None for a file."""

    place: str
    content: str
    step: int | None


def record(subject: Subject, protocol: Protocol, metrics: Sequence[str], results: Results) -> Record:
    """Make a record. metrics: names in metrics.METRICS."""
    return {
        "step": subject.step,
        "of": subject.place,
        "content": subject.content,
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "protocol": dataclasses.asdict(protocol),
        "judged": list(metrics),
        "scores": results.overall,
        "by_class": results.by_class,
        "real": results.real,
    }


def complete(
    path: epath.Path,
    subject: Subject,
    protocol: Protocol,
    metrics: Sequence[str],
    compute: Callable[[list[str]], Results],
) -> Record:
    """Return the subject's record by this protocol, after computing, and storing in `path`, the metrics that it lacks.

    With several hosts, the records that process 0 reads count, and it alone writes.
    """
    known = find(read(path), subject, protocol)
    has = distributed.broadcast(np.array([known is not None and metric in known["judged"] for metric in metrics]))
    missing = [metric for metric, there in zip(metrics, has, strict=True) if not there]
    if not missing:
        return known or record(subject, protocol, (), Results({}, {}))
    fresh = record(subject, protocol, missing, compute(missing))
    if not jax.process_index():
        try:
            append(path, fresh)
        except OSError as error:
            print(table([fresh]), flush=True)  # So that the results are not lost.
            raise UserError(f"{path} cannot be written: {error}") from error
    return merge(known, fresh) if known else fresh


def append(path: epath.Path, record: Record) -> None:
    """Append the record to a file."""
    line = json.dumps(record) + "\n"
    if files.is_remote(path):
        path.write_bytes((path.read_bytes() if path.exists() else b"") + line.encode())
        return
    with open(path, "ab+") as file:
        # Start a new line after the truncated one of a killed process.
        ends = file.seek(0, 2) == 0 or (file.seek(-1, 2), file.read(1))[1] == b"\n"
        file.write((line if ends else "\n" + line).encode())


def read(path: epath.Path) -> list[Record]:
    """Read all records of a file, the oldest first; skip lines that are damaged or of another version."""
    found = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            fields = escape_all(json.loads(line))
            Protocol(**fields["protocol"])
            numbers = [*fields["scores"].values(), *(v for by in fields["by_class"].values() for v in by.values())]
            if not all(isinstance(value, int | float) for value in numbers) or not isinstance(fields["judged"], list):
                continue
            found.append({field: fields[field] for field in FIELDS} | {"real": str(fields.get("real", ""))})
    return found


def find(records: list[Record], subject: Subject, protocol: Protocol) -> Record | None:
    """Merge all records of this content and step by this protocol, or return None if none exists."""
    wanted = subject.content, subject.step, dataclasses.asdict(protocol)
    same = [r for r in records if (r["content"], r["step"], r["protocol"]) == wanted]
    return functools.reduce(merge, same) if same else None


def merge(first: Record, later: Record) -> Record:
    """Merge two records of the same subject and protocol; later values win."""
    merged = {name: first[name] | later[name] for name in ("scores", "by_class")}
    real = later["real"] or first["real"]
    return later | {"judged": list(dict.fromkeys(first["judged"] + later["judged"])), "real": real} | merged


def write_table(folder: epath.Path) -> None:
    """Write all records of the folder's scores.jsonl as tables."""
    with files.writing(folder / TABLE):
        files.write_text(folder / TABLE, table(read(folder / SCORES)) + "\n", suffix=files.unique_suffix())


def table(records: list[Record]) -> str:
    """Format records as Markdown: one table per protocol, one row per step or file. Later values win."""
    groups: dict[str, dict] = {}
    for r in records:
        group = groups.setdefault(Protocol(**r["protocol"]).key, {})
        key = r["content"], r["step"]
        group[key] = merge(group.get(key, r), r)
    return "\n\n".join(_one_table(list(group.values())) for group in groups.values())


def _one_table(records: list[Record]) -> str:
    protocol = Protocol(**records[0]["protocol"])
    records = sorted(records, key=lambda r: (r["step"] is None, r["step"] or 0))
    names = columns(r["scores"] for r in records)
    rows = [["step" if records[0]["step"] is not None else "of", *(title(protocol, name) for name in names)]]
    ambiguous = len({r["step"] for r in records}) < len(records)
    for r in records:
        step, place = r["step"], r["of"]
        row_name = epath.Path(place).name if step is None else f"{step} ({place})" if ambiguous else str(step)
        rows.append([row_name, *(_cell(r["scores"], name) for name in names)])
    real = {k.removeprefix(PREFIX): v for r in records for k, v in r["scores"].items() if k.startswith(PREFIX)}
    if real:
        rows.append(["real", *(_cell(real, name) for name in names)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(map(str.rjust, row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|")
    beside = [words for words in map(words_of_real, records) if words]
    words = "\n".join([protocol.words(), *beside[-1:]])
    return words + "\n\n" + "\n".join(lines)


def columns(scores: Iterable[Mapping[str, float]]) -> list[str]:
    """Return the names of the scores that have a column or curve of their own, in the order of their first appearance."""
    shown = dict.fromkeys(_column(name) for values in scores for name in values)
    return [name for name in shown if name not in HIDDEN and not name.startswith(PREFIX)]


def title(protocol: Protocol, name: str) -> str:
    """Return the name of a score for people: the field's, if the network is the one that it is known for."""
    known = FIELD_NAMES if protocol.comparable else OTHER_NAMES.get(protocol.network, {})
    return known.get(name, name.replace("_", " ").replace("frechet", "Frechet"))


def words_of_real(record: Record) -> str:
    """Say of which images the scores of real images are, and the network's accuracy; "" if the record has none."""
    found = [record["scores"][f"{PREFIX}{name}"] for name in ACCURACIES if f"{PREFIX}{name}" in record["scores"]]
    network, accuracy = record["protocol"]["network"], found[0] if found else None
    known = f"; accuracy of {network}: {accuracy:.3g}" if accuracy is not None else ""
    return f"real: {record['real']}{known}" if record["real"] else ""


def _column(name: str) -> str:
    """Return the metric in whose column a value is shown: that of its own name, but for the ends of an interval."""
    return next((metric for metric, ends in INTERVALS.items() if name in ends), name)


def _cell(scores: dict[str, float], name: str) -> str:
    """Format a metric, with its standard deviation and interval if there are some."""
    ends = [scores[end] for end in INTERVALS.get(name, ()) if end in scores]
    interval = f"[{ends[0]:.4g}, {ends[1]:.4g}]" if ends else ""
    if name not in scores:
        return interval
    std = scores.get(STDS.get(name, ""))
    return " ".join(filter(None, (f"{scores[name]:.4g}", f"± {std:.2g}" if std is not None else "", interval)))
