"""Labels by a table of files and classes, which is given or found in a set."""

import dataclasses

from etils import epath

from biggan_jax.data import label_tables
from biggan_jax.data.label_tables import Table
from biggan_jax.data.labelled import Layout, Options, dealt, left_out, unlabelled
from biggan_jax.data.names import split_folders, split_named, top_of
from biggan_jax.data.trees import Tree
from biggan_jax.types import UserError


def given(tree: Tree, path: str) -> Table:
    """Read the table of --labels, in the set or elsewhere. Raises UserError."""
    if path in tree.sizes:
        return label_tables.parse(path, tree.read(path))
    try:
        return label_tables.parse(path, epath.Path(path).read_bytes())
    except OSError as error:
        raise UserError(
            f"--labels={path} is neither auto, folders, parent, prefix, none nor a file ({error.strerror})"
        ) from error


def known(tree: Tree, pictures: list[str]) -> Table | None:
    """Return the table at the root whose name says that it has the labels, if it names the pictures."""
    for name in label_tables.KNOWN:
        if name in tree.sizes:
            table = label_tables.parse(name, tree.read(name))
            if name == label_tables.STYLEGAN and not table.rows:
                return table
            if label_tables.covers(table, pictures):
                return table
    return None


def beside(tree: Tree, pictures: list[str]) -> Table | None:
    """Return the table beside or above pictures in one folder that names them. Raises UserError if there are several."""
    found = {}
    for name in label_tables.candidates(tree):
        found[name] = label_tables.parse(name, tree.read(name))
    for name in (label_tables.KAGGLE_VAL, *label_tables.KNOWN):
        if (content := tree.above(name)) is not None:
            try:
                found.setdefault(name, label_tables.parse(name, content))
            except UserError:
                continue  # What is above the set may have nothing to do with it.
    if label_tables.TINY_VAL in tree.sizes:
        rows = label_tables.parse(label_tables.TINY_VAL, tree.read(label_tables.TINY_VAL)).rows
        pairs = [dict(zip(("file", "label"), row.values(), strict=False)) for row in rows]
        found[label_tables.TINY_VAL] = Table(label_tables.TINY_VAL, ("file", "label"), pairs)
    found = {name: table for name, table in found.items() if label_tables.covers(table, pictures)}
    if len(found) > 1:
        names = ", ".join(found)
        raise UserError(
            f"--in={tree.where} has {len(found)} tables that name its pictures: {names}; give --labels=FILE"
        )
    return next(iter(found.values()), None)


def named_after(tree: Tree, split: str, pictures: list[str]) -> Table | None:
    """Return the table beside the folder of a split that has its name, such as train.csv, and labels of its pictures."""
    for name in label_tables.candidates(tree):
        if split.lower() in name.lower():
            table = label_tables.parse(name, tree.read(name))
            if len(table.columns) > 1 and label_tables.covers(table, pictures):
                return table
    return None


def by_table(table: Table, pictures: list[str], options: Options, *, held_out: bool = False) -> Layout:
    """Label pictures by a table. held_out: whether it has the labels of a split that is not for training."""
    if table.name == label_tables.STYLEGAN and not table.rows:  # StyleGAN's way to say so.
        plain = unlabelled(pictures)
        return dataclasses.replace(plain, notes=(f"{table.name} has no labels: the set has no classes", *plain.notes))
    found = label_tables.labels(table, pictures, options.label_key, held_out=held_out)
    folders = split_folders(pictures)
    split_of = lambda path: folders.get(top_of(path), "train")
    if found.split and all(map(split_named, found.split.values())):
        split_of = lambda path: split_named(found.split.get(path, "train"))
    missing, notes = [path for path in pictures if path not in found.label], list(found.notes)
    for_training = [path for path in missing if split_of(path) == "train"]
    if held_out := len(missing) - len(for_training):  # Test pictures often have no labels.
        notes.append(f"left out: {held_out:,} held-out pictures without a label")
    if for_training:
        what = f"have no label in {table.name}, such as {for_training[0]}"
        notes.append(left_out(for_training, len(pictures) - held_out, what, allowed=options.skip_others))
    return Layout(dealt(found.label, split_of), tuple(notes))
