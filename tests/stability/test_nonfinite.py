import types

import numpy as np
import pytest

from biggan_jax.stability.nonfinite import NonFinite

PARAMS = {"block_0": {"kernel": np.zeros(2)}, "linear": {"bias": np.zeros(1), "kernel": np.zeros(1)}}


@pytest.fixture
def watched():
    player = types.SimpleNamespace(params=PARAMS)
    return NonFinite(2, types.SimpleNamespace(generator=player, discriminator=player))


def faults(d=(), g=()):
    """Of a round of two updates of D and one of G; the numbers of what was at fault."""
    marked = lambda which: np.isin(np.arange(4), which)
    return {"d_faults": np.stack([marked(()), marked(d)]), "g_faults": marked(g), "d_loss": 0.0}


def test_rounds_that_are_not_finite_count_and_those_that_are_count_back(watched):
    for step, bad in enumerate([(0,), (), (1,), (3,), (2,)], start=1):
        watched.after_step(step, faults(d=bad))
    watched.fetch()
    assert watched.excess == 3
    for step in (6, 7, 8, 9):
        watched.after_step(step, faults())
    watched.fetch()
    assert watched.excess == 0


def test_what_was_at_fault_is_named_in_order_and_the_rest_counted(watched, caplog):
    watched.after_step(2, faults(d=(0, 3), g=(1, 2)))
    watched.fetch()
    assert watched.what == "D's block_0.kernel, D's loss, G's linear.bias and 1 more"
    assert "step 2: an update was not finite, so not applied: D's block_0.kernel" in caplog.text


def test_faults_are_fetched_every_so_many_rounds_only_and_never_those_of_the_round_under_way(watched):
    watched.after_step(1, faults(d=(0,)))
    assert watched.excess == 0
    watched.after_step(2, faults(d=(0,)))
    assert watched.excess == 1
    watched.fetch()
    assert watched.excess == 2
