import dataclasses
import types

import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax.data.dataset import Images
from biggan_jax.evaluation.networks import Outputs
from biggan_jax.tools.grids.neighbours import nearest, neighbours, pixels
from biggan_jax.types import UserError


def random_images(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)


REAL = Images(random_images(23), np.zeros(23, np.int32), 1)
SAMPLES = random_images(4, seed=1)


def network():
    """A network whose features are weighted means over image rows."""
    apply = lambda params, images: Outputs(
        images.astype(jnp.float32).mean(1).reshape(len(images), -1) * params["by"], None
    )
    return types.SimpleNamespace(name="rows", params={"by": np.float32(2)}, apply=apply)


def by_hand(place, samples, real, k):
    distances = np.linalg.norm(place(samples)[:, None] - place(real), axis=-1)
    order = distances.argsort(1)[:, :k]
    return np.take_along_axis(distances, order, 1), order


def levels(x):
    return x.reshape(len(x), -1).astype(np.float64) / np.sqrt(8 * 8 * 3)


def test_neighbours_of_16_bits_are_shown_with_8():
    deep = dataclasses.replace(REAL, images=REAL.images.astype(np.uint16) * 257)
    shown, expected = (neighbours(SAMPLES, [""] * 4, source, [pixels()], 2).images for source in (deep, REAL))
    assert shown.dtype == np.uint8
    np.testing.assert_array_equal(shown, expected)


def test_the_nearest_by_batches_are_those_of_all_at_once():
    """In batches of 5, of which the last is padded."""
    found = nearest([pixels(), network()], SAMPLES, REAL, 3, batch_size=5)
    for near, place in zip(found, (levels, lambda x: x.mean(1).reshape(len(x), -1) * 2), strict=True):
        distance, number = by_hand(place, SAMPLES, REAL.images, 3)
        np.testing.assert_array_equal(near.number, number)
        # float32 sums of a few hundred squares.
        np.testing.assert_allclose(near.distance, distance, rtol=1e-5)
        assert not near.flipped.any()


def test_flipped_the_nearest_are_those_of_all_at_once():
    (near,) = nearest([pixels()], SAMPLES, REAL, 3, flip=True, batch_size=5)
    straight, turned = (
        np.linalg.norm(levels(x)[:, None] - levels(REAL.images), axis=-1) for x in (SAMPLES, SAMPLES[:, :, ::-1])
    )
    number = np.minimum(straight, turned).argsort(1)[:, :3]
    np.testing.assert_array_equal(near.number, number)
    np.testing.assert_array_equal(near.flipped, np.take_along_axis(turned < straight, number, 1))
    np.testing.assert_allclose(near.distance, np.take_along_axis(np.minimum(straight, turned), number, 1), rtol=1e-5)


def test_a_copy_is_found_no_distance_away_and_so_is_a_flipped_one():
    samples = np.stack([REAL.images[11], REAL.images[5][:, ::-1]])
    grid = neighbours(samples, ["a", "b"], REAL, [pixels()], 2, flip=True)
    assert [row[1] for row in grid.captions] == ["0.00", "0.00"]
    np.testing.assert_array_equal(grid.images[:, 1], samples)
    (plain,) = nearest([pixels()], samples, REAL, 2)
    # Rounding of float32 differences of levels up to 255.
    assert plain.distance[0, 0] < 1e-4 < plain.distance[1, 0], "without flip, mirror images do not count"


def test_each_row_has_the_nearest_images_and_distances():
    grid = neighbours(SAMPLES, list("abcd"), REAL, [pixels(), network()], 2)
    assert grid.images.shape == (4, 5, 8, 8, 3)
    np.testing.assert_array_equal(grid.images[:, 0], SAMPLES)
    distance, number = by_hand(levels, SAMPLES, REAL.images, 2)
    np.testing.assert_array_equal(grid.images[:, 1:3], REAL.images[number])
    assert [row[:3] for row in grid.captions] == [["", *(f"{d:.2f}" for d in row)] for row in distance]
    assert grid.columns == ["sample", "nearest by pixels", "", "nearest by rows", ""]
    assert grid.column_breaks == [1, 3]


def test_each_image_is_read_once_in_batches():
    read = []

    @dataclasses.dataclass(frozen=True)
    class Counted(Images):
        def read(self, numbers, across):
            read.append(len(numbers))
            return super().read(numbers, across)

    nearest([pixels(), network()], SAMPLES, Counted(REAL.images, REAL.labels, 1), 2, batch_size=5)
    assert read == [5] * 5


def test_more_neighbours_than_images_are_refused():
    with pytest.raises(UserError, match="24 nearest images were asked for, but there are 23"):
        nearest([pixels()], SAMPLES, REAL, 24)
