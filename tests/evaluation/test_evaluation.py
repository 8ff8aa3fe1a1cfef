import json

import numpy as np
import pytest

from biggan_jax.data import embedded
from biggan_jax.evaluation import classifier, judge
from biggan_jax.evaluation.scores import frechet_distance
from tests.conftest import family_of


def test_the_distance_between_equal_features_is_zero():
    x = np.random.default_rng(0).standard_normal((500, 8))
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)


def test_the_distance_between_diagonal_gaussians_is_the_closed_form():
    # Columns made exactly uncorrelated, so that the closed form for diagonal covariances holds to rounding.
    x = np.linalg.qr(np.c_[np.ones(200), np.random.default_rng(0).standard_normal((200, 3))])[0][:, 1:] * np.sqrt(199)
    a, b = x * [1, 2, 3] + [1, 0, 0], x * [2, 2, 1] + [0, 0, 2]
    expected = (1 + 4) + (1 - 2) ** 2 + (3 - 1) ** 2
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_fewer_features_than_dimensions_give_a_finite_distance():
    rng = np.random.default_rng(0)
    distance = frechet_distance(rng.standard_normal((5, 20)), rng.standard_normal((5, 20)))
    assert np.isfinite(distance) and distance > 0


@pytest.fixture(scope="session")
def fitted():
    return classifier.fit(embedded.mnist5k(16, "train"), steps=800)


def test_the_classifier_reads_held_out_digits(fitted):
    """The bar of the demo's judgement, which fits twice as long: 0.96 held out."""
    train, held_out = embedded.mnist5k(16, "train"), embedded.mnist5k(16, "test")
    accuracy, distance = judge.judge_real(fitted, train, held_out)
    assert accuracy >= 0.96
    noise = np.random.default_rng(0).integers(0, 256, held_out.images.shape, dtype=np.uint8)
    assert frechet_distance(fitted(held_out.images)[1], fitted(noise)[1]) > 10 * distance


def test_an_untrained_generator_agrees_by_chance_alone(fitted, game):
    gan, state = game
    if family_of(gan) != "biggan":
        pytest.skip("one family is enough")
    held_out = embedded.mnist5k(16, "test")
    agreement, distance = judge.judge_samples(
        gan, state.ema_params, state.generator.stats["spectral"], fitted, held_out, num=200
    )
    # Chance is 0.1; an untrained G's classes look alike, so it may be twice that, never half of all.
    assert agreement < 0.3
    assert distance > 50
    assert "Not Inception FID" in judge.PROTOCOL
    json.dumps({"class_agreement": agreement, "frechet_distance": distance})
