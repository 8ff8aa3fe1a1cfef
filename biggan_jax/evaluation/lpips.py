"""LPIPS, a perceptual distance of two images: weighted differences of a network's features (Zhang et al. 2018, version 0.1).

Channels of the features are divided by their length at each pixel. The distance is the mean over pixels of weighted squared
differences, summed over five layers. The networks are torchvision's VGG16 and AlexNet; the weights of the differences (heads)
come with the package `lpips`.
"""

import dataclasses
import importlib.util
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from flax.traverse_util import flatten_dict, unflatten_dict

from biggan_jax.config import choose
from biggan_jax.convert import files, tables
from biggan_jax.evaluation import cache
from biggan_jax.evaluation.networks import download
from biggan_jax.evaluation.weights import hash_of
from biggan_jax.sampling.pictures import to_rgb
from biggan_jax.types import Image, Params, UserError

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Mean and standard deviation of ImageNet's RGB in [-1, 1]."""

EPS = 1e-10  # Added to lengths.

Maps = tuple[jax.Array, ...]
"""Features of each stage, [B, h, w, C], scaled so that squared differences sum to LPIPS."""


class Layer(NamedTuple):
    """A convolution, followed by ReLU. number: its index in torchvision's `features`."""

    number: int
    features: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1


class Stage(NamedTuple):
    """Layers whose last output is compared. pool: the window of a max pool before them, of stride 2; 0: none."""

    pool: int
    layers: tuple[Layer, ...]


class Trunk(NamedTuple):
    """A network: its stages, where torchvision has its weights, and the least height and width of images."""

    stages: tuple[Stage, ...]
    url: str
    megabytes: int
    least: int


_layers = lambda width, *numbers: tuple(Layer(number, width) for number in numbers)

TRUNKS = {
    "vgg": Trunk(
        (
            Stage(0, _layers(64, 0, 2)),
            Stage(2, _layers(128, 5, 7)),
            Stage(2, _layers(256, 10, 12, 14)),
            Stage(2, _layers(512, 17, 19, 21)),
            Stage(2, _layers(512, 24, 26, 28)),
        ),
        "https://download.pytorch.org/models/vgg16-397923af.pth",
        528,
        16,
    ),
    "alex": Trunk(
        (
            Stage(0, (Layer(0, 64, 11, 4, 2),)),
            Stage(3, (Layer(3, 192, 5, 1, 2),)),
            Stage(3, _layers(384, 6)),
            Stage(0, _layers(256, 8)),
            Stage(0, _layers(256, 10)),
        ),
        "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        233,
        31,
    ),
}
"""By the package's names. The end of a URL has the first digits of the file's sha256."""


class Features(nn.Module):
    """Images in [-1, 1], [B, H, W, 1 or 3], to the maps of each stage. In the images' precision, at least float32."""

    stages: tuple[Stage, ...]

    @nn.compact
    def __call__(self, images: Image) -> Maps:
        x = to_rgb(jnp.asarray(images))
        x = (x - jnp.asarray(SHIFT, x.dtype)) / jnp.asarray(SCALE, x.dtype)
        maps: list[jax.Array] = []
        for i, stage in enumerate(self.stages):
            if stage.pool:
                x = nn.max_pool(x, (stage.pool, stage.pool), (2, 2))
            for layer in stage.layers:
                conv = nn.Conv(
                    layer.features,
                    (layer.kernel, layer.kernel),
                    layer.stride,
                    layer.padding,
                    precision=jax.lax.Precision.HIGHEST,
                    name=f"conv_{layer.number}",
                )
                x = nn.relu(conv(x))
            head = self.param(f"head_{i}", nn.initializers.ones, (x.shape[-1],))
            unit = x / (jnp.sqrt(jnp.square(x).sum(-1, keepdims=True)) + EPS)
            maps.append(unit * jnp.sqrt(head.astype(x.dtype) / math.prod(x.shape[1:3])))
        return tuple(maps)


