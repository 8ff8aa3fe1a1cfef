"""One tiny sampler, of fresh weights and of moments as they are before training: nothing is compiled to have it."""

import pytest

from biggan_jax.models import build_gan
from biggan_jax.sampler import Sampler
from biggan_jax.sampling import evaluation_weights
from biggan_jax.state import init_state
from tests.conftest import tiny_config


@pytest.fixture(scope="session")
def sampler():
    import jax

    gan = build_gan(tiny_config())
    state = jax.jit(lambda: init_state(gan, 0))()
    stats = state.generator.stats
    weights = evaluation_weights(gan, state.ema_params, stats["spectral"])
    return Sampler(gan, weights, stats["batch_stats"], None, "running")
