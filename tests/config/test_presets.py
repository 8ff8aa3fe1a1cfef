"""The values each preset resolves to, from its source: the paper (Brock et al. 2019) or the script that its header names."""

import pytest

from biggan_jax import config as configs
from biggan_jax.config.loading import presets
from biggan_jax.types import UserError

PAPER = {
    "num_steps": 150_000,
    "batch_size": 2048, "d_steps": 2, "loss": "hinge", "microbatches": 1, "spectral_advance": "update", "dtype": "bfloat16",
    "model.num_classes": 1000, "model.shared_dim": 128, "model.skip_z": True, "model.shared_embedding": True,
    "model.bn_eps": 1e-4, "model.spectral_eps": 1e-4, "model.spectral_iterations": 1, "model.init": "orthogonal",
    "model.prior": "normal", "model.g_attention": (64,), "model.d_attention": (64,), "model.pad_rgb": False,
    "optimizer.b1": 0.0, "optimizer.b2": 0.999, "optimizer.g_lr": 5e-5, "optimizer.d_lr": 2e-4, "optimizer.eps": 1e-6,
    "regularizer.g_ortho": 1e-4, "regularizer.ortho_factor": 4.0, "regularizer.d_ortho": 0.0, "regularizer.r1": 0.0,
    "ema.decay": 0.9999, "ema.start": 0, "data.dataset": "imagenet2012", "augment.policy": (),
}  # fmt: skip
BIGGAN = PAPER | {"model.family": "biggan", "model.ch": 96}
DEEP = PAPER | {
    "model.family": "biggan_deep",
    "model.ch": 128,
    "model.dim_z": 128,
    "model.pad_rgb": True,
    "model.depth": 2,
}
HALF = {"optimizer.g_lr": 2.5e-5, "optimizer.d_lr": 2.5e-5}
# The reference implementations use float32 and no orthogonal penalty.
PEER = BIGGAN | {"dtype": "float32", "regularizer.g_ortho": 0.0, "model.resolution": 128, "model.dim_z": 120}
ACCUMULATED = {"spectral_advance": "microbatch"}
STUDIOGAN = PEER | {
    "num_steps": 200_000,
    "model.d_skip_relu": True,
    "model.spectral_eps": 1e-6,
    "ema.start": 20_000,
    "data.flip": True,
}
PER_LAYER = {"model.shared_embedding": False, "model.skip_z": False, "model.ch": 64, "model.dim_z": 128}
NO_ATTENTION = {"model.g_attention": (), "model.d_attention": ()}
CIFAR = {"model.resolution": 32, "model.num_classes": 10, "data.dataset": "cifar10", "ema.start": 1000} | NO_ATTENTION

