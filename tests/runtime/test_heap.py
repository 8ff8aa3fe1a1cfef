import ctypes

import numpy as np

from biggan_jax.checkpoint import Checkpoints
from biggan_jax.runtime import heap
from tests.conftest import fresh_state, tiny_config


def test_free_memory_is_given_back_after_each_save(tmp_path, monkeypatch, with_dense):
    trimmed = []
    monkeypatch.setattr(heap, "trim", lambda: trimmed.append(1))
    checkpoints, state = Checkpoints(tmp_path, keep=2), fresh_state("dense")
    assert checkpoints.steps() == [] and not trimmed
    for step in (1, 2):
        checkpoints.save(state.replace(step=np.int32(step)), tiny_config("dense"))
        checkpoints.steps(), checkpoints.steps()
        assert len(trimmed) == step
    checkpoints.close()


def test_another_c_library_is_left_alone(monkeypatch):
    heap._malloc_trim.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not heap.trim()
    heap._malloc_trim.cache_clear()
