"""Owns checkpoints: state and resolved config, written together by Orbax, so that one path is all that sampling needs.

It must not know the training loop. Run as a program it compares two checkpoints:
`python -m biggan_jax.checkpoint compare A B`.
"""

import contextlib
import dataclasses
import io
import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import ml_collections
import numpy as np
import orbax.checkpoint as ocp
from absl import logging as absl_logging
from etils import epath
from jax.sharding import Mesh

from biggan_jax import cli
from biggan_jax import config as configs
from biggan_jax.files import write_text
from biggan_jax.gan import GAN
from biggan_jax.models import build_gan
from biggan_jax.sharding import replicated
from biggan_jax.state import TrainState, init_state
from biggan_jax.types import Params, UserError

logger = logging.getLogger(__name__)

FORMAT = 2
FOLDER = "checkpoints"

Extras = dict[str, Any]
"""What came with weights from elsewhere and is not part of training; a run that goes on from them drops it. Of these, any:
binned: batch-norm moments by truncation, {mean, var} [bins, C] (see sampling.binned_statistics);
ema_stats: the stats that belong to ema_params, where they are not the live G's; foreign: arrays that have no use here,
kept by their names there for the way back."""


class Checkpoints:
    """The checkpoints of one run, in `workdir`/checkpoints/<step>/{state,config[,extras]}.

    Saving is asynchronous: it returns once the arrays have left the devices. An unfinished checkpoint is never listed.
    """

    def __init__(self, workdir: epath.PathLike, keep: int, keep_every: int = 0):
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, keep_period=keep_every or None)
        self._manager = ocp.CheckpointManager(epath.Path(workdir).absolute() / FOLDER, options=options)

    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    def save(self, state: TrainState, config: ml_collections.ConfigDict, extras: Extras | None = None) -> None:
        step = int(state.step)
        if step == self.latest_step():
            return
        described = {"format": FORMAT, "config": json.loads(configs.to_json(config)), "jax": jax.__version__}
        items = {"state": ocp.args.PyTreeSave(_tree(state)), "config": ocp.args.JsonSave(described)}
        if extras:
            items["extras"] = ocp.args.PyTreeSave(extras)
        self._manager.save(step, args=ocp.args.Composite(**items))

    def restore(self, like: TrainState) -> TrainState:
        """The latest state, its arrays laid out as those of `like` (arrays, or shapes with shardings)."""
        return _from_tree(_restore(self._manager.directory / str(self.latest_step()), _tree(like)), like)

    def close(self) -> None:
        """Waits for what is still being written."""
        self._manager.wait_until_finished()
        self._manager.close()


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
    tree = _restore(step_path, _whole(wanted, mesh), partial=True)
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
    state = _from_tree(_restore(step_path, _whole(_tree(like))), like)
    return state, config, load_extras(step_path)


def load_extras(step_path: epath.Path) -> Extras:
    """The checkpoint's extras, as numpy arrays; empty if it has none."""
    return _load_arrays(step_path, "extras") if (step_path / "extras").is_dir() else {}


def _whole(tree, mesh: Mesh | None = None):
    """The tree of shapes, to be restored whole on every device of `mesh`, or on one device."""
    layout = replicated(mesh) if mesh else jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=layout), tree)


def store_config(workdir: epath.Path, config: ml_collections.ConfigDict) -> None:
    """Writes `workdir`/config.json, for people and for configs that start from it; a checkpoint's own config is what counts."""
    workdir.mkdir(parents=True, exist_ok=True)
    write_text(workdir / "config.json", configs.to_json(config))


def load_config(step_path: epath.Path) -> ml_collections.ConfigDict:
    """The resolved config that the checkpoint carries."""
    handler = ocp.Checkpointer(ocp.JsonCheckpointHandler())
    described = _read(step_path, lambda: handler.restore(step_path / "config"))
    stored, written = described.get("config"), described.get("format")
    if written != FORMAT:
        raise UserError(f"the checkpoint {step_path} has format {written}; this version reads format {FORMAT}")
    return configs.from_json(json.dumps(stored))


def find(path: epath.PathLike) -> epath.Path:
    """The folder of one step: the latest of a workdir or of a checkpoints folder, or the step that is named itself."""
    path = epath.Path(path).absolute()
    for folder in (path, path / FOLDER):
        if (folder / "state").is_dir():
            return folder
        if folder.is_dir() and (steps := ocp.utils.checkpoint_steps(folder)):
            return folder / str(max(steps))
    raise UserError(f"no checkpoint at {path}; give a workdir, its {FOLDER} folder or one step in it")


