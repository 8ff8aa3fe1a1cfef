"""Layers of a network of another resolution or number of classes."""

import functools

import jax
import pytest

from biggan_jax.checkpoint import transfer
from biggan_jax.config import base
from biggan_jax.models import build_gan
from biggan_jax.state import init_state
from tests.conftest import tiny_config
from tests.variants import further_slow


def config_of(family, **changes):
    c = tiny_config(family) if family in ("biggan", "biggan_deep") else base(family)
    c.model.update(changes)
    return c


def found_in(before, after, network):
    """Return the transfer, and the arrays after."""
    gans = [build_gan(config) for config in (after, before)]
    arrays = [
        transfer.arrays_of(jax.eval_shape(functools.partial(init_state, gan, 0)).networks[network]) for gan in gans
    ]
    return transfer.plan(*arrays, *(transfer.places(gan.networks[network]) for gan in gans)), arrays[0]


def whole(found):
    """Return {block: block there} of those that are copied with all their layers."""
    partly = {layer[0] for layer in found.new}
    return {layer[0]: there[0] for layer, there in found.copied.items() if layer[0] not in partly}


def same(*names):
    return {name: name for name in names}


SNGAN = ("sngan", {"ch": 2, "image_shape": (64, 64, 3)}, {"ch": 2, "image_shape": (128, 128, 3)})
SAGAN = (
    "sagan",
    {"ch": 4, "num_classes": 3, "image_shape": (64, 64, 3), "g_attention": (16,), "d_attention": (16,)},
    {"ch": 4, "num_classes": 3},
)
R3GAN = (
    "r3gan",
    {"image_shape": (16, 16, 3), "widths": (8,) * 3, "groups": (2,) * 3, "blocks": (1,) * 3},
    {"image_shape": (32, 32, 3), "widths": (8,) * 4, "groups": (2,) * 4, "blocks": (1,) * 4},
)
DCGAN = ("dcgan", {"ch": 4, "image_shape": (32, 32, 3)}, {"ch": 4})
BIGGAN = ("biggan", {}, {"resolution": 32, "dim_z": 16})
DEEP = ("biggan_deep", {}, {"resolution": 32})
SHIFTED = {"block_1": "block_0", "block_2": "block_1", "block_3": "block_2", "block_4": "block_3"}
ENDS = same("linear", "bn_out", "conv_out")


@pytest.mark.parametrize(
    ("case", "network", "expected", "new"),
    further_slow([
        # By the size of feature maps, from the latent up.
        (BIGGAN, "G", ENDS | same("shared", "block_0", "block_1", "attention_0"), {"block_2"}),
        (BIGGAN, "D", same("block_2", "linear", "embed"), {"block_0", "block_1", "block_3", "attention_1"}),
        (DEEP, "G", ENDS | same("shared", "block_0_0", "block_0_1", "block_1_0", "block_1_1"), {"block_2_0"}),
        (R3GAN, "G", same("linear", "basis", "conv_out", "block_0_0", "block_1_0", "block_2_0"), {"block_3_0"}),
        (R3GAN, "D", same("linear", "basis", "conv_in") | {f"block_{i + 1}_0": f"block_{i}_0" for i in range(3)}, {"block_0_0"}),
        # By the distance from the image, since channels halve towards it.
        (DCGAN, "G", {"conv_2": "conv_1", "conv_3": "conv_2", "bn_2": "bn_1", "conv_out": "conv_out"}, {"conv_0", "conv_1"}),
        (DCGAN, "D", same("conv_0", "conv_1", "conv_2", "bn_1", "bn_2"), {"conv_3", "bn_3", "linear"}),
        (SNGAN, "G", ENDS | SHIFTED, {"block_0"}),
        (SAGAN, "G", ENDS | SHIFTED | {"attention_2": "attention_1"}, {"block_0"}),
        (SAGAN, "D", same("block_0", "block_1", "attention_1", "linear", "embed"), {"block_5"}),
        # By name: there the block does not halve the size.
        (SNGAN, "D", same("block_3", "block_4", "linear"), {"block_5"}),
    ], quick=(0, 2, 4, 5, 8, 10)),
    ids=lambda value: "-".join(value[:1]) if isinstance(value, tuple) else value if isinstance(value, str) else "",
)  # fmt: skip
def test_blocks_that_fit_are_found(case, network, expected, new):
    family, before, after = case
    found, _ = found_in(config_of(family, **before), config_of(family, **after), network)
    assert expected.items() <= whole(found).items()
    assert new <= {layer[0] for layer in found.new} and not new & whole(found).keys()
    used = [there for there in found.copied.values()]
    assert len(used) == len(set(used)), "no layer is used twice"


@pytest.mark.parametrize(
    ("family", "changes", "new"),
    [
        ("biggan", {"num_classes": 3}, {"G": {("shared",)}, "D": {("embed",)}}),
        ("sngan", {"num_classes": 5, "ch": 2}, {"D": {("embed",)}}),
        ("r3gan", {"num_classes": 5, "widths": (8,) * 4, "groups": (2,) * 4}, {"G": {("embed",)}, "D": {("embed",)}}),
    ],
)
def test_with_other_classes_all_other_layers_are_copied(family, changes, new):
    before = config_of(family, **changes | {"num_classes": 10})
    for network, layers in new.items():
        found, _ = found_in(before, config_of(family, **changes), network)
        assert found.new.keys() == layers == set(found.unused)
        assert all(there == layer for layer, there in found.copied.items())


def test_the_report_names_every_layer():
    found, arrays = found_in(config_of("biggan"), config_of("biggan", resolution=32, dim_z=16, num_classes=3), "D")
    lines = transfer.report("D", found)
    assert "D.embed: new: embedding [3, 16] is [10, 16] there" in lines
    assert "D.block_1.conv_1: new: kernel [3, 3, 16, 16] is [3, 3, 8, 16] there" in lines
    assert "D.block_1 (conv_2): copied" in lines and "D.block_3.conv_1: new: no counterpart there" in lines
    assert "D.block_1.conv_skip of that run: not used" in lines
    text = "\n".join(lines)
    for layer in transfer.by_layer(arrays):
        assert f"D.{'.'.join(layer)}: " in text or any(
            line.startswith(f"D.{layer[0]} (") and layer[1] in line for line in lines
        ), layer
