import jax
import numpy as np
import pytest

from biggan_jax.layers.initializers import redraw

PARAMS = {
    "conv": {"kernel": np.ones((3, 3, 64, 32), np.float32), "bias": np.ones(32, np.float32)},
    "embed": {"embedding": np.ones((100, 50), np.float32)},
    "attention": {"gamma": np.ones((), np.float32)},
}


@pytest.mark.parametrize(
    ("name", "kernel_std", "embedding_std"),
    [("normal", 0.02, 0.02), ("xavier", (2 / (9 * 64 + 9 * 32)) ** 0.5, (2 / 150) ** 0.5)],
)
def test_weights_are_redrawn_and_other_parameters_stay(name, kernel_std, embedding_std):
    drawn = redraw(PARAMS, name, jax.random.key(0))
    assert drawn["conv"]["kernel"].std() == pytest.approx(kernel_std, rel=0.05)
    assert drawn["embed"]["embedding"].std() == pytest.approx(embedding_std, rel=0.05)
    assert (
        drawn["conv"]["bias"] is PARAMS["conv"]["bias"] and drawn["attention"]["gamma"] is PARAMS["attention"]["gamma"]
    )


def test_orthogonal_keeps_the_weights_of_the_layers():
    assert redraw(PARAMS, "orthogonal", jax.random.key(0)) is PARAMS


def test_the_config_selects_the_initializer(config):
    from biggan_jax.models import build_gan
    from biggan_jax.state import init_state

    config.model.init = "normal"
    networks = lambda: init_state(build_gan(config), 0).networks.values()
    for kernel in jax.jit(lambda: [network.params["block_0"]["conv_2"]["kernel"] for network in networks()])():
        assert np.std(kernel) == pytest.approx(0.02, rel=0.1)