def checkpoint_steps(workdir: epath.PathLike) -> list[int]:
    """The steps of which a run has complete checkpoints."""
    folder = epath.Path(workdir) / FOLDER
    return sorted(ocp.utils.checkpoint_steps(folder)) if folder.is_dir() else []


def _tree(state: TrainState) -> dict:
    """The state as plain dicts, so that files name arrays by field, and parts can be read alone."""
    return {
        field.name: _tree(value) if dataclasses.is_dataclass(value := getattr(state, field.name)) else value
        for field in dataclasses.fields(state)
    }


def _from_tree(tree: dict, like):
    """The inverse of `_tree`."""
    parts = {}
    for field in dataclasses.fields(like):
        part = getattr(like, field.name)
        parts[field.name] = _from_tree(tree[field.name], part) if dataclasses.is_dataclass(part) else tree[field.name]
    return like.replace(**parts)


def _restore(step_path: epath.Path, like, *, partial: bool = False):
    handler = ocp.Checkpointer(ocp.PyTreeCheckpointHandler())
    args = ocp.args.PyTreeRestore(
        item=like,
        restore_args=ocp.checkpoint_utils.construct_restore_args(like),
        partial_restore=partial,
    )
    return _read(step_path, lambda: handler.restore(step_path / "state", args=args))


def _read(step_path: epath.Path, read: Callable[[], Any]) -> Any:
    """read(), or a UserError that names the checkpoint."""
    noise = io.StringIO()
    try:
        with contextlib.redirect_stderr(noise):
            try:
                result = read()
            except Exception:
                # Arrays are read side by side: when one fails, each of the others prints a traceback as it ends.
                time.sleep(0.5)
                raise
    except Exception as error:
        raise UserError(_damaged(step_path, error)) from error
    sys.stderr.write(noise.getvalue())
    return result


def _damaged(step_path: epath.Path, error: Exception) -> str:
    logger.debug("%s: %s", step_path, error)
    others = [step for step in ocp.utils.checkpoint_steps(step_path.parent) if str(step) != step_path.name]
    hint = f"; step {max(others)} is there too: name it, or delete this one to go on from it" if others else ""
    return f"the checkpoint {step_path} is damaged or incomplete ({type(error).__name__}){hint}"


def load_arrays(path: epath.PathLike) -> dict[str, np.ndarray]:
    """Every array of a checkpoint by its dotted name, whatever model it belongs to."""
    tree = _load_arrays(find(path), "state")
    return {
        jax.tree_util.keystr(k, simple=True, separator="."): v for k, v in jax.tree_util.tree_leaves_with_path(tree)
    }


def _load_arrays(step_path: epath.Path, item: str) -> dict:
    """One item as it was saved, as numpy arrays."""

    def read():
        handler = ocp.Checkpointer(ocp.PyTreeCheckpointHandler())
        before = absl_logging.get_verbosity()
        absl_logging.set_verbosity(absl_logging.ERROR)  # Orbax warns of metadata that arrays do not need.
        metadata = handler.metadata(step_path / item).item_metadata.tree
        absl_logging.set_verbosity(before)
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), metadata)
        return handler.restore(step_path / item, args=ocp.args.PyTreeRestore(restore_args=as_numpy))

    return _read(step_path, read)


def compare(a: epath.PathLike, b: epath.PathLike) -> list[str]:
    """What differs between two checkpoints' arrays, a sentence for each; empty if they are bit-identical."""
    a, b = load_arrays(a), load_arrays(b)
    lines = [f"{name}: only in the {'first' if name in a else 'second'}" for name in sorted(a.keys() ^ b.keys())]
    for name in sorted(a.keys() & b.keys()):
        x, y = a[name], b[name]
        if x.shape != y.shape or x.dtype != y.dtype:
            lines.append(f"{name}: {x.dtype}{list(x.shape)} and {y.dtype}{list(y.shape)}")
        elif x.tobytes() != y.tobytes():
            difference = np.abs(x.astype(np.float64) - y.astype(np.float64))
            count = np.count_nonzero(np.asarray(x != y))
            lines.append(f"{name}: {count} of {x.size} values differ, by at most {difference.max():.3g}")
    return lines


def main() -> int:
    if len(sys.argv) != 4 or sys.argv[1] != "compare":
        print("usage: python -m biggan_jax.checkpoint compare A B", file=sys.stderr)
        return cli.USER_ERROR
    cli.log_to_stderr()
    try:
        lines = compare(*sys.argv[2:])
    except UserError as error:
        cli.fail(error)
    print("\n".join(lines) if lines else "bit-identical")
    return cli.DIFFERENT if lines else cli.SUCCESS


if __name__ == "__main__":
    raise SystemExit(main())
