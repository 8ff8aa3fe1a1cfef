"""Owns how weights are drawn, as a function over a parameter tree. It must not know modules."""

import flax.linen as nn
import jax

from biggan_jax.types import Params

INITIALIZERS = {
    "orthogonal": nn.initializers.orthogonal(),
    "xavier": nn.initializers.xavier_uniform(),
    "normal": nn.initializers.normal(0.02),
}
"""orthogonal: the paper's (Saxe et al. 2014). xavier: uniform, SA-GAN's. normal: N(0, 0.02), DCGAN's."""


def redraw(params: Params, name: str, key: jax.Array) -> Params:
    """The parameters with each kernel and embedding drawn anew by INITIALIZERS[name]; biases, gains and gammas stay.

    Layers draw orthogonal weights by themselves, for which there is nothing to do.
    """
    if name == "orthogonal":
        return params
    paths, tree = jax.tree_util.tree_flatten_with_path(params)
    keys = jax.random.split(key, len(paths))
    drawn = [
        INITIALIZERS[name](k, leaf.shape, leaf.dtype) if path[-1].key in ("kernel", "embedding") else leaf
        for (path, leaf), k in zip(paths, keys, strict=True)
    ]
    return jax.tree_util.tree_unflatten(tree, drawn)
