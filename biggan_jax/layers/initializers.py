"""Weight initializers, applied to a parameter tree."""

from collections.abc import Callable

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
    return redraw_each(params, key, lambda path, weight, k: INITIALIZERS[name](k, weight.shape, weight.dtype))


def redraw_each(
    params: Params, key: jax.Array, draw: Callable[[tuple[str, ...], jax.Array, jax.Array], jax.Array]
) -> Params:
    """Return the parameters with each kernel and embedding replaced by draw(its path, it, a key of its own)."""
    paths, tree = jax.tree_util.tree_flatten_with_path(params)
    names = [tuple(entry.key for entry in path) for path, _ in paths]
    drawn = [
        draw(path, leaf, k) if path[-1] in ("kernel", "embedding") else leaf
        for path, (_, leaf), k in zip(names, paths, jax.random.split(key, len(paths)), strict=True)
    ]
    return jax.tree_util.tree_unflatten(tree, drawn)
