"""VGAN: its networks, what a mask does, what its losses add, and its form for first frames."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax import config as configs
from biggan_jax.config.loading import load
from biggan_jax.family import Moving, Nets
from biggan_jax.models import build_gan
from biggan_jax.state import init_shapes, init_state
from biggan_jax.types import UserError

SMALL = {"batch_size": 4, "model.image_shape": (8, 8, 1), "model.frames": 4, "model.ch": 2}


def config_of(**changes):
    c = load("classic/vgan_digits")
    c.update_from_flattened_dict(SMALL | {"model.dim_z": 100 if "model.first_frame" in changes else 4} | changes)
    configs.validate(c)
    return c


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({}, {"G": 16_245_383, "D": 11_057_858}),
        # Sums of the layers of main_conditional.lua.
        ({"model.first_frame": True, "model.ch": 128}, {"G": 68_216_455, "D": 44_135_810}),
    ],
)
def test_networks_have_the_authors_parameters(changes, counts):
    c = load("classic/vgan64")
    c.update_from_flattened_dict(changes)
    gan = build_gan(c)
    state = init_shapes(gan)
    found = {name: sum(x.size for x in jax.tree.leaves(network.params)) for name, network in state.networks.items()}
    assert found == counts and gan.image_shape == (32 * 64, 64, 3) and gan.frames == 32
    assert all("batch_stats" in network.variables for network in state.networks.values())


@pytest.fixture(scope="module")
def drawn():
    """The G of a small VGAN, its arrays, and z."""
    module, z = build_gan(config_of()).networks["G"].module, jax.random.normal(jax.random.key(1), (2, 4))
    return module, jax.jit(module.init)(jax.random.key(0), z), z


def test_without_a_mask_a_clip_stands_still(drawn):
    module, arrays, z = drawn
    apply = jax.jit(functools.partial(module.apply, parts=True))

    def clips(bias):
        last = arrays["params"]["video_out"]
        last = {"kernel": last["kernel"].at[..., -1].set(0), "bias": last["bias"].at[-1].set(bias)}
        clip, mask = apply({**arrays, "params": {**arrays["params"], "video_out": last}}, z)
        assert clip.shape == (2, 4 * 8, 8, 1) and mask.shape == (2, 4, 8, 8, 1)
        return clip.reshape(2, 4, 8, 8, 1), mask

    still, mask = clips(-jnp.inf)
    assert not mask.any() and jnp.ptp(still, axis=1).max() == 0 and jnp.ptp(still) > 0
    moving, mask = clips(jnp.inf)
    assert mask.min() == 1 and jnp.ptp(moving, axis=1).max() > 0


def test_a_clip_has_its_frames_below_each_other(drawn):
    module, arrays, z = drawn
    clip = module.apply(arrays, z)
    d = build_gan(config_of()).networks["D"].module
    seen = {}

    def keep(method, args, kwargs, context):
        seen.setdefault(context.module.name, args[0])
        return method(*args, **kwargs)

    with nn.intercept_methods(keep):
        jax.eval_shape(lambda: d.init(jax.random.key(0), clip))
    assert seen["conv_0"].shape == (2, 4, 8, 8, 1) and seen["linear"].shape == (2, 2 * 2 * 4 * 4)


def losses(gan, batch):
    """The losses and metrics of all updates, of the initial weights, in one program."""

    def all_of(batch):
        state = init_state(gan, 0)
        weights = {name: network.params for name, network in state.networks.items()}
        variables = {name: network.variables for name, network in state.networks.items()}
        found = {}
        for update in gan.updates():
            nets = Nets(gan, weights, Moving(variables, state.extra), jax.random.key(1))
            found[update.prefix] = update.loss(nets, batch | update.draw(jax.random.key(2), 4), jax.random.key(3))
        return found

    return jax.jit(all_of)(batch)


def test_g_pays_for_its_mask_and_the_loss_is_cross_entropy():
    image = jax.random.uniform(jax.random.key(5), (4, 32, 8, 1), minval=-1)
    found = losses(build_gan(config_of(**{"model.mask_l1": 3.0})), {"image": image, "label": jnp.zeros(4, jnp.int32)})
    (loss, metrics), (d_loss, d_metrics) = found["g"], found["d"]
    assert 0.4 < metrics["g_mask"] < 0.6  # The sigmoid of small numbers.
    # At its start D tells nothing apart: the cross entropy of two classes is log 2.
    np.testing.assert_allclose(loss - 3 * metrics["g_mask"], np.log(2), atol=0.2)
    np.testing.assert_allclose(d_metrics["d_loss_real"] + d_metrics["d_loss_fake"], d_loss, rtol=1e-6)


def test_of_a_first_frame_g_pays_for_the_distance_from_it():
    gan = build_gan(config_of(**{"model.first_frame": True, "model.frame_l1": 5.0}))
    assert gan.data_shapes(4) == {"image": (4, 8, 8, 1), "other": (4, 32, 8, 1)} and gan.translations == {"AtoB": "G"}
    clip = jax.random.uniform(jax.random.key(5), (4, 32, 8, 1), minval=-1)
    loss, metrics = losses(gan, {"image": clip[:, :8], "other": clip, "label": jnp.zeros(4)})["g"]
    np.testing.assert_allclose(loss, metrics["g_adversarial"] + metrics["g_l1"], rtol=1e-6)
    assert 5 * 0.3 < metrics["g_l1"] < 5 * 0.7  # G's first frames are nearly black; the mean of |U(-1, 1)| is a half.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.image_shape": (24, 24, 1)}, "the shorter side of vgan's frames is 8, 16, 32, 64"),
        ({"model.image_shape": (8, 9, 1)}, "the longer one a multiple"),
        ({"model.frames": 3}, "model.frames=3: with frames of 8 pixels it must be a multiple of 2"),
        ({"model.frame_l1": 3.0}, "model.frame_l1=3.0 has no effect with model.first_frame=False"),
        ({"model.first_frame": True, "model.mask_l1": 3.0}, "model.mask_l1=3.0 has no effect"),
        ({"model.first_frame": True, "loss": "wasserstein"}, "model.first_frame takes non_saturating"),
        ({"augment.policy": ("translation",)}, "augment.policy and augment.ada change single pictures"),
        ({"regularizer.cr": 1.0}, "regularizer.cr and cr_fake shift single pictures"),
        ({"dtype": "bfloat16"}, "computes in float32 alone"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        build_gan(config_of(**changes))
