"""Change the number of classes of a trained model."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from biggan_jax.checkpoint import Extras
from biggan_jax.layers.initializers import INITIALIZERS
from biggan_jax.sampling.ranges import parse_range
from biggan_jax.state import NetworkState, TrainState
from biggan_jax.types import Params, UserError


def parse(text: str, num_classes: int) -> list[int] | int:
    """Parse `keep:3,7,20-29` to a list of ids, `reinit:20` to a number. Raises UserError if it is neither, or an id is unknown."""
    if not num_classes:
        raise UserError(f"--classes={text}: this model is unconditional, it has no classes to change")
    how, _, what = text.partition(":")
    parsed = [parse_range(part) for part in what.split(",")]
    ranges = [numbers for numbers in parsed if numbers is not None]
    clear = len(ranges) == len(parsed)
    if how == "reinit" and clear and len(ranges) == len(ranges[0]) == 1 and ranges[0][0] > 0:
        return ranges[0][0]
    if how != "keep" or not clear:
        raise UserError(f"--classes={text} is neither keep:ID,ID,... nor reinit:NUMBER")
    wrong = [numbers[-1] for numbers in ranges if numbers[-1] >= num_classes]
    if wrong:
        raise UserError(f"--classes={text}: this model has classes 0 to {num_classes - 1}, not {wrong[0]}")
    ids = [number for numbers in ranges for number in numbers]
    if len(set(ids)) < len(ids):
        raise UserError(f"--classes={text} names a class twice")
    return ids


def names_of(names: Sequence[str], wanted: list[int] | int) -> list[str]:
    """Return the names of the `wanted` classes, by id; none if they are new."""
    if isinstance(wanted, int) or max(wanted) >= len(names):
        return []
    return [names[label] for label in wanted]


def check(config: ml_collections.ConfigDict) -> None:
    """Raise UserError for a model that keeps classes elsewhere than in embeddings."""
    family, head = config.model.family, config.condition.d
    if family not in ("biggan", "biggan_deep") or head in ("ac", "multi_hinge"):
        why = f"a model of family {family} with condition.d={head} has its classes in other layers, too"
        raise UserError(f"--classes changes embeddings of classes; {why}")


def change_classes(
    state: TrainState, extras: Extras, wanted: list[int] | int, seed: int = 0
) -> tuple[TrainState, Extras]:
    """Keep only the `wanted` classes, in that order, or initialize that many new ones.

    This changes the class tables of G, its average and D, and D's u-vector. Optimizer moments of the changed arrays start from
    zero, so their first updates are up to 1 / sqrt(1 - b2) learning rates long; everything else is kept.
    """
    key = jax.random.key(seed)
    G = _change_network(state.networks["G"], wanted, key)
    D = _change_network(state.networks["D"], wanted, jax.random.fold_in(key, 1))
    # The same key as for G: both start from the same tables.
    averages = {"G": _change_tables(state.averages["G"], wanted, key)}
    state = state.with_networks(G=G, D=D).replace(averages=averages)
    return jax.tree.map(jnp.array, state), {name: value for name, value in extras.items() if name != "foreign"}


def _change_network(network: NetworkState, wanted: list[int] | int, key: jax.Array) -> NetworkState:
    def change_u(u: jax.Array) -> jax.Array:
        u = jax.random.normal(key, (wanted,)) if isinstance(wanted, int) else u[np.array(wanted)]
        return u / jnp.maximum(jnp.linalg.norm(u), 1e-12)

    params, opt_state = _change_tables(network.params, wanted, key), network.opt_state
    for slot in ("nu", "mu"):
        moments = optax.tree_utils.tree_get(opt_state, slot)
        if moments is not None:
            fresh = _map_embeddings(lambda _, p: jnp.zeros_like(p), moments, params)
            opt_state = optax.tree_utils.tree_set(opt_state, **{slot: fresh})
    vectors = network.spectral | {"u": _map_embeddings(change_u, network.spectral["u"])}
    return network.replace(params=params, spectral=vectors, opt_state=opt_state)


def _change_tables(params: Params, wanted: list[int] | int, key: jax.Array) -> Params:
    def change(table: jax.Array, position: int) -> jax.Array:
        if not isinstance(wanted, int):
            return table[np.array(wanted)]
        shape = wanted, table.shape[1]
        return INITIALIZERS["orthogonal"](jax.random.fold_in(key, position), shape, table.dtype)

    leaves, tree = jax.tree.flatten(params)
    return _map_embeddings(change, params, jax.tree.unflatten(tree, range(len(leaves))))


def _map_embeddings(change: Callable, tree: Params, *others: Params) -> Params:
    """Return the tree with change(leaf, *others' leaves) for each leaf named embedding."""
    one = lambda path, leaf, *more: change(leaf, *more) if path[-1].key == "embedding" else leaf
    return jax.tree.map_with_path(one, tree, *others)
