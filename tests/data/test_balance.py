"""data.balance: classes drawn equally often."""

import dataclasses
import pickle

import numpy as np
import pytest

from biggan_jax import data
from biggan_jax.data import balance, builtin, stats
from biggan_jax.data.dataset import Images
from biggan_jax.types import UserError
from tests.conftest import tiny_config
from tests.data import conftest

COUNTS = 1, 40, 3, 200


def images_of(counts):
    """Each image is its number, in a shuffled order of classes."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int32)
    numbers = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    return Images(np.broadcast_to(numbers, (len(labels), 16, 16, 3)), labels, len(counts))


def batches(source, *, host=0, hosts=1, **changes):
    config = tiny_config()
    config.batch_size, config.d_steps, config.data.balance, config.model.num_classes = 12, 2, True, source.num_classes
    config.update_from_flattened_dict(changes)
    return data.host_batches(source, config, 0, host, hosts)


@pytest.mark.parametrize("order", ["grain", "feistel"])
def test_classes_are_drawn_equally_often(order):
    make = batches(images_of(COUNTS), **{"data.order": order})
    steps = [make(step)[0] for step in range(50)]
    labels = np.concatenate([batch["label"].ravel() for batch in steps])
    assert np.bincount(labels).tolist() == [300] * 4
    assert (np.sort(labels.reshape(-1, 4)) == np.arange(4)).all(), "each four positions hold each class"
    assert len({tuple(block) for block in labels.reshape(-1, 4)}) > 12, "in many orders"
    numbers = np.concatenate([batch["image"][..., 0, 0, 0].ravel() for batch in steps])
    assert np.bincount(numbers[labels == 1]).max() == 8, "of 40 images each is seen once in 40 draws"
    assert len(set(numbers[labels == 3][:200])) == 200 and (np.diff(numbers[labels == 3]) != 1).any()


def test_a_draw_depends_on_its_position_alone():
    found = balance.by_class(images_of(COUNTS), "here")
    whole = found.indices(3, 0, np.arange(700), "feistel")
    np.testing.assert_array_equal(whole[555::-5], found.indices(3, 0, np.arange(555, -1, -5), "feistel"))
    for seed, attempt in ((4, 0), (3, 1)):
        assert (found.indices(seed, attempt, np.arange(700), "feistel") != whole).any()
    make = batches(images_of(COUNTS))
    resumed = pickle.loads(pickle.dumps(batches(images_of(COUNTS))))  # As for worker processes.
    np.testing.assert_array_equal(make(7)[0]["image"], resumed(7)[0]["image"])


def test_two_hosts_draw_what_one_does():
    whole = batches(images_of(COUNTS))(5)[0]
    parts = [batches(images_of(COUNTS), host=host, hosts=2)(5)[0] for host in range(2)]
    for name, array in whole.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts], axis=1), array)


def test_recorded_draws_do_not_change_with_a_library():
    labels = np.array([2, 0, 1, 2, 1, 2, 0, 1, 2], np.int32)
    found = balance.by_class(Images(np.zeros((9, 1, 1, 1), np.uint8), labels, 3), "here")
    assert found.indices(5, 2, np.arange(12), "grain").tolist() == [1, 7, 8, 0, 4, 6, 3, 6, 2, 7, 1, 5]
    assert found.indices(5, 2, np.arange(12), "feistel").tolist() == [6, 4, 0, 5, 7, 1, 3, 1, 2, 7, 6, 8]


def test_a_prepared_set_is_drawn_evenly_without_unreadable_labels(all_small, monkeypatch):
    source = conftest.opened(all_small)
    labels = source.all_labels
    assert np.bincount(labels).tolist() == [24, 24, 24]
    np.testing.assert_array_equal(labels, conftest.read_all(source).labels)
    broken = labels.copy()
    broken[:10] = -1
    monkeypatch.setitem(vars(source), "all_labels", broken)
    drawn = batches(source, **{"data.crop": "center"}).classes.indices(0, 0, np.arange(3000), "feistel")
    assert drawn.min() == 10 and set(np.bincount(labels[drawn])) == {1000}


def test_labels_of_stacked_digits_are_those_of_its_images():
    source = dataclasses.replace(builtin.stacked_mnist(16, "train"), count=20)
    np.testing.assert_array_equal(source.all_labels, source.read(np.arange(20)).labels)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model.num_classes": 0}, "data.balance=True draws classes evenly, but model.num_classes is 0"),
        ({}, "data.balance=True: data.name digits has no readable image of 1 classes, by id 1"),
    ],
)
def test_balance_without_classes_to_draw_is_refused(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        batches(images_of((3, 0, 2)), **changes)


@pytest.mark.parametrize(("key", "value"), [("data.balance", True), ("model.num_classes", 0)])
def test_no_balance_is_advised_that_has_no_effect(key, value, caplog, monkeypatch):
    config = tiny_config()
    config.data.name, config.model.num_classes, config.batch_size = "digits", 2, 8
    config.update_from_flattened_dict({key: value})
    with caplog.at_level("INFO", "biggan_jax"):
        stats.before_training(images_of((9, 200)), config)
    assert (
        "classes are imbalanced: the largest has 22 times" in caplog.text and "--config.data.balance" not in caplog.text
    )
    assert ("classes are drawn evenly" in caplog.text) == config.data.balance
