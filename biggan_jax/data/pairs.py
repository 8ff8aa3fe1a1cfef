"""Pictures of two domains, A and B, for `prepare`: pairs, or two sets without pairs."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from etils import epath

from biggan_jax.config import some
from biggan_jax.data import drawings, raw, splits, trees
from biggan_jax.data.label_tables import PICTURES
from biggan_jax.data.labelled import MOST_LEFT_OUT, ONE_CLASS, Options
from biggan_jax.data.names import DOMAIN, split_named
from biggan_jax.data.picture import UnreadableError
from biggan_jax.data.raw import Corpus, Files, Item, Rules
from biggan_jax.data.trees import Tree
from biggan_jax.sampling.pictures import png
from biggan_jax.types import UserError

DOMAINS = "A", "B"


class Pair(NamedTuple):
    """The paths of a pair; the second is "" if the first holds both in its halves."""

    a: str
    b: str = ""


@dataclasses.dataclass(frozen=True)
class PairFiles:
    """Pairs of pictures, by their paths relative to two roots. Their sizes in bytes reveal changes."""

    root: str
    other_root: str
    pairs: tuple[Pair, ...]
    sizes: tuple[tuple[int, int], ...] = ()

    def __iter__(self) -> Iterator[Item | str]:
        for a, b in self.pairs:
            name = a
            try:
                encoded, name = (epath.Path(self.root) / a).read_bytes(), b
                other = (epath.Path(self.other_root) / b).read_bytes() if b else b""
                yield Item(a, 0, encoded, other=other)
            except OSError as error:
                yield f"{name}: {error.strerror or error}"

    def selected(self, wanted: Callable[[bytes], bool]) -> Iterator[Item]:
        """Yield the readable pictures whose first bytes are wanted, each by itself."""
        for root, paths in zip((self.root, self.other_root), zip(*self.pairs, strict=True), strict=True):
            present = tuple(filter(None, paths))
            yield from Files(root, present, (0,) * len(present)).selected(wanted)


@dataclasses.dataclass(frozen=True)
class DrawnFiles:
    """Pictures with their line drawings as A. size: of the set's pictures. sizes: of the files, which reveal changes."""

    root: str
    paths: tuple[str, ...]
    size: int
    sizes: tuple[int, ...] = ()

    def __iter__(self) -> Iterator[Item | str]:
        for path in self.paths:
            try:
                drawing, image = drawings.pair((epath.Path(self.root) / path).read_bytes(), self.size)
                yield Item(path, 0, png(drawing), other=png(image))
            except OSError as error:
                yield f"{path}: {error.strerror or error}"
            except UnreadableError as error:
                yield f"{path}: {error}"


