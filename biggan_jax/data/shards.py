"""Owns laying down a prepared set: shards of ArrayRecord, and the files by which TFDS, and `tfds.py`, know them.

A set is made part by part, in several processes, and goes on where it stopped: a shard is there whole or not at all, and
what was seen of it lies beside it until the set is finished. Must not know where pictures come from.
"""

import dataclasses
import hashlib
import io
import itertools
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from etils import epath
from PIL import Image

from biggan_jax.data import check, picture
from biggan_jax.data.corpus import Corpus, Part
from biggan_jax.data.picture import UnreadableError
from biggan_jax.data.records import digest, example_type
from biggan_jax.data.tfds import INFO
from biggan_jax.types import UserError

WORK = ".prepare"
"""The folder, in the set's, of what is known of a set not yet finished."""


@dataclasses.dataclass(frozen=True)
class Form:
    """How pictures are kept: as they are, or, with a size, their central square as size x size x 3 bytes."""

    size: int = 0
    resize: str = "area"

    def __call__(self, encoded: bytes) -> tuple[bytes, tuple[int, int]]:
        """What is stored, and the picture's own width and height. Raises UnreadableError."""
        if self.size:
            pixels = picture.decode(encoded, upright=True)
            small = picture.resize(picture.square(pixels), self.size, self.resize)
            return np.ascontiguousarray(small).tobytes(), pixels.shape[1::-1]
        upright = picture.open_picture(encoded)
        with Image.open(io.BytesIO(encoded)) as image:
            if image.format in ("JPEG", "PNG") and picture.is_plain(image):
                return encoded, upright.size
        lossless = io.BytesIO()
        upright.save(lossless, "PNG")
        return lossless.getvalue(), upright.size


def prepare(
    corpus: Corpus, out: epath.Path, name: str, form: Form, parallel: Callable, say: Callable
) -> dict[str, Any]:
    """Makes the set, or what of it is missing, and returns what it holds, by split: see `check.summary`.

    parallel(function, items) is like map, in any order; say(done, of) is told how far it is. Raises UserError if `out`
    holds another set, or nothing can be read.
    """
    out = epath.Path(out)
    _claim(out, hashlib.sha256(repr((corpus, name, form)).encode()).hexdigest())
    jobs = [
        Job(part, str(out), f"{name}-{split}.array_record-{i:05d}-of-{len(parts):05d}", form)
        for split, parts in corpus.splits.items()
        for i, part in enumerate(parts)
    ]
    for done, _ in enumerate(parallel(Job.run, jobs), 1):
        say(done, len(jobs))
    by_split = itertools.groupby(jobs, key=lambda job: job.shard.split(".")[0].rpartition("-")[2])
    seen = {split: [job.seen() for job in group] for split, group in by_split}
    found = {split: _summary(shards, corpus.class_names) for split, shards in seen.items()}
    if not found["train"]["images"]:
        why = found["train"]["unreadable_named"]
        raise UserError(f"not one picture can be read{': ' + why[0] if why else ''}")
    (out / check.FILE).write_text(json.dumps({"form": dataclasses.asdict(form), **found}, indent=2))
    _describe(out, name, form, corpus.class_names, seen)
    (out / WORK).rmtree()
    return found


