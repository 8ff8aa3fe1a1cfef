import numpy as np
import pytest

from biggan_jax.evaluation.formulas import kernel_distance
from biggan_jax.types import UserError


def features(count, dim=6, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal((count, dim)).astype(dtype)


def test_the_distance_is_the_unbiased_estimate_summed_pair_by_pair():
    a, b = features(7, dtype=np.float64), features(7, seed=1, dtype=np.float64) + 0.5
    kernel = lambda x, y: (x @ y / 6 + 1) ** 3
    others = lambda x: np.mean([kernel(x[i], x[j]) for i in range(7) for j in range(7) if i != j])
    expected = others(a) + others(b) - 2 * np.mean([kernel(x, y) for x in a for y in b])
    # A subset as large as the set contains all samples.
    found = kernel_distance(a, b, subsets=2, subset_size=7)
    assert found.mean == pytest.approx(expected, rel=1e-12)
    assert found.std == pytest.approx(0, abs=1e-12)


def test_the_same_distribution_is_at_a_distance_of_zero_on_average():
    found = kernel_distance(features(2000), features(2000, seed=1), subsets=50, subset_size=100)
    # Unbiased: zero within the standard error. Biased, each side's diagonal would add about 8 / 100.
    assert abs(found.mean) < 3 * found.std / np.sqrt(50) + 0.01
    assert kernel_distance(features(2000), features(2000, seed=1) + 0.5, subsets=50, subset_size=100).mean > 0.1


def test_products_in_float32_cost_no_more_than_their_rounding():
    a, b = features(300), features(300, seed=1) + 0.1
    narrow = kernel_distance(a, b, subsets=5, subset_size=200)
    wide = kernel_distance(a.astype(np.float64), b.astype(np.float64), subsets=5, subset_size=200)
    # Each kernel value is near 1 with a random error of about 1e-7, and 40,000 are averaged.
    assert narrow.mean == pytest.approx(wide.mean, abs=1e-7)


def test_subsets_are_no_larger_than_the_smaller_side():
    assert kernel_distance(features(50), features(30, seed=1), subsets=2).subset_size == 30
    assert kernel_distance(features(50), features(30, seed=1), subsets=2, subset_size=20).subset_size == 20


def test_one_sample_is_refused():
    with pytest.raises(UserError, match="2 or more samples on each side; one side has 1"):
        kernel_distance(features(50), features(1))