PRESETS = {
    "biggan_imagenet64": BIGGAN | {"model.resolution": 64, "model.dim_z": 120, "model.d_attention": ()},
    "biggan_imagenet128": BIGGAN | {"model.resolution": 128, "model.dim_z": 120},
    "biggan_imagenet256": BIGGAN | {"model.resolution": 256, "model.dim_z": 140, "model.g_attention": (128,)},
    "biggan_imagenet512": BIGGAN | {"model.resolution": 512, "model.dim_z": 160},
    "biggan_deep_imagenet128": DEEP | {"model.resolution": 128},
    "biggan_deep_imagenet256": DEEP | {"model.resolution": 256} | HALF,
    "biggan_deep_imagenet512": DEEP | {"model.resolution": 512} | HALF,
    "biggan_jft256": BIGGAN | {"model.resolution": 256, "model.dim_z": 140, "model.g_attention": (128,), "data.dataset": ""},
    "peers/ajbrock_bs256x8": PEER | ACCUMULATED | {
        "microbatches": 8, "d_steps": 1, "optimizer.g_lr": 1e-4, "optimizer.d_lr": 4e-4, "model.spectral_eps": 1e-6,
        "model.bn_eps": 1e-5, "ema.start": 20_000, "data.flip": False, "num_steps": 138_000, "model.bn_group": 32,
    },
    "peers/ajbrock_cifar": PEER | PER_LAYER | CIFAR | {
        "batch_size": 50, "d_steps": 4, "num_steps": 125_000, "optimizer.g_lr": 2e-4, "optimizer.d_lr": 2e-4,
        "optimizer.eps": 1e-8, "model.spectral_eps": 1e-8, "model.bn_eps": 1e-5, "model.init": "normal", "data.flip": False,
        "model.bn_group": 25,
    },
    "peers/studiogan_biggan256": STUDIOGAN | {"batch_size": 256},
    "peers/studiogan_biggan2048": STUDIOGAN | ACCUMULATED | {"microbatches": 4},
    "peers/compare_gan_imagenet128": PEER | {
        "num_steps": 250_000, "optimizer.g_lr": 1e-4, "optimizer.d_lr": 5e-4, "optimizer.eps": 1e-8,
        "model.spectral_eps": 1e-12, "model.bn_eps": 1e-5, "ema.start": 40_000, "data.flip": False,
    },
    "peers/sagan_imagenet128": PEER | PER_LAYER | ACCUMULATED | {
        "batch_size": 256, "microbatches": 2, "d_steps": 1, "optimizer.g_lr": 1e-4, "optimizer.d_lr": 4e-4,
        "optimizer.eps": 1e-8, "model.spectral_eps": 1e-8, "model.bn_eps": 1e-5, "model.init": "xavier", "ema.start": 2000,
    },
    "biggan_cifar10_paper": BIGGAN | CIFAR | {"model.dim_z": 80, "ema.start": 0, "data.flip": False},
    "biggan_cifar10": PEER | CIFAR | {
        "model.dim_z": 80, "batch_size": 64, "d_steps": 5, "num_steps": 100_000, "optimizer.g_lr": 2e-4,
        "optimizer.d_lr": 2e-4, "optimizer.b1": 0.5, "model.spectral_eps": 1e-6, "data.flip": True,
    },
    "biggan_small128": PEER | {
        "num_steps": 50_000,
        "batch_size": 64, "model.ch": 64, "model.num_classes": 1, "optimizer.g_lr": 1e-4, "optimizer.d_lr": 4e-4,
        "ema.decay": 0.999, "augment.policy": ("colour", "translation", "cutout"), "data.flip": True, "data.dataset": "",
    },
}  # fmt: skip

# As the authors' code, or the papers, have it; see each preset's header.
UNAVERAGED = {"ema.decay": 0.0, "optimizer.eps": 1e-8, "optimizer.weight_decay": 0.0}
SGD = {
    "batch_size": 100, "d_steps": 1, "loss": "non_saturating", "optimizer.name": "sgd", "optimizer.g_lr": 0.1,
    "optimizer.momentum": 0.5, "optimizer.last_momentum": 0.7, "optimizer.least_lr": 1e-6, "ema.decay": 0.0,
    "model.image_shape": (28, 28, 1), "model.dim_z": 100,
}  # fmt: skip
DCGAN = UNAVERAGED | {
    "loss": "non_saturating", "d_steps": 1, "optimizer.g_lr": 2e-4, "optimizer.d_lr": 2e-4, "optimizer.b1": 0.5,
}  # fmt: skip
GP = UNAVERAGED | {
    "loss": "wasserstein",
    "d_steps": 5,
    "optimizer.b1": 0.0,
    "optimizer.b2": 0.9,
    "regularizer.gp": 10.0,
}
RESNET = {
    "batch_size": 64, "g_batch": 2, "optimizer.g_lr": 2e-4, "optimizer.d_lr": 2e-4, "optimizer.decay": "linear",
    "optimizer.decay_start": 0, "data.dequantize": True, "model.dim_z": 128,
}  # fmt: skip
SNGAN = (
    UNAVERAGED
    | RESNET
    | {"loss": "hinge", "d_steps": 5, "optimizer.b1": 0.0, "optimizer.b2": 0.9, "model.init": "glorot"}
)
CONTRA = BIGGAN | CIFAR | HALF | {
    "dtype": "float32", "regularizer.g_ortho": 0.0, "d_steps": 5, "model.dim_z": 80, "model.g_attention": (16,),
    "model.d_attention": (16,), "model.spectral_eps": 1e-6, "optimizer.b1": 0.5, "num_steps": 100_000, "model.widths": "studiogan",
}  # fmt: skip

