import numpy as np
import pytest

from biggan_jax.tools.classes import as_weights, class_weights, id_of, ids_of
from biggan_jax.types import UserError

NAMES = lambda: ("cat", "dog")


def test_a_class_is_found_by_id_without_its_data():
    assert id_of("1", 2, lambda: pytest.fail("names were read")) == 1


def test_a_class_is_found_by_name():
    assert id_of("dog", 2, NAMES) == 1


@pytest.mark.parametrize(
    ("name", "classes", "sentence"),
    [
        ("2", 2, "class 2 is out of range: this model has classes 0 to 1"),
        ("cats", 2, "class 'cats' is unknown; did you mean 'cat'"),
        ("zebra", 2, "give an id from 0 to 1"),
        ("0+1", 2, "give an id from 0 to 1, with spaces around [+] and - in a sum"),
        ("0", 0, "this model is unconditional"),
    ],
)
def test_an_unknown_class_is_refused(name, classes, sentence):
    with pytest.raises(UserError, match=sentence):
        id_of(name, classes, NAMES)


def test_a_model_without_classes_has_class_0_alone():
    assert ids_of(["all"], 0, NAMES).tolist() == ids_of(["0"], 0, NAMES).tolist() == [0]
    with pytest.raises(UserError, match="class 1: this model is unconditional; it has no classes"):
        ids_of(["0-1"], 0, NAMES)


def test_a_name_with_a_comma_is_given_by_id():
    with pytest.raises(UserError, match="give an id from 0 to 1; names with a comma are given by id"):
        id_of("x", 2, lambda: ("a,b", "cow"))


def test_labels_become_weights_and_weights_stay():
    weights = as_weights(np.array([2, 0]), 3)
    assert weights.tolist() == [[0, 0, 1], [1, 0, 0]]
    np.testing.assert_array_equal(as_weights(weights * 2, 3), weights * 2)
    assert as_weights(np.array([0, 0]), 0).shape == (2, 0)


def test_classes_add_up_and_a_class_twice_counts_twice():
    weights = class_weights([(1, 2), (-1, 0), (0.5, 2), (0.5, 3)], 4)
    assert weights.tolist() == [-1, 0, 1.5, 0.5] and weights.dtype == np.float32


def test_a_class_alone_makes_the_images_of_its_id(sampler):
    z = sampler.latents(2)
    weights = np.repeat(class_weights([(1, 7)], 10)[None], 2, axis=0)
    # A lookup in a table and a product with a one-hot row differ by rounding.
    np.testing.assert_allclose(
        sampler.floats(z, weights, 8), sampler.floats(z, np.array([7, 7], np.int32), 8), atol=1e-6
    )
