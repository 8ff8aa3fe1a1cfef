"""Weight initializers, applied to a parameter tree."""

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
    """Return the parameters with each kernel and embedding drawn from INITIALIZERS[name]; biases, gains, gammas stay.

    With "orthogonal" the parameters stay as they are: layers draw orthogonal weights by themselves.
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
