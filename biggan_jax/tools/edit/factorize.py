"""Directions that change images most, in closed form from the weights of G (SeFa; Shen & Zhou 2021).

They are the eigenvectors of A A^T with the largest eigenvalues, where A maps latents to what they control: the styles of layers,
from w, or the gains of conditional batch norm, from z. As in the authors' code, each column of A is scaled to norm 1.
"""

import re
from typing import NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict

from biggan_jax.checkpoint import TrainedGenerator
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.sampling.styles import has_w, parse_layers, ws_of
from biggan_jax.types import Params, UserError


class Factors(NamedTuple):
    """vectors: float32 [K, dim_z or dim_w], of norm one. values: their eigenvalues, descending. space: z or w."""

    vectors: np.ndarray
    values: np.ndarray
    space: str


def factorize(
    trained: TrainedGenerator, weights: Params, given: list[str] | None, count: int
) -> tuple[Factors, np.ndarray]:
    """Return the first `count` directions, and their layers, bool [layers]. weights: of G.

    given: the layers as of --layers; by default all: those with a w, or the blocks with conditional batch norm. Raises UserError.
    """
    maps = maps_of(trained, weights)
    layers = parse_layers(given, len(maps), len(maps))
    a = np.concatenate([maps[i] for i in np.flatnonzero(layers)], axis=1)
    norms = np.linalg.norm(a, axis=0)
    a = a[:, norms > 0] / norms[norms > 0]
    values, vectors = np.linalg.eigh(a @ a.T)
    order = np.argsort(values)[::-1][:count]
    found = vectors[:, order].T.astype(np.float32)
    # The sign is arbitrary; this one does not depend on the library.
    signs = np.sign(found[np.arange(len(found)), np.abs(found).argmax(1)])
    return Factors(found * signs[:, None], values[order], "w" if has_w(trained.gan) else "z"), layers


def maps_of(trained: TrainedGenerator, weights: Params) -> list[np.ndarray]:
    """Return the map A of each layer with a style, or of each block with conditional batch norm: float64 [dim, C].

    Raises UserError for a model without either.
    """
    kernels = {path: np.asarray(k, np.float64) for path, k in flatten_dict(weights).items() if path[-1] == "kernel"}
    if has_w(trained.gan):
        styles = sorted((path for path in kernels if path[-2] == "style"), key=_numbers)
        # StyleGAN2's last w is that of the last image; those of other images are shared with a layer.
        of_images = [path for path in styles if "to_image" in path][-1:]
        return [kernels[path] for path in [*(path for path in styles if "to_image" not in path), *of_images]]
    gains = [path for path in kernels if path[-2] == "gain"]
    model, dim_z = trained.config.model, trained.gan.dim_z
    of_label = model.get("shared_dim", 0) if trained.gan.num_classes else 0
    blocks: dict[int, list[np.ndarray]] = {}
    for path in sorted(gains, key=_numbers):
        kernel, block = kernels[path][of_label:], _numbers(path)[0]
        if not len(kernel) or (dim_z % len(kernel)):
            continue
        # z is split: the first chunk enters the first layer, each other one a block.
        start = 0 if len(kernel) == dim_z else (block + 1) * len(kernel)
        a = np.zeros((dim_z, kernel.shape[1]))
        a[start : start + len(kernel)] = kernel
        blocks.setdefault(block, []).append(a)
    if not blocks:
        raise UserError(
            "--do=sefa needs styles or gains that depend on z: "
            "stylegan, stylegan2, biggan with model.skip_z, biggan_deep; "
            "use --do=find"
        )
    return [np.concatenate(blocks[block], axis=1) for block in sorted(blocks)]


def deviation(sampler: Sampler, space: str, seed: int) -> float:
    """Return the root mean variance of the entries of z, which is 1, or of w, from 1,000 of them."""
    if space == "z":
        return 1.0
    y = (np.arange(1000) % max(sampler.gan.num_classes, 1)).astype(np.int32)
    return float(np.sqrt(ws_of(sampler, sampler.latents(1000, seed), y)[:, 0].var(0).mean()))


def _numbers(path: tuple[str, ...]) -> list[int]:
    """Return the numbers in a path, such as [8, 1] for block_8/conv_1: the order of layers."""
    return [int(number) for number in re.findall(r"_(\d+)", "/".join(path))]
