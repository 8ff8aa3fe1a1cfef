import numpy as np
import pytest

from biggan_jax.sampling.training_data import labels_of
from biggan_jax.tools.export.samples import folder_names, lacking, real_set
from tests.conftest import tiny_config


def test_each_class_lacks_what_the_largest_has_more():
    assert lacking(np.array([0, 2, 2, 2, 3]), 5).tolist() == [2, 3, 0, 2, 3]


def test_the_checkpoints_own_data_are_those_of_its_config():
    labels = labels_of(real_set(tiny_config(), "own"))
    assert len(labels) == 1497 and set(labels) == set(range(10)), "digits, of 1,797 the last 30 a class held out"


def test_classes_are_called_by_name():
    assert folder_names(("cat", "great white shark"), 2) == ["cat", "great white shark"]


OF_NO_FOLDER = [("a", name) for name in ("../x", "/etc/x", "..", ".", "", "x\0", "x\n", "\x1b[2J", "\udcff", "é" * 128)]


@pytest.mark.parametrize("names", [(), ("a", "b/c"), ("a", "a"), ("a", ".hidden"), ("a", "b", "c"), *OF_NO_FOLDER])
def test_classes_whose_names_cannot_be_folders_go_by_id(names):
    assert folder_names(names, 2) == ["0", "1"]


def test_ids_sort_by_number():
    assert folder_names((), 12)[9:] == ["09", "10", "11"]
