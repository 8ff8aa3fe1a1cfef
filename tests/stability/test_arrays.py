"""Values in the state that are not finite, or absurd: found in every array, named, and no checkpoint holds them."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax import checkpoint, sharding
from biggan_jax.checkpoint import resume
from biggan_jax.stability import arrays
from biggan_jax.stability.recovery import CollapseError
from biggan_jax.stability.rules import evaluate, is_healthy
from biggan_jax.train import train

STATE = {
    "networks": {"G": {"params": {"w": [0.5, -3.0]}, "variables": {"batch_stats": {"var": [7.0]}}}},
    "averages": {"G": {"w": [0.25, 2.0]}},
    "step": 4,
}


def state(**changed):
    """STATE as arrays, with other values at dotted paths."""
    whole = jax.tree.map(jnp.asarray, STATE, is_leaf=lambda x: isinstance(x, list | int))
    named = arrays.named_arrays(whole)
    leaves = [jnp.asarray(changed.get(name.replace(".", "_"), x)) for name, x in named.items()]
    return jax.tree.unflatten(jax.tree.structure(whole), leaves)


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_largest_value_of_each_array_of_floats(monkeypatch, on_device, dtype):
    tree = {"a": jnp.array([1.0, -4.0], dtype), "b": jnp.array([jnp.nan, 1], dtype), "c": jnp.array([-jnp.inf], dtype)}
    tree |= {"counts": jnp.arange(3), "key": jax.random.key(0), "none": jnp.zeros((0, 2), dtype)}
    if on_device:
        tree = jax.device_put(tree, sharding.replicated(sharding.make_mesh()))
        monkeypatch.setattr(arrays, "_on_host", None)
        monkeypatch.setattr(arrays, "is_on_host", lambda x: False)
    found = arrays.magnitudes(tree).by_name()
    assert found == {"a": 4, "b": np.inf, "c": np.inf, "none": 0}
    assert arrays.not_finite(found) == ["b", "c"]


def record(step, tree):
    """The record of a probe of the tree, without other signals."""
    largest = arrays.magnitudes(tree).by_name()
    signals, where = arrays.signals_of(largest)
    healthy = {"d_real": 1.0, "d_fake": 0.0}
    names = arrays.not_finite(largest)
    return {"step": step, "signals": healthy | signals, "where": where} | (
        {"not_finite": ", ".join(names)} if names else {}
    )


@pytest.mark.parametrize(
    ("changed", "signal", "words"),
    [
        ({"averages_G_w": [np.nan, 1.0]}, "nonfinite", "values that are not finite: averages.G.w"),
        ({"networks_G_variables_batch_stats_var": [np.inf]}, "nonfinite", "networks.G.variables.batch_stats.var"),
        ({"averages_G_w": [1e3, 1.0]}, "average", "an averaged weight is absurd: averages.G.w (average 333 times"),
        ({"networks_G_variables_batch_stats_var": [1e6]}, "moments", "networks.G.variables.batch_stats.var (moments"),
    ],
)
def test_one_diagnostic_is_enough_and_names_the_array(changed, signal, words):
    past = [record(10, state()), record(20, state())]
    assert evaluate(past) is None and is_healthy(past)
    past.append(record(30, state(**changed)))
    verdict = evaluate(past)
    assert (verdict.step, verdict.onset, verdict.signal) == (30, 20, signal)
    assert words in verdict.sentence and not is_healthy(past)


def test_moments_may_grow_as_they_do_at_the_start():
    first = record(0, state(networks_G_variables_batch_stats_var=[1e-3]))
    assert evaluate([first, record(10, state(networks_G_variables_batch_stats_var=[900.0]))]) is None


PLACES = {
    "averages.G": lambda s, bad: s.replace(averages=jax.tree.map(bad, s.averages)),
    "networks.G.opt_state": lambda s, bad: _of_g(s, opt_state=bad),
    "networks.G.variables.batch_stats": lambda s, bad: _of_g(s, variables=bad),
}


def _of_g(s, **parts):
    G = s.networks["G"]
    is_float = lambda x: jnp.issubdtype(x.dtype, jnp.floating)
    change = lambda bad, tree: jax.tree.map(lambda x: bad(x) if is_float(x) else x, tree)
    return s.with_networks(G=G.replace(**{name: change(bad, getattr(G, name)) for name, bad in parts.items()}))


@pytest.mark.parametrize("place", PLACES)
def test_no_checkpoint_holds_values_that_are_not_finite(place, dense, tmp_path, monkeypatch, compile_once):
    dense.num_steps, dense.checkpoint_every, dense.stability.every = 4, 2, 0
    fresh = resume.restore_or_init
    bad = lambda x: x.at[(0,) * x.ndim].set(jnp.nan)
    monkeypatch.setattr(resume, "restore_or_init", lambda *args: PLACES[place](fresh(*args), bad))
    with pytest.raises(CollapseError, match=f"the state has values that are not finite: {place}"):
        train(dense, tmp_path)
    assert checkpoint.checkpoint_steps(tmp_path) == []
    assert json.loads((tmp_path / "guard.jsonl").read_text())["signal"] == "nonfinite"
