"""ADA, APA and their probability in the losses of a GAN of dense networks."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax import config as configs
from biggan_jax.augment import GROUPS, STATE, Ada, Probability
from biggan_jax.models import build_gan
from biggan_jax.types import UserError
from tests.families import test_regularizers
from tests.families.test_regularizers import losses

plain = test_regularizers.plain

ALL = Ada(tuple((group, 1.0) for group in GROUPS))


@pytest.mark.parametrize("network", ["D", "G"])
def test_all_that_d_sees_is_augmented_with_the_probability(plain, network):
    before, *_ = losses(plain, network)
    at = lambda p: losses(plain, network, ada=ALL, augment_p=Probability(p))[0]
    assert at(0.0) == before
    assert abs(at(1.0) - before) > 1e-3


def test_gradient_penalties_are_by_images_before_augmentation(plain):
    terms, flips = (("r1", 1.0), ("r2", 1.0)), Ada((("cutout", 1.0),))
    before, after = (losses(plain, "D", terms=terms, ada=flips, augment_p=Probability(p))[1] for p in (0.0, 1.0))
    # Where a hole is cut, the logits do not depend on the image.
    assert 0 < after["d_r1"] < before["d_r1"] and 0 < after["d_r2"] < before["d_r2"]


def test_the_probability_is_a_metric_and_may_follow_the_step(plain):
    of = lambda first, step: losses(plain, "D", ada=ALL, augment_p=Probability(first), step=step)[1]["augment_p"]
    assert of(0.25, 0) == 0.25
    assert of(lambda step: 0.1 * step, 3) == pytest.approx(0.3)


def test_an_adapted_probability_moves_by_the_images_seen():
    p = Probability(0.1, target=0.6, speed=100, every=8)
    state = p.initial()
    for logits, expected in [((1, 1, 1, -1), 0.1), ((2, 2, 2, 2), 0.18), ((1, 1, 1, -1), 0.18), ((0, 1, 0, -1), 0.10)]:
        state = p.adapted(state, jnp.float32(logits))
        assert float(p.at({STATE: state}, 0)) == pytest.approx(expected)
    for _ in range(6):
        state = p.adapted(state, -jnp.ones(4))
    assert float(state["p"]) == 0
    assert float(state["images"]) == 0


def test_a_gan_keeps_its_adapted_probability(plain):
    p = Probability(0.5, target=0.6, speed=80, every=8)
    gan = dataclasses.replace(plain[0], ada=ALL, augment_p=p)
    assert gan.initial_extra()[STATE]["p"] == 0.5
    _, metrics, nets = losses(plain, "D", ada=ALL, augment_p=p)
    assert metrics["augment_p"] == 0.5 and -1 <= metrics["d_signs"] <= 1
    moved = 0.1 if metrics["d_signs"] > 0.6 else -0.1
    assert float(nets.extra[STATE]["p"]) == pytest.approx(0.5 + moved)
    with pytest.raises(UserError, match="augment.target adapts to whole batches"):
        dataclasses.replace(gan, d_chunks=2).check_chunks({})
    dataclasses.replace(gan, augment_p=Probability(0.5), d_chunks=2).check_chunks({})


def test_apa_shows_fake_images_as_real_ones(plain):
    none, some, all_ = (losses(plain, "D", apa=True, augment_p=Probability(p))[1] for p in (0.0, 0.5, 1.0))
    before = losses(plain, "D")[1]
    assert none["d_real"] == before["d_real"]
    assert all_["d_real"] == pytest.approx(before["d_fake"], rel=1e-5)
    assert some["d_real"] not in (none["d_real"], all_["d_real"])
    assert some["d_fake"] == before["d_fake"]


def built(**changes):
    c = configs.base("gan")
    c.update_from_flattened_dict({key.replace("__", "."): value for key, value in changes.items()})
    return build_gan(c)


def test_a_config_describes_augmentation():
    gan = built(augment__ada=("colour:0.5,blit", "cutout"), augment__p=0.2, batch_size=32)
    assert gan.ada.strengths == (("blit", 1.0), ("colour", 0.5), ("cutout", 1.0))
    assert gan.augment_p == Probability(0.2, 0.0, 500_000, 128)
    gan = built(augment__ada=("blit",), schedule__augment_p="cosine:0:0.3:100", batch_size=50)
    np.testing.assert_allclose([gan.augment_p.at({}, step) for step in (0, 1, 2)], [0, 0.15, 0.3], rtol=1e-6)
    gan = built(augment__apa=True, augment__target=0.6, augment__speed=1e5)
    assert gan.apa and gan.ada is None and gan.initial_extra()[STATE]["p"] == 0
    assert built().augment_p is None and not built().initial_extra()


def test_strengths_of_gradient_penalties_follow_their_schedule():
    gan = built(regularizer__r1=2.0, regularizer__cr=1.0, schedule__penalties="cosine:1:0.1:100", batch_size=50)
    (_, r1), (_, cr) = gan.terms
    np.testing.assert_allclose([r1(step) for step in (0, 1, 2, 9)], [2, 1.1, 0.2, 0.2], rtol=1e-6)
    assert cr == 1.0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"augment__ada": ("color",), "augment__p": 0.1}, "augment.ada 'color' is unknown; did you mean colour"),
        ({"augment__ada": ("colour:x",), "augment__p": 0.1}, "'colour:x': the factor"),
        ({"augment__ada": ("colour:2",), "augment__p": 0.1}, "greater than 0 and at most 1"),
        ({"augment__ada": ("blit",)}, "have no effect while augment.p is 0"),
        ({"augment__p": 0.5}, "augment.p=0.5 has no effect without augment.ada or augment.apa"),
        ({"augment__target": 0.6}, "augment.target=0.6 has no effect"),
        ({"schedule__augment_p": "linear:0:1:9"}, "schedule.augment_p=.*no effect without augment.ada"),
        ({"augment__apa": True, "schedule__augment_p": "linear:0:2:9"}, "a probability is at most 1"),
        ({"augment__apa": True, "schedule__augment_p": "linear:0:1:9", "augment__p": 0.5}, "set it to 0, the sched"),
        ({"augment__apa": True, "schedule__augment_p": "linear:0:1:9", "augment__target": 0.6}, "use one of them"),
        ({"augment__ada": ("blit",), "augment__p": 0.5, "model__image_shape": (2,)}, "but the data are vectors"),
        ({"schedule__penalties": "linear:0:1:9"}, "schedule.penalties=.*no effect without a gradient penalty"),
    ],
)
def test_augmentation_without_effect_is_refused(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        built(**changes)


def test_classes_of_fake_images_join_mixtures_of_classes():
    from biggan_jax.augment import replace

    y = jnp.float32([[0.5, 0.5, 0], [0, 1, 0]])
    image = jnp.arange(2.0).reshape(2, 1)
    real, label = replace(image, y, image + 10, jnp.array([2, 1]), jax.random.key(0), 1.0)
    np.testing.assert_array_equal(real[:, 0], [11, 10])
    np.testing.assert_array_equal(label, [[0, 1, 0], [0, 0, 1]])
