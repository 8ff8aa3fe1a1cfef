"""Owns reading a checkpoint: whole, or the part that is needed, each array checked. Must not know how one is written.

What is not to the bit what was saved is refused, with a sentence that names it and offers another checkpoint that is whole.
"""

import contextlib
import dataclasses
import io
import logging
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import ml_collections
import numpy as np
import orbax.checkpoint as ocp
from absl import logging as absl_logging
from etils import epath
from jax.sharding import Mesh

from biggan_jax import config as configs
from biggan_jax.checkpoint import metadata
from biggan_jax.checkpoint.checksums import named_arrays
from biggan_jax.checkpoint.paths import find, steps_in
from biggan_jax.gan import GAN
from biggan_jax.models import build_gan
from biggan_jax.sharding import replicated
from biggan_jax.state import TrainState, init_state
from biggan_jax.types import Params, UserError

logger = logging.getLogger(__name__)

Extras = dict[str, Any]
"""What came with weights from elsewhere and is not part of training; a run that goes on from them drops it. Of these, any:
binned: batch-norm moments by truncation, {mean, var} [bins, C] (see sampling.binned_statistics);
ema_stats: the stats that belong to ema_params, where they are not the live G's; foreign: arrays that have no use here,
kept by their names there for the way back."""


@dataclasses.dataclass(frozen=True)
class TrainedGenerator:
    """What sampling needs of a checkpoint. params: the averaged weights, or the live ones; stats: singular vectors and running
    moments; binned: moments by truncation, if it came with them; path: the folder of its step."""

    gan: GAN
    config: ml_collections.ConfigDict
    step: int
    params: Params
    stats: dict[str, Params]
    binned: Params | None
    live: bool
    path: epath.Path


def load_generator(path: epath.PathLike, mesh: Mesh | None = None, *, live: bool = False) -> TrainedGenerator:
    """G from a workdir (its latest step), a checkpoints folder or one step, whole on every device of `mesh`, or on one device.

    live: the weights as they were trained, instead of their average. Raises UserError if there is none, or it is damaged.
    """
    step_path = find(path)
    config = load_config(step_path)
    gan = build_gan(config, mesh)
    state = jax.eval_shape(lambda: init_state(gan, 0))
    G = state.generator
    wanted = {"step": state.step, "generator": {"stats": G.stats}}
    wanted |= {"generator": {"stats": G.stats, "params": G.params}} if live else {"ema_params": state.ema_params}
    tree = restore(step_path, _whole(wanted, mesh), partial=True)
    extras = load_extras(step_path)
    params, stats = (tree["generator"]["params"] if live else tree["ema_params"]), tree["generator"]["stats"]
    stats = stats if live else extras.get("ema_stats", stats)
    return TrainedGenerator(gan, config, int(tree["step"]), params, stats, extras.get("binned"), live, step_path)


def load_state(path: epath.PathLike) -> tuple[TrainState, ml_collections.ConfigDict, Extras]:
    """All that a checkpoint holds, on one device. Raises UserError if there is none, or it is damaged."""
    step_path = find(path)
    config = load_config(step_path)
    gan = build_gan(config)
    like = jax.eval_shape(lambda: init_state(gan, 0))
    state = from_tree(restore(step_path, _whole(to_tree(like))), like)
    return state, config, load_extras(step_path)


def load_extras(step_path: epath.Path) -> Extras:
    """The checkpoint's extras, as numpy arrays; empty if it has none."""
    said = load_described(step_path)["checksums"].get("extras")
    return _load_item(step_path, "extras") if said or (step_path / "extras").is_dir() else {}


def load_config(step_path: epath.Path) -> ml_collections.ConfigDict:
    """The resolved config that the checkpoint carries. Raises UserError if it is none that a run could have, whoever wrote it."""
    config = configs.from_plain(load_described(step_path).get("config"), f"the config of {step_path}")
    configs.validate(config)
    return config


def load_described(step_path: epath.Path) -> metadata.Metadata:
    """All that the checkpoint says of itself. Raises UserError if it is damaged, or of a format that is not read."""
    with _damage_explained(step_path):
        return metadata.read(step_path)


def load_arrays(path: epath.PathLike) -> dict[str, np.ndarray]:
    """Every array of a checkpoint by its dotted name, whatever model it belongs to."""
    return named_arrays(_load_item(find(path), "state"))


