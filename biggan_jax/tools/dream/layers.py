"""Networks to dream through: their layers by name, and a layer's output for pictures of any size."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from etils import epath

from biggan_jax.checkpoint import exported, load_generator, locate
from biggan_jax.config import choose, some
from biggan_jax.data import captions
from biggan_jax.evaluation import networks
from biggan_jax.evaluation.efficientnet import EfficientNetLite0
from biggan_jax.evaluation.inception import Inception
from biggan_jax.family import Family
from biggan_jax.sampling import generate
from biggan_jax.sampling.sampler import check_finite
from biggan_jax.types import Params, UserError

Apply = Callable[[Params, jax.Array], Any]
"""A pure function of weights and of pixels float32 [1, H, W, C] in [0, 255], which calls Flax modules."""


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """A network with its weights.

    shape: [H, W, C] of the pictures that it was trained on; C is 1 or 3. layer: the default one. long: the longer side of a
    picture to dream on by default, in pixels. multiple: (rows, columns) of which the sides of its input are multiples. least: of
    either side of its input.
    """

    name: str
    params: Params
    apply: Apply
    shape: tuple[int, int, int]
    layer: str
    long: int = 512
    multiple: tuple[int, int] = (1, 1)
    least: int = 1

    def layers(self) -> dict[str, tuple[int, ...]]:
        """Return the layers by name, in the order of computation, with the shapes of their outputs for one picture of `shape`."""
        found: dict[str, tuple[int, ...]] = {}

        def watch(call, arguments, options, context):
            output = call(*arguments, **options)
            if is_layer(context) and getattr(output, "ndim", 0) in (2, 4):
                found.setdefault("/".join(context.module.path), output.shape[1:])
            return output

        with nn.intercept_methods(watch):  # A new function, since jax would not call one again that it knows.
            jax.eval_shape(lambda *inputs: self.apply(*inputs), self.params, np.zeros((1, *self.shape), np.float32))
        return found

    def check_layer(self, layer: str) -> str:
        """Return the layer, or the default one for "". Raises UserError for one that the network lacks."""
        known = self.layers()
        choose(known, "--layer", layer or self.layer)
        return layer or self.layer

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """Return the smallest height and width that the network takes, and which are no smaller than these."""
        rows, columns = self.multiple
        return max(self.least, -(-height // rows) * rows), max(self.least, -(-width // columns) * columns)

    def output(self, params: Params, pixels: jax.Array, layer: str) -> jax.Array:
        """Return a layer's output for pixels float32 [1, H, W, C] in [0, 255]. What comes after the layer is not computed.

        Raises UserError if the layers up to it take no pictures of that size.
        """

        def watch(call, arguments, options, context):
            output = call(*arguments, **options)
            if is_layer(context) and "/".join(context.module.path) == layer:
                raise _ReachedError(output)
            return output

        try:
            with nn.intercept_methods(watch):
                self.apply(params, pixels)
        except _ReachedError as reached:
            return reached.output
        except Exception as error:  # Of any type: a product of shapes that do not fit, or a reshape.
            height, width, _ = self.shape
            has = f"the picture has {pixels.shape[1]} x {pixels.shape[2]}"
            only = f"the layers of {self.name} up to {layer} take pictures of {height} x {width} pixels alone"
            raise UserError(f"{only}, but {has}; choose an earlier layer by --layer, see --layer=list") from error
        raise UserError(f"{self.name} has no layer {layer}")


class _ReachedError(Exception):
    """The layer's output is known; it ends the forward pass, whose later layers may not take pictures of this size."""

    def __init__(self, output: jax.Array):
        super().__init__()
        self.output = output


def is_layer(context: nn.module.InterceptorContext) -> bool:
    """Whether a call is that of a module below the network's own."""
    return context.method_name == "__call__" and bool(context.module.path)


def efficientnet(_: str | None = None) -> Network:
    """Open EfficientNet-Lite0 with the weights of its package. Raises UserError if that is not installed."""
    module = EfficientNetLite0(size=0, by_shifts=True)
    return Network("efficientnet-lite0", networks.efficientnet(), module.apply, (224, 224, 3), "block_8")


def inception(path: str | None) -> Network:
    """Open Inception with given weights, a file or "download". Raises UserError."""
    module = Inception(size=0)
    return Network("inception-2015", networks.inception(path), module.apply, (299, 299, 3), "Mixed_6b", least=75)


NETWORKS: Mapping[str, Callable[[str | None], Network]] = {
    "efficientnet-lite0": efficientnet,
    "inception-2015": inception,
}
"""Feature networks by name: functions of the path of Inception's weights."""


def discriminator(path: epath.PathLike, name: str | None = None) -> Network:
    """Open the discriminator of a run or checkpoint, with its trained weights. Raises UserError.

    name: of several, such as D_B of CycleGAN; by default the first.
    """
    known: tuple[str, ...] = ()

    def select(gan: Family) -> str:
        nonlocal known
        known = tuple(sorted(network for network in gan.networks if network.startswith("D")))
        if not known:
            raise UserError(f"{path} has no discriminator; it has {some(gan.networks)}")
        if name and name not in known:
            raise UserError(f"--discriminator={name}: {path} has {some(known)}")
        return name or known[0]

    if exported.is_exported(locate(path)):
        ways = "give the folder of a training run, or leave out --checkpoint to dream through EfficientNet-Lite0"
        raise UserError(f"{path} is an exported model, which has no discriminator; {ways}")
    trained = load_generator(path, choose=select)
    check_finite(trained)
    gan, network = trained.gan, trained.gan.networks[trained.gan.sampled]
    images, *others = network.example(jax.random.key(0))
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        what = f"{gan.sampled} of {path} takes {list(images.shape[1:])}"
        raise UserError(f"{what}, and Deep Dream needs a discriminator of grey or RGB pictures")
    if captions.takes_conditions_of_images(trained.config):
        raise UserError(f"{gan.sampled} of {path} reads a text beside the picture, and Deep Dream has none to give it")
    weights = generate.evaluation_weights(gan, trained.params, trained.spectral)
    variables = {"params": weights, **trained.variables}
    mode = network.mode(False)

    def apply(variables: Params, pixels: jax.Array) -> Any:
        rngs = {"params": jax.random.key(0)}  # Random layers draw the same in every step.
        return network.module.apply(variables, pixels / 127.5 - 1, *others, rngs=rngs, **mode)

    height, width, channels = images.shape[1:]
    name, shape = f"{gan.sampled} of {path}", (height, width, channels)
    made = Network(name, variables, apply, shape, "", min(512, max(256, 2 * height)), (height, width))
    maps = {layer: output for layer, output in made.layers().items() if len(output) == 3 and "/" not in layer}
    if not maps:
        return dataclasses.replace(made, layer=next(iter(made.layers())), long=max(height, width))
    # Halfway from the picture to one value, D sees parts of things.
    halfway = lambda layer: abs(math.log(maps[layer][0] ** 2 / height))
    return dataclasses.replace(made, layer=min(maps, key=halfway))
