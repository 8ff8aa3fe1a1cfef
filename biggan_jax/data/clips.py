"""Clips for `prepare`: frames that follow each other in videos, or in folders of pictures."""

import collections
import dataclasses
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import cv2
import numpy as np
from etils import epath

from biggan_jax.config import some
from biggan_jax.data import picture, splits, trees
from biggan_jax.data.label_tables import PICTURES
from biggan_jax.data.labelled import MOST_LEFT_OUT, ONE_CLASS
from biggan_jax.data.names import split_named
from biggan_jax.data.raw import Corpus, Item, Rules
from biggan_jax.runtime.files import is_remote
from biggan_jax.types import UserError

VIDEOS = ".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".mpg", ".mpeg"
MAGIC = re.compile(rb"RIFF.{4}AVI |.{4}ftyp|\x1aE\xdf\xa3|\x00\x00\x01[\xba\xb3]", re.DOTALL)
"""How files of these kinds begin. Others are not opened: OpenCV's reader also takes playlists, which name other files."""


class Cut(NamedTuple):
    """How sequences are cut: clips of `frames` frames, each `every`-th of the sequence, whose starts are `step` apart."""

    frames: int
    every: int
    step: int

    def starts(self, count: int) -> range:
        """Return the first frames of the clips of a sequence of `count` frames."""
        return range(0, count - (self.frames - 1) * self.every, self.step)

    def of(self, start: int) -> range:
        """Return the numbers of a clip's frames."""
        return range(start, start + self.frames * self.every, self.every)


class Clip(NamedTuple):
    """path: of a video, or of a folder of pictures. pictures: the paths of its frames; empty for a video. size: bytes, of both."""

    path: str
    start: int
    pictures: tuple[str, ...] = ()
    size: int = 0

    @property
    def name(self) -> str:
        return f"{self.path}, from frame {self.start}"


@dataclasses.dataclass(frozen=True)
class Clips:
    """The clips of one shard, by video and time. Each is an array uint8 [T, H, W, 3], as the bytes of an .npy file."""

    root: str
    cut: Cut
    clips: tuple[Clip, ...]

    def __iter__(self) -> Iterator[Item | str]:
        starts: dict[str, list[Clip]] = collections.defaultdict(list)
        for clip in self.clips:
            if clip.pictures:
                yield self._of_pictures(clip)
            else:
                starts[clip.path].append(clip)
        for path, clips in starts.items():
            yield from self._of_video(path, clips)

    def _of_pictures(self, clip: Clip) -> Item | str:
        read = []
        for path in clip.pictures:
            try:
                read.append(picture.decode((epath.Path(self.root) / path).read_bytes(), upright=True))
            except (picture.UnreadableError, OSError) as error:
                return f"{path}: {getattr(error, 'strerror', None) or error}"
            if read[-1].shape != read[0].shape:
                height, width, _ = read[-1].shape
                return f"{clip.name}: {path} has {width} x {height} pixels, unlike the frames before it"
        return Item(clip.name, 0, _bytes(read))

    def _of_video(self, path: str, clips: list[Clip]) -> Iterator[Item | str]:
        """Decode a video once, from its start: seeking is exact in few formats."""
        waiting = collections.deque(sorted(clips, key=lambda clip: clip.start))
        kept: dict[int, np.ndarray] = {}
        wanted = {number for clip in clips for number in self.cut.of(clip.start)}
        for number, frame in enumerate(frames_of(epath.Path(self.root) / path, wanted.__contains__)):
            if frame is None:
                continue
            kept[number] = frame
            while waiting and number >= (own := self.cut.of(waiting[0].start))[-1]:
                yield Item(waiting.popleft().name, 0, _bytes([kept[i] for i in own]))
                first = waiting[0].start if waiting else number + 1
                for i in [i for i in kept if i < first]:
                    del kept[i]
        for clip in waiting:
            yield f"{clip.name}: the video ends before the clip, or is damaged"


