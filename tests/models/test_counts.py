"""Numbers of parameters of the published networks, to the unit."""

import jax
import pytest

from biggan_jax import config as configs
from biggan_jax.config import base
from biggan_jax.models import build_gan
from biggan_jax.state import init_shapes

MNIST, CIFAR, FACES, IMAGENET = (28, 28, 1), (32, 32, 3), (64, 64, 3), (128, 128, 3)
TEN = {"model.num_classes": 10}
WASSERSTEIN = {"loss": "wasserstein", "regularizer.clip": 0.01}
THOUSAND = {"model.num_classes": 1000}
AC = {"condition.d": "ac"}

STUDIOGAN = {"model.resolution": 32, "model.dim_z": 80, "model.widths": "studiogan", "model.d_skip_relu": True}
STUDIOGAN |= {"model.g_attention": (16,), "model.d_attention": (16,)}

STYLEGAN2_CIFAR = {"model.image_shape": CIFAR, "model.mapping_layers": 2, "model.d_architecture": "orig"}

COUNTS = [
    ("gan", {}, 2_503_984, 1_231_441),
    ("cgan", TEN, 2_413_984, 1_224_351),
    ("dcgan", {}, 3_576_704, 2_765_568),
    ("dcgan", {"model.form": "paper", "model.ch": 128}, 18_855_040, 17_232_768),
    ("dcgan", {"model.form": "conditional", "model.image_shape": MNIST} | TEN, 6_835_258, 6_690_506),
    ("dcgan", {"model.form": "deep_conv", "model.image_shape": CIFAR, "model.dim_z": 128}, 3_812_355, 2_931_009),
    ("wgan", WASSERSTEIN | {"model.network": "mlp"}, 6_880_768, 6_817_793),
    ("wgan", WASSERSTEIN, 3_576_704, 2_765_568),
    ("wgan_gp", {}, 1_204_483, 1_053_825),
    ("wgan_gp", TEN | AC, 1_218_307, 1_055_115),
    ("wgan_gp", {"model.form": "good", "model.image_shape": FACES, "model.ch": 64}, 8_540_483, 7_491_841),
    ("sngan", {}, 4_276_739, 1_053_824),
    ("sngan", TEN, 4_304_387, 1_055_104),
    ("sngan", TEN | {"model.d_bias": True}, 4_304_387, 1_055_105),
    ("sngan", {"model.d_batch_norm": True, "model.d_bias": True, "model.d_spectral_norm": False}, 4_276_739, 1_055_879),
    (
        "sngan",
        THOUSAND | {"model.image_shape": IMAGENET, "model.d_wide": False, "model.d_bias": True},
        41_996_931,
        30_041_857,
    ),
    ("sngan", THOUSAND | {"model.image_shape": IMAGENET, "model.d_bias": True}, 41_996_931, 39_443_137),
    ("biggan", TEN | STUDIOGAN, 9_416_196, 2_415_170),
    ("biggan", TEN | STUDIOGAN | {"condition.d": "contrastive"}, 9_416_196, 2_517_186),
    ("progan", {}, 20_719_628, 20_726_785),
    ("progan", {"model.image_shape": (256, 256, 3)}, 23_044_309, 23_052_353),
    ("progan", {"model.image_shape": (1024, 1024, 3)}, 23_079_115, 23_087_249),
    ("stylegan", {"model.image_shape": (1024, 1024, 3)}, 26_219_627, 23_087_249),
    ("stylegan2", {"model.image_shape": (1024, 1024, 3)}, 30_370_060, 29_012_513),
    ("stylegan2", {}, 30_034_338, 28_864_129),
    ("stylegan2", STYLEGAN2_CIFAR, 19_947_539, 20_720_641),
    ("stylegan2", {"model.image_shape": (512, 512, 3), "model.num_classes": 3}, 30_540_775, 31_348_288),
    ("sagan", THOUSAND, 42_078_852, 39_463_618),
    ("sagan", THOUSAND | {"model.g_attention": (64,), "model.d_attention": (64,)}, 42_017_412, 39_448_258),
]
"""(family, changes of its defaults, parameters of G, of D): the papers' layer tables, and StudioGAN's printed counts."""


def counts(config):
    """Return the numbers of parameters of G and D."""
    state = init_shapes(build_gan(config))
    return [sum(leaf.size for leaf in jax.tree.leaves(state.networks[name].params)) for name in ("G", "D")]


@pytest.mark.parametrize(("family", "changes", "g", "d"), COUNTS)
def test_parameters_are_as_many_as_published(family, changes, g, d):
    c = base(family)
    c.update_from_flattened_dict(changes)
    assert counts(c) == [g, d]


@pytest.mark.parametrize(
    ("preset", "g", "d"),
    [
        ("r3gan_cifar10", 20_781_952, 21_280_512),
        ("r3gan_ffhq64", 22_429_824, 22_381_440),
        ("r3gan_ffhq256", 23_057_952, 23_009_568),
        ("r3gan_imagenet32", 82_914_304, 86_548_992),
        ("r3gan_imagenet64", 103_570_432, 107_205_120),
        ("stylegan2", 30_370_060, 29_012_513),
        ("stylegan2_paper256", 24_767_458, 24_001_089),
        ("stylegan2_cifar", 20_215_315, 23_089_664),
    ],
)
def test_presets_have_the_papers_parameters(preset, g, d):
    assert counts(configs.load(f"modern/{preset}")) == [g, d]
