"""StyleGAN2's networks and updates, and what they refuse."""

import dataclasses
import functools
import logging
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax import sharding
from biggan_jax.config import base
from biggan_jax.family import Moving, Nets
from biggan_jax.models import build_gan
from biggan_jax.models.style import STATE, PathLength
from biggan_jax.state import init_shapes, init_state
from biggan_jax.types import UserError

SMALL = {"model.image_shape": (8, 8, 3), "model.channel_base": 32, "model.channel_max": 8, "model.dim_z": 6}
SMALL |= {"model.dim_w": 5, "model.mapping_layers": 2, "batch_size": 8, "loss": "non_saturating"}
SMALL |= {"regularizer.r1": 1.0, "regularizer.every": 16, "d_steps": 1}
STYLES = 4
NONE, FIXED = np.float32([0, 0]), np.float32([0, 1])


def built(mesh=None, **changes):
    c = base("stylegan2")
    c.update_from_flattened_dict(SMALL | {name.replace("__", "."): value for name, value in changes.items()})
    return build_gan(c, mesh)


@functools.cache
def conditional():
    """A small GAN of 3 classes, and its state, with noise strengths above 0."""
    gan = built(model__num_classes=3)
    state = jax.jit(lambda: init_state(gan, 0))()
    strong = lambda path, leaf: leaf + 0.5 if "noise_strength" in jax.tree_util.keystr(path) else leaf
    G = state.networks["G"]
    params = jax.tree_util.tree_map_with_path(strong, G.params)
    return gan, state.with_networks(G=G.replace(params=params, variables={**G.variables, "moving": {"w": jnp.ones(5)}}))


@functools.cache
def g_of(method):
    """A method of G, compiled, with the weights of `conditional`."""
    gan, state = conditional()
    G, rngs = state.networks["G"], {"params": jax.random.key(0)}
    apply = functools.partial(gan.networks["G"].module.apply, {"params": G.params, **G.variables}, rngs=rngs)
    return jax.jit(functools.partial(apply, method=method))


Z, Y = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32), np.int32([0, 1, 2, 0])


def test_equal_w_and_no_noise_give_equal_images():
    ws = np.random.default_rng(1).standard_normal((1, STYLES, 5)).astype(np.float32).repeat(4, 0)
    for mix in (NONE, FIXED):
        images = g_of("synthesize")(ws, mix)
        assert images.shape == (4, 8, 8, 3)
        np.testing.assert_allclose(images, images[:1].repeat(4, 0), atol=1e-6)
    noisy = g_of("synthesize")(ws, np.float32([1, 0]))
    assert abs(noisy - noisy[:1]).max() > 0.01


def test_truncation_moves_w_to_its_mean_up_to_a_cutoff():
    ws = g_of("map")(Z, Y)
    assert ws.shape == (4, STYLES, 5)
    half = g_of("map")(Z, Y, psi=np.float32([0.5, 0.5, 1, 1]))
    np.testing.assert_allclose(half[:, :2], (ws[:, :2] + 1) / 2, atol=1e-6)
    np.testing.assert_allclose(half[:, 2:], ws[:, 2:], atol=1e-6)
    np.testing.assert_allclose(g_of("map")(Z, Y, psi=np.zeros(STYLES, np.float32)), 1, atol=1e-6)


def test_style_mixing_takes_the_second_w_from_the_cutoff_on():
    first, second = g_of("map")(Z, Y), g_of("map")(Z[::-1], Y)
    mixed = g_of("map")(Z, Y, z2=Z[::-1], cutoff=np.int32([1, 2, 3, 4]))
    for i in range(4):
        np.testing.assert_allclose(mixed[i, : i + 1], first[i, : i + 1], atol=1e-6)
        np.testing.assert_allclose(mixed[i, i + 1 :], second[i, i + 1 :], atol=1e-6)


def test_classes_change_images_and_logits():
    gan, state = conditional()
    ws = g_of("map")(Z[:1].repeat(2, 0), Y[:2])
    assert abs(ws[0] - ws[1]).max() > 1e-3
    D = jax.jit(lambda x, y: gan.networks["D"].module.apply({"params": state.networks["D"].params}, x, y))
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype(np.float32)[:1].repeat(2, 0)
    logits = D(x, Y[:2])
    assert logits.shape == (2,) and logits[0] != logits[1]


