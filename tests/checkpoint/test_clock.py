"""A clock that is set while a checkpoint is saved: the step is saved, or the run ends with a sentence and resumes."""

import time

import numpy as np
import pytest

from biggan_jax.checkpoint import Checkpoints
from biggan_jax.types import InterruptedRunError
from tests.conftest import fresh_state, tiny_config


@pytest.mark.parametrize("seconds", [1e6, -1e6], ids=["ahead", "back"])
@pytest.mark.parametrize("calls", [3, 30])
def test_a_clock_set_during_a_save_loses_no_saved_step(tmp_path, monkeypatch, with_dense, calls, seconds):
    config, state, real, count = tiny_config("dense"), fresh_state("dense"), time.time, iter(range(10**9))
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.save(state.replace(step=np.int32(1)), config)
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + (seconds if next(count) > calls else 0))
        try:
            checkpoints.save(state.replace(step=np.int32(2)), config)
            checkpoints.close()
        except InterruptedRunError as error:
            assert "the clock was set ahead" in str(error) and "step 1 is saved; rerun" in str(error)
    again = Checkpoints(tmp_path, keep=2)
    assert again.steps() in ([1], [1, 2])
    again.close()