PRESETS |= {
    "classic/gan_mnist": SGD | {"model.prior": "uniform_unit", "optimizer.d_lr": 0.05},
    "classic/cgan_mnist": SGD | {"model.prior": "uniform_01", "model.num_classes": 10, "optimizer.d_lr": 0.1},
    "classic/dcgan64": DCGAN | {"batch_size": 64, "model.form": "torch", "model.prior": "normal", "model.dim_z": 100},
    "classic/dcgan_faces64": DCGAN | {
        "batch_size": 128, "model.form": "paper", "model.prior": "uniform", "optimizer.weight_decay": 1e-5, "model.ch": 128,
    },
    "classic/dcgan_mnist": DCGAN | {
        "batch_size": 128, "model.form": "conditional", "model.prior": "uniform", "optimizer.weight_decay": 2.5e-5,
        "model.image_shape": (28, 28, 1), "optimizer.decay_start": 39_000, "optimizer.decay_end": 78_000,
    },
    "classic/dcgan_cifar10": DCGAN | {
        "batch_size": 64, "model.form": "deep_conv", "d_steps": 2, "num_steps": 200_000, "optimizer.eps": 1e-6,
    },
    "classic/wgan64": UNAVERAGED | {
        "loss": "wasserstein", "d_steps": 5, "batch_size": 64, "regularizer.clip": 0.01, "optimizer.name": "rmsprop",
        "optimizer.g_lr": 5e-5, "optimizer.d_lr": 5e-5, "optimizer.b2": 0.99, "model.warm_up": True,
    },
    "classic/wgan_gp_cifar10": GP | RESNET | {"optimizer.decay_end": 100_000, "model.form": "cifar", "model.num_classes": 0},
    "classic/wgan_gp_cifar10_ac": GP | RESNET | {
        "optimizer.decay_end": 100_000, "model.num_classes": 10, "condition.d": "ac", "condition.d_weight": 1.0,
        "condition.g_weight": 0.1, "condition.labels": "real",
    },
    "classic/wgan_gp64": GP | {"batch_size": 64, "optimizer.g_lr": 1e-4, "num_steps": 200_000, "model.form": "good"},
    "classic/wgan_gp_toy": GP | {
        "batch_size": 256, "optimizer.b1": 0.5, "regularizer.gp": 0.1, "optimizer.d_lr": 1e-4, "model.image_shape": (2,),
    },
    "classic/sngan_cifar10": SNGAN | {"num_steps": 50_000, "optimizer.decay_end": 50_000, "model.num_classes": 0},
    "classic/sngan_cifar10_projection": SNGAN | {"num_steps": 50_000, "optimizer.decay_end": 50_000, "model.num_classes": 10},
    "classic/sngan_imagenet128": SNGAN | {
        "optimizer.decay_end": 450_000, "optimizer.decay_start": 400_000, "model.d_wide": False, "model.d_bias": True,
    },
    "classic/sagan128": UNAVERAGED | {
        "d_steps": 1, "batch_size": 256, "num_steps": 1_000_000, "optimizer.g_lr": 1e-4, "optimizer.d_lr": 4e-4,
        "optimizer.b2": 0.9, "model.g_attention": (32,), "model.d_attention": (32,), "model.bn_momentum": 0.999,
    },
    "classic/contragan_cifar10": CONTRA | {
        "condition.d": "contrastive", "batch_size": 64, "optimizer.g_lr": 2e-4, "optimizer.d_lr": 2e-4,
    },
    "classic/reacgan_cifar10": CONTRA | {
        "condition.d": "d2dce", "batch_size": 128, "optimizer.g_lr": 2.8284e-4, "optimizer.d_lr": 2.8284e-4,
        "condition.temperature": 0.5, "condition.margin": 0.98, "condition.d_weight": 0.5, "condition.embed_dim": 512,
    },
}  # fmt: skip

