"""From a config to the GAN of BigGAN's or BigGAN-deep's modules, and which form of attention runs on which devices."""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
import ml_collections
from jax.sharding import Mesh

from biggan_jax import sharding
from biggan_jax.gan import GAN
from biggan_jax.layers import blocked_attention, fused_attention
from biggan_jax.layers.attention import Attend, attend
from biggan_jax.models import adversarial


def build(
    config: ml_collections.ConfigDict, mesh: Mesh | None, generator: type[nn.Module], discriminator: type[nn.Module]
) -> GAN:
    """Return the GAN of two classes of modules.

    A module's field NAME has the value of the key model.NAME, or of model.g_NAME in G and model.d_NAME in D if that exists.
    """
    model = config.model

    def module(kind: type[nn.Module], network: str, **fields) -> nn.Module:
        names = [field.name for field in dataclasses.fields(kind)]
        given = {name: model[name] for name in names if name in model}
        given |= {name: model[f"{network}_{name}"] for name in names if f"{network}_{name}" in model}
        ch, attention = given.pop("ch") or model.ch, tuple(given.pop("attention"))
        execution = {"dtype": jnp.dtype(config.dtype), "remat": config.remat != "none"}
        return kind(ch=ch, attention=attention, **given, **execution, **fields)

    head, attends = adversarial.head_of(config), attention_in(mesh, config)
    G, D = module(generator, "g", attend=attends[0]), module(discriminator, "d", attend=attends[1], head=head)
    return adversarial.build(config, mesh, G, D, image_shape=(model.resolution, model.resolution, 3), head=head)


def attention_in(mesh: Mesh | None, config: ml_collections.ConfigDict) -> tuple[Attend, Attend]:
    """The functions for attention in G and in D: gradient penalties differentiate D's gradient, LOGAN also G's."""
    g_twice, d_twice = config.regularizer.logan > 0, adversarial.differentiates_twice(config)
    return attention_on(mesh, config, twice=g_twice), attention_on(mesh, config, twice=d_twice)


def attention_on(mesh: Mesh | None, config: ml_collections.ConfigDict, *, twice: bool = False) -> Attend:
    """The fastest of the functions for attention on the mesh's devices; all are equal but for rounding.

    twice: its gradient is differentiated, as R1 does.
    """
    device = None if mesh is None else mesh.devices.flat[0]
    kernels = device and device.platform == "tpu" and device.device_kind not in fused_attention.UNSUPPORTED
    if kernels and config.fused_attention and config.dtype == "bfloat16" and not twice:
        return sharding.on_each_device(fused_attention.attend, mesh, otherwise=attend)
    if device and device.platform == "cpu":
        return sharding.on_each_device(blocked_attention.attend, mesh, otherwise=attend)
    return attend