@dataclasses.dataclass(frozen=True)
class Job:
    """One shard to be made of one part."""

    part: Part
    out: str
    shard: str
    form: Form

    def run(self) -> None:
        path = epath.Path(self.out) / self.shard
        if path.exists() and self._seen.exists():
            return
        with tempfile.TemporaryDirectory() as scratch:
            made = f"{scratch}/{self.shard}"
            seen = self._write(made)
            # What was seen goes first: a shard that is there has it.
            _publish(lambda to: np.savez(to, **seen), self._seen)
            _publish(lambda to: shutil.copyfile(made, to), path)

    def seen(self) -> dict[str, np.ndarray]:
        with self._seen.open("rb") as file, np.load(io.BytesIO(file.read())) as arrays:
            return dict(arrays)

    @property
    def _seen(self) -> epath.Path:
        return epath.Path(self.out) / WORK / f"{self.shard}.npz"

    def _write(self, path: str) -> dict[str, Any]:
        from array_record.python import array_record_module

        # One record a group, so that one image is read without its neighbours; pictures hardly shrink further.
        writer = array_record_module.ArrayRecordWriter(path, "group_size:1,uncompressed")
        rows, unreadable, size = [], [], 0
        for item in self.part:
            if isinstance(item, str):
                unreadable.append(item)
                continue
            try:
                stored, shape = self.form(item.encoded)
            except UnreadableError as error:
                unreadable.append(f"{item.name}: {error}")
                continue
            record = _example(stored, item.label, item.name)
            writer.write(record)
            size += len(record)
            rows.append((item.label, shape, digest(item.encoded), item.name))
        writer.close()
        labels, sizes, digests, files = zip(*rows, strict=True) if rows else ((),) * 4
        return {
            "labels": np.array(labels, np.int32),
            "sizes": np.array(sizes, np.int32).reshape(-1, 2),
            "digests": np.array(digests, np.uint64),
            "files": np.array(files, str),
            "unreadable": np.array(unreadable, str),
            "bytes": np.int64(size),
        }


def _example(stored: bytes, label: int, name: str) -> bytes:
    example = example_type()()
    feature = example.features.feature
    feature["image"].bytes_list.value.append(stored)
    feature["label"].int64_list.value.append(label)
    feature["file_name"].bytes_list.value.append(name.encode())
    return example.SerializeToString(deterministic=True)


def _claim(out: epath.Path, plan: str) -> None:
    """Makes the folder that of this plan. Raises UserError if it is that of another, or finished."""
    mark = out / WORK / "plan"
    if (out / INFO).exists():
        raise UserError(f"{out} holds a prepared set already; give another --out, or delete it")
    if mark.exists():
        if mark.read_text() != plan:
            raise UserError(f"{out} holds another set, half prepared; give another --out, or delete it")
    elif out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty; give another --out")
    (out / WORK).mkdir(parents=True, exist_ok=True)
    _publish(lambda to: epath.Path(to).write_text(plan), mark)


def _publish(write: Callable[[str], Any], path: epath.Path) -> None:
    """Writes a file that is there whole or not at all: an object store does so by itself, on disk it is renamed."""
    with tempfile.TemporaryDirectory() as scratch:
        local = epath.Path(scratch) / "file.npz"
        write(str(local))
        unfinished = path if "://" in str(path) else path.parent / f".{path.name}.tmp"
        local.copy(unfinished, overwrite=True)
        if unfinished != path:
            unfinished.replace(path)


def _summary(shards: Iterable[dict[str, np.ndarray]], names: tuple[str, ...]) -> dict[str, Any]:
    joined = {key: np.concatenate([np.atleast_1d(shard[key]) for shard in shards]) for key in shards[0]}
    joined.pop("bytes")
    return check.summary(names=names, **joined)


def _describe(out: epath.Path, name: str, form: Form, class_names: tuple[str, ...], seen: dict[str, list]) -> None:
    """dataset_info.json and features.json, as TFDS reads them: with them the set is finished."""
    import tensorflow_datasets as tfds

    image = (
        tfds.features.Tensor(shape=(form.size, form.size, 3), dtype=np.uint8, encoding="bytes")
        if form.size
        else tfds.features.Image()
    )
    label = tfds.features.ClassLabel(names=list(class_names))
    features = tfds.features.FeaturesDict({"image": image, "label": label, "file_name": tfds.features.Text()})
    template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    splits = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=[len(shard["labels"]) for shard in shards],
            num_bytes=int(sum(shard["bytes"] for shard in shards)),
            filename_template=tfds.core.ShardedFileTemplate(
                dataset_name=name, data_dir=out, split=split, filetype_suffix="array_record", template=template
            ),
        )
        for split, shards in seen.items()
    ]
    tfds.folder_dataset.write_metadata(
        data_dir=out, features=features, split_infos=splits, version="1.0.0", check_data=False
    )
