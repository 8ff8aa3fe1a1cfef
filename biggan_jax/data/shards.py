"""Write a prepared set: ArrayRecord shards, and the metadata by which TFDS finds them.

Shards and, until the set is complete, their statistics are written atomically: an interrupted command resumes with the others.
"""

import collections
import contextlib
import dataclasses
import fcntl
import hashlib
import io
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from etils import epath

from biggan_jax.data import exact, picture, stats
from biggan_jax.data.forms import Form, TooSmallError
from biggan_jax.data.raw import Corpus, Examples, Item, Part
from biggan_jax.data.records import CAPTIONS, digest, example_type
from biggan_jax.data.tfds import INFO, checked_of
from biggan_jax.runtime.files import atomic_write, is_remote, write_text
from biggan_jax.types import UserError

WORK = ".prepare"  # The folder of a set's temporary files, in the set's own.


def prepare(
    corpus: Corpus, out: epath.Path, name: str, form: Form, parallel: Callable, *, most_unreadable: float = 1.0
) -> dict[str, Any]:
    """Write the set, or its missing shards, and return a `stats.summary` for each split.

    parallel(function, items) is like map, in any order. most_unreadable: share of the pictures; with more, the set stays
    incomplete, and can be completed later. Raises UserError if `out` has another set, another command is writing
    it, or no picture can be read.
    """
    out = epath.Path(out)
    plan = fingerprint(corpus, name, form)
    if (out / INFO).exists():
        known = checked_of(out)
        if known.pop("plan", None) != plan:
            raise UserError(f"{out} has another prepared set; give another --out, or delete it")
        known.pop("form")
        return known
    jobs = {}
    for split, parts in corpus.splits.items():
        shard = f"{name}-{split}.array_record-{{:05d}}-of-{len(parts):05d}"
        jobs[split] = [Job(part, str(out), shard.format(i), form) for i, part in enumerate(parts)]
    with _claimed(out, plan):
        try:
            for _ in parallel(Job.run, [job for split in jobs.values() for job in split]):
                pass
        except UserError:
            if not any(path.name != WORK for path in out.iterdir()):
                out.rmtree()  # Nothing is lost, and other flags may be given.
            raise
        seen = {split: [job.seen() for job in made] for split, made in jobs.items()}
        found = {split: _summary(shards, corpus.class_names) for split, shards in seen.items()}
        if not any(summary["images"] for summary in found.values()):
            out.rmtree()
            why = [what for summary in found.values() for what in summary["unreadable_named"]]
            small = [what for summary in found.values() for what in summary.get("too_small_named", [])]
            reason = f": {why[0]}" if why else f"; all are below --min_size={form.min_size}" if small else ""
            raise UserError(f"no picture can be read{reason}")
        bad = sum(summary["unreadable"] for summary in found.values())
        if bad > most_unreadable * (whole := bad + sum(summary["images"] for summary in found.values())):
            first = next(what for summary in found.values() for what in summary["unreadable_named"])
            how = "repair them, or leave them out with --skip_others"
            raise UserError(f"{bad:,} of {whole:,} pictures cannot be read, such as {first}; {how}")
        found = {split: summary for split, summary in found.items() if summary["images"]}
        stats.store(out / stats.FILE, {"form": form.described(), "plan": plan, **found})
        _describe(out, name, form, corpus.class_names, {split: seen[split] for split in found})
    (out / WORK).rmtree()
    return found


def plan_of(out: epath.Path) -> str:
    """Return the fingerprint of the complete or unfinished set in `out`; "" if `out` has no set."""
    if (out / INFO).exists():
        return checked_of(out).get("plan", "")
    mark = out / WORK / "plan"
    return mark.read_text() if mark.exists() else ""