@dataclasses.dataclass(frozen=True, eq=False)
class Lpips:
    """LPIPS with its weights.

    name: of the trunk. digest: sha256 of the weights. least: the smallest height and width of images. params: arrays on the host.
    features: a pure function of (params, images in [-1, 1], float [B, H, W, 1 or 3]), to be jitted.
    """

    name: str
    digest: str
    least: int
    params: Params
    features: Callable[..., Any]

    def distance(self, params: Params, a: Image, b: Image) -> jax.Array:
        """Return LPIPS [B] of images a and b in [-1, 1]."""
        return distance(self.features(params, a), self.features(params, b))

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise UserError unless images of this shape (H, W, C) can be compared."""
        if len(shape) != 3 or shape[2] not in (1, 3) or min(shape[:2]) < self.least:
            raise UserError(
                f"LPIPS with {self.name} takes grey or RGB images of at least {self.least} pixels, and these have shape "
                f"{list(shape)}"
            )


def distance(a: Maps, b: Maps) -> jax.Array:
    """Return LPIPS [B] of two batches by their maps."""
    return sum((jnp.square(x - y).sum((1, 2, 3)) for x, y in zip(a, b, strict=True)), start=jnp.zeros(()))


def open_lpips(name: str = "vgg", weights: str | None = None, heads: str | None = None) -> Lpips:
    """Open LPIPS with a trunk of TRUNKS. Raises UserError if weights are missing or do not fit.

    Args:
        weights: the trunk's file of torchvision, .pth, or .npz of the same arrays; or "download".
        heads: the file NAME.pth of the package `lpips`, version 0.1, or .npz; by default that of the installed package.
    """
    trunk = choose(TRUNKS, "LPIPS's network", name)
    of_trunk, of_heads = check_lpips(name, weights, heads)
    if of_trunk is None:
        of_trunk = download(trunk.url, "--lpips=PATH")
    module = Features(trunk.stages)
    shapes = jax.eval_shape(module.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 64, 64, 3), "float32"))
    make = lambda: flatten_dict(_read(of_trunk, of_heads, shapes), sep="/")
    # The tree is part of the key, because other versions of the network have other trees.
    tree = {name: leaf.shape for name, leaf in flatten_dict(shapes, sep="/").items()}
    content = f"{hash_of(of_trunk)} {hash_of(of_heads)} as {tree}"
    params = unflatten_dict(cache.cached(f"lpips_{name}", content, make), sep="/")
    digest = cache.hash_of_arrays(flatten_dict(params, sep="/"))
    return Lpips(name, digest, trunk.least, params, module.apply)


def check_lpips(
    name: str = "vgg", weights: str | None = None, heads: str | None = None
) -> tuple[epath.Path | None, epath.Path]:
    """Return the files of the trunk, None if it is to be downloaded, and of the heads. Raises UserError if one is missing."""
    trunk = choose(TRUNKS, "LPIPS's network", name)
    if not weights:
        raise UserError(
            f"LPIPS needs the weights of its network: --lpips=PATH of torchvision's {trunk.url.rpartition('/')[2]}, or "
            f"--lpips=download to fetch it ({trunk.megabytes} MB)"
        )
    file = None if weights == "download" else epath.Path(weights)
    of_heads = epath.Path(heads) if heads else _installed(name)
    for path in (file, of_heads):
        if path is not None and not path.exists():
            raise UserError(f"{path} cannot be read (No such file or directory); give a .pth or .npz with the weights")
    return file, of_heads


def _installed(name: str) -> epath.Path:
    package = importlib.util.find_spec("lpips")
    if package is None or not package.submodule_search_locations:
        raise UserError(
            "LPIPS needs its heads: pip install --no-deps lpips (50 kB), or --lpips_heads=PATH of that package's file "
            f"weights/v0.1/{name}.pth"
        )
    return epath.Path(package.submodule_search_locations[0]) / "weights" / "v0.1" / f"{name}.pth"


def _read(trunk: epath.Path, heads: epath.Path, shapes: tables.Network) -> tables.Network:
    """Read both files into a tree of these shapes. Raises UserError naming what does not fit."""
    params = shapes["params"]
    part: dict[str, Any] = {}
    for file, mine in (trunk, "conv_"), (heads, "head_"):
        own = {"params": {name: shape for name, shape in params.items() if name.startswith(mine)}}
        part |= tables.to_here(files.read_arrays(file), own, entry_of, str(file), _ignored)["params"]
    negative = [name for name, array in part.items() if name.startswith("head_") and np.min(array) < 0]
    if negative:
        raise UserError(
            f"{heads}: lin{negative[0][5:]}.model.1.weight has values below 0, which are no weights of LPIPS"
        )
    return {"params": part}


def entry_of(path: tables.Path, shape: tuple[int, ...]) -> tables.Entry:
    """Return the name of a leaf in torchvision's and the package's files, and its layout."""
    kind, _, number = path[1].partition("_")
    if kind == "head":
        column = tables.Layout(lambda a: a.reshape(-1), lambda a: a.reshape(1, -1, 1, 1))
        return tables.Entry(f"lin{number}.model.1.weight", path, column)
    leaf, layout = ("weight", tables.CONVOLUTION) if path[-1] == "kernel" else ("bias", tables.SAME)
    return tables.Entry(f"features.{number}.{leaf}", path, layout)


def _ignored(there: str) -> bool:
    """Return whether the array is of torchvision's layers after the features."""
    return there.startswith("classifier.")
