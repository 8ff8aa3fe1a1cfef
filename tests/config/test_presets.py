"""The values each preset resolves to, from its source: the paper (Brock et al. 2019) or the script that its header names."""

from biggan_jax import config as configs
from biggan_jax.config.loading import presets

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
STUDIOGAN = PEER | {"num_steps": 200_000, "model.spectral_eps": 1e-6, "ema.start": 20_000, "data.flip": True}
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
        "model.bn_eps": 1e-5, "ema.start": 20_000, "data.flip": False, "num_steps": 138_000,
    },
    "peers/ajbrock_cifar": PEER | PER_LAYER | CIFAR | {
        "batch_size": 50, "d_steps": 4, "num_steps": 125_000, "optimizer.g_lr": 2e-4, "optimizer.d_lr": 2e-4,
        "optimizer.eps": 1e-8, "model.spectral_eps": 1e-8, "model.bn_eps": 1e-5, "model.init": "normal", "data.flip": False,
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


def test_presets_resolve_to_the_values_of_their_sources():
    for name, values in PRESETS.items():
        config = configs.load(name)
        assert {key: config[key] for key in values} == values, name


def test_every_preset_is_compared_with_its_source():
    assert presets().keys() == PRESETS.keys() | {"quickstart", "digits", "finetune", "plain"}
