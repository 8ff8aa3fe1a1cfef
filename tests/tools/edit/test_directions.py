import numpy as np
import pytest

from biggan_jax.tools.edit import directions
from biggan_jax.types import UserError


def latents(num=2000, dim=12):
    return np.random.default_rng(0).normal(size=(num, dim)).astype(np.float32)


def test_a_planted_direction_is_found():
    z = latents()
    planted = np.zeros(12)
    planted[[2, 5]] = 0.6, -0.8
    noise = np.random.default_rng(1).normal(size=len(z)) * 0.3
    found = directions.find(z, (z @ planted + noise > 0).astype(int))
    assert found.vector @ planted > 0.98
    # The best possible accuracy: noise flips atan(0.3) / pi = 9 % of the labels. For 400 held out, a deviation is 1.4 %.
    assert 0.86 < found.accuracy < 0.96
    assert np.linalg.norm(found.vector) == pytest.approx(1) and found.vector.dtype == np.float32


def test_random_labels_are_predicted_at_chance():
    found = directions.find(latents(), np.random.default_rng(1).integers(0, 2, 2000))
    # For 400 held-out labels, a standard deviation is 2.5 %.
    assert abs(found.accuracy - 0.5) < 0.1 and 0.5 <= found.chance < 0.6


def test_a_direction_no_better_than_chance_is_warned_of(caplog):
    z = latents(300)
    directions.find(z, (z[:, 3] > 0).astype(int))
    assert not caplog.records
    found = directions.find(z, (np.random.default_rng(1).random(300) > 0.3).astype(int))
    assert found.accuracy <= found.chance
    assert f"held-out accuracy {found.accuracy:.3f} is not above chance, {found.chance:.3f}" in caplog.text


def test_labels_that_z_separates_have_a_direction_too():
    z = latents(300)
    assert directions.find(z, (z[:, 3] > 0).astype(int)).vector[3] > 0.9
    fewer_than_entries = directions.find(z[:10], np.arange(10) % 2)
    assert np.linalg.norm(fewer_than_entries.vector) == pytest.approx(1)


def test_one_label_only_has_no_direction():
    with pytest.raises(UserError, match="at least 5 samples with both labels"):
        directions.find(latents(50), np.ones(50, int))
    with pytest.raises(UserError, match="there are 4 samples"):
        directions.find(latents(4), np.array([0, 1, 0, 1]))


def test_scores_are_above_or_below_the_median_of_their_class():
    labels = directions.as_labels(np.array([1.0, 2, 3, 10, 20, 30]), np.array([0, 0, 0, 1, 1, 1]))
    assert labels.tolist() == [0, 0, 1, 0, 0, 1]
    mixtures = np.repeat([[0.5, 0.5], [1.0, 0.0]], 3, axis=0)
    assert directions.as_labels(np.array([1.0, 2, 3, 10, 20, 30]), mixtures).tolist() == [0, 0, 1, 0, 0, 1]


def test_labels_stay_what_they_are():
    assert directions.as_labels(np.array([1.0, 1, 1, 0]), np.zeros(4, int)).tolist() == [1, 1, 1, 0]


def test_moved_latents_go_both_ways_through_where_they_were():
    z = latents(2)
    vector = np.eye(12, dtype=np.float32)[4]
    moved, steps = directions.moved(z, vector, 2.0, 5)
    assert moved.shape == (2, 5, 12) and steps.tolist() == [-2, -1, 0, 1, 2]
    np.testing.assert_array_equal(moved[:, 2], z)
    np.testing.assert_allclose(moved[:, -1] - z, np.repeat(2 * vector[None], 2, axis=0), atol=1e-6)
