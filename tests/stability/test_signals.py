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
from biggan_jax.stability.rules import contrast, relative_contrast
from biggan_jax.state import init_state
from tests.conftest import build, fresh_state, leaves, tiny_config


def images(seed, count=16):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8), (np.arange(count) % 10).astype(np.int32)


@pytest.fixture(scope="module")
def probing():
    """(gan, fresh state, the jitted probe)"""
    gan = build_gan(tiny_config())
    return gan, fresh_state(), jax.jit(functools.partial(signals.probe, gan))


def test_d_gap_compares_training_and_held_out_images(probing):
    _, state, probe = probing
    same = probe(state, {"real": images(0), "held_out": images(0)}).signals
    other = probe(state, {"real": images(0), "held_out": images(1)}).signals
    assert float(same["d_gap"]) == 0 != float(other["d_gap"])
    assert float(other["d_gap"]) == pytest.approx(float(other["d_real"] - other["d_held_out"]))


def test_the_contrast_of_a_critic_does_not_depend_on_its_scale():
    c = tiny_config("dense")
    c.loss, c.model.d_spectral_norm = "wasserstein", False
    gan = build(c)
    state, probe = init_state(gan, 0), jax.jit(functools.partial(signals.probe, gan))
    D = state.networks["D"]
    tiny = D.replace(params=D.params | {"linear": jax.tree.map(lambda w: 1e-4 * w, D.params["linear"])})
    contrasts = []
    for critic in (D, tiny):
        seen = probe(state.with_networks(D=critic), {"real": images(0)}).signals
        records = [{"step": 1, "signals": {name: float(value) for name, value in seen.items()}}]
        contrasts.append(relative_contrast(records))
        assert contrast(records) is None
    assert contrasts[0] == pytest.approx(contrasts[1], rel=1e-3) and abs(contrasts[0]) > 1e-3


def test_equal_samples_have_neither_spread_nor_diversity(probing):
    _, state, probe = probing
    # Weights of 0 would make spectral norm divide 0 by 0: let batch norm output 0 instead.
    G = state.networks["G"]
    silent = G.params | {"bn_out": jax.tree.map(jnp.zeros_like, G.params["bn_out"])}
    dead = probe(state.with_networks(G=G.replace(params=silent)), {"real": images(0), "held_out": images(1)}).signals
    healthy = probe(state, {"real": images(0), "held_out": images(1)}).signals
    for name in ("pixel_spread", "pixel_diversity", "feature_spread", "feature_diversity"):
        assert float(dead[name]) < 1e-5 < 0.05 < float(healthy[name])


def test_a_g_that_ignores_z_has_spread_but_no_diversity():
    gan, state = build(tiny_config("dense")), fresh_state("dense")

    class ClassOnly(GAN):
        def latents(self, key, batch_size):
            z, y = super().latents(key, batch_size)
            return jnp.zeros_like(z), y

    class_only = ClassOnly(**{field.name: getattr(gan, field.name) for field in dataclasses.fields(GAN)})
    seen = jax.jit(functools.partial(signals.probe, class_only))(state, {"real": images(0)}).signals
    assert "d_gap" not in seen
    assert float(seen["pixel_diversity"]) < 1e-5 < 1e-3 < float(seen["pixel_spread"])


def test_distances_are_root_mean_squares():
    x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    squared = np.square(x[:, None] - x[None]).sum(-1)
    assert float(signals.distance(x)) == pytest.approx(np.sqrt(squared.mean()), rel=1e-5)
    assert float(signals.distance_of_pairs(x)) == pytest.approx(np.sqrt(squared[[0, 2, 4], [1, 3, 5]].mean()), rel=1e-5)
    assert signals.paired(jnp.array([3, 1, 4, 1, 5])).tolist() == [3, 3, 1, 1, 4]
    assert signals.paired(jnp.array([3, 1, 4, 1])).tolist() == [3, 3, 4, 4]


def test_features_are_the_inputs_of_the_last_layer(probing):
    gan, state, _ = probing
    params = state.networks["D"].params
    look = jax.jit(functools.partial(signals.logits_and_features, gan))
    logits, features = look(params, {}, jnp.ones((2, 16, 16, 3)), jnp.array([0, 1]))
    assert logits.shape == (2,) and features.shape == (2, params["linear"]["kernel"].shape[0])
    by_hand = features @ params["linear"]["kernel"][:, 0] + params["linear"]["bias"]
    by_hand += (params["embed"]["embedding"][:2] * features).sum(1)
    np.testing.assert_allclose(logits, by_hand, rtol=1e-5)


@pytest.mark.slow
def test_eight_devices_compute_the_signals_of_one(probing):
    _, state, probe = probing
    mesh = sharding.make_mesh()
    gan = build_gan(tiny_config(), mesh)
    placed = jax.device_put(state, state_layout(gan))
    many = jax.jit(functools.partial(signals.probe, gan), out_shardings=sharding.replicated(mesh))
    batch = {
        name: jax.device_put(images(seed), sharding.batch_sharding(mesh))
        for seed, name in enumerate(("real", "held_out"))
    }
    seen = leaves(many(placed, batch))
    for name, value in leaves(probe(state, {"real": images(0), "held_out": images(1)})).items():
        np.testing.assert_allclose(seen[name], value, rtol=1e-3, atol=1e-4, err_msg=name)
