"""Networks from image to image, and the games of CycleGAN and pix2pix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax.losses import LOSSES
from biggan_jax.models import image_pool
from biggan_jax.models.cyclegan import CycleGAN
from biggan_jax.models.translators import PatchDiscriminator, ResidualTranslator, UNet, reflect
from biggan_jax.types import UserError


@pytest.mark.parametrize(
    ("module", "channels", "expected"),
    [
        (ResidualTranslator(), 3, 11_378_179),
        (PatchDiscriminator(), 3, 2_764_737),
        (UNet(), 3, 54_413_955),
        (PatchDiscriminator(norm="batch"), 6, 2_768_705),
    ],
)
def test_networks_have_the_papers_parameters(module, channels, expected):
    image = jax.ShapeDtypeStruct((1, 256, 256, channels), np.float32)
    out, network = jax.eval_shape(lambda x: module.init_with_output(jax.random.key(0), x), image)
    assert sum(leaf.size for leaf in jax.tree.leaves(network["params"])) == expected
    assert out.shape == ((1, 30, 30) if isinstance(module, PatchDiscriminator) else (1, 256, 256, 3))


def test_a_logit_sees_70_pixels():
    # In evaluation, batch norm is of no image, so that the gradient's support is the receptive field.
    module = PatchDiscriminator(ch=2, norm="batch")
    x = jax.random.normal(jax.random.key(1), (1, 128, 128, 1))
    network = jax.jit(module.init)(jax.random.key(0), x)
    slope = jax.jit(jax.grad(lambda x: module.apply(network, x)[0, 7, 7]))(x)
    rows = np.flatnonzero(np.abs(slope)[0, :, :, 0].sum(1))
    assert rows.max() - rows.min() + 1 == 70


def test_images_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="30 x 32: this network needs sides that are multiples of 4"):
        jax.eval_shape(lambda x: ResidualTranslator().init(jax.random.key(0), x), jnp.zeros((1, 30, 32, 3)))
    with pytest.raises(UserError, match="multiples of 256"):
        jax.eval_shape(lambda x: UNet().init(jax.random.key(0), x), jnp.zeros((1, 128, 256, 3)))
    with pytest.raises(UserError, match="the least side is 4"):
        reflect(jnp.zeros((1, 3, 8, 1)), 3)


def test_a_pool_fills_then_exchanges_half_of_the_images():
    images = jnp.arange(400.0).reshape(400, 1, 1, 1) + 1
    pool, seen = jax.jit(image_pool.exchange)(image_pool.empty(50, (1, 1, 1)), images, jax.random.key(0))
    seen, kept = np.ravel(seen), set(np.ravel(pool["images"]))
    np.testing.assert_array_equal(seen[:50], np.arange(50) + 1)
    old = seen[50:] != np.arange(50, 400) + 1
    assert 0.4 < old.mean() < 0.6, "half of the time an old image is seen"
    assert len(kept) == 50 and kept.isdisjoint(seen[50:][old]), "an image that was taken out is seen once"
    assert len(set(seen[50:][old])) == old.sum() and (seen[50:][old] < np.arange(50, 400)[old] + 1).all()
    assert pool["filled"] == 50


def test_a_pool_continues_where_it_stopped():
    images, keys = jnp.arange(30.0).reshape(30, 1, 1, 1), jax.random.split(jax.random.key(0), 3)
    pool = image_pool.empty(8, (1, 1, 1))
    for i in range(3):
        pool, _ = image_pool.exchange(pool, images[10 * i : 10 * i + 10], keys[i])
        assert pool["filled"] == min(10 * i + 10, 8)
    none, seen = image_pool.exchange(image_pool.empty(0, (1, 1, 1)), images, keys[0])
    assert seen is images and len(none["images"]) == 0


def test_identities_have_no_cycle_or_identity_loss():
    gan = CycleGAN(networks={}, image_shape=(4, 4, 3), loss=LOSSES["least_squares"], batch_size=2, pool=0)

    class Identities:
        extra = gan.initial_extra()

        def __call__(self, name, x, **_):
            return x if name.startswith("G") else jnp.ones(x.shape[:3])

    rng = np.random.default_rng(0)
    batch = {name: jnp.asarray(rng.uniform(-1, 1, (2, 4, 4, 3)), jnp.float32) for name in ("image", "other")}
    batch |= gan.places(jax.random.key(0), 2)
    nets = Identities()
    loss, metrics = gan.generator_loss(nets, batch, jax.random.key(0))
    assert loss == 0 and {float(value) for value in metrics.values()} == {0.0}
    np.testing.assert_array_equal(nets.extra["shown_A"], batch["image"])
    np.testing.assert_array_equal(nets.extra["shown_B"], batch["other"])
