"""CoGAN: its networks, what its domains share, and what it reads."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax import config as configs
from biggan_jax import data
from biggan_jax.config.loading import load
from biggan_jax.data import builtin, domains
from biggan_jax.data.dataset import Images
from biggan_jax.models import build_gan, cogan
from biggan_jax.state import init_shapes
from biggan_jax.types import UserError
from tests.conftest import benchmark_script


def config_of(**changes):
    c = load("classic/cogan_narrow")
    c.update_from_flattened_dict({"batch_size": 8} | changes)
    configs.validate(c)
    return c


def test_networks_have_the_authors_parameters_and_sizes():
    gan = build_gan(load("classic/cogan"))
    state = init_shapes(gan)
    counts = {name: sum(x.size for x in jax.tree.leaves(network.params)) for name, network in state.networks.items()}
    assert counts == {"G": 7_842_694, "D": 427_593} and gan.image_shape == (28, 56, 1)
    assert "batch_stats" in state.networks["G"].variables and not state.networks["D"].variables


def test_shared_layers_of_d_get_the_sum_of_both_domains_gradients():
    D = cogan.Discriminator()
    x = jax.random.uniform(jax.random.key(0), (2, 28, 56, 1), minval=-1)
    params = jax.jit(D.init)(jax.random.key(1), x)["params"]

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def gradient(params, chosen):
        logits = D.apply({"params": params}, x)
        return (logits @ chosen).sum(), logits

    (a, logits), (b, _), (both, _) = (gradient(params, np.float32(chosen)) for chosen in ([1, 0], [0, 1], [1, 1]))
    assert logits.shape == (2, 2)
    for name in ("conv_1", "conv_2", "linear"):
        for leaf, first, second in zip(*(jax.tree.leaves(tree[name]) for tree in (both, a, b)), strict=True):
            np.testing.assert_allclose(leaf, first + second, rtol=1e-4, atol=1e-5)
            assert jnp.abs(first).max() > 0 and jnp.abs(second).max() > 0
    assert not jnp.abs(a["conv_0_b"]["kernel"]).max() and not jnp.abs(b["conv_0_a"]["kernel"]).max()


def test_a_pair_of_g_differs_only_in_the_last_layer():
    gan = build_gan(config_of(**{"model.ch": 2, "model.dim_z": 4}))
    module, z = gan.networks["G"].module, jnp.ones((1, 4))
    arrays = jax.jit(module.init)(jax.random.key(0), z)
    params = dict(arrays["params"])
    params["conv_4_b"] = params["conv_4_a"]
    pair = jax.jit(module.apply)({**arrays, "params": params}, z)
    assert pair.shape == (1, 28, 56, 1)
    np.testing.assert_array_equal(pair[:, :, :28], pair[:, :, 28:])


def test_training_reads_two_domains_apart_and_tools_their_pairs():
    images = np.arange(8, dtype=np.uint8)[:, None, None, None] + np.zeros((8, 28, 28, 2), np.uint8)
    source = domains.SideBySide(Images(images, np.zeros(8, np.int32), 1, first=1), (28, 28))
    c = config_of()
    batches = [data.host_batches(source, c, 0)(step)[0]["image"] for step in range(4)]
    a, b = (np.concatenate([batch[0, :, 0, column, 0] for batch in batches]) for column in (0, 55))
    assert batches[0].shape == (1, 8, 28, 56, 1) and (a != b).mean() > 0.5
    assert all(sorted(order[:8]) == list(range(8)) for order in (a, b))
    pairs = source.read(np.arange(8), np.full(8, 0.5)).images
    assert pairs.shape == (8, 28, 56, 1) and (pairs[:, :, :28] == pairs[:, :, 28:]).all()
    apart = domains.SideBySide(Images(images[..., :1], np.arange(8, dtype=np.int32) % 2, 2), (28, 28))
    assert data.host_batches(apart, c, 0)(0)[0]["image"].shape == (1, 8, 28, 56, 1)
    with pytest.raises(UserError, match="have no pairs to compare with"):
        apart.read(np.arange(2), np.full(2, 0.5))


def test_images_of_another_size_are_refused():
    with pytest.raises(UserError, match=r"\(32, 32, 1\): cogan makes images of 28 x 28 pixels"):
        build_gan(config_of(**{"model.image_shape": (32, 32, 1)}))


def test_pairs_are_measured_pixel_by_pixel_and_by_their_shift():
    script = benchmark_script("cogan")
    a = np.zeros((2, 12, 12), np.uint8)
    a[:, 4:8, 4:8] = 255
    edge = builtin.edges(a)
    assert {name: of(a, edge) for name, of in script.MEASURES.items()} == dict.fromkeys(script.MEASURES, 1.0)
    moved = np.roll(edge, (1, -2), (1, 2))
    assert script.best_shift(a, moved) == (-1, 2) and script.best_shift(a, edge) == (0, 0)
    # 20 white pixels each.
    beside = np.roll(edge, 1, 1)
    shared = ((edge > 0) & (beside > 0)).sum() / 2
    assert script.overlap(a, beside) == shared / (40 - shared)
    assert script.agreement(a, beside) == 1 - 2 * (20 - shared) / 144
    grey = np.where(edge > 0, 100, 0).astype(np.uint8)
    assert script.overlap(a, grey) == 0 and script.MEASURES["iou_above_a_quarter"](a, grey) == 1
