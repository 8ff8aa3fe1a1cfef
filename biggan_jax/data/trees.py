"""List the files below a folder or inside a zip, and what cannot be read there."""

import bisect
import dataclasses
import functools
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping

from etils import epath

from biggan_jax.runtime.files import is_remote
from biggan_jax.types import UserError

IGNORED = ("__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information")
"""Folders that operating systems make; like hidden files, they are not data."""

_FILES = {
    ".zip": "; a zip needs --from=zip",
    ".npz": "; arrays need --from=arrays",
    ".parquet": "; tables need --from=hf, with their folder",
    **dict.fromkeys((".tar", ".gz", ".tgz", ".7z", ".rar"), "; extract it, and give the folder"),
}
"""What to do with a file in place of a folder."""

LOOP = "it is a link to a folder that it is in"
MAX_MEMBER = 2**30  # Bytes of one file in a zip; larger ones are left out.
ABOVE = 4  # Levels above a folder where a table of its labels may be.


@dataclasses.dataclass(frozen=True)
class Tree:
    """Files by path below the root, with "/" between folders.

    where: the root, for messages. sizes: bytes of each file, sorted by path. folders: all folders, without the root.
    left_out: path to the reason why it cannot be read. read: path to bytes. above: file name to the bytes of the nearest file
    of this name above the root, or None. is_zip: whether it is a zip, inside which --in cannot point.
    """

    where: str
    sizes: Mapping[str, int]
    folders: frozenset[str]
    left_out: Mapping[str, str]
    read: Callable[[str], bytes]
    above: Callable[[str], bytes | None] = lambda name: None
    is_zip: bool = False

    @functools.cached_property
    def _paths(self) -> list[str]:
        return list(self.sizes)

    def below(self, folder: str) -> "Tree":
        """Return the tree of one folder."""
        start = f"{folder}/"
        own = lambda paths: {path.removeprefix(start): paths[path] for path in paths if path.startswith(start)}
        # Sorted paths: a search, since a message may look at each of a thousand folders with a million files.
        first, last = (bisect.bisect_left(self._paths, f"{folder}{end}") for end in ("/", chr(ord("/") + 1)))
        sizes = {path.removeprefix(start): self.sizes[path] for path in self._paths[first:last]}
        folders = frozenset(path.removeprefix(start) for path in self.folders if path.startswith(start))

        def above(name: str) -> bytes | None:
            return self.read(name) if name in self.sizes else self.above(name)

        read = lambda path: self.read(start + path)
        return Tree(f"{self.where}/{folder}", sizes, folders, own(self.left_out), read, above, is_zip=self.is_zip)


def of_folder(root: epath.Path) -> Tree:
    """List a folder, local or in an object store. Raises UserError if the path is not a folder."""
    root = epath.Path(root)
    if not root.is_dir():
        hint = _FILES.get(root.suffix.lower(), "") if root.exists() else ""
        raise UserError(f"--in={root} is not a folder{hint}")
    sizes: dict[str, int] = {}
    folders: set[str] = set()
    left_out: dict[str, str] = {}
    walk = _walk_remote if is_remote(root) else _walk_local
    for path, found in walk(root):
        if isinstance(found, int):
            sizes[path] = found
        elif found is None:
            folders.add(path)
        else:
            left_out[path] = found
    read = lambda path: (root / path).read_bytes()
    return Tree(
        str(root), dict(sorted(sizes.items())), frozenset(folders), left_out, read, lambda name: _above(root, name)
    )


def of_zip(path: epath.Path) -> Tree:
    """List a zip file without extracting it. Raises UserError if the file is not a zip."""
    everything, sizes, left_out = _all_members(path), {}, {}
    members = _without_hidden(everything)
    for name in everything:
        if ".." in name.split("/"):
            left_out[name] = "its path leads out of the zip"
    for name, member in members.items():
        if member.flag_bits & 1:
            left_out[name] = "it is encrypted"
        elif member.file_size > MAX_MEMBER:
            left_out[name] = f"it has more than {MAX_MEMBER:,} bytes"
        else:
            sizes[name] = member.file_size
    folders = {name[:at] for name in members for at, letter in enumerate(name) if letter == "/"}

    def read(name: str) -> bytes:
        with epath.Path(path).open("rb") as file, zipfile.ZipFile(file) as archive:
            return archive.read(members[name])

    return Tree(str(path), dict(sorted(sizes.items())), frozenset(folders), left_out, read, is_zip=True)


def zip_members(path: epath.PathLike) -> dict[str, zipfile.ZipInfo]:
    """Return the files in a zip by name, without hidden ones. Raises UserError if the file is not a zip, or is corrupted."""
    return _without_hidden(_all_members(path))


def _without_hidden(members: dict[str, zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    return {name: member for name, member in members.items() if not any(map(_hidden, name.split("/")))}


def _all_members(path: epath.PathLike) -> dict[str, zipfile.ZipInfo]:
    try:
        with epath.Path(path).open("rb") as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except (OSError, zipfile.BadZipFile, NotImplementedError, EOFError, ValueError) as error:
        raise UserError(f"--in={path} cannot be read as a zip: {error}; a folder needs --from=folder") from error
    return {member.filename.replace("\\", "/").strip("/"): member for member in members if not member.is_dir()}


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in IGNORED


def _walk_local(root: epath.Path) -> Iterator[tuple[str, int | str | None]]:
    """Yield paths with their bytes, None for folders, or the reason why they cannot be read."""
    todo: list[tuple[str, frozenset]] = [("", frozenset())]
    while todo:
        folder, above = todo.pop()
        try:
            stat = os.stat(os.path.join(root, folder))
            if (here := (stat.st_dev, stat.st_ino)) in above:
                yield folder, LOOP
                continue
            with os.scandir(os.path.join(root, folder)) as entries:
                listed = [entry for entry in entries if not _hidden(entry.name)]
        except OSError as error:
            yield folder, error.strerror or str(error)
            continue
        for entry in listed:
            path = f"{folder}/{entry.name}" if folder else entry.name
            try:
                if entry.is_dir():
                    yield path, None
                    todo.append((path, above | {here}))
                elif entry.is_file():
                    yield path, entry.stat().st_size
                elif entry.is_symlink() and not os.path.exists(entry.path):
                    yield path, "its link points to nothing"
                else:
                    yield path, "it is no regular file"
            except OSError as error:
                yield path, error.strerror or str(error)


def _walk_remote(root: epath.Path) -> Iterator[tuple[str, int | str | None]]:
    todo = [""]
    while todo:
        folder = todo.pop()
        for entry in (root / folder if folder else root).iterdir():
            if _hidden(entry.name):
                continue
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir():
                yield path, None
                todo.append(path)
            else:
                yield path, entry.stat().length


def _above(root: epath.Path, name: str) -> bytes | None:
    # An object store has nothing to resolve.
    parents = list((root if is_remote(root) else root.resolve()).parents)[:ABOVE]
    return next(((parent / name).read_bytes() for parent in parents if (parent / name).is_file()), None)
