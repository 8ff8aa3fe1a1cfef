"""Owns starting a run from another's weights. Must not know the training loop."""

import logging

import jax
import numpy as np

from biggan_jax.checkpoint import load_state
from biggan_jax.gan import GAN
from biggan_jax.state import Player, TrainState, init_state
from biggan_jax.types import Params, UserError

logger = logging.getLogger(__name__)


def load(gan: GAN, path: str) -> dict[str, Player | Params]:
    """{generator, discriminator, ema_params} of a checkpoint, on the host, optimisers included where they are the game's own.

    Raises UserError, naming the first array that differs, if the networks are not the game's.
    """
    stored, _, _ = load_state(path)
    fresh = jax.eval_shape(lambda: init_state(gan, 0))
    start = {"ema_params": stored.ema_params}
    for name in ("generator", "discriminator"):
        ours, theirs = getattr(fresh, name), getattr(stored, name)
        _refuse_other_shapes((ours.params, ours.stats), (theirs.params, theirs.stats), f"{path}: {name}")
        if _shapes(theirs.opt_state) != _shapes(ours.opt_state):
            logger.info("the %s's optimiser is another than that of %s: it starts anew", name, path)
            theirs = theirs.replace(opt_state=None)
        start[name] = theirs
    logger.info("starting from the weights of %s, step %d", path, int(stored.step))
    return jax.tree.map(np.asarray, start)


def begin(fresh: TrainState, start: dict[str, Player | Params]) -> TrainState:
    """The fresh state with what `load` returned, laid out likewise; step, seed and missing optimisers are the fresh one's."""

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
    now, was = (list(shapes[name]) if name in shapes else "missing" for shapes in (ours, theirs))
    hint = "take the networks of that run with --config=finetune:DIR, without overrides in config.model"
    if all("embedding" in name for name in different):
        hint = "change its classes first: python -m biggan_jax.convert --from=biggan-jax --in=DIR --out=NEW --classes=reinit:N"
    raise UserError(f"{where}{name} is {was}, in this config {now}; {hint}")