@dataclasses.dataclass(frozen=True)
class Job:
    """One shard to write from one part."""

    part: Part
    out: str
    shard: str
    form: Form

    def run(self) -> None:
        """Write the shard and its statistics, unless they exist."""
        from array_record.python import array_record_module

        path = epath.Path(self.out) / self.shard
        if path.exists() and self._seen.exists():
            return
        rows, size = [], 0
        unreadable: list[str] = []
        too_small: list[str] = []
        nearly_constant: list[str] = []
        notes: collections.Counter[str] = collections.Counter()
        low, high, conditions = math.inf, -math.inf, []
        captions: list[tuple[str, ...]] = []
        with atomic_write(path) as made:
            # One record a group, so that an image is read without its neighbours. Pictures hardly compress further.
            writer = array_record_module.ArrayRecordWriter(made, "group_size:1,uncompressed")
            for item in self.part:
                # A file name may be any bytes; what is not valid text is replaced.
                name = (item if isinstance(item, str) else item.name).encode(errors="replace").decode()
                if isinstance(item, str):
                    unreadable.append(name)
                    continue
                try:
                    stored = self.form(item.encoded, item.other)
                except picture.UnreadableError as error:
                    unreadable.append(f"{name}: {error}")
                    continue
                except TooSmallError as error:
                    too_small.append(f"{name} ({error})")
                    continue
                except exact.ChannelsError as error:
                    raise UserError(f"{name} {error}; give another --channels, or take it out") from error
                record = _example(stored.data, item, name)
                writer.write(record)
                size += len(record)
                rows.append((item.label, stored.size, digest(item.encoded + item.other), name))
                notes.update(stored.notes)
                if stored.contrast <= stats.NEARLY_CONSTANT:
                    nearly_constant.append(name)
                conditions.append(item.condition)
                captions.append(item.captions)
                low, high = min(low, stored.range[0]), max(high, stored.range[1])
            writer.close()
            labels, sizes, digests, files = zip(*rows, strict=True) if rows else ((),) * 4
            # Statistics are renamed into place before the shard: no shard is without them.
            with atomic_write(self._seen) as unfinished, open(unfinished, "wb") as file:
                seen: dict[str, Any] = {"unreadable": np.array(unreadable, str), "bytes": np.int64(size)}
                seen |= {"labels": np.array(labels, np.int32), "sizes": np.array(sizes, np.int32).reshape(-1, 2)}
                seen |= {"digests": np.array(digests, np.uint64), "files": np.array(files, str)}
                seen |= {"notes": np.array(list(notes.elements()), str), "range": np.array([low, high])}
                seen |= {"too_small": np.array(too_small, str), "nearly_constant": np.array(nearly_constant, str)}
                each = self.form.condition * (self.form.several or 1)
                seen["conditions"] = np.array(conditions, np.float32).reshape(len(rows), each)
                if any(captions):
                    texts = [text.encode(errors="replace") for own in captions for text in own]
                    seen["caption_counts"] = np.array([len(own) for own in captions], np.int32)
                    seen["caption_bytes"] = np.array([len(text) for text in texts], np.int32)
                    seen["caption_digests"] = np.array([digest(text) for text in texts], np.uint64)
                np.savez(file, **seen)

    def seen(self) -> Any:
        """Open the shard's statistics; arrays are loaded when they are accessed."""
        return np.load(io.BytesIO(self._seen.read_bytes()))

    @property
    def _seen(self) -> epath.Path:
        return epath.Path(self.out) / WORK / f"{self.shard}.npz"


def _example(stored: bytes, item: Item, name: str) -> bytes:
    example = example_type()()
    feature = example.features.feature
    feature["image"].bytes_list.value.append(stored)
    feature["label"].int64_list.value.append(item.label)
    feature["file_name"].bytes_list.value.append(name.encode())
    if item.condition:
        feature["condition"].float_list.value.extend(item.condition)
    if item.captions:
        feature[CAPTIONS].bytes_list.value.extend(text.encode(errors="replace") for text in item.captions)
    return example.SerializeToString(deterministic=True)


def fingerprint(corpus: Corpus, name: str, form: Form) -> str:
    """Hash everything that determines a set. Parts are hashed one by one, since there may be many."""
    hashed = hashlib.sha256(repr((corpus.class_names, name, form)).encode(errors="surrogateescape"))
    for split, parts in corpus.splits.items():
        choices = [repr(part.choice) for part in parts[:1] if isinstance(part, Examples)]
        for text in (split, *choices, *map(repr, parts)):
            hashed.update(text.encode(errors="surrogateescape"))
    return hashed.hexdigest()