def restore(step_path: epath.Path, like, *, partial: bool = False):
    """The arrays of a tree like `like`, in its layout, each checked; partial: where it is not all of them."""

    def read():
        handler = ocp.Checkpointer(ocp.PyTreeCheckpointHandler())
        restore_args = ocp.checkpoint_utils.construct_restore_args(like)
        args = ocp.args.PyTreeRestore(item=like, restore_args=restore_args, partial_restore=partial)
        return handler.restore(step_path / "state", args=args)

    said = load_described(step_path)
    with _damage_explained(step_path):
        tree = _quietly(read)
        metadata.check(said, "state", tree, all_of_it=not partial)
    return tree


def _load_item(step_path: epath.Path, item: str) -> dict:
    """One item as it was saved, as numpy arrays, each checked."""
    with _damage_explained(step_path):
        return _read_item(step_path, item)


def _read_item(step_path: epath.Path, item: str) -> dict:
    def read():
        # Not through a Checkpointer: one of several processes may look for itself.
        handler = ocp.PyTreeCheckpointHandler()
        before = absl_logging.get_verbosity()
        absl_logging.set_verbosity(absl_logging.ERROR)  # Orbax warns of metadata that arrays do not need.
        metadata = handler.metadata(step_path / item).tree
        absl_logging.set_verbosity(before)
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), metadata)
        return handler.restore(step_path / item, args=ocp.args.PyTreeRestore(restore_args=as_numpy))

    tree = _quietly(read)
    metadata.check(metadata.read(step_path), item, tree, all_of_it=True)
    return tree


def check(step_path: epath.Path) -> str:
    """Says that every array of the checkpoint is what was saved. Raises UserError, which names what is not."""
    with _damage_explained(step_path):
        return _read_all(step_path)


def is_whole(step_path: epath.Path) -> bool:
    """Whether every array of the checkpoint can be read and is what was saved."""
    try:
        _read_all(step_path)
    except Exception:  # Of whatever kind: it is damaged.
        return False
    return True


def _read_all(step_path: epath.Path) -> str:
    sums = metadata.read(step_path)["checksums"]
    count = sum(len(named_arrays(_read_item(step_path, item))) for item in sums or ["state"])
    return f"{count} arrays, all as they were saved" if sums else f"{count} arrays that can be read, without checksums"


def to_tree(state: Any) -> dict:
    """The state as plain dicts, so that files name arrays by field, and parts can be read alone."""
    return {
        field.name: to_tree(value) if dataclasses.is_dataclass(value := getattr(state, field.name)) else value
        for field in dataclasses.fields(state)
    }


def from_tree(tree: dict, like):
    """The inverse of `to_tree`."""
    parts = {}
    for field in dataclasses.fields(like):
        part = getattr(like, field.name)
        parts[field.name] = from_tree(tree[field.name], part) if dataclasses.is_dataclass(part) else tree[field.name]
    return like.replace(**parts)


def _whole(tree, mesh: Mesh | None = None):
    """The tree of shapes, to be restored whole on every device of `mesh`, or on one device."""
    layout = replicated(mesh) if mesh else jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=layout), tree)


def _quietly(read: Callable[[], Any]) -> Any:
    """read(), and of what libraries print, nothing if it fails."""
    noise = io.StringIO()
    with contextlib.redirect_stderr(noise):
        try:
            result = read()
        except Exception:
            # Arrays are read side by side: when one fails, each of the others prints a traceback as it ends.
            time.sleep(0.5)
            raise
    sys.stderr.write(noise.getvalue())
    return result


@contextlib.contextmanager
def _damage_explained(step_path: epath.Path) -> Iterator[None]:
    """Turns what reading may raise into a UserError that names the checkpoint and offers another."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error):
            raise  # The devices are too small for it.
        logger.debug("%s: %s", step_path, error)
        if isinstance(error, PermissionError):
            raise UserError(f"the checkpoint {step_path} may not be read: {error}") from error
        what = str(error) if isinstance(error, metadata.DamageError) else _name(error, step_path)
        raise UserError(f"the checkpoint {step_path} is damaged or incomplete ({what}){_offer(step_path)}") from error


def _name(error: Exception, step_path: epath.Path) -> str:
    """What kind of error it is, and of which file, if it says so."""
    file = re.search(re.escape(f"{step_path}/") + r"([\w./-]*\w)", str(error))
    return f"{file[1]}: {type(error).__name__}" if file else type(error).__name__


def _offer(step_path: epath.Path) -> str:
    others = [step_path.parent / str(s) for s in reversed(steps_in(step_path.parent)) if str(s) != step_path.name]
    good = next((other for other in others if is_whole(other)), None)
    if good is None:
        return ""
    return f"; step {good.name} is whole: name it, or delete the folder of this one to go on from there"
