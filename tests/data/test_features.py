"""TFDS sets with several pictures or labels, one channel, attributes, or no labels, as MNIST, CIFAR-100, LSUN and CelebA have."""

import numpy as np
import pytest
from array_record.python import array_record_module

from biggan_jax.config import base
from biggan_jax.data import before_training, features, make_source
from biggan_jax.data.records import example_type
from biggan_jax.types import UserError
from tests import cli
from tests.data.conftest import encode, read_all

tfds = pytest.importorskip("tensorflow_datasets")
F = tfds.features
COUNT = 6


def pixels(i, channels=3):
    return np.random.default_rng(i).integers(0, 256, (12, 12, channels), np.uint8)


def png(i, channels=3):
    image = pixels(i, channels)
    return encode(image[..., 0] if channels == 1 else image)


SETS = {
    "mnist": ({"image": F.Image(shape=(28, 28, 1)), "label": F.ClassLabel(num_classes=3)}, {"image": (png, 1), "label": 3}),
    "cifar100": (
        {
            "id": F.Text(),
            "image": F.Image(shape=(32, 32, 3)),
            "label": F.ClassLabel(num_classes=3),
            "coarse_label": F.ClassLabel(num_classes=2),
        },
        {"id": b"x", "image": (png, 3), "label": 3, "coarse_label": 2},
    ),
    "lsun": ({"image": F.Image(encoding_format="jpeg")}, {"image": (png, 3)}),
    "celeb_a": (
        {
            "image": F.Image(shape=(12, 12, 3)),
            "attributes": F.FeaturesDict({"Young": np.bool_, "Smiling": np.bool_, "Bald": np.bool_}),
            "landmarks": F.FeaturesDict({"lefteye_x": np.int64, "nose_x": np.int64, "nose_y": np.int64}),
        },
        {
            "image": (png, 3),
            "attributes/Young": 2,
            "attributes/Smiling": lambda i: int(i % 3 == 0),
            "attributes/Bald": 1,
            "landmarks/lefteye_x": 9,
            "landmarks/nose_x": 9,
            "landmarks/nose_y": 9,
        },
    ),
    "two pictures": (
        {"left": F.Image(), "right": F.Image(), "kind": F.ClassLabel(num_classes=3), "weight": F.Scalar(np.float32)},
        {"left": (png, 3), "right": (lambda i, c: png(i + 50, c), 3), "kind": 3, "weight": 0.5},
    ),
    "alpha": ({"image": F.Image(shape=(None, None, 4)), "label": F.ClassLabel(num_classes=3)}, {"image": (png, 4), "label": 3}),
}  # fmt: skip


def example(columns, i):
    """One example. An int is how many values a column has, by turns."""
    made = example_type()()
    for name, column in columns.items():
        feature = made.features.feature[name]
        if isinstance(column, tuple):
            feature.bytes_list.value.append(column[0](i, column[1]))
        elif isinstance(column, bytes):
            feature.bytes_list.value.append(column)
        elif isinstance(column, float):
            feature.float_list.value.append(column * i)
        else:
            feature.int64_list.value.append(column(i) if callable(column) else i % column)
    return made.SerializeToString()


def built(folder, kind):
    """Write such a set as TFDS does."""
    described, columns = SETS[kind]
    folder.mkdir()
    writer = array_record_module.ArrayRecordWriter(
        str(folder / "fake-train.array_record-00000-of-00001"), "group_size:1"
    )
    for i in range(COUNT):
        writer.write(example(columns, i))
    writer.close()
    files = tfds.core.ShardedFileTemplate(folder, dataset_name="fake", filetype_suffix="array_record")
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=F.FeaturesDict(described),
        split_infos=[tfds.core.SplitInfo("train", [COUNT], 1, files)],
        version="1.0.0",
        check_data=False,
    )
    return folder


def config(folder, shape=(12, 12, 3), classes=0, condition=0, **keys):
    c = base("cgan")
    c.model.image_shape, c.model.num_classes, c.model.condition_dim = shape, classes, condition
    c.batch_size, c.score.every = 2, 0
    c.data.update(name="tfds", dir=str(folder), **keys)
    return c