def test_the_mean_of_w_moves_in_training_alone_by_the_first_latents():
    gan, state = conditional()
    G = state.networks["G"]
    nets = Nets(gan, {"G": G.params}, Moving({"G": G.variables}, {}), jax.random.key(0))
    ws = nets("G", Z, Y, z2=Z[::-1], cutoff=np.int32([0] * 4), method="map")
    expected = 0.995 + 0.005 * g_of("map")(Z, Y)[:, 0].mean(0)
    np.testing.assert_allclose(nets.moving.variables["G"]["moving"]["w"], expected, atol=1e-6)
    np.testing.assert_allclose(ws, g_of("map")(Z[::-1], Y), atol=1e-6)
    fresh = init_shapes(gan).networks["G"].variables
    assert fresh["moving"]["w"].shape == (5,) and len(jax.tree.leaves(fresh["noise"])) == 3


def test_the_first_mean_of_w_is_zero():
    gan, _ = conditional()
    assert not np.any(jax.jit(lambda: init_state(gan, 0).networks["G"].variables["moving"]["w"])())


class Linear(nn.Module):
    """w's [B, 2, 3] to images [B, 2, 2, 1], linearly."""

    @nn.compact
    def map(self, z, y):
        return jnp.broadcast_to(z[:, None], (len(z), 2, 3))

    def synthesize(self, ws):
        return jnp.einsum("bls,lshwc->bhwc", ws, MATRIX)


MATRIX = np.random.default_rng(2).standard_normal((2, 3, 2, 2, 1)).astype(np.float32)


def test_path_lengths_of_a_linear_generator_are_those_of_its_matrix():
    gan = built(model__style_mixing=0.0)
    network = dataclasses.replace(gan.networks["G"], module=Linear())
    path = PathLength(3.0, 4, 0.1, 2)
    gan = dataclasses.replace(gan, networks={**gan.networks, "G": network}, image_shape=(2, 2, 1), path=path)
    nets = Nets(gan, {"G": {}}, Moving({"G": {}}, {STATE: jnp.float32(2)}), jax.random.key(0))
    noise = np.random.default_rng(3).standard_normal((4, 2, 2, 1)).astype(np.float32)
    batch = {"z": np.ones((4, 3), np.float32), "fake_label": Y, "label": np.zeros(8, np.int32), "path_noise": noise}
    loss, metrics = gan.path_loss(nets, batch, jax.random.key(0))
    along = np.einsum("lshwc,bhwc->bls", MATRIX, noise) / 2
    lengths = np.sqrt(np.square(along).sum(2).mean(1))
    mean = 0.9 * 2 + 0.1 * lengths.mean()
    assert float(metrics["g_path_length"]) == pytest.approx(lengths.mean(), rel=1e-5)
    assert float(nets.extra[STATE]) == pytest.approx(mean, rel=1e-5)
    assert float(loss) == pytest.approx(12 * np.square(lengths - mean).mean(), rel=1e-5)


def test_a_step_updates_g_then_d_and_penalties_are_lazy():
    updates = built().updates()
    assert [(u.trains, u.prefix, u.every) for u in updates] == [
        (("G",), "g", 1), (("G",), "g_path", 4), (("D",), "d", 1), (("D",), "d_lazy", 16),
    ]  # fmt: skip
    assert [u.prefix for u in built(model__path_length=0.0).updates()] == ["g", "d", "d_lazy"]
    batch = updates[1].draw(jax.random.key(0), 8)
    assert {name: len(a) for name, a in batch.items()} == dict.fromkeys(batch, 4)
    assert batch["path_noise"].shape == (4, 8, 8, 3)


def test_a_share_of_images_is_mixed_from_each_layer_on():
    draw = lambda **changes: built(**changes).updates()[0].draw(jax.random.key(0), 2000)
    cutoff = np.asarray(draw()["cutoff"])
    assert np.mean(cutoff < STYLES) == pytest.approx(0.9, abs=0.03)
    assert set(cutoff.tolist()) == {1, 2, 3, 4}
    assert "z2" not in draw(model__style_mixing=0.0)


def test_adam_is_corrected_for_lazy_updates():
    """One step of Adam from gradients g, after which the second moment is (1 - b2) g^2."""
    gan, plain = built(optimizer__b2=0.99, optimizer__g_lr=0.1, optimizer__d_lr=0.1), {"w": jnp.ones(2)}
    for name, share in (("G", 4 / 5), ("D", 16 / 17)):
        optimizer = gan.networks[name].optimizer
        updates, state = optimizer.update({"w": jnp.float32([2, -2])}, optimizer.init(plain), plain)
        np.testing.assert_allclose(updates["w"], [-0.1 * share, 0.1 * share], rtol=1e-4)
        (nu,) = (leaf for leaf in jax.tree.leaves(state) if leaf.shape == (2,))
        np.testing.assert_allclose(nu, (1 - 0.99**share) * 4, rtol=1e-4)