R3GAN = {
    "d_steps": 1, "loss": "relativistic_pairs", "g_real": "own", "optimizer.g_lr": 2e-4, "optimizer.d_lr": 2e-4,
    "optimizer.b1": 0.0, "optimizer.eps": 1e-8, "model.dim_z": 64, "model.expansion": 2, "model.prior": "normal",
    "augment.ada": ("blit", "geometry", "colour:0.5", "cutout"), "data.flip": True, "dtype": "float32",
}  # fmt: skip


def r3gan(decay, gamma, half_life, p, **more):
    """What differs between R3GAN's presets; decay, half_life: images."""
    values = {"lr": "1:0.25", "b2": "0.9:0.99", "penalties": "1:0.1"}
    values |= {"ema_half_life": f"0:{half_life}", "augment_p": f"0:{p}"}
    schedules = {f"schedule.{name}": f"cosine:{value}:{decay}" for name, value in values.items()}
    strengths = {"regularizer.r1": gamma, "regularizer.r2": gamma}
    return R3GAN | schedules | strengths | {name.replace("__", "."): value for name, value in more.items()}


WITH_CLASSES = {"condition__labels": "paired"}
PRESETS |= {
    "modern/r3gan_cifar10": r3gan(
        "2e7", 0.05, "5e6", 0.55, batch_size=512, model__num_classes=10, model__widths=(768,) * 4, **WITH_CLASSES
    ),
    "modern/r3gan_ffhq64": r3gan("2e7", 2, "5e5", 0.3, batch_size=256, model__groups=(96, 96, 96, 96, 48)),
    "modern/r3gan_ffhq256": r3gan("2e7", 150, "5e5", 0.3, batch_size=256, model__groups=(96, 96, 96, 96, 48, 24, 12)),
    "modern/r3gan_imagenet32": r3gan("2e8", 0.5, "5e7", 0.5, batch_size=4096, model__groups=(96,) * 4, **WITH_CLASSES),
    "modern/r3gan_imagenet64": r3gan("2e8", 1, "5e7", 0.4, batch_size=4096, model__groups=(96,) * 5, **WITH_CLASSES),
}

PROGAN = {
    "d_steps": 1, "loss": "wasserstein", "regularizer.gp": 10.0, "regularizer.drift": 0.001, "optimizer.g_lr": 1e-3,
    "optimizer.d_lr": 1e-3, "optimizer.b1": 0.0, "optimizer.b2": 0.99, "optimizer.eps": 1e-8, "ema.decay": 0.999,
    "model.start_size": 4, "model.stddev_group": 4, "model.num_classes": 0, "model.fused_scale": True,
}  # fmt: skip
TWELVE_MILLION = {
    "model.train_images": 600_000,
    "model.fade_images": 600_000,
    "model.dim_z": 512,
    "model.fmap_base": 8192,
}
PRESETS |= {
    "modern/progan_cifar10": PROGAN | {
        "batch_size": 16, "num_steps": 1_250_000, "model.train_images": 400_000, "model.fade_images": 400_000,
        "regularizer.gp_target": 750.0, "model.fmap_base": 4096, "model.fmap_max": 128, "model.dim_z": 128,
    },
    "modern/progan_digits": {"model.image_shape": (16, 16, 1), "model.num_classes": 0, "loss": "wasserstein", "d_steps": 1},
    "modern/progan_lsun256": PROGAN | TWELVE_MILLION | {
        "batch_size": 8, "model.batch_sizes": (128, 128, 128, 64, 32, 16), "model.lr_factors": (), "data.flip": False,
    },
    "modern/progan_celebahq1024": PROGAN | TWELVE_MILLION | {
        "batch_size": 4, "model.batch_sizes": (128, 128, 128, 64, 32, 16, 8), "data.flip": True,
        "model.lr_factors": (1.0,) * 8 + (1.5,),
    },
}  # fmt: skip

