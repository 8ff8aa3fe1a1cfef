"""StyleGAN's networks: layers by their formula, stages, fades, style mixing, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax.config import base
from biggan_jax.family import Moving, Nets
from biggan_jax.growth import reduced
from biggan_jax.layers.resample import upsample
from biggan_jax.models import build_gan
from biggan_jax.models.growing import COLLECTION
from biggan_jax.models.stylegan import Mapping, StyledLayer
from biggan_jax.state import init_state
from biggan_jax.types import UserError

LAST, B, STYLES = 2, 4, 6
SMALL = {"model.image_shape": (16, 16, 3), "model.fmap_base": 32, "model.fmap_max": 6, "model.dim_z": 5}
SMALL |= {"model.dim_w": 7, "model.mapping_layers": 2, "model.num_classes": 3, "model.start_size": 4}
SMALL |= {"model.train_images": 64, "model.fade_images": 48, "batch_size": 8, "d_steps": 1}
SMALL |= {"loss": "non_saturating", "regularizer.r1": 10.0}


def built(**changes):
    c = base("stylegan")
    c.update_from_flattened_dict(SMALL | {name.replace("__", "."): value for name, value in changes.items()})
    return build_gan(c)


@functools.cache
def model():
    """(GAN, state with biases and strengths of noise away from 0)."""
    gan = built()
    state = jax.jit(lambda: init_state(gan, 0))()
    moved = lambda name: "bias" in name or "noise_strength" in name
    wave = lambda x: np.asarray(x) + 0.3 * np.cos(np.arange(x.size, dtype=np.float32)).reshape(x.shape)
    move = lambda path, x: wave(x) if moved(path[-1].key) else x
    networks = {
        name: network.replace(params=jax.tree_util.tree_map_with_path(move, network.params))
        for name, network in state.networks.items()
    }
    return gan, state.replace(networks=networks)


@functools.cache
def compiled(name, stage, **options):
    module = model()[0].networks[name].module.clone(stage=stage)
    return jax.jit(functools.partial(module.apply, rngs={"params": jax.random.key(0)}, **options))


def of(name, stage, lod, *inputs, **options):
    network = model()[1].networks[name]
    variables = {"params": network.params, **network.variables, COLLECTION: {"lod": jnp.float32(lod)}}
    return compiled(name, stage, **options)(variables, *inputs)


Z = np.random.default_rng(0).standard_normal((B, 5)).astype(np.float32)
Y = np.int32([0, 1, 2, 0])
X = np.random.default_rng(1).uniform(-1, 1, (B, 16, 16, 3)).astype(np.float32)
FIXED = np.float32([0, 1])


def test_a_layer_is_its_formula_in_float64():
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((2, 3, 4, 2)), rng.standard_normal((2, 5))
    layer = StyledLayer(6, up=True)
    shapes = jax.eval_shape(lambda: layer.init({"params": jax.random.key(0)}, np.float32(x), np.float32(w), FIXED))
    drawn = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape), shapes)
    with jax.enable_x64(True):
        found = layer.apply(drawn, x, w, FIXED, rngs={"params": jax.random.key(0)})
    own, noise = drawn["params"], drawn["noise"]["noise"]["fixed"]
    large = np.pad(x.repeat(2, 1).repeat(2, 2), ((0, 0), (1, 1), (1, 1), (0, 0)))
    kernel = own["conv"]["kernel"] * np.sqrt(2 / (9 * 2))
    y = sum(large[:, i : i + 6, j : j + 8] @ kernel[i, j] for i in range(3) for j in range(3))
    y = np.pad(y, ((0, 0), (1, 1), (1, 1), (0, 0)))
    f = np.array([1, 2, 1]) / 4
    y = sum(f[i] * f[j] * y[:, i : i + 6, j : j + 8] for i in range(3) for j in range(3))
    y = y + own["noise_strength"] * noise[..., None] + own["bias"]
    y = np.where(y > 0, y, 0.2 * y)
    y = y - y.mean((1, 2), keepdims=True)
    y = y / np.sqrt(np.square(y).mean((1, 2), keepdims=True) + 1e-8)
    style = (w @ (own["style"]["kernel"] / np.sqrt(5)) + own["style"]["bias"])[:, None, None]
    # Instance norm computes its statistics in float32.
    np.testing.assert_allclose(found, y * (style[..., :6] + 1) + style[..., 6:], rtol=1e-4, atol=1e-5)


def test_the_mapping_is_its_formula():
    network = model()[1].networks["G"]
    own = jax.tree.map(lambda leaf: np.asarray(leaf).astype(float), network.params["mapping"])
    x = np.concatenate([Z.astype(float), own["embed"]["embedding"][Y]], 1)
    x /= np.sqrt(np.square(x).mean(1, keepdims=True) + 1e-8)
    for layer in (own["dense_0"], own["dense_1"]):
        x = x @ (layer["kernel"] * 0.01 * np.sqrt(2 / x.shape[1])) + 0.01 * layer["bias"]
        x = np.where(x > 0, x, 0.2 * x)
    found = Mapping((7, 7), 3).apply({"params": network.params["mapping"]}, Z, Y)
    np.testing.assert_allclose(found, x, rtol=1e-4, atol=1e-5)
    assert np.std(own["dense_0"]["kernel"]) == pytest.approx(100, rel=0.3)


@pytest.mark.parametrize(("stage", "lod"), [(1, 1.6), (0, 2.0)])
def test_the_layers_of_a_stage_give_what_all_layers_give(stage, lod):
    images = of("G", None, lod, Z, Y, FIXED)
    assert images.shape == (B, 16, 16, 3)
    np.testing.assert_allclose(of("G", stage, lod, Z, Y, FIXED), images, atol=2e-6)
    small = jax.eval_shape(lambda: of("G", stage, lod, Z, Y, FIXED, train=True, mutable="moving")[0])
    assert small.shape == (B, 4 << stage, 4 << stage, 3)
    alone = of("D", stage, lod, reduced(X, 4 >> stage), Y)
    np.testing.assert_allclose(alone, of("D", None, lod, X, Y), atol=2e-5)


def test_a_fade_begins_with_the_stage_before():
    before = of("G", 1, 1.0, Z, Y, FIXED)
    np.testing.assert_allclose(of("G", 2, 1.0, Z, Y, FIXED), before, atol=1e-6)
    np.testing.assert_array_equal(before, upsample(before[:, ::2, ::2]))


def test_the_label_chooses_d_s_logit():
    logits = np.stack([of("D", 0, 2.0, reduced(X, 4), np.full(B, label, np.int32)) for label in range(3)], 1)
    assert np.ptp(logits, axis=1).min() > 1e-3
    np.testing.assert_allclose(of("D", 0, 2.0, reduced(X, 4), Y), logits[np.arange(B), Y], rtol=1e-6)
    mixed = of("D", 0, 2.0, reduced(X, 4), np.full((B, 3), 1 / 3, np.float32))
    np.testing.assert_allclose(mixed, logits.mean(1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("lod", "layers"), [(2.0, 2), (1.4, 4), (1.0, 4), (0.0, 6)])
def test_styles_are_mixed_among_the_layers_that_images_have(lod, layers):
    gan, state = model()
    drawn = gan.draw(jax.random.key(0), 2000)
    variables = {"G": {**state.networks["G"].variables, COLLECTION: {"lod": jnp.float32(lod)}}}
    found = gan.mixing(Nets(gan, {"G": {}}, Moving(variables, {}), jax.random.key(0)), drawn)
    cutoff = np.asarray(found["cutoff"])
    assert set(cutoff.tolist()) == {*range(1, layers), STYLES}
    assert np.mean(cutoff < STYLES) == pytest.approx(0.9, abs=0.03)
    counts = np.bincount(cutoff)[1:layers]
    assert counts.max() < 1.25 * counts.min()
    assert not gan.mixing(Nets(gan, {"G": {}}, Moving(variables, {}), jax.random.key(0)), {})


def test_a_step_updates_d_then_g_at_its_stage():
    gan = built()
    assert [(u.trains, u.prefix, u.every) for u in gan.updates()] == [(("D",), "d", 1), (("G",), "g", 1)]
    stages = [gan.in_step(step).stage for step in (0, 20, 40)]
    assert stages == [0, 1, 2]
    assert gan.in_step(20).batch_shape(8) == (8, 8, 8, 3)


def test_half_lives_count_the_images_of_each_stage():
    gan = built(model__batch_sizes=(16,), ema__half_life=100.0, ema__ramp=0.5)
    first = gan.growth.starts[1]
    assert first.step > 4 and first.images == 16 * first.step
    expected = [0.5 ** (16 / (0.5 * 16 * 4)), 0.5 ** (8 / min(100, 0.5 * (first.images + 8 * 8)))]
    found = [float(gan.in_step(step).ema_decay_at(jnp.int32(step))) for step in (4, first.step + 8)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model__fmap_base": 2}, "fmap_base 2 leaves no channels"),
        ({"model__start_size": 6}, "images of height 16 have the stages 4, 8, 16"),
        ({"model__stddev_group": 3}, "stddev_group=3 does not divide 8"),
        ({"condition__d": "ac"}, "D of model.family stylegan has no head for classes"),
        ({"d_chunks": 2}, "D compares the images of its batch"),
    ],
)
def test_what_does_not_fit_is_refused(changes, words):
    with pytest.raises(UserError, match=words):
        built(**changes)