@pytest.mark.parametrize(
    ("kind", "settings", "labels"),
    [
        ("mnist", {"classes": 3, "shape": (12, 12, 1)}, [0, 1, 2, 0, 1, 2]),
        ("mnist", {"classes": 3}, [0, 1, 2, 0, 1, 2]),
        ("cifar100", {"classes": 3}, [0, 1, 2, 0, 1, 2]),
        ("cifar100", {"classes": 2, "label_key": "coarse_label"}, [0, 1, 0, 1, 0, 1]),
        ("lsun", {}, [0] * 6),
        ("celeb_a", {}, [0] * 6),
        ("celeb_a", {"classes": 2, "label_key": "attributes/Smiling"}, [1, 0, 0, 1, 0, 0]),
        ("two pictures", {"image_key": "left", "classes": 3}, [0, 1, 2, 0, 1, 2]),
        ("alpha", {"classes": 3}, [0, 1, 2, 0, 1, 2]),
    ],
)
def test_sets_of_tfds_are_read_with_their_keys(kind, settings, labels, tmp_path):
    c = config(built(tmp_path / "set", kind), **settings)
    source = make_source(c)
    read = read_all(source)
    assert not read.unreadable and read.labels.tolist() == labels
    shape = c.model.image_shape
    if kind in ("lsun", "celeb_a", "two pictures"):
        np.testing.assert_array_equal(read.images, [pixels(i) for i in range(COUNT)])
    assert read.images.shape == (COUNT, *shape)
    assert before_training(source, c)["images"] == COUNT


def test_attributes_are_conditions_in_order_of_their_names(tmp_path):
    folder = built(tmp_path / "set", "celeb_a")
    read = read_all(make_source(config(folder, condition=3, condition_key="attributes")))
    expected = [[0, i % 3 == 0, i % 2] for i in range(COUNT)]
    np.testing.assert_array_equal(read.labels, expected)
    some = config(folder, condition=2, condition_key="landmarks/nose_x, attributes/Young")
    np.testing.assert_array_equal(read_all(make_source(some)).labels, [[i % 9, i % 2] for i in range(COUNT)])
    whole, part = (make_source(c).pixel_format for c in (config(folder, condition=3, condition_key="attributes"), some))
    assert whole != part, "caches tell them apart"


@pytest.mark.parametrize(
    ("kind", "settings", "sentence"),
    [
        ("lsun", {"classes": 3}, r"has 0 features that are labels, and one is needed; a model without classes"),
        ("celeb_a", {"classes": 2}, r"data.label_key may be attributes/Bald, attributes/Smiling, attributes/Young"),
        ("two pictures", {"classes": 3}, r"has 2 features that are pictures, .*; data.image_key may be left, right"),
        ("mnist", {"label_key": "lable"}, r"data.label_key=lable is not one of .* that may be labels: label"),
        ("mnist", {"image_key": "label"}, r"data.image_key=label is not one of .* that may be pictures: image"),
        ("celeb_a", {"condition": 1, "condition_key": "hair"}, r"data.condition_key=hair is not one of .*attributes/Bald"),
        ("celeb_a", {"condition": 2, "condition_key": "attributes"}, r"has a condition of 3 numbers, but model.condition_dim is 2"),
    ],
)  # fmt: skip
def test_keys_that_are_missing_or_wrong_are_listed(kind, settings, sentence, tmp_path):
    with pytest.raises(UserError, match=sentence):
        make_source(config(built(tmp_path / "set", kind), **settings))


def test_a_set_with_keys_is_validated_and_prepared_again(tmp_path):
    folder = built(tmp_path / "set", "cifar100")
    result = cli.run("data.validate", f"--in={folder}", "--label_key=coarse_label")
    assert result.returncode == 0 and "6 images in 2 classes" in result.stdout, result.stderr
    flags = "--workers=1", "--from=tfds", f"--in={folder}", f"--out={tmp_path / 'out'}", "--label_key=coarse_label"
    result = cli.run("data.prepare", *flags, "--size=12")
    assert result.returncode == 0 and "6 images in 2 classes of 3" in result.stderr, result.stderr
    unlabelled = cli.run(
        "data.prepare", *flags[:2], f"--in={built(tmp_path / 'l', 'lsun')}", f"--out={tmp_path / 'l2'}", "--size=16"
    )
    assert unlabelled.returncode == 0 and "--config.model.num_classes=0" in unlabelled.stdout, unlabelled.stderr


def test_the_names_of_two_classes_of_an_attribute_say_which(tmp_path):
    info = tfds.builder_from_directory(built(tmp_path / "set", "celeb_a")).info
    assert features.class_names(info.features, "attributes/Smiling") == ("not Smiling", "Smiling")