def _bytes(frames: list[np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.save(file, np.stack(frames))
    return file.getvalue()


def frames_of(path: epath.Path, wanted: Callable[[int], bool]) -> Iterator[np.ndarray | None]:
    """Yield the frames of a video, uint8 [H, W, 3] RGB; None for those that are not wanted. Nothing if it cannot be opened."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # Damaged videos are named by `prepare`.
    with path.open("rb") as file:
        if not MAGIC.match(file.read(16)):
            return
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    number = 0
    while video.grab():
        if not wanted(number):
            yield None
        else:
            done, frame = video.retrieve()
            if not done:
                break
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        number += 1
    video.release()


def count_frames(path: str) -> tuple[str, int]:
    """Return (path, frames of a video that can be read)."""
    return path, sum(1 for _ in frames_of(epath.Path(path), lambda number: False))


class Sequence(NamedTuple):
    """A video, or the pictures of a folder in order. length: frames. size: bytes."""

    split: str
    length: int
    pictures: tuple[str, ...]
    size: int


def corpus(
    path: epath.Path,
    cut: Cut,
    rules: Rules,
    parallel: Callable[[Callable, list], Iterable],
    *,
    skip_others: bool = False,
) -> Corpus:
    """List the clips of a video, or of a folder with videos and folders of frames, at any depth.

    Frames are in the order of the numbers in their names. The folders train, val and test at the top are splits. Raises UserError
    if more than a tenth of the sequences are shorter than a clip, unless `skip_others`.
    """
    root, found = _sequences(path, parallel)
    if rules.held_out and cut.step < cut.frames * cut.every:
        raise UserError(
            f"--held_out={rules.held_out} with --clip_step={cut.step} would hold out frames of clips that are trained on; "
            f"give --clip_step={cut.frames * cut.every} or more"
        )
    short = [f"{name} ({one.length} frames)" for name, one in found.items() if not cut.starts(one.length)]
    notes = []
    if short:
        need = (cut.frames - 1) * cut.every + 1
        what = f"{len(short):,} of {len(found):,} sequences have fewer than the {need} frames of a clip, or cannot be read: "
        what += some(short, 3)
        if len(short) == len(found) or (len(short) > MOST_LEFT_OUT * len(found) and not skip_others):
            way = "" if len(short) == len(found) else ", or leave them out with --skip_others"
            raise UserError(f"{what}; give a smaller --frames or --every{way}")
        notes.append(f"left out: {what}")
    by_split: dict[str, list[Clip]] = {}
    for name, one in sorted(found.items()):
        for start in cut.starts(one.length):
            own = tuple(one.pictures[i] for i in cut.of(start)) if one.pictures else ()
            by_split.setdefault(one.split, []).append(Clip(name, start, own, one.size))
    if "train" not in by_split:
        raise UserError(f"--in={path} has the splits {some(by_split)}, but needs train")
    notes.append(f"{len(found) - len(short):,} sequences; clips of {cut.frames} frames")
    parts = {
        split: [
            Clips(str(root), cut, tuple(clips[i : i + rules.per_part])) for i in range(0, len(clips), rules.per_part)
        ]
        for split, clips in _held_out(by_split, rules).items()
    }
    return Corpus((ONE_CLASS,), parts, tuple(notes))


def _sequences(path: epath.Path, parallel: Callable) -> tuple[epath.Path, dict[str, Sequence]]:
    """Return the root, and the sequences by their path below it."""
    if is_remote(path):
        raise UserError(f"--in={path}: videos are read from local disks; copy them first")
    if path.exists() and not path.is_dir():
        root, sizes = path.parent, {path.name: path.stat().length}
    else:
        root, sizes = path, trees.of_folder(path).sizes
    videos = [name for name in sizes if name.lower().endswith(VIDEOS)]
    folders: dict[str, list[str]] = {}
    for name in sizes:
        if name.lower().endswith(PICTURES):
            folders.setdefault(name.rpartition("/")[0], []).append(name)
    if not videos and not folders:
        has = f"; it has {some(sizes)}" if sizes else "; it is empty"
        raise UserError(f"--in={path} has no videos ({', '.join(VIDEOS)}), and no folders of pictures{has}")
    tops = {name.partition("/")[0] for name in [*videos, *(f"{folder}/" for folder in folders)]}
    is_split = all(map(split_named, tops))
    split = lambda name: split_named(name.partition("/")[0]) if is_split else "train"
    found = {}
    for whole, count in parallel(count_frames, [str(root / name) for name in videos]):
        name = str(epath.Path(whole).relative_to(root))
        found[name] = Sequence(split(name), count, (), sizes[name])
    for folder, names in folders.items():
        ordered = tuple(sorted(names, key=_natural))
        size = sum(sizes[name] for name in ordered)
        found[folder or "."] = Sequence(split(folder), len(ordered), ordered, size)
    return root, found


def _natural(name: str) -> tuple:
    """Order names by the numbers in them.

    >>> sorted(["f10.png", "f9.png"], key=_natural)
    ['f9.png', 'f10.png']
    """
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name))


def _held_out(found: Mapping[str, list[Clip]], rules: Rules) -> Mapping[str, list[Clip]]:
    if rules.held_out and len(found) == 1 and rules.held_out >= len(found["train"]):
        raise UserError(
            f"--held_out={rules.held_out} leaves nothing to train on: there are {len(found['train'])} clips"
        )
    name_of = lambda clip: f"{clip.path} {clip.start:09d}"
    how = rules.held_out, rules.split, rules.seed
    return splits.divided(found, name_of, *how, "sequences", ONE_CLASS)
