"""Microbatches and bfloat16 of CycleGAN and pix2pix."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from biggan_jax.config.loading import load
from biggan_jax.family import Network
from biggan_jax.losses import LOSSES
from biggan_jax.models import build_gan
from biggan_jax.models.cyclegan import CycleGAN
from biggan_jax.models.pix2pix import Pix2Pix
from biggan_jax.models.translators import PatchDiscriminator, ResidualTranslator, UNet
from biggan_jax.state import init_state
from biggan_jax.train_step import train_step
from tests.conftest import leaves

SHAPE = (4, 4, 1)


class Small(nn.Module):
    """A map of images, or, with `flat`, of logits."""

    flat: bool = False

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(1, (3, 3))(x)
        return x[..., 0] if self.flat else jnp.tanh(x)


def family_of(kind, microbatches, **fields):
    names, channels = (("G_A", "G_B", "D_A", "D_B"), 1) if kind is CycleGAN else (("G", "D"), 2)
    networks = {}
    for name in names:
        shape = (1, *SHAPE[:2], channels if name[0] == "D" else 1)
        networks[name] = Network(
            Small(flat=name[0] == "D"), optax.sgd(0.1), lambda key, shape=shape: (jnp.zeros(shape),)
        )
    fields = {"networks": networks, "averaged": (), "image_shape": SHAPE, "loss": LOSSES["least_squares"]} | fields
    return kind(sampled=names[0], microbatches=microbatches, **fields)


def stepped(gan, count=1):
    """The state after `count` steps on the same images."""
    rng = np.random.default_rng(0)
    batch = {name: jnp.asarray(rng.uniform(-1, 1, (1, 4, *SHAPE)), jnp.float32) for name in ("image", "other")}
    state, step = init_state(gan, 0), jax.jit(lambda state: train_step(gan, state, batch))
    for _ in range(count):
        state, metrics = step(state)
    return state, metrics


@pytest.mark.parametrize("kind", [CycleGAN, Pix2Pix])
def test_microbatches_give_the_step_of_the_whole_batch(kind):
    fields = {"pool": 8, "batch_size": 4} if kind is CycleGAN else {}
    (whole, of_whole), (parts, of_parts) = (stepped(family_of(kind, n, **fields)) for n in (1, 2))
    a, b = (leaves(state.networks) for state in (whole, parts))
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-5, atol=1e-6, err_msg=name)
    for name in ("g_loss", "d_loss"):
        assert float(of_whole[name]) == pytest.approx(float(of_parts[name]), rel=1e-5)


def test_a_pool_takes_one_microbatch_after_another():
    options = {"pool": 8, "batch_size": 4}
    whole, parts = (stepped(family_of(CycleGAN, n, **options))[0].extra for n in (1, 2))
    np.testing.assert_allclose(whole["shown_A"], parts["shown_A"], rtol=1e-5, atol=1e-6)
    order = np.array([0, 2, 1, 3])  # A microbatch has every second image.
    for name in ("pool_A", "pool_B"):
        assert int(parts[name]["filled"]) == 4
        np.testing.assert_allclose(whole[name]["images"][order], parts[name]["images"][:4], rtol=1e-5, atol=1e-6)


def test_a_full_pool_loses_no_image_between_microbatches():
    gan = family_of(CycleGAN, 2, pool=3, batch_size=4)
    extra = stepped(gan, 3)[0].extra
    seen, kept = (np.round(np.asarray(x).reshape(-1, 16), 5) for x in (extra["shown_A"], extra["pool_A"]["images"]))
    assert len(np.unique(np.concatenate([seen, kept]), axis=0)) == 7, "each image is shown or kept"


def products(module, channels):
    """The types of the results of a module's convolutions, and those of its output and weights."""
    x = jnp.zeros((1, 16, 16, channels))
    params = jax.eval_shape(lambda: module.init(jax.random.key(0), x))
    program = jax.make_jaxpr(lambda p: module.apply(p, x))(params)
    kinds = re.findall(r":(\w+)\[[\d,]*\] = conv_general_dilated", str(program))
    return set(kinds), program.out_avals[0].dtype, {leaf.dtype for leaf in jax.tree.leaves(params)}


@pytest.mark.parametrize(
    "module",
    [
        lambda **k: ResidualTranslator(1, 2, 1, **k),
        lambda **k: UNet(3, 1, 2, **k),
        lambda **k: PatchDiscriminator(2, 1, **k),
        lambda **k: PatchDiscriminator(2, 1, "batch", **k),
    ],
)
def test_bfloat16_is_of_activations_alone(module):
    assert products(module(dtype=jnp.bfloat16), 1) == ({"bf16"}, np.float32, {np.dtype("float32")})
    assert products(module(), 1) == ({"f32"}, np.float32, {np.dtype("float32")})


@pytest.mark.parametrize("preset", ["cyclegan32", "pix2pix32"])
def test_presets_compute_in_bfloat16_and_in_microbatches(preset):
    c = load(f"classic/{preset}")
    c.update_from_flattened_dict({"dtype": "bfloat16", "microbatches": 2})
    gan = build_gan(c)
    assert gan.microbatches == 2
    assert {network.module.dtype for network in gan.networks.values()} == {jnp.dtype("bfloat16")}
