import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax import sharding
from biggan_jax.gan import GAN
from biggan_jax.models import build_gan
from biggan_jax.partitioning import state_layout
from biggan_jax.stability import signals
from biggan_jax.state import init_state
from tests.conftest import leaves, tiny_config


def images(seed, count=16):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8), (np.arange(count) % 10).astype(np.int32)


@pytest.fixture(scope="module")
def looking():
    """(gan, fresh state, the jitted look)"""
    gan = build_gan(tiny_config())
    return gan, jax.jit(lambda: init_state(gan, 0))(), jax.jit(functools.partial(signals.probe, gan))


def test_what_d_has_never_seen_is_compared_with_what_it_is_trained_on(looking):
    _, state, look = looking
    same = look(state, {"real": images(0), "held_out": images(0)}).signals
    other = look(state, {"real": images(0), "held_out": images(1)}).signals
    assert float(same["d_gap"]) == 0 != float(other["d_gap"])
    assert float(other["d_gap"]) == pytest.approx(float(other["d_real"] - other["d_held_out"]))


def test_a_g_whose_samples_are_all_one_has_neither_spread_nor_diversity(looking):
    _, state, look = looking
    # Spectral norm would make a number of 0 / 0: nothing passes batch norm instead.
    G = state.generator
    silent = G.params | {"bn_out": jax.tree.map(jnp.zeros_like, G.params["bn_out"])}
    dead = look(state.replace(generator=G.replace(params=silent)), {"real": images(0), "held_out": images(1)}).signals
    well = look(state, {"real": images(0), "held_out": images(1)}).signals
    for name in ("pixel_spread", "pixel_diversity", "feature_spread", "feature_diversity"):
        assert float(dead[name]) < 1e-5 < 0.05 < float(well[name])


def test_classes_may_differ_where_samples_of_one_do_not(looking):
    """A G that hears only the class has spread, but no diversity."""
    gan, state, _ = looking

    class Deaf(GAN):
        def latents(self, key, batch_size):
            z, y = super().latents(key, batch_size)
            return jnp.zeros_like(z), y

    deaf = Deaf(**{field.name: getattr(gan, field.name) for field in dataclasses.fields(GAN)})
    seen = jax.jit(functools.partial(signals.probe, deaf))(state, {"real": images(0)}).signals
    assert "d_gap" not in seen
    assert float(seen["pixel_diversity"]) < 1e-5 < 1e-3 < float(seen["pixel_spread"])


def test_distances_are_roots_of_mean_squares_between_two():
    x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    squared = np.square(x[:, None] - x[None]).sum(-1)
    assert float(signals.distance(x)) == pytest.approx(np.sqrt(squared.mean()), rel=1e-5)
    assert float(signals.distance_of_pairs(x)) == pytest.approx(np.sqrt(squared[[0, 2, 4], [1, 3, 5]].mean()), rel=1e-5)
    assert signals.paired(jnp.array([3, 1, 4, 1, 5])).tolist() == [3, 3, 1, 1, 4]
    assert signals.paired(jnp.array([3, 1, 4, 1])).tolist() == [3, 3, 4, 4]


def test_features_are_what_the_last_layer_is_given(looking):
    gan, state, _ = looking
    params = state.discriminator.params
    logits, features = signals.logits_and_features(gan, params, jnp.ones((2, 16, 16, 3)), jnp.array([0, 1]))
    assert logits.shape == (2,) and features.shape == (2, params["linear"]["kernel"].shape[0])
    by_hand = features @ params["linear"]["kernel"][:, 0] + params["linear"]["bias"]
    by_hand += (params["embed"]["embedding"][:2] * features).sum(1)
    np.testing.assert_allclose(logits, by_hand, rtol=1e-5)


@pytest.mark.slow
def test_eight_devices_see_what_one_sees(looking):
    _, state, look = looking
    mesh = sharding.make_mesh()
    gan = build_gan(tiny_config(), mesh)
    placed = jax.device_put(state, state_layout(gan))
    many = jax.jit(functools.partial(signals.probe, gan), out_shardings=sharding.replicated(mesh))
    batch = {
        name: jax.device_put(images(seed), sharding.batch_sharding(mesh))
        for seed, name in enumerate(("real", "held_out"))
    }
    seen = leaves(many(placed, batch))
    for name, value in leaves(look(state, {"real": images(0), "held_out": images(1)})).items():
        np.testing.assert_allclose(seen[name], value, rtol=1e-3, atol=1e-4, err_msg=name)
