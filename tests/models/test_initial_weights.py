"""The weights that each family starts with, as its paper's code draws them."""

import jax
import numpy as np
import pytest

from biggan_jax.config import base
from biggan_jax.models import build_gan
from biggan_jax.state import init_state
from tests.conftest import leaves

ATTENTION = {"model__g_attention": (16,), "model__d_attention": (16,)}


def params(family, **changes):
    """(G's, D's) initial weights by dotted name."""
    c = base(family)
    c.update_from_flattened_dict({name.replace("__", "."): value for name, value in changes.items()})
    networks = lambda: init_state(build_gan(c), 0).networks
    return [leaves(params) for params in jax.jit(lambda: [networks()[name].params for name in "GD"])()]


def deviation_of_glorot(kernel, gain=1.0):
    *area, fan_in, fan_out = kernel.shape
    return gain * np.sqrt(2 / (np.prod(area) * (fan_in + fan_out)))


def uniform_within(kernel, bound):
    return bound * 0.98 < np.abs(kernel).max() <= bound and kernel.std() == pytest.approx(bound / np.sqrt(3), rel=0.03)


def test_the_first_gans_are_uniform_and_without_biases():
    G, D = params("gan", model__image_shape=(16, 16, 1), model__hidden=200, model__units=40)
    for network, bound in ((G, 0.05), (D, 0.005)):
        for name, weight in network.items():
            assert not weight.any() if name.endswith("bias") else weight.size < 999 or uniform_within(weight, bound), (
                name
            )


@pytest.mark.parametrize("form", ["torch", "paper"])
def test_dcgan_is_normal_with_gains_about_one(form):
    for network in params("dcgan", model__image_shape=(16, 16, 3), model__ch=64, model__form=form):
        for name, weight in network.items():
            if name.endswith("kernel") and weight.size > 999:
                assert weight.std() == pytest.approx(0.02, rel=0.05), name
            if name.endswith("gain"):
                assert weight.mean() == pytest.approx(1, abs=0.01) and 0.01 < weight.std() < 0.03, name
            assert not name.endswith("offset") or not weight.any(), name


def test_sngan_is_glorot_with_a_gain_in_blocks():
    G, D = params("sngan", model__ch=8, model__num_classes=10)
    for name in ("block_0.conv_1.kernel", "block_1.conv_2.kernel"):
        for network in (G, D):
            assert network[name].std() == pytest.approx(deviation_of_glorot(network[name], np.sqrt(2)), rel=0.1), name
    for name in ("linear.kernel", "block_0.conv_skip.kernel", "conv_out.kernel"):
        assert G[name].std() == pytest.approx(deviation_of_glorot(G[name]), rel=0.1), name
    assert not G["block_0.bn_1.gain.kernel"].any() and not G["block_0.bn_1.offset.kernel"].any()


def test_sagan_is_glorot_and_its_classes_start_alike():
    G, D = params("sagan", model__image_shape=(32, 32, 3), model__ch=8, model__num_classes=10, **ATTENTION)
    for network in (G, D):
        kernel = network["block_1.conv_1.kernel"]
        assert kernel.std() == pytest.approx(deviation_of_glorot(kernel), rel=0.1)
    assert not G["block_0.bn_1.gain.kernel"].any()


def test_wgan_gp_is_wider_in_convolutions_of_3x3():
    G, D = params("wgan_gp", model__ch=32)
    assert G["block_0.conv_1.kernel"].std() == pytest.approx(
        deviation_of_glorot(G["block_0.conv_1.kernel"], 2**0.5), rel=0.05
    )
    for network, name in ((G, "conv_out.kernel"), (G, "block_0.conv_skip.kernel"), (D, "linear.kernel")):
        assert network[name].std() == pytest.approx(deviation_of_glorot(network[name]), rel=0.2), name
    G, D = params("wgan_gp", model__form="good", model__image_shape=(64, 64, 3), model__ch=8)
    assert G["conv_out.kernel"].std() == pytest.approx(deviation_of_glorot(G["conv_out.kernel"], 2**0.5), rel=0.1)
    assert D["conv_in.kernel"].std() == pytest.approx(deviation_of_glorot(D["conv_in.kernel"]), rel=0.2)
    G, _ = params("wgan_gp", model__form="toy", model__image_shape=(2,), model__ch=64)
    assert G["dense_1.kernel"].std() == pytest.approx(deviation_of_glorot(G["dense_1.kernel"], 2**0.5), rel=0.05)
    assert G["dense_out.kernel"].std() == pytest.approx(deviation_of_glorot(G["dense_out.kernel"]), rel=0.2)


def test_r3gan_is_normal_by_fan_in_and_depth():
    stages = {"model__widths": (64, 32), "model__groups": (8, 4), "model__blocks": (1, 2)}
    G, D = params("r3gan", model__image_shape=(8, 8, 3), model__num_classes=50, **stages)
    gain = np.sqrt(2 / 1.04) * 3**-0.25  # Three blocks.
    for network, block in ((G, "block_1_0"), (D, "block_0_0")):
        deviations = {
            f"{block}.conv_1.kernel": gain / np.sqrt(32),
            f"{block}.conv_2.kernel": gain / np.sqrt(9 * 16),  # Each of 4 groups has 16 of 64 channels.
            f"{block}.conv_3.kernel": 0,
            "conv_1.kernel": (1 / np.sqrt(64)) if network is G else 1 / np.sqrt(32),
            "basis": 1 if network is G else 1 / 4,
            "linear.kernel": 1 / np.sqrt(network["linear.kernel"].shape[0]),
            "embed.embedding": (1 / np.sqrt(50)) if network is G else 1 / np.sqrt(50 * 64),
        }
        for name, deviation in deviations.items():
            assert network[name].std() == pytest.approx(deviation, rel=0.1), name
            assert abs(network[name].mean()) <= 4 * deviation / np.sqrt(network[name].size), name
        assert not [name for name in network if name.endswith("bias") and network[name].any()]
        assert {name.split(".")[-2] for name in network if name.endswith("bias")} == {"conv_1", "conv_2"}
