"""Write a prepared set: ArrayRecord shards, and the metadata by which TFDS finds them.

Shards and, until the set is complete, their statistics are written atomically: an interrupted command resumes with the others.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from etils import epath
from PIL import Image

from biggan_jax.data import picture, stats
from biggan_jax.data.raw import Corpus, Examples, Part
from biggan_jax.data.records import digest, example_type
from biggan_jax.data.tfds import INFO, checked_of
from biggan_jax.runtime.files import atomic_write, is_remote, write_text
from biggan_jax.types import UserError

WORK = ".prepare"  # The folder of a set's temporary files, in the set's own.


@dataclasses.dataclass(frozen=True)
class Form:
    """How pictures are stored: as they are, or, if `size` is not 0, the central square as size x size x 3 bytes."""

    size: int = 0
    resize: str = "area"

    def __call__(self, encoded: bytes) -> tuple[bytes, tuple[int, int]]:
        """Return the bytes to store, and the picture's original (width, height). Raises picture.UnreadableError."""
        if self.size:
            pixels = picture.decode(encoded, upright=True)
            small = picture.resize(picture.crop(pixels), (self.size, self.size), self.resize)
            return np.ascontiguousarray(small).tobytes(), pixels.shape[1::-1]
        upright = Image.fromarray(picture.decode(encoded, upright=True))
        with picture.opened(encoded) as image:
            # Decoding the file as it is gives the intended pixels if it is opaque, of 8 bits, and upright by its EXIF tag.
            plain = image.mode in ("RGB", "L") and "transparency" not in image.info
            if image.format in ("JPEG", "PNG") and plain and image.getexif().get(0x0112, 1) == 1:
                return encoded, upright.size
        lossless = io.BytesIO()
        upright.save(lossless, "PNG")
        return lossless.getvalue(), upright.size


def prepare(corpus: Corpus, out: epath.Path, name: str, form: Form, parallel: Callable) -> dict[str, Any]:
    """Write the set, or its missing shards, and return a `stats.summary` for each split.

    parallel(function, items) is like map, in any order. Raises UserError if `out` has another set, another command is writing
    it, or no picture can be read.
    """
    out = epath.Path(out)
    plan = _fingerprint(corpus, name, form)
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
        for _ in parallel(Job.run, [job for split in jobs.values() for job in split]):
            pass
        seen = {split: [job.seen() for job in made] for split, made in jobs.items()}
        found = {split: _summary(shards, corpus.class_names) for split, shards in seen.items()}
        if not any(summary["images"] for summary in found.values()):
            out.rmtree()
            why = [what for summary in found.values() for what in summary["unreadable_named"]]
            raise UserError(f"no picture can be read{': ' + why[0] if why else ''}")
        found = {split: summary for split, summary in found.items() if summary["images"]}
        stats.store(out / stats.FILE, {"form": dataclasses.asdict(form), "plan": plan, **found})
        _describe(out, name, form, corpus.class_names, {split: seen[split] for split in found})
    (out / WORK).rmtree()
    return found


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
        rows, unreadable, size = [], [], 0
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
                    stored, shape = self.form(item.encoded)
                except picture.UnreadableError as error:
                    unreadable.append(f"{name}: {error}")
                    continue
                record = _example(stored, item.label, name)
                writer.write(record)
                size += len(record)
                rows.append((item.label, shape, digest(item.encoded), name))
            writer.close()
            labels, sizes, digests, files = zip(*rows, strict=True) if rows else ((),) * 4
            # Statistics are renamed into place before the shard: no shard is without them.
            with atomic_write(self._seen) as unfinished, open(unfinished, "wb") as file:
                seen: dict[str, Any] = {"unreadable": np.array(unreadable, str), "bytes": np.int64(size)}
                seen |= {"labels": np.array(labels, np.int32), "sizes": np.array(sizes, np.int32).reshape(-1, 2)}
                seen |= {"digests": np.array(digests, np.uint64), "files": np.array(files, str)}
                np.savez(file, **seen)

    def seen(self) -> Any:
        """Open the shard's statistics; arrays are loaded when they are accessed."""
        return np.load(io.BytesIO(self._seen.read_bytes()))

    @property
    def _seen(self) -> epath.Path:
        return epath.Path(self.out) / WORK / f"{self.shard}.npz"


def _example(stored: bytes, label: int, name: str) -> bytes:
    example = example_type()()
    feature = example.features.feature
    feature["image"].bytes_list.value.append(stored)
    feature["label"].int64_list.value.append(label)
    feature["file_name"].bytes_list.value.append(name.encode())
    return example.SerializeToString(deterministic=True)


def _fingerprint(corpus: Corpus, name: str, form: Form) -> str:
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
    return stats.summary(names=names, files=file, **whole)


def _describe(out: epath.Path, name: str, form: Form, class_names: tuple[str, ...], seen: dict[str, list]) -> None:
    """Write TFDS's dataset_info.json and features.json, which mark the set as complete."""
    import tensorflow_datasets as tfds

    image = tfds.features.Image()
    if form.size:
        image = tfds.features.Tensor(shape=(form.size, form.size, 3), dtype=np.uint8, encoding="bytes")
    label = tfds.features.ClassLabel(names=list(class_names))
    features = tfds.features.FeaturesDict({"image": image, "label": label, "file_name": tfds.features.Text()})
    files = tfds.core.ShardedFileTemplate(out, dataset_name=name, filetype_suffix="array_record")
    splits = []
    for split, shards in seen.items():
        size = int(sum(shard["bytes"] for shard in shards))
        splits.append(tfds.core.SplitInfo(split, [len(shard["labels"]) for shard in shards], size, files))
    tfds.folder_dataset.write_metadata(
        data_dir=out, features=features, split_infos=splits, version="1.0.0", check_data=False
    )
