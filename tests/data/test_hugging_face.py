"""Data sets of the Hugging Face hub: Parquet and Arrow tables of pictures."""

import json

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from biggan_jax.data import forms, hugging_face, shards, trees
from biggan_jax.data.raw import Rules
from biggan_jax.types import UserError
from tests import cli
from tests.data.conftest import encode, opened, read_all

PICTURES = np.random.default_rng(0).integers(0, 256, (10, 12, 12, 3), np.uint8)


def table(numbers, labels=None, names=None, **more):
    """Rows of these pictures; names: those of the hub's ClassLabel."""
    rows = {"image": [{"bytes": encode(PICTURES[i]), "path": f"{i}.png"} for i in numbers]}
    rows |= {"label": labels if labels is not None else [i % 3 for i in numbers]}
    rows |= more
    features = {"image": {"_type": "Image"}} | ({"label": {"_type": "ClassLabel", "names": names}} if names else {})
    described = json.dumps({"info": {"features": features}})
    return pyarrow.table(rows).replace_schema_metadata({"huggingface": described})


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        parquet.write_table(rows, path, row_group_size=2)
        return
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, rows.schema) as stream:
        stream.write_table(rows, max_chunksize=2)


def prepared(root, out, rules=Rules(), **keys):  # noqa: B008  Frozen.
    found = hugging_face.corpus(trees.of_folder(root), rules, **keys)
    shards.prepare(found, out, "set", forms.Form(12), map)
    return found, opened(out, resolution=12)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("data/train-00000-of-00001-5f.parquet", "data/test-00000-of-00001-5f.parquet"),
        ("default/train/0000.parquet", "default/validation/0000.parquet"),
        ("train/data-00000-of-00001.arrow", "test/data-00000-of-00001.arrow"),
    ],
)
def test_tables_of_the_hub_become_a_set(train, test, tmp_path):
    names = ["cat", "dog", "cow"]
    write(tmp_path / "in" / train, table(range(7), names=names))
    write(tmp_path / "in" / test, table(range(7, 10), names=names))
    found, source = prepared(tmp_path / "in", tmp_path / "out", Rules(per_part=3))
    assert found.class_names == ("cat", "dog", "cow")
    read = read_all(source)
    np.testing.assert_array_equal(read.images, PICTURES[:7])
    assert read.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    np.testing.assert_array_equal(read_all(opened(tmp_path / "out", "test", resolution=12)).images, PICTURES[7:])


def test_labels_without_names_are_in_natural_order(tmp_path):
    labels = [10, 2, None, 10, 2, 2, 10, 10, 2, 2]
    write(tmp_path / "in/train.parquet", table(range(10), labels=labels))
    found, source = prepared(tmp_path / "in", tmp_path / "out")
    assert found.class_names == ("2", "10")
    assert read_all(source).labels.tolist() == [1, 0, 1, 0, 0, 1, 1, 0, 0]
    held = hugging_face.corpus(trees.of_folder(tmp_path / "in"), Rules(held_out=2))
    sizes = {split: [len(part.numbers) for part in parts] for split, parts in held.splits.items()}
    assert sizes == {"train": [5], "test": [4]}


@pytest.mark.parametrize(
    ("more", "keys", "sentence"),
    [
        ({"other": [1, 2]}, {"label_key": "colour"}, "--label_key=colour is not one of the columns"),
        (
            {"mask": [{"bytes": b"x"}] * 2},
            {"image_key": "left"},
            "--image_key=left is not one of the columns .*: image, mask",
        ),
    ],
)
def test_columns_that_are_not_there_are_listed(more, keys, sentence, tmp_path):
    write(tmp_path / "train.parquet", table(range(2), **more))
    with pytest.raises(UserError, match=sentence):
        hugging_face.corpus(trees.of_folder(tmp_path), Rules(), **keys)


def test_configs_beside_each_other_are_told_apart(tmp_path):
    for name in ("small", "large"):
        write(tmp_path / name / "train-0.parquet", table(range(2)))
    with pytest.raises(
        UserError, match=r"tables in 2 folders, which may be several configs: --in=\S+/large, --in=\S+/small"
    ):
        hugging_face.corpus(trees.of_folder(tmp_path), Rules())
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/train.parquet").write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(UserError, match="cannot be read as a table"):
        hugging_face.corpus(trees.of_folder(tmp_path / "bad"), Rules())


def test_the_command_reads_tables_and_folders_of_the_hub(all_pictures, tmp_path):
    write(tmp_path / "in/train.parquet", table(range(10)).drop(["label"]))
    flags = "--workers=1", "--from=hf", "--size=12"
    refused = cli.run("data.prepare", *flags, f"--in={tmp_path / 'in'}", f"--out={tmp_path / 'out'}")
    cli.refused(refused, "has 0 columns of labels; give --label_key, one of none, or --labels=none")
    done = cli.run("data.prepare", *flags, f"--in={tmp_path / 'in'}", f"--out={tmp_path / 'out'}", "--labels=none")
    assert done.returncode == 0 and "10 images in 1 class" in done.stderr, done.stderr
    folder = cli.run("data.prepare", *flags, f"--in={all_pictures}", f"--out={tmp_path / 'folder'}")
    assert folder.returncode == 0 and "72 images in 3 classes" in folder.stderr, folder.stderr


@pytest.mark.parametrize("column", ["caption", "number"])
def test_a_column_of_captions_has_no_classes(column, tmp_path):
    values = {"caption": [f"picture {i} of many" for i in range(30)], "number": list(range(30))}[column]
    rows = {"image": [{"bytes": b"x", "path": ""}] * 30, column: values}
    described = {"image": {"_type": "Image"}, column: {"_type": "Value"}}
    stored = pyarrow.table(rows).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": described}})})
    write(tmp_path / "train.parquet", stored)
    with pytest.raises(UserError, match=f"column '{column}' of .* has 30 different values for 30 pictures"):
        hugging_face.corpus(trees.of_folder(tmp_path), Rules(), "", column)


def test_numbers_that_no_feature_names_are_classes(tmp_path):
    rows = {"image": [{"bytes": b"x", "path": ""}] * 6, "label": [7, 5, 7, 5, 7, 7]}
    described = {"image": {"_type": "Image"}, "label": {"_type": "Value", "dtype": "int64"}}
    stored = pyarrow.table(rows).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": described}})})
    write(tmp_path / "train.parquet", stored)
    found = hugging_face.corpus(trees.of_folder(tmp_path), Rules())
    assert found.class_names == ("5", "7") and found.splits["train"][0].labels == (1, 0, 1, 0, 1, 1)
