import json

import pytest

from tests import golden
from tests.conftest import biases_that_feed_only_batch_norm, unchanged

RECORD = json.loads(golden.FILE.read_text())


@pytest.fixture(scope="module", params=golden.FAMILIES)
def compiled(request):
    """(family, fresh state, compiled step, batches)"""
    return request.param, *golden.compiled(request.param)


@pytest.fixture(scope="module")
def results(compiled):
    """(family, results of two steps, results of the same two steps repeated)"""
    family, *arguments = compiled
    return family, golden.train(*arguments), golden.train(*arguments)


def test_two_steps_equal_the_record_within_rounding(results):
    family, ours, _ = results
    record = RECORD[family]
    for now, then in zip(ours["metrics"], record["metrics"], strict=True):
        # Only rounding differs between machines; a changed formula moves a loss by far more.
        assert now == pytest.approx(then, rel=1e-3, abs=1e-4)
    assert ours["arrays"].keys() == record["arrays"].keys()
    rounding = biases_that_feed_only_batch_norm(family)
    for name, size in record["arrays"].items():
        if not any(name.endswith(bias) for bias in rounding):
            assert ours["arrays"][name] == pytest.approx(size, rel=5e-3, abs=1e-6), name


def test_repeated_steps_are_bitwise_identical(results):
    _, first, second = results
    assert first["digest"] == second["digest"]


def test_a_step_moves_every_parameter(compiled):
    family, state, step, (batch, _) = compiled
    after, _ = step(state, batch)
    still = {name: unchanged(state.networks[name].params, after.networks[name].params) for name in ("G", "D")}
    assert still["D"] == set() and still["G"] <= biases_that_feed_only_batch_norm(family)


def test_on_the_recording_machine_bits_equal_the_record(results):
    family, ours, _ = results
    if RECORD["environment"] != golden.environment():
        pytest.skip("recorded with another jax or LAPACK, or on another processor")
    assert ours["digest"] == RECORD[family]["digest"]
