"""Read and write networks of pytorch-CycleGAN-and-pix2pix (github.com/junyanz/pytorch-CycleGAN-and-pix2pix).

Its conventions: channels first; a module of nn.Sequential is named by its place, so that a residual block's second convolution
moves by one where there is dropout.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from biggan_jax.convert import tables
from biggan_jax.convert.studiogan import DECONVOLUTION
from biggan_jax.convert.tables import Arrays, Entry, Network, Path
from biggan_jax.models.translators import PatchDiscriminator, ResidualTranslator, UNet
from biggan_jax.types import UserError

LEAVES = {"kernel": "weight", "bias": "bias", "gain": "weight", "offset": "bias", "mean": "running_mean"}
LEAVES |= {"var": "running_var"}
COUNTER = "num_batches_tracked"


def module_of(kind: str, *, norm: str, **kwargs) -> nn.Module:
    """Return our module for the peer's class and the arguments of its constructor. Raises UserError for others."""
    channels, dropout = kwargs.get("output_nc", 3), 0.5 * kwargs.get("use_dropout", False)
    if norm not in ("instance", "batch"):
        raise UserError(f"norm={norm!r}: networks with instance and batch norm are read")
    if kind == "ResnetGenerator":
        return ResidualTranslator(channels, kwargs["ngf"], kwargs["n_blocks"], norm, dropout)
    if kind == "UnetGenerator":
        return UNet(kwargs["num_downs"], channels, kwargs["ngf"], norm, dropout)
    if kind == "NLayerDiscriminator":
        return PatchDiscriminator(kwargs["ndf"], kwargs["n_layers"], norm)
    raise UserError(f"{kind}: ResnetGenerator, UnetGenerator and NLayerDiscriminator are read")


def module_there(module: nn.Module, name: str) -> str:
    """Return the peer's name of one of our modules' layers."""
    is_norm, inner = name.startswith("bn_") or "_bn_" in name, name.replace("bn_", "")
    if isinstance(module, PatchDiscriminator):
        if name in ("conv_0", "conv_out"):
            return f"model.{0 if name == 'conv_0' else 3 * module.layers + 2}"
        return f"model.{3 * int(name.rpartition('_')[2]) - 1 + is_norm}"
    if isinstance(module, ResidualTranslator):
        if name == "conv_out":
            return f"model.{17 + module.blocks}"
        if inner in ("conv_in", "in"):
            return f"model.{1 + is_norm}"
        if name.startswith("block_"):
            _, block, *_, half = name.split("_")
            place = 1 if half == "1" else 5 + bool(module.dropout)
            return f"model.{10 + int(block)}.conv_block.{place + is_norm}"
        kind, i = inner.split("_")
        return f"model.{(4 if kind == 'down' else 10 + module.blocks) + 3 * int(i) + is_norm}"
    kind, number = inner.split("_")
    level, last = int(number), module.halvings - 1
    prefix = "model.model" + ".1.model" * (level > 0) + ".3.model" * max(level - 1, 0)
    if kind == "down":
        return f"{prefix}.{(level > 0) + is_norm}"
    return f"{prefix}.{(5 if 0 < level < last else 3) + is_norm}"


def entry_of(module: nn.Module):
    """Return the function from (path, shape) of a leaf of the module's network to its Entry."""

    def entry(path: Path, shape: tuple[int, ...]) -> Entry:
        layout = tables.SAME
        if len(shape) == 4:
            layout = DECONVOLUTION if path[1].startswith("up_") else tables.CONVOLUTION
        return Entry(f"{module_there(module, path[1])}.{LEAVES[path[-1]]}", path, layout)

    return entry


def read_network(module: nn.Module, state: Arrays, name: str) -> Network:
    """Return {params, batch_stats} from a state dict. Raises UserError, which calls the file `name`, if it does not fit."""
    channels = next(array.shape[1] for array in state.values() if array.ndim == 4)
    side = 1 << module.halvings if isinstance(module, UNet) else 32
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.zeros((1, side, side, channels)), train=False))
    return tables.to_here(state, shapes, entry_of(module), name, lambda there: there.endswith(COUNTER))


def named(module: nn.Module, network: Network) -> Arrays:
    """Return a network, or gradients like its parameters, by the peer's names."""
    return tables.to_there(network, entry_of(module))