STYLEGAN = {
    "d_steps": 1, "loss": "non_saturating", "regularizer.r1": 10.0, "regularizer.every": 1, "optimizer.g_lr": 1e-3,
    "optimizer.d_lr": 1e-3, "optimizer.b1": 0.0, "optimizer.b2": 0.99, "optimizer.eps": 1e-8, "ema.half_life": 10_000,
    "ema.ramp": 0.0, "batch_size": 32, "model.batch_sizes": (512, 256, 128, 64), "model.start_size": 8, "data.flip": True,
    "model.train_images": 600_000, "model.fade_images": 600_000, "model.dim_z": 512, "model.dim_w": 512,
    "model.fmap_base": 8192, "model.fmap_max": 512, "model.mapping_layers": 8, "model.mapping_lr": 0.01,
    "model.style_mixing": 0.9, "model.w_decay": 0.995, "model.stddev_group": 4, "num_steps": 717_966,
}  # fmt: skip
PRESETS |= {
    "modern/stylegan_ffhq1024": STYLEGAN | {"model.lr_factors": (1.0,) * 5 + (1.5, 2.0, 3.0, 3.0)},
    "modern/stylegan_ffhq256": STYLEGAN | {"model.lr_factors": (1.0,) * 5 + (1.5, 2.0)},
}

STYLEGAN2 = {
    "d_steps": 1, "loss": "non_saturating", "regularizer.every": 16, "optimizer.b1": 0.0, "optimizer.b2": 0.99,
    "optimizer.eps": 1e-8, "model.clamp": 256.0, "model.bfloat16_stages": 4, "model.dim_z": 512, "model.dim_w": 512,
    "model.channel_max": 512, "model.mapping_lr": 0.01, "model.w_decay": 0.995, "model.path_every": 4, "model.path_decay": 0.01,
    "model.path_shrink": 2, "dtype": "float32",
}  # fmt: skip
NO_ADA = {"augment.ada": (), "augment.target": 0.0}


def stylegan2(size, batch, lr, gamma, half_life, **more):
    """What differs between StyleGAN2-ADA's presets; half_life: images."""
    own = {"model.image_shape": (size, size, 3), "batch_size": batch, "optimizer.g_lr": lr, "optimizer.d_lr": lr}
    own |= {"regularizer.r1": gamma, "ema.half_life": half_life, "ema.ramp": 0.0, "model.channel_base": 32_768}
    own |= {"augment.ada": ("blit", "geometry", "colour"), "augment.target": 0.6, "model.mapping_layers": 8}
    own |= {"model.style_mixing": 0.9, "model.path_length": 2.0, "model.d_stddev_group": 4, "data.flip": True}
    return STYLEGAN2 | own | {name.replace("__", "."): value for name, value in more.items()}


PRESETS |= {
    "modern/stylegan2": stylegan2(1024, 32, 0.002, 10, 10_000, num_steps=781_250) | NO_ADA,
    "modern/stylegan2_paper256": stylegan2(
        256, 64, 0.0025, 1, 20_000, num_steps=390_625, model__channel_base=16_384, model__d_stddev_group=8
    ),
    "modern/stylegan2_paper512": stylegan2(512, 64, 0.0025, 0.5, 20_000, num_steps=390_625, model__d_stddev_group=8),
    "modern/stylegan2_paper1024": stylegan2(1024, 32, 0.002, 2, 10_000, num_steps=781_250),
    "modern/stylegan2_cifar": stylegan2(
        32, 64, 0.0025, 0.01, 500_000, num_steps=1_562_500, model__num_classes=10, model__mapping_layers=2, ema__ramp=0.05,
        model__d_architecture="orig", model__style_mixing=0.0, model__path_length=0.0, model__d_stddev_group=32, data__flip=False,
    ),
    "modern/stylegan2_digits": {"model.image_shape": (16, 16, 1), "model.num_classes": 10, "loss": "non_saturating", "d_steps": 1},
    "modern/stylegan2_auto": stylegan2(
        256, 64, 0.0025, 0.0002 * 256**2 / 64, 20_000, num_steps=390_625, model__mapping_layers=2, ema__ramp=0.05,
        model__channel_base=16_384,
    ),
}  # fmt: skip


def test_presets_resolve_to_the_values_of_their_sources():
    for name, values in PRESETS.items():
        config = configs.load(name)
        assert {key: config[key] for key in values} == values, name


