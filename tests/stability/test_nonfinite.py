import types

import numpy as np
import pytest

from biggan_jax.stability.monitor import NonFinite

PARAMS = {"block_0": {"kernel": np.zeros(2)}, "linear": {"bias": np.zeros(1), "kernel": np.zeros(1)}}


@pytest.fixture
def counter():
    network = types.SimpleNamespace(params=PARAMS)
    updates = [types.SimpleNamespace(trains=(n,), prefix=n.lower()) for n in "DDG"]
    family = types.SimpleNamespace(updates=lambda: updates)
    return NonFinite(2, family, types.SimpleNamespace(networks={"G": network, "D": network}))


def faults(d=(), g=()):
    """Return the metrics of a step with two updates of D and one of G. d, g: indices of non-finite arrays."""
    marked = lambda which: np.isin(np.arange(4), which)
    return {"d_faults": np.stack([marked(()), marked(d)]), "g_faults": marked(g), "d_loss": 0.0}


def test_non_finite_steps_count_up_and_finite_ones_down(counter):
    for step, bad in enumerate([(0,), (), (1,), (3,), (2,)], start=1):
        counter.after_step(step, faults(d=bad))
    counter.fetch()
    assert counter.excess == 3
    for step in (6, 7, 8, 9):
        counter.after_step(step, faults())
    counter.fetch()
    assert counter.excess == 0


def test_weights_at_fault_are_named_in_order_and_the_rest_counted(counter, caplog):
    counter.after_step(2, faults(d=(0, 3), g=(1, 2)))
    counter.fetch()
    assert counter.what == "D's block_0.kernel, D's loss, G's linear.bias and 1 more"
    assert "step 2: an update was not finite, so not applied: D's block_0.kernel" in caplog.text


def test_faults_are_fetched_without_the_step_in_progress(counter):
    counter.after_step(1, faults(d=(0,)))
    assert counter.excess == 0
    counter.after_step(2, faults(d=(0,)))
    assert counter.excess == 1
    counter.fetch()
    assert counter.excess == 2
