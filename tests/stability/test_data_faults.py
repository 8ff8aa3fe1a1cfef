"""Signals and rules that hear faults of the data: wrong labels, repeated pictures, classes that G or D has lost."""

import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax.conditioning import Output
from biggan_jax.gan import GAN
from biggan_jax.stability import batches
from biggan_jax.stability.classes import agreement, other_labels
from biggan_jax.stability.rules import evaluate, is_healthy, rules_of
from tests.stability.test_rules import records

RNG = np.random.default_rng(0)
REAL = RNG.integers(0, 256, (64, 16, 16, 3), dtype=np.uint8)


def seen(images):
    return {name: float(value) for name, value in batches.signals_of(images[None], REAL).items()}


def test_a_batch_of_different_images_is_distinct():
    signals = seen(RNG.integers(0, 256, (32, 16, 16, 3), dtype=np.uint8))
    assert signals["batch_distinct"] == 1 and signals["batch_spread"] == pytest.approx(1, abs=0.1)


def test_one_picture_in_a_batch_is_counted_also_mirrored():
    one = RNG.integers(0, 256, (1, 16, 16, 3), dtype=np.uint8).repeat(32, axis=0)
    assert seen(one)["batch_distinct"] == pytest.approx(1 / 32) and seen(one)["batch_spread"] < 1e-3
    assert float(batches.signals_of(one[None], one)["batch_distinct"]) == pytest.approx(1 / 32), "probes see it, too"
    one[::2] = one[::2, :, ::-1]
    assert seen(one)["batch_distinct"] == pytest.approx(1 / 32)


def test_nearly_constant_pictures_have_no_spread_though_they_differ():
    signals = seen(RNG.integers(120, 124, (32, 16, 16, 3), dtype=np.uint8))
    assert signals["batch_distinct"] == 1 and signals["batch_spread"] < 0.05


def test_points_and_images_of_an_earlier_stage_are_compared():
    points = RNG.normal(size=(1, 64, 2)).astype(np.float32)
    assert float(batches.signals_of(points, points[0])["batch_distinct"]) > 0.95
    small = REAL.reshape(64, 4, 4, 4, 4, 3).mean((2, 4)).astype(np.uint8)
    assert 0.2 < float(batches.signals_of(small[None], REAL)["batch_spread"]) < 1


def test_few_images_have_no_signals():
    assert batches.signals_of(REAL[None, :4], REAL) == {}


Y = jnp.array([0, 1, 2, 2])
OTHER = other_labels(Y, 3)
CLASSES = jnp.eye(3)[Y]


@pytest.mark.parametrize(
    ("own", "other"),
    [
        (jnp.ones(4), jnp.zeros(4)),  # Projection: the logit depends on the label.
        (Output(jnp.zeros(4), classes=CLASSES), Output(jnp.zeros(4), classes=CLASSES)),
        (
            Output(jnp.zeros(4), embedding=CLASSES, proxy=CLASSES),
            Output(jnp.zeros(4), embedding=CLASSES, proxy=-CLASSES),
        ),
    ],
    ids=["projection", "classes", "proxies"],
)
def test_agreement_of_every_head_of_d(own, other):
    gan = type("Three", (), {"num_classes": 3, "logit_of": GAN.logit_of})()
    assert all(OTHER != Y)
    assert float(agreement(gan, own, other, Y)) == 1
    assert float(agreement(gan, own, own, Y)) == (1 if getattr(own, "classes", None) is not None else 0.5)


def test_an_agreement_of_outputs_that_are_not_finite_is_nan():
    gan = type("Three", (), {"num_classes": 3, "logit_of": GAN.logit_of})()
    assert np.isnan(agreement(gan, jnp.full(4, jnp.nan), jnp.zeros(4), Y))


@pytest.mark.parametrize(
    ("signal", "healthy", "broken", "probes", "words"),
    [
        ("batch_distinct", 1.0, 1 / 64, 2, "the real images of a step are copies of few"),
        ("batch_spread", 0.9, 0.1, 2, "the real images of a step are nearly one"),
        ("real_agreement", 0.95, 0.5, 3, "D no longer knows the classes of real images"),
        ("class_distance", 0.4, 0.1, 3, "samples hardly depend on their class any more"),
        ("sample_agreement", 0.95, 0.5, 3, "samples no longer show their classes"),
    ],
)
def test_faults_of_the_data_trip_a_rule(signal, healthy, broken, probes, words):
    run = lambda count: records(then=[{signal: broken}] * count, **{signal: healthy})
    assert evaluate(run(probes - 1)) is None and is_healthy(run(0)) and not is_healthy(run(1))
    verdict = evaluate(run(probes))
    assert (verdict.signal, verdict.onset) == (signal, 200) and words in verdict.sentence
    of_batch = signal.startswith("batch")
    assert (evaluate(run(probes)[20 - 5 :], rules=rules_of((16, 16, 3), fine_tuned=True)) is not None) == of_batch


def test_an_untrained_g_is_not_what_later_classes_are_compared_with():
    """The first values are of a relativistic GAN on digits: untrained networks spread classes more than learning ones."""
    fell = [0.32, 0.33, 0.37, 0.31, 0.30, 0.24, 0.20, 0.17, 0.15, 0.14, 0.13, 0.13, 0.15, 0.16, 0.15, 0.14]
    seen = records(0, then=[{"class_distance": value} for value in fell])
    assert not any(evaluate(seen[: i + 1]) for i in range(len(seen)))
    lost = evaluate([*seen, *records(3, class_distance=0.01)])
    assert lost and lost.signal == "class_distance"


def test_an_agreement_that_falls_slowly_is_healthy():
    """D's preference shrinks as samples get better."""
    falls = [{"real_agreement": 0.95 * 0.995**i} for i in range(100)]
    seen = records(1, then=falls)
    assert not any(evaluate(seen[: i + 1]) for i in range(len(seen)))
    unsure = records(then=[{"real_agreement": 0.5}] * 5, real_agreement=0.7)
    assert evaluate(unsure) is None, "a D that never knew the classes"
