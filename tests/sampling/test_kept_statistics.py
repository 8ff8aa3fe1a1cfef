import dataclasses

import jax
import numpy as np
import pytest

from biggan_jax.latents import Truncation
from biggan_jax.models import build_gan
from biggan_jax.sampling import generate, kept_statistics
from tests.conftest import tiny_config

STATISTICS = {"bn_0": {"mean": np.arange(3, dtype=np.float32)}, "bn_1": {"mean": np.float32([0.1, 1 / 3])}}


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """The measurements that were made, in an empty cache folder."""
    monkeypatch.setenv("BIGGAN_JAX_CACHE", str(tmp_path))
    made = []
    monkeypatch.setattr(generate, "standing_statistics", lambda *_, **options: made.append(options) or STATISTICS)
    return made


def test_statistics_are_measured_once_for_all_that_determines_them(measured, tmp_path, monkeypatch):
    config = tiny_config()
    gan, weights = build_gan(config), {"linear": {"kernel": np.ones((2, 3), np.float32)}}

    def of(weights=weights, config=config, seed=0, truncation=None, passes=100, **changes):
        kept = kept_statistics.standing_statistics(gan, config, weights, seed, passes=passes, **changes)
        return kept(truncation)

    first, again = of(), of()
    assert len(measured) == 1
    jax.tree.map(np.testing.assert_array_equal, again, STATISTICS)
    jax.tree.map(np.testing.assert_array_equal, first, STATISTICS)
    other = tiny_config()
    other.dtype = "bfloat16"
    changed = weights["linear"]["kernel"].copy()
    changed[0, 0] += 1e-6
    truncation = Truncation(0.5)
    of(seed=1), of(passes=99), of(batch_size=8), of(config=other), of({"linear": {"kernel": changed}})
    of(truncation=truncation), of(truncation=dataclasses.replace(truncation, kind="scale"))
    with jax.default_matmul_precision("highest"):
        of()
    assert len(measured) == 9
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(kept_statistics.compilation_cache, "processor", lambda: "another")
        of()
    assert len(measured) == 10
    of(), of(truncation=truncation)
    assert len(measured) == 10
    for file in (tmp_path / "standing").iterdir():
        file.write_bytes(file.read_bytes()[:-9])
    jax.tree.map(np.testing.assert_array_equal, of(), STATISTICS)
    assert len(measured) == 11
