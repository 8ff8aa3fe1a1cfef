"""Start a training run: from its latest checkpoint, from another run's weights, or from scratch."""

import logging
from collections.abc import Callable

import jax
import numpy as np

from biggan_jax import sharding
from biggan_jax.checkpoint.manager import Checkpoints
from biggan_jax.checkpoint.restore import load_state
from biggan_jax.family import Family
from biggan_jax.partitioning import sharded_init_state, state_layout
from biggan_jax.state import TrainState, init_state
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

Weights = dict[str, dict]
"""{"networks": ..., "averages": ...} of a state, on the host; optimizer states that do not fit are None."""


def restore_or_init(
    gan: Family, seed: int, checkpoints: Checkpoints, weights: Callable[[], Weights | None]
) -> TrainState:
    """Return the latest checkpoint's state, else a fresh one with `weights()`, if any; laid out on the model's mesh."""
    if checkpoints.latest_step() is None:
        state = sharded_init_state(gan, seed)
        return replace_weights(state, start) if (start := weights()) else state
    shapes = jax.eval_shape(lambda: init_state(gan, seed))
    return checkpoints.restore(sharding.with_sharding(shapes, state_layout(gan)))


def load(gan: Family, path: str) -> Weights:
    """Load a checkpoint's networks to the host, with optimizer states where they fit.

    Raises:
        UserError: the networks have other shapes; the message names the first array that differs.
    """
    stored, _, _ = load_state(path)
    fresh = jax.eval_shape(lambda: init_state(gan, 0))
    if fresh.networks.keys() != stored.networks.keys():
        theirs, ours = (", ".join(sorted(state.networks)) for state in (stored, fresh))
        raise UserError(f"{path} has the networks {theirs}, this model has {ours}; start from a run of the same family")
    networks = {}
    for name, ours in fresh.networks.items():
        theirs = stored.networks[name]
        _refuse_other_shapes((ours.params, ours.stats), (theirs.params, theirs.stats), f"{path}: {name}")
        if _shapes(theirs.opt_state) != _shapes(ours.opt_state):
            logger.info("%s's optimizer differs from that of %s: it starts with a new state", name, path)
            theirs = theirs.replace(opt_state=None)
        networks[name] = theirs
    logger.info("starting from the weights of %s, step %d", path, int(stored.step))
    return jax.tree.map(np.asarray, {"networks": networks, "averages": stored.averages})


def replace_weights(fresh: TrainState, start: Weights) -> TrainState:
    """Replace networks of the fresh state by those that `load` returned, with the fresh state's shardings."""

    def place(new, like):
        if new is None:
            return like
        return jax.make_array_from_callback(new.shape, like.sharding, lambda index: new[index])

    missing = lambda part: part is None
    return fresh.replace(
        **{name: jax.tree.map(place, part, getattr(fresh, name), is_leaf=missing) for name, part in start.items()}
    )


def _shapes(tree) -> dict[str, tuple[int, ...]]:
    return {jax.tree_util.keystr(k): v.shape for k, v in jax.tree_util.tree_leaves_with_path(tree)}


def _refuse_other_shapes(ours, theirs, where: str) -> None:
    ours, theirs = _shapes(ours), _shapes(theirs)
    different = [name for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name)]
    if not different:
        return
    name = different[0]
    ours_shape, theirs_shape = (list(shapes[name]) if name in shapes else "missing" for shapes in (ours, theirs))
    hint = "use the networks of that run with --config=finetune:DIR, without overrides in config.model"
    if all("embedding" in name for name in different):
        hint = "change its classes first: python -m biggan_jax.convert --from=biggan-jax --in=DIR --out=NEW --classes=reinit:N"
    raise UserError(f"{where}{name} is {theirs_shape}, in this config {ours_shape}; {hint}")