def test_the_largest_stages_may_compute_in_bfloat16():
    low = built(model__image_shape=(16, 16, 3), model__bfloat16_stages=4)
    types = lambda name, stages: [(stage.height, stage.dtype.name) for stage in stages]
    expected = [(4, "float32"), (8, "bfloat16"), (16, "bfloat16")]
    assert types("G", low.networks["G"].module.synthesis.stages) == expected
    assert types("D", low.networks["D"].module.stages) == expected[::-1]
    state = init_shapes(low)
    G, D = (low.networks[name].module for name in "GD")
    weights = {name: {"params": state.networks[name].params, **state.networks[name].variables} for name in "GD"}
    rngs = {"params": jax.random.key(0)}
    images = jax.eval_shape(lambda v, z: G.apply(v, z, rngs=rngs), weights["G"], Z)
    assert images.shape == (4, 16, 16, 3) and images.dtype == jnp.float32
    assert jax.eval_shape(lambda v, x: D.apply(v, x), weights["D"], images).dtype == jnp.float32


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
def test_images_need_not_be_square_or_of_three_channels(architecture):
    changes = {"model__g_architecture": architecture, "model__d_architecture": architecture}
    gan = built(model__image_shape=(16, 24, 5), **changes)
    state = init_shapes(gan)
    constant = state.networks["G"].params["synthesis"]["block_4"]["constant"]
    assert constant.shape == (4, 6, 8)
    named = {"to_image" in state.networks["G"].params["synthesis"][f"block_{size}"] for size in (4, 8)}
    assert named == {architecture == "skip"}
    assert ("skip" in state.networks["D"].params["block_8"]) == (architecture == "resnet")
    assert ("image_4" in state.networks["D"].params) == (architecture == "skip")
    images = jax.eval_shape(lambda s: gan.sample(s.networks["G"].params, s.networks["G"].variables, Z, None), state)
    assert images.shape == (4, 16, 24, 5)


def test_samples_depend_on_psi_and_the_kind_of_noise():
    gan, state = conditional()
    G = state.networks["G"]
    draw = jax.jit(lambda sampling: gan.sample(G.params, {**G.variables, "sampling": sampling}, Z, Y))
    one = draw({"psi": np.zeros(STYLES, np.float32), "mix": FIXED})
    np.testing.assert_allclose(one, one[:1].repeat(4, 0), atol=1e-6)
    other = draw({"psi": np.ones(STYLES, np.float32), "mix": FIXED})
    np.testing.assert_allclose(other, g_of("synthesize")(g_of("map")(Z, Y), FIXED), rtol=1e-5, atol=1e-6)
    assert abs(other - other[:1]).max() > 0.01


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"image_shape": (8,)}, "these networks make images"),
        ({"image_shape": (12, 12, 3)}, "the shorter side must be 8, 16, 32"),
        ({"image_shape": (4, 4, 3)}, "the shorter side must be 8, 16, 32"),
        ({"image_shape": (16, 22, 3)}, "the longer one a multiple of a quarter of it"),
        ({"channel_base": 7}, "model.channel_base 7 leaves no channels at 8 pixels; it must be at least that"),
        ({"d_stddev_maps": 3}, "model.d_stddev_maps=3 does not divide D's 8 last channels"),
        ({"path_shrink": 3}, "a batch_size of 8 is not a multiple of 3"),
    ],
)
def test_what_does_not_fit_is_refused(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        built(**{f"model__{name}": value for name, value in changes.items()})


@pytest.mark.parametrize(
    ("group", "batch", "said"),
    [
        (3, 8, "=3 does not divide 8, .*: it compares groups of 1"),
        (4, 6, "groups of 2"),
        (4, 8, ""),
        (0, 6, ""),
        (9, 6, ""),
    ],
)
def test_a_group_that_does_not_divide_the_batch_is_made_smaller(group, batch, said, caplog):
    """Checkpoints of such configs go on loading."""
    logging.getLogger("biggan_jax").propagate = True
    built(batch_size=batch, model__d_stddev_group=group)
    assert re.search(f"model.d_stddev_group{said}" if said.startswith("=") else said, caplog.text)
    assert bool(said) == ("d_stddev_group" in caplog.text)


def test_the_batch_of_path_lengths_must_fit_the_devices():
    mesh = sharding.make_mesh()
    with pytest.raises(UserError, match="a batch_size of 8 is not a multiple of 16 .* use model.path_shrink=1"):
        built(mesh)
    assert built(mesh, model__path_shrink=1).path.shrink == 1