@contextlib.contextmanager
def _claimed(out: epath.Path, plan: str) -> Iterator[None]:
    """Mark and lock the folder for this plan. Raises UserError if it has another set, or another command's lock."""
    mark = out / WORK / "plan"
    if not mark.exists():
        if out.exists() and any(path.name != WORK for path in out.iterdir()):
            raise UserError(f"{out} is not empty; give another --out")
        mark.parent.mkdir(parents=True, exist_ok=True)
        write_text(mark, plan)
    elif mark.read_text() != plan:
        raise UserError(f"{out} has another, incomplete set, or the pictures changed; delete it, or give another --out")
    if is_remote(out):  # An object store has no locks; two commands write the same objects twice.
        yield
        return
    with open(mark) as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another command is preparing {out}") from None
        yield


def _summary(seen: list[Any], names: tuple[str, ...]) -> dict[str, Any]:
    ends = np.cumsum([len(shard["labels"]) for shard in seen])

    def file(i: int) -> str:  # Names are decoded one by one: together they would take the most memory.
        shard = int(np.searchsorted(ends, i, side="right"))
        return str(seen[shard]["files"][i - ends[shard]])

    keys = "labels", "sizes", "digests", "unreadable"
    whole: dict[str, Any] = {key: np.concatenate([shard[key] for shard in seen]) for key in keys}
    converted = collections.Counter(note for shard in seen if "notes" in shard for note in shard["notes"].tolist())
    ranges = np.array([shard["range"] for shard in seen if "range" in shard]).reshape(-1, 2)
    # Shards of an earlier version lack some statistics.
    for key in stats.NOTED:
        whole[key] = [name for shard in seen if key in shard for name in shard[key].tolist()]
    found = stats.summary(names=names, files=file, **whole)
    if converted:
        found["converted"] = dict(sorted(converted.items()))
    if np.isfinite(ranges).any():
        found["range"] = [float(ranges[:, 0].min()), float(ranges[:, 1].max())]
    conditions = [shard["conditions"] for shard in seen if "conditions" in shard and shard["conditions"].size]
    if conditions:
        each = np.concatenate(conditions)
        found["conditions"] = np.stack([each.min(0), each.max(0)], axis=1).tolist()
    if captioned := [shard for shard in seen if "caption_counts" in shard]:
        whole = {
            key: np.concatenate([shard[f"caption_{key}"] for shard in captioned])
            for key in ("counts", "bytes", "digests")
        }
        spread = lambda values: [int(values.min()), int(np.median(values)), int(values.max())]
        different = len(np.unique(whole["digests"]))
        found["captions"] = {"each": spread(whole["counts"]), "bytes": spread(whole["bytes"]), "different": different}
    return found


def _describe(out: epath.Path, name: str, form: Form, class_names: tuple[str, ...], seen: dict[str, list]) -> None:
    """Write TFDS's dataset_info.json and features.json, which mark the set as complete."""
    import tensorflow_datasets as tfds

    image = tfds.features.Image()
    if form.size or form.vector:
        image = tfds.features.Tensor(shape=form.shape, dtype=np.dtype(form.dtype), encoding="bytes")
    elif form.channels:
        shape = (None, None, form.channels)
        image = tfds.features.Image(shape=shape, dtype=np.dtype(form.dtype), encoding_format="png")
    label = tfds.features.ClassLabel(names=list(class_names))
    parts = {"image": image, "label": label, "file_name": tfds.features.Text()}
    if form.condition:
        shape = (form.several, form.condition) if form.several else (form.condition,)
        parts["condition"] = tfds.features.Tensor(shape=shape, dtype=np.float32)
    if any("caption_counts" in shard for shards in seen.values() for shard in shards):
        parts[CAPTIONS] = tfds.features.Sequence(tfds.features.Text())
    features = tfds.features.FeaturesDict(parts)
    files = tfds.core.ShardedFileTemplate(out, dataset_name=name, filetype_suffix="array_record")
    splits = []
    for split, shards in seen.items():
        size = int(sum(shard["bytes"] for shard in shards))
        splits.append(tfds.core.SplitInfo(split, [len(shard["labels"]) for shard in shards], size, files))
    tfds.folder_dataset.write_metadata(
        data_dir=out, features=features, split_infos=splits, version="1.0.0", check_data=False
    )
