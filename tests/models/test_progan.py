"""ProGAN's networks: each stage alone computes what all do, fades begin with the stage before, and what is refused."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from biggan_jax.checkpoint import load_arrays, load_generator
from biggan_jax.config import base
from biggan_jax.growth import reduced
from biggan_jax.layers.equalized import EqualizedConv, EqualizedDense
from biggan_jax.layers.resample import upsample
from biggan_jax.models import build_gan
from biggan_jax.models.growing import COLLECTION
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.state import init_shapes, init_state
from biggan_jax.train import train
from biggan_jax.train_step import train_step
from biggan_jax.types import UserError
from tests.conftest import leaves, with_optimizers

LAST, B = 2, 8


def config(**changes):
    """Return the config of a small ProGAN of 16 pixels, which grows within 36 steps."""
    c = base("progan")
    c.batch_size, c.d_steps, c.loss, c.condition.labels = B, 1, "wasserstein", "real"
    c.regularizer.gp, c.regularizer.drift = 10.0, 0.001
    small = {"image_shape": (16, 16, 3), "fmap_base": 32, "fmap_max": 6, "dim_z": 5}
    c.model.update(**small, train_images=64, fade_images=48)
    c.update_from_flattened_dict({name.replace("__", "."): value for name, value in changes.items()})
    return c


@pytest.fixture(scope="module")
def model():
    """(GAN, state with biases away from 0, function of a role, stage, lod and inputs to the network's output)."""
    gan = build_gan(config(model__num_classes=3, condition__d="ac"))
    state = jax.jit(lambda: init_state(gan, 0))()
    move = lambda path, x: x + 0.1 * jnp.cos(jnp.arange(x.size)).reshape(x.shape) if "bias" in path[-1].key else x
    networks = {
        name: network.replace(params=jax.tree_util.tree_map_with_path(move, network.params))
        for name, network in state.networks.items()
    }
    state = state.replace(networks=networks)
    apply = {
        (name, stage): jax.jit(network.module.clone(stage=stage).apply)
        for name, network in gan.networks.items()
        for stage in (None, 0, 1, 2)
    }
    of = lambda name, stage, lod, *inputs: apply[name, stage](
        {"params": networks[name].params, COLLECTION: {"lod": jnp.float32(lod)}}, *inputs
    )
    return gan, state, of


Z = np.random.default_rng(0).standard_normal((B, 5)).astype(np.float32)
Y = np.arange(B, dtype=np.int32) % 3
X = np.random.default_rng(1).uniform(-1, 1, (B, 16, 16, 3)).astype(np.float32)


@pytest.mark.parametrize(("stage", "lod"), [(2, 0.0), (2, 0.3), (1, 1.0), (1, 1.6), (0, 2.0)])
def test_the_layers_of_a_stage_give_what_all_layers_give(model, stage, lod):
    _, _, of = model
    images = of("G", None, lod, Z, Y)
    assert images.shape == (B, 16, 16, 3)
    np.testing.assert_allclose(of("G", stage, lod, Z, Y), images, atol=2e-6)
    for x in (images, X):
        whole, alone = of("D", None, lod, x), of("D", stage, lod, reduced(np.asarray(x), 4 >> stage))
        np.testing.assert_allclose(alone.logit, whole.logit, atol=2e-5)
        np.testing.assert_allclose(alone.classes, whole.classes, atol=2e-5)


@pytest.mark.parametrize("stage", [1, 2])
def test_a_fade_begins_with_the_stage_before(model, stage):
    """alpha = 0: the image is that of the stage before, upsampled, and D sees the image averaged."""
    _, _, of = model
    lod = LAST - stage + 1.0
    before = of("G", stage - 1, lod, Z, Y)
    np.testing.assert_allclose(of("G", stage, lod, Z, Y), before, atol=1e-6)
    half = of("G", stage, lod - 0.5, Z, Y)
    np.testing.assert_allclose(half, (before + of("G", stage, lod - 1, Z, Y)) / 2, atol=1e-5)
    new, old = (of("D", stage - i, lod, reduced(X, 4 >> (stage - i))).logit for i in (0, 1))
    np.testing.assert_allclose(new, old, atol=1e-5)


@pytest.mark.slow
def test_a_step_of_a_stage_is_that_of_all_layers(model):
    """Real images, the blend of them, the scale of the gradient penalty and both updates."""
    gan, state, _ = model
    gan = with_optimizers(gan, G=optax.sgd(0.1), D=optax.sgd(0.1))
    fresh = lambda name, network: network.replace(opt_state=gan.networks[name].optimizer.init(network.params))
    networks = {name: fresh(name, network) for name, network in state.networks.items()}
    step = 13
    assert 1 < float(gan.growth.lod_at(step)) < 2
    state = state.replace(step=jnp.int32(step), networks=networks)
    images = np.random.default_rng(2).integers(0, 256, (1, B, 8, 8, 3), dtype=np.uint8)
    images = np.repeat(np.repeat(images, 2, 2), 2, 3)  # Its means are whole numbers.
    alone = gan.in_step(step)
    assert alone.stage == 1 and alone.batch_shape(B) == (B, 8, 8, 3)
    found = [
        jax.jit(functools.partial(train_step, family))(state, {"image": x, "label": Y[None]})
        for family, x in ((gan, images), (alone, reduced(images, 2)))
    ]
    params = lambda state: leaves({name: network.params for name, network in state.networks.items()})
    whole, part = (params(after) for after, _ in found)
    moved = 0
    for name in whole:
        np.testing.assert_allclose(part[name], whole[name], atol=2e-5, rtol=1e-4, err_msg=name)
    for name, before in params(state).items():
        moved += not np.array_equal(part[name], before)
        later = ("block_2" in name) or name.endswith(("image_2.kernel", "image_2.bias"))
        assert not later or np.array_equal(part[name], before), f"{name} is of a later stage"
    assert moved > 20
    for name in ("d_loss", "g_loss", "d_gp", "d_drift"):
        np.testing.assert_allclose(found[0][1][name], found[1][1][name], rtol=1e-4, atol=1e-5)


def test_layers_of_g_have_outputs_of_mean_square_one_at_first():
    c = config(model__fmap_base=2048, model__fmap_max=64, model__dim_z=64)
    gan = build_gan(c)
    seen = {}

    def note(method, args, kwargs, context):
        out = method(*args, **kwargs)
        if isinstance(context.module, EqualizedConv | EqualizedDense):
            gain = context.module.gain
            seen["/".join(context.module.path)] = jnp.sqrt(jnp.mean(jnp.square(out))) / gain
        return out

    def run():
        state = init_state(gan, 0)
        seen.clear()
        with nn.intercept_methods(note):
            z = jax.random.normal(jax.random.key(1), (32, 64))
            gan.networks["G"].module.apply({"params": state.networks["G"].params, COLLECTION: {"lod": 0.0}}, z)
        return dict(seen)

    found = jax.jit(run)()
    assert len(found) == 2 + 4 + 3
    for name, size in found.items():
        most = 2 if name.startswith("to_image") else 1.25  # Three channels vary more than many.
        assert 1 / most < float(size) < most, (name, size)


def test_optimizers_are_reset_where_a_fade_begins_or_ends(model):
    gan, state, _ = model
    ones = lambda network: network.replace(opt_state=jax.tree.map(jnp.ones_like, network.opt_state))
    state = state.replace(networks={name: ones(network) for name, network in state.networks.items()})
    before = jax.jit(lambda step: gan.before_step(state.replace(step=step)))
    resets = [
        not any(np.any(x) for x in jax.tree.leaves(before(step).networks["G"].opt_state)) for step in range(0, 48, 4)
    ]
    lods = [float(gan.growth.lod_at(step)) for step in range(0, 48, 4)]
    expected = [
        i > 0 and (lod != lods[i - 1]) and (lods[i - 1].is_integer() or lod.is_integer()) for i, lod in enumerate(lods)
    ]
    assert resets == expected and sum(resets) == 4
    assert float(before(0).networks["D"].variables[COLLECTION]["lod"]) == 2


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """(folder of a run into the first fade, folder of one that was stopped within the fade and resumed)."""
    c = config(data__name="fake", data__flip=True, model__image_shape=(8, 8, 3), model__batch_sizes=(16,))
    c.model.update(train_images=32, fade_images=160)
    c.model.lr_factors = (1.0, 2.0)
    c.num_steps, c.log_every, c.checkpoint_every, c.sample_every, c.stability.every = 10, 1, 5, 0, 5
    c.stability.on_collapse = "ignore"
    whole, parts = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("parts")
    assert train(c, whole)
    for steps in (7, 10):
        c.num_steps = steps
        assert train(c, parts)
    return whole, parts


@pytest.mark.slow
def test_a_run_resumed_within_a_fade_is_bitwise_identical(runs):
    whole, parts = (load_arrays(folder) for folder in runs)
    assert 0 < whole["generator.stats.growth.lod"] < 1
    assert whole.keys() == parts.keys()
    assert not [name for name in whole if whole[name].tobytes() != parts[name].tobytes()]


@pytest.mark.slow
def test_samples_have_the_level_of_detail_of_their_checkpoint(runs):
    trained = load_generator(runs[0] / "checkpoints" / "5")
    assert trained.gan.stage == 1
    sampler = Sampler.from_checkpoint(trained)
    z, y = sampler.latents(4), np.zeros(4, np.int32)
    images = sampler.floats(z, y)
    live = dataclasses.replace(sampler, gan=build_gan(trained.config))
    np.testing.assert_allclose(live.floats(z, y), images, atol=1e-6)
    first = dataclasses.replace(sampler, variables={COLLECTION: {"lod": jnp.float32(1)}}).floats(z, y)
    np.testing.assert_array_equal(first, upsample(jnp.asarray(first[:, ::2, ::2])))
    assert np.abs(images - first).max() > 1e-4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model__num_classes": 3}, "condition.d=projection: ProGAN's D has the heads ac and none"),
        ({"model__fmap_base": 2}, "fmap_base 2 leaves no channels"),
        ({"model__batch_sizes": (6,)}, "stddev_group=4 does not divide 6"),
        ({"model__batch_sizes": (9,), "microbatches": 2}, "must be a multiple of microbatches=2"),
        (
            {"model__batch_sizes": (16,), "schedule__lr": "constant:1:1"},
            "schedule.lr counts images as batch_size times",
        ),
        ({"d_chunks": 2}, "D compares the images of its batch"),
        ({"regularizer__gp": 0.0, "regularizer__gp_target": 2.0}, "gp_target=2.0 has no effect"),
    ],
)
def test_what_does_not_fit_is_refused(changes, words):
    with pytest.raises(UserError, match=words):
        build_gan(config(**changes))


@pytest.mark.parametrize("changes", [{"dtype": "bfloat16"}, {"remat": "blocks"}], ids=str)
def test_images_logits_and_weights_are_float32(changes):
    gan = build_gan(config(**changes))
    state = init_shapes(gan)
    assert {leaf.dtype for leaf in jax.tree.leaves(state.networks)} <= {jnp.dtype("float32"), jnp.dtype("int32")}
    variables = {name: {"params": network.params, **network.variables} for name, network in state.networks.items()}
    images = jax.eval_shape(gan.networks["G"].module.apply, variables["G"], Z, None)
    assert (images.shape, images.dtype) == ((B, 16, 16, 3), jnp.float32)
    logits = jax.eval_shape(gan.networks["D"].module.apply, variables["D"], images, None)
    assert (logits.shape, logits.dtype) == ((B,), jnp.float32)
