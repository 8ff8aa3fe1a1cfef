import numpy as np
import pytest

from biggan_jax.evaluation.formulas import inception_score
from biggan_jax.types import UserError


def certain(labels, num_classes, logit):
    return np.float32(logit) * np.eye(num_classes, dtype=np.float32)[labels]


def test_samples_of_one_class_alone_score_one():
    assert inception_score(np.tile(np.float32([3, 1, 0]), (40, 1))) == pytest.approx((1, 0), abs=1e-12)


def test_certain_samples_spread_evenly_score_the_number_of_classes():
    logits = certain(np.arange(100) % 5, 5, 60)
    assert inception_score(logits, splits=1) == pytest.approx((5, 0), rel=1e-12)


def test_a_score_is_the_formula_written_down():
    logits = np.random.default_rng(0).normal(0, 2, (30, 4))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = np.exp((p * np.log(p / p.mean(0))).sum(1).mean())
    assert inception_score(logits, splits=1)[0] == pytest.approx(expected, rel=1e-12)


def test_samples_sorted_by_class_are_shuffled_before_they_are_split():
    mean, std = inception_score(certain(np.repeat(np.arange(10), 100), 10, 60))
    # Of 100 samples from 10 classes, the classes' shares are off by a few hundredths. Unshuffled, each split scores 1.
    assert mean > 9 and 0 < std < 0.5


def test_the_order_of_the_shuffle_depends_on_the_seed():
    logits = np.random.default_rng(0).normal(0, 2, (100, 4))
    assert inception_score(logits) == inception_score(logits)
    assert inception_score(logits) != inception_score(logits, seed=1)


def test_logits_that_underflow_a_class_give_a_score():
    assert inception_score(certain(np.zeros(20, int), 3, 1e4)) == pytest.approx((1, 0))


def test_fewer_samples_than_splits_are_refused():
    with pytest.raises(UserError, match="10 or more samples, not 4"):
        inception_score(np.zeros((4, 3)))
