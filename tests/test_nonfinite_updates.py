"""Tests of train_step on updates that are not finite."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax.train_step import norm_and_faults, train_step
from tests.conftest import assert_identical, build, fresh_state, leaves, random_batch, tiny_config


@pytest.fixture(scope="module")
def nan_loss():
    """(state, batch, jitted step) of a GAN whose G has a loss of NaN and a finite gradient."""
    gan = build(tiny_config("dense"))
    healthy = gan.loss.generator
    gan = dataclasses.replace(gan, loss=gan.loss._replace(generator=lambda fake: healthy(fake) + jnp.nan))
    return fresh_state("dense"), random_batch(gan, 8), jax.jit(functools.partial(train_step, gan))


def test_a_nonfinite_update_of_g_is_skipped_and_d_is_updated(nan_loss):
    state, batch, step = nan_loss
    after, metrics = step(state, batch)
    assert not metrics["d_faults"].any()
    assert metrics["g_faults"][0, -1] and not metrics["g_faults"][0, :-1].any()
    assert_identical(after.networks["G"].params, state.networks["G"].params)
    assert_identical(after.networks["G"].opt_state, state.networks["G"].opt_state)
    assert int(after.step) == 1
    before, now = leaves(state.networks["D"].params), leaves(after.networks["D"].params)
    assert any((before[name] != now[name]).any() for name in before), "D's own update is applied"


def test_a_nonfinite_weight_of_d_stops_all_updates_and_is_named(nan_loss):
    state, batch, step = nan_loss
    D = state.networks["D"]
    poisoned = jax.tree.map(lambda x: x, D.params)
    poisoned["hidden"]["bias"] = jnp.full_like(poisoned["hidden"]["bias"], jnp.nan)
    before = state.with_networks(D=D.replace(params=poisoned))
    after, metrics = step(before, batch)
    assert metrics["d_faults"].shape == (1, len(jax.tree.leaves(D.params)) + 1)
    # On CPU the ReLU of the hinge loss maps NaN to 0, so that only the weight shows it.
    poisoned_one = list(leaves(D.params)).index("hidden.bias")
    assert metrics["d_faults"][0, poisoned_one]
    assert_identical(after.networks["G"], before.networks["G"])
    assert_identical(after.networks["D"], before.networks["D"])
    for name, average in leaves(after.averages["G"]).items():
        np.testing.assert_allclose(average, leaves(before.averages["G"])[name], rtol=1e-6, atol=1e-12)


def test_faults_name_the_nonfinite_weight_or_gradient():
    grads = {"a": jnp.array([3.0, 4.0]), "b": {"c": jnp.array([12.0]), "d": jnp.zeros(2)}}
    well, nan, inf = jax.tree.map(jnp.ones_like, grads), jnp.float32(jnp.nan), jnp.array([jnp.inf])
    norm, faults = norm_and_faults(grads, well, jnp.float32(1))
    assert float(norm) == pytest.approx(13) and not faults.any()
    norm, faults = norm_and_faults(grads | {"b": {"c": inf, "d": jnp.zeros(2)}}, well, jnp.float32(1))
    assert faults.tolist() == [False, True, False, False] and not np.isfinite(norm)
    norm, faults = norm_and_faults(grads, well | {"a": jnp.array([1.0, nan])}, jnp.float32(1))
    assert faults.tolist() == [True, False, False, False] and float(norm) == pytest.approx(13)
    assert norm_and_faults(grads, well, nan)[1].tolist() == [False, False, False, True]
