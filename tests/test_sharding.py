import re

import jax
import numpy as np
import pytest

from biggan_jax import sharding
from biggan_jax.models import build_gan
from biggan_jax.state import init_state
from biggan_jax.train import compile_round
from biggan_jax.types import UserError
from tests.conftest import biases_that_feed_only_batch_norm, leaves, random_batch, tiny_config, with_attention

ROUNDS = 3


@pytest.fixture(scope="module", params=["biggan", "biggan_deep"])
def runs(request):
    """{devices: (config, state after three rounds, metrics of each, compiled round)} for 1 and 8 devices."""
    config = tiny_config(request.param)
    config.d_steps = 2 if request.param == "biggan" else 1
    results = {}
    fresh = with_attention(jax.jit(lambda: init_state(build_gan(config), 0))())
    for count in (1, 8):
        mesh = sharding.make_mesh(jax.devices()[:count])
        gan = build_gan(config, mesh)
        state = jax.device_put(jax.tree.map(np.asarray, fresh), sharding.replicated(mesh))
        batches = [sharding.shard_batch(random_batch(gan, seed=i), mesh) for i in range(ROUNDS)]
        compiled = compile_round(gan, mesh).lower(state, batches[0]).compile()
        history = []
        for batch in batches:
            state, metrics = compiled(state, batch)
            history.append({name: float(value) for name, value in metrics.items()})
        results[count] = state, history, compiled
    return config, results


def test_one_device_and_eight_compute_the_same(runs):
    config, results = runs
    (one, one_metrics, _), (eight, eight_metrics, _) = results[1], results[8]
    for a, b in zip(one_metrics, eight_metrics, strict=True):
        for name in a:
            # Means over another split of the batch: float32 rounding of values of order one.
            assert a[name] == pytest.approx(b[name], rel=1e-4, abs=1e-4), name
    rates = {"generator": config.optimizer.g_lr, "discriminator": config.optimizer.d_lr}
    updates = {"generator": ROUNDS, "discriminator": ROUNDS * config.d_steps}
    for player, rate in rates.items():
        a, b = leaves(getattr(one, player).params), leaves(getattr(eight, player).params)
        for name in a:
            difference = np.abs(a[name] - b[name])
            # Adam divides a gradient by its own size: one that is all rounding moves by up to lr either way.
            assert difference.max() <= 2 * rate * updates[player], name
            if player == "discriminator" or name not in biases_that_feed_only_batch_norm(config.model.family):
                assert difference.mean() <= 2e-6, name
    for player in rates:
        a, b = leaves(getattr(one, player).stats), leaves(getattr(eight, player).stats)
        for name in a:
            np.testing.assert_allclose(a[name], b[name], atol=1e-3, err_msg=name)


def test_the_work_is_divided(runs):
    _, results = runs
    flops = {count: compiled.cost_analysis()["flops"] for count, (_, _, compiled) in results.items()}
    # Spectral norm and Adam are done on every device; at these tiny widths they are a visible share, yet below a tenth.
    assert flops[8] <= 1.1 * flops[1] / 8


def test_devices_talk_in_all_reduces_only(runs):
    _, results = runs
    text = results[8][2].as_text()
    calls = re.findall(r"\b(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\(", text)
    assert set(calls) == {"all-reduce"}


def test_each_device_holds_its_part_of_the_batch():
    mesh = sharding.make_mesh()
    batch = sharding.shard_batch({"label": np.arange(32, dtype=np.int32).reshape(2, 16)}, mesh)
    parts = [np.asarray(shard.data) for shard in batch["label"].addressable_shards]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), np.arange(32).reshape(2, 16))
    assert {part.shape for part in parts} == {(2, 2)}


@pytest.mark.parametrize(("size", "nearest"), [(100, "nearest are 96 and 104"), (3, "nearest is 8")])
def test_a_batch_that_does_not_divide_is_refused_with_the_nearest_that_do(size, nearest):
    with pytest.raises(UserError, match=f"batch_size {size} is not divisible by 8 devices; {nearest}"):
        sharding.check_batch_size(size, 8)
