"""R3GAN's networks, and what they refuse."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax.config import base
from biggan_jax.models import build_gan
from biggan_jax.state import init_state
from biggan_jax.types import UserError

SMALL = {"model.image_shape": (8, 8, 3), "model.widths": (8, 4), "model.groups": (2, 2), "model.blocks": (1, 1)}


def built(**changes):
    c = base("r3gan")
    c.update_from_flattened_dict(SMALL | {f"model.{name}": value for name, value in changes.items()})
    return build_gan(c)


def networks(gan):
    """Return functions G(z, y) and D(x, y) with initial weights."""
    params = jax.jit(lambda: {name: n.params for name, n in init_state(gan, 0).networks.items()})()
    apply = lambda name: functools.partial(jax.jit(gan.networks[name].module.apply), {"params": params[name]})
    return apply("G"), apply("D")


def test_at_first_images_and_logits_are_linear_in_z_and_image():
    """Each block is the identity."""
    G, D = networks(built())
    z = jax.random.normal(jax.random.key(0), (4, 64))
    images = G(z)
    assert images.shape == (4, 8, 8, 3) and images.std() > 0.1
    np.testing.assert_allclose(G(z[:2] + 3 * z[2:]), images[:2] + 3 * images[2:], atol=1e-4)
    logits = D(images)
    assert logits.shape == (4,)
    np.testing.assert_allclose(D(images[:2] + 3 * images[2:]), logits[:2] + 3 * logits[2:], atol=1e-4)


def test_classes_change_images_and_logits():
    G, D = networks(built(num_classes=3))
    z, y = jnp.ones((2, 64)), jnp.array([0, 2])
    images = G(z, y)
    assert abs(images[0] - images[1]).max() > 0.01
    logits = D(images[:1].repeat(2, 0), y)
    assert logits[0] != logits[1]
    mixed = D(images[:1].repeat(2, 0), jnp.array([[0.5, 0.0, 0.5], [1.0, 0.0, 0.0]]))
    np.testing.assert_allclose(mixed, [logits.mean(), logits[0]], atol=1e-5)


def test_the_largest_stages_may_compute_in_bfloat16():
    exact, low = built(), built(bfloat16_stages=1)
    assert [s.dtype for s in low.networks["G"].module.stages] == [jnp.float32, jnp.bfloat16]
    assert [s.dtype for s in low.networks["D"].module.stages] == [jnp.bfloat16, jnp.float32]
    z = jax.random.normal(jax.random.key(0), (2, 64))
    (G, D), (G_low, D_low) = networks(exact), networks(low)
    x = G(z)
    assert x.dtype == G_low(z).dtype == D_low(x).dtype == jnp.float32
    assert 0 < abs(G_low(z) - x).max() < 0.05 * abs(x).max()
    assert 0 < abs(D_low(x) - D(x)).max() < 0.05


def test_images_need_not_be_square_or_of_three_channels():
    G, D = networks(built(image_shape=(6, 10, 5)))
    images = G(jnp.ones((1, 64)))
    assert images.shape == (1, 6, 10, 5) and D(images).shape == (1,)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"groups": (2,)}, r"model.groups \(2,\) must have a number above 0 for each of the 2 stages of model.widths"),
        ({"d_blocks": (1, 0)}, r"model.d_blocks \(1, 0\) must have a number above 0"),
        ({"groups": (2, 3)}, "model.groups 3 does not divide 8, the channels of a 3x3 convolution of model.widths 4"),
        ({"image_shape": (8, 7, 3)}, "with 2 stages .* height and width must be multiples of 2"),
        ({"image_shape": (8,)}, "these networks make images"),
        ({"widths": ()}, "with 0 stages"),
    ],
)
def test_stages_that_do_not_fit_are_refused(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        built(**changes)