def drawn(root: epath.Path, size: int, rules: Rules) -> Corpus:
    """List the pictures of a folder, at any depth, each to be paired with its line drawing: B and A. Raises UserError without any.

    size: the shorter side of the set's pictures.
    """
    tree = trees.of_folder(root)
    found: dict[str, list[Pair]] = {}
    for path in sorted(_pictures(tree)):
        found.setdefault(_split_first(path)[0], []).append(Pair(path))
    if "train" not in found:
        raise UserError(f"{tree.where} has no picture in the split train; it has {some(found)}")
    parts = {}
    for split, pairs in _held_out(found, rules).items():
        count = -(-len(pairs) // rules.per_part)
        each = [tuple(pair.a for pair in pairs[i::count]) for i in range(count)]
        parts[split] = [DrawnFiles(str(root), own, size, tuple(map(tree.sizes.__getitem__, own))) for own in each]
    return Corpus((ONE_CLASS,), parts, ("A is the lines of each picture, B is the picture",))


def paired(root: epath.Path, other: epath.Path | None, rules: Rules, *, skip_others: bool = False) -> Corpus:
    """List the pairs of a folder: of two folders with the same names in it, or of pictures that hold both in their halves.

    other: the folder of B, if `root` is that of A. Raises UserError if pictures have no partner, unless `skip_others`.
    """
    tree = trees.of_folder(root)
    found, notes = ({}, []) if other else _halves(tree)
    second = trees.of_folder(other) if other else tree
    if not found:
        found, notes = _matched(tree, _two_folders(tree, second), skip_others=skip_others)
    size = lambda pair: (tree.sizes[pair.a], second.sizes[pair.b] if pair.b else 0)
    parts = {}
    for split, pairs in _held_out(found, rules).items():
        count = -(-len(pairs) // rules.per_part)
        each = [tuple(pairs[i::count]) for i in range(count)]
        roots = str(root), str(other or root)
        parts[split] = [PairFiles(*roots, own, tuple(map(size, own))) for own in each]
    return Corpus((ONE_CLASS,), parts, tuple(notes))


def unpaired(root: epath.Path, other: epath.Path | None, rules: Rules, options: Options) -> Corpus:
    """List two sets of pictures as the classes A and B: two folders, CycleGAN's trainA, trainB, testA, testB, or with `other`.

    other: the folder of B, if `root` is that of A. Raises UserError if there are not two.
    """
    if other is None:
        _refuse_half(root)
        found = raw.folder(root, rules, options)
        if (count := len(found.class_names)) != 2:
            have = f"{count} folder{'s' * (count != 1)} of pictures ({some(found.class_names)})"
            raise UserError(f"--in={root} has {have}; two are needed, or give that of B as --other=FOLDER")
        a, b = found.class_names
        return dataclasses.replace(found, notes=(*found.notes, f"A is {a}, B is {b}"))
    parts: dict[str, list[raw.Part]] = {}
    for label, folder in enumerate((root, other)):
        tree = trees.of_folder(folder)
        names = {path: label for path in _pictures(tree)}
        held = splits.held_out(names, DOMAINS, rules.held_out, rules.split, rules.seed) if rules.held_out else set()
        for split in ("train", "test"):
            own = sorted(path for path in names if (path in held) == (split == "test"))
            count = -(-len(own) // rules.per_part)
            each = [tuple(own[i::count]) for i in range(count)]
            files = [
                Files(str(folder), part, (label,) * len(part), tuple(tree.sizes[p] for p in part)) for part in each
            ]
            parts.setdefault(split, []).extend(files)
    found = {split: own for split, own in parts.items() if own}
    return Corpus(DOMAINS, found, (f"A is {root}, B is {other}",))


def _refuse_half(root: epath.Path) -> None:
    """Raise UserError if a folder has trainA, testA, ... but none of B, or the reverse."""
    tops = {path.partition("/")[0] for path in _pictures(trees.of_folder(root))}
    named = {top: match[2] for top in sorted(tops) if (match := DOMAIN.fullmatch(top))}
    if len(set(named.values())) == 1:
        (have,) = set(named.values())
        lacks = "B" if have == "A" else "A"
        missing = " and ".join(f"{top[:-1]}{lacks}" for top in named)
        way = (
            "" if have == "B" else f", or give {root}/{next(iter(named))} as --in and the folder of B as --other=FOLDER"
        )
        raise UserError(f"--in={root} has {some(named)}, but not {missing}; add it{way}")


def _pictures(tree: Tree) -> list[str]:
    found = [path for path in tree.sizes if path.lower().endswith(PICTURES)]
    if not found:
        raise UserError(f"{tree.where} has no pictures ({', '.join(PICTURES)}){'; it is empty' * (not tree.sizes)}")
    return found


def _halves(tree: Tree) -> tuple[dict[str, list[Pair]], list[str]]:
    """Return the pairs of pictures that hold both, by split; empty if the folder is not of this form."""
    paths = _pictures(tree)
    tops = {path.partition("/")[0] for path in paths if "/" in path}
    is_split = {top: split_named(top) for top in tops}
    if any("/" not in path for path in paths) != (not tops) or not all(is_split.values()):
        return {}, []
    if any(path.count("/") > 1 for path in paths):  # SPLIT/A/FILE.
        return {}, []
    found: dict[str, list[Pair]] = {}
    for path in paths:
        found.setdefault(is_split.get(path.partition("/")[0], "train"), []).append(Pair(path))
    if "train" not in found:
        raise UserError(f"{tree.where} has the splits {some(tops)}, but needs train")
    return found, ["each picture holds a pair: A is its left half, B is its right half"]


class Sides(NamedTuple):
    """The pictures of A and of B: {(split, name without suffix): path}. note: what was assumed."""

    a: Mapping[tuple[str, str], str]
    b: Mapping[tuple[str, str], str]
    note: str


def _two_folders(tree: Tree, second: Tree) -> Sides:
    """Find the folders of A and B. Raises UserError if that is not clear."""
    if second is not tree:
        a, b = (_by_name({path: _split_first(path) for path in _pictures(one)}, one) for one in (tree, second))
        return Sides(a, b, f"A is {tree.where}, B is {second.where}")
    placed = {path: _domain(path) for path in _pictures(tree)}
    names = sorted({name for name, *_ in placed.values()})
    if len(names) != 2 or "" in names:
        folders = f"{len(names)} folder{'s' * (len(names) != 1)} of pictures ({some(names)})"
        have = folders if all(names) else "pictures beside its folders"
        wanted = "two folders with the same names, or pictures that hold both halves, are needed"
        raise UserError(f"{tree.where} has {have}; {wanted}, or give the folder of B as --other=FOLDER")
    a, b = (_by_name({p: rest for p, (own, *rest) in placed.items() if own == name}, tree) for name in names)
    return Sides(a, b, f"A is {names[0]}, B is {names[1]}")


def _domain(path: str) -> tuple[str, str, str]:
    """Return (folder of the domain, split, name) of a path: DOMAIN/FILE, DOMAIN/SPLIT/FILE, SPLIT/DOMAIN/FILE or trainA/FILE."""
    first, _, rest = path.partition("/")
    if found := DOMAIN.fullmatch(first):
        return found[2], split_named(found[1]), rest
    if split := split_named(first):
        second, _, inner = rest.partition("/")
        return (second, split, inner) if inner else ("", split, rest)
    return (first, *_split_first(rest)) if rest else ("", "train", first)


def _split_first(path: str) -> tuple[str, str]:
    """Return (split, rest) of a path that may begin with the folder of a split."""
    first, _, rest = path.partition("/")
    return (split_named(first), rest) if rest and split_named(first) else ("train", path)


def _by_name(placed: Mapping[str, Sequence[str]], tree: Tree) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for path, (split, name) in placed.items():
        key = split, name.rpartition(".")[0]
        if key in found:
            raise UserError(f"{tree.where} has two pictures of one name, {found[key]} and {path}; rename one")
        found[key] = path
    return found


def _matched(tree: Tree, sides: Sides, *, skip_others: bool) -> tuple[dict[str, list[Pair]], list[str]]:
    """Join the pictures of the same name. Raises UserError if more than a tenth of them has no partner."""
    alone = [path for key, path in sides.a.items() if key not in sides.b]
    alone += [path for key, path in sides.b.items() if key not in sides.a]
    of = len(sides.a) + len(sides.b)
    notes = [sides.note]
    if alone:
        what = f"{len(alone):,} of {of:,} pictures have no partner of the same name, such as {alone[0]}"
        if len(alone) == of or (len(alone) > MOST_LEFT_OUT * of and not skip_others):
            way = "" if len(alone) == of else ", or leave them out with --skip_others"
            raise UserError(f"{what} ({sides.note}); rename them{way}")
        notes.append(f"left out: {what}")
    found: dict[str, list[Pair]] = {}
    for key in sorted(sides.a.keys() & sides.b.keys()):
        found.setdefault(key[0], []).append(Pair(sides.a[key], sides.b[key]))
    if "train" not in found:
        raise UserError(f"{tree.where} has no pair in the split train; it has {some(found)}")
    return found, notes


def _held_out(found: dict[str, list[Pair]], rules: Rules) -> dict[str, list[Pair]]:
    how = rules.held_out, rules.split, rules.seed
    return splits.divided(found, lambda pair: pair.a, *how, "pictures", ONE_CLASS)