def test_stylegan2_auto_follows_the_size_of_pictures():
    c = configs.load("modern/stylegan2_auto:1024")
    assert (c.batch_size, c.optimizer.g_lr, c.optimizer.d_lr, c.model.channel_base) == (32, 0.002, 0.002, 32_768)
    assert c.regularizer.r1 == 0.0002 * 1024**2 / 32 and c.ema.half_life == 10_000 and c.num_steps == 781_250
    with pytest.raises(UserError, match="the size of modern/stylegan2_auto.*300"):
        configs.load("modern/stylegan2_auto:300")


TRANSLATION = UNAVERAGED | {
    "d_steps": 1, "optimizer.b1": 0.5, "optimizer.b2": 0.999, "optimizer.d_lr": 2e-4, "optimizer.decay": "linear",
    "model.load_size": 0,
}  # fmt: skip
PAPER256 = {
    "batch_size": 1,
    "optimizer.g_lr": 2e-4,
    "model.image_shape": (256, 256, 3),
    "model.load_size": 286,
    "data.flip": True,
}
PRESETS |= {
    "classic/cyclegan": TRANSLATION | PAPER256 | {
        "loss": "least_squares", "model.blocks": 9, "model.pool": 50, "model.cycle_a": 10.0, "model.identity": 0.5,
        "optimizer.decay_start": 133_400, "optimizer.decay_end": 266_800, "num_steps": 266_800,
    },
    "classic/pix2pix": TRANSLATION | PAPER256 | {
        "loss": "non_saturating", "model.l1": 100.0, "model.g_dropout": 0.5, "model.g_norm": "batch", "model.d_norm": "batch",
        "optimizer.decay_start": 40_000, "optimizer.decay_end": 80_000, "num_steps": 80_000,
    },
    "classic/cogan": {k: v for k, v in TRANSLATION.items() if k not in ("optimizer.decay", "optimizer.weight_decay")} | {
        "batch_size": 64, "num_steps": 5000, "optimizer.g_lr": 2e-4, "optimizer.weight_decay": 5e-4, "model.ch": 128,
        "model.dim_z": 100, "data.name": "digit_edges", "loss": "non_saturating",
    },
    "classic/vgan64": {
        "batch_size": 64, "d_steps": 1, "loss": "non_saturating", "model.ch": 64, "model.frames": 32, "model.mask_l1": 0.1,
        "model.image_shape": (64, 64, 3), "model.dim_z": 100, "optimizer.g_lr": 2e-4, "optimizer.d_lr": 2e-4,
        "optimizer.b1": 0.5, "optimizer.b2": 0.999, "optimizer.eps": 1e-8, "ema.decay": 0.0,
    },
    "classic/vgan_digits": {"model.image_shape": (16, 16, 1), "model.frames": 8, "model.ch": 8, "data.name": "moving_digits"},
    "classic/cogan_narrow": {"batch_size": 16, "model.ch": 32, "optimizer.weight_decay": 5e-4, "ema.decay": 0.998},
    "classic/cyclegan32": TRANSLATION | {"loss": "least_squares", "model.pool": 50, "data.name": "digit_edges"},
    "classic/text_to_image64": {
        "loss": "non_saturating", "batch_size": 64, "optimizer.g_lr": 2e-4, "optimizer.d_lr": 2e-4, "optimizer.b1": 0.5,
        "model.image_shape": (64, 64, 3), "model.ch": 128, "model.d_ch": 64, "model.text_dim": 128, "model.dim_z": 100,
        "model.condition_dim": 1024, "model.captions": 4, "model.wrong": 0.5, "model.interpolated": 1.0, "data.flip": True,
    },
    "classic/text_to_image32": {"loss": "non_saturating", "optimizer.b1": 0.5, "data.name": "digit_captions"},
    "classic/pix2pix32": TRANSLATION | {"loss": "non_saturating", "model.l1": 100.0, "data.name": "digit_edges"},
}  # fmt: skip


def test_every_preset_is_compared_with_its_source():
    assert presets().keys() == PRESETS.keys() | {"quickstart", "digits", "auto", "finetune", "plain"}
