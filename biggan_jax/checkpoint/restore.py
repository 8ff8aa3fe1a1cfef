"""Read a checkpoint, completely or in part, and verify the checksum of each array."""

import contextlib
import dataclasses
import io
import logging
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np
import orbax.checkpoint as ocp
from absl import logging as absl_logging
from etils import epath
from jax.sharding import Mesh

from biggan_jax import config as configs
from biggan_jax.checkpoint import exported, metadata
from biggan_jax.checkpoint.checksums import named_arrays
from biggan_jax.checkpoint.layout import average_in, find, from_tree, network_in, part_of, steps_in, to_tree
from biggan_jax.checkpoint.names import locate
from biggan_jax.checkpoint.trained import TrainedGenerator, placed_on
from biggan_jax.family import Family
from biggan_jax.models import build_gan
from biggan_jax.runtime import devices, numerics
from biggan_jax.state import TrainState, init_shapes
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

Extras = dict[str, Any]
"""Arrays of a converted checkpoint that training does not use; a run that starts from it drops them. Optional keys:
binned: batch-norm statistics by truncation, {mean, var} [bins, C] (see sampling.binned_statistics);
ema_stats: those statistics of ema_params that differ from the live G's;
foreign: arrays without a use here, by their original names, for converting back."""


def load_generator(
    path: epath.PathLike,
    mesh: Mesh | None = None,
    *,
    live: bool = False,
    choose: Callable[[Family], str] | None = None,
) -> TrainedGenerator:
    """Load G from a workdir (its latest step), a checkpoints folder, one step or an exported model. Raises UserError.

    path: also a model's name; see `locate`. mesh: replicate the arrays on all its devices; None: on one device. live: load
    the trained weights instead of their average. A family without an average always gives the trained weights.
    choose: returns the network to load of a family with several generators; by default the one that it samples with.
    """
    numerics.check()
    step_path = locate(path)
    if exported.is_exported(step_path):
        found = exported.read(step_path, mesh, live=live)
        if choose and (wanted := choose(found.gan)) != found.gan.sampled:
            raise UserError(f"{step_path} has the network {found.gan.sampled} alone, not {wanted}; give the run")
        return found
    config = load_config(step_path)
    gan = build_gan(config, mesh)
    if choose:
        gan = dataclasses.replace(gan, sampled=choose(gan))
    if not live and gan.sampled not in gan.averaged:
        logger.info("%s: no average of %s is kept; its live weights are used", step_path, gan.sampled)
        live = True
    like = to_tree(init_shapes(gan))
    part = part_of(like, gan.sampled, live=live, also=gan.lent.values())
    tree = restore(step_path, _replicated(part, mesh), partial=True, rounded=True)
    extras = load_extras(step_path)
    network = network_in(tree, gan.sampled)
    params = network["params"] if live else average_in(tree, gan.sampled)
    stats = network["stats"] | ({} if live else extras.get("ema_stats", {}))
    stats |= {name: network_in(tree, other)["params"] for name, other in gan.lent.items()}
    step, binned = int(tree["step"]), extras.get("binned")
    return TrainedGenerator(gan.after(step), config, step, params, stats, binned, live, step_path)


def load_state(path: epath.PathLike) -> tuple[TrainState, ml_collections.ConfigDict, Extras]:
    """Load the complete state, its config and its extras on one device. Raise UserError if it is missing or corrupted."""
    numerics.check()
    step_path = find(path)
    config = load_config(step_path)
    gan = build_gan(config)
    like = init_shapes(gan)
    state = from_tree(restore(step_path, _replicated(to_tree(like)), rounded=True), like)
    return state, config, load_extras(step_path)


def load_extras(step_path: epath.Path) -> Extras:
    """Load the checkpoint's extras as NumPy arrays; empty if it has no extras."""
    if not load_metadata(step_path)["checksums"].get("extras") and not (step_path / "extras").is_dir():
        return {}
    with _corruption_as_user_error(step_path):
        extras = _read_item(step_path, "extras")
    if "ema_stats" in extras:  # Orbax keeps no empty trees: G's own stand for them, as without spectral norm.
        extras["ema_stats"] = {name: tree for name, tree in extras["ema_stats"].items() if jax.tree.leaves(tree)}
    return extras


def load_config(step_path: epath.Path) -> ml_collections.ConfigDict:
    """Load and validate the resolved config in the checkpoint. The file is untrusted: raise UserError if it is invalid."""
    config = configs.from_plain(load_metadata(step_path).get("config"), f"the config of {step_path}")
    configs.validate(config)
    return config


def load_metadata(step_path: epath.Path) -> metadata.Metadata:
    """Load the checkpoint's metadata. Raise UserError if they are corrupted or of an unsupported format."""
    with _corruption_as_user_error(step_path):
        return metadata.read(step_path)


def load_arrays(path: epath.PathLike) -> dict[str, np.ndarray]:
    """Load every array of a checkpoint by its dotted name. The model need not be known."""
    step_path = find(path)
    with _corruption_as_user_error(step_path):
        return named_arrays(_read_item(step_path, "state"))


def compare(a: epath.PathLike, b: epath.PathLike) -> list[str]:
    """Return one line for each array that differs; an empty list if the checkpoints are bitwise identical."""
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


def restore(step_path: epath.Path, like, *, partial: bool = False, rounded: bool = False):
    """Read and verify arrays into a tree like `like`, with its shardings.

    partial: `like` lacks some of the arrays. rounded: arrays of other precision are rounded. Raises UserError for other types.
    """
    with _corruption_as_user_error(step_path):
        saved = metadata.read(step_path)
        if other := metadata.other_types(saved, "state", like):
            return _rounded(step_path, like, other, allowed=rounded)
        with _quiet_failure():
            restore_args = ocp.checkpoint_utils.construct_restore_args(like)
            args = ocp.args.PyTreeRestore(item=like, restore_args=restore_args, partial_restore=partial)
            tree = ocp.Checkpointer(ocp.PyTreeCheckpointHandler()).restore(step_path / "state", args=args)
        metadata.verify(saved, "state", tree, complete=not partial)
        return tree


def _rounded(step_path: epath.Path, like, other: dict[str, tuple[str, str]], *, allowed: bool):
    """Read arrays whose types differ, as `other` says, converted to those of `like`. Raises UserError unless that works."""
    name, (there, here) = next(iter(other.items()))
    what = f"{len(other)} arrays of {step_path} have other types than those of its model: {name} is {there}, not {here}"
    if any(a.partition("[")[2] != b.partition("[")[2] for a, b in other.values()):
        raise UserError(f"{what}; read it with the version of this package that wrote it")
    if not allowed:
        hint = (
            f"start a new run from its weights, rounded, with --config=finetune:{step_path.parent.parent} --workdir=NEW"
        )
        raise UserError(f"{what}; it was trained with JAX_ENABLE_X64, and cannot be resumed without: {hint}")
    logger.warning("%s; they are rounded", what)
    arrays = named_arrays(_read_item(step_path, "state"))

    def one(path, wanted):
        array = arrays[jax.tree_util.keystr(path, simple=True, separator=".")]
        return jax.device_put(array.astype(wanted.dtype), wanted.sharding)

    return jax.tree_util.tree_map_with_path(one, like)


def _read_item(step_path: epath.Path, item: str) -> dict:
    """Read one item as NumPy arrays and verify them."""
    with _quiet_failure():
        # Not a Checkpointer, which would wait for the other processes: one process may read alone.
        handler, before = ocp.PyTreeCheckpointHandler(), absl_logging.get_verbosity()
        absl_logging.set_verbosity(absl_logging.ERROR)  # Orbax warns about metadata that arrays do not need.
        shapes = handler.metadata(step_path / item).tree
        absl_logging.set_verbosity(before)
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), shapes)
        tree = handler.restore(step_path / item, args=ocp.args.PyTreeRestore(restore_args=as_numpy))
    metadata.verify(metadata.read(step_path), item, tree, complete=True)
    return tree


def check(step_path: epath.Path) -> str:
    """Verify every array and return a summary. Raise UserError, which names the first that is corrupted."""
    with _corruption_as_user_error(step_path):
        return _read_all(step_path)


def is_intact(step_path: epath.Path) -> bool:
    """Return whether every array of the checkpoint can be read and matches its checksum."""
    try:
        _read_all(step_path)
    except Exception:  # Corruption raises nearly anything.
        return False
    return True


def newest_intact(folder: epath.Path, steps: Sequence[int]) -> int | None:
    """Return the last of `steps` whose checkpoint in the folder is intact; None without one. Reads each that it tries."""
    return next((step for step in sorted(steps, reverse=True) if is_intact(folder / str(step))), None)


def _read_all(step_path: epath.Path) -> str:
    sums = metadata.read(step_path)["checksums"]
    count = sum(len(named_arrays(_read_item(step_path, item))) for item in sums or ["state"])
    return f"{count} arrays, all as they were saved" if sums else f"{count} arrays that can be read, without checksums"


def _replicated(tree, mesh: Mesh | None = None):
    """Add shardings to a tree of shapes: replicated over `mesh`, or on one device."""
    layout = placed_on(mesh)
    return jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=layout), tree)


@contextlib.contextmanager
def _quiet_failure() -> Iterator[None]:
    """Suppress what libraries print to stderr if reading fails."""
    with contextlib.redirect_stderr(io.StringIO()) as noise:
        try:
            yield
        except Exception:
            # Arrays are read concurrently: when one fails, each of the others prints a traceback as it ends.
            time.sleep(0.5)
            raise
    sys.stderr.write(noise.getvalue())


@contextlib.contextmanager
def _corruption_as_user_error(step_path: epath.Path) -> Iterator[None]:
    """Re-raise reading errors as a UserError that names the array and an intact checkpoint of the same run, if any."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error):
            raise  # The devices have too little memory.
        if no_devices := devices.user_error(error):
            raise no_devices from error
        logger.debug("%s: %s", step_path, error)
        if isinstance(error, PermissionError):
            raise UserError(f"the checkpoint {step_path} may not be read: {error}") from error
        what = type(error).__name__
        if isinstance(error, metadata.CorruptionError):
            what = str(error)
        elif file := re.search(re.escape(f"{step_path}/") + r"([\w./-]*\w)", str(error)):
            what = f"{file[1]}: {what}"
        hint = _suggest_intact_step(step_path)
        raise UserError(f"the checkpoint {step_path} is damaged or incomplete ({what}){hint}") from error


def _suggest_intact_step(step_path: epath.Path) -> str:
    for step in map(str, reversed(steps_in(step_path.parent))):
        if step != step_path.name and is_intact(step_path.parent / step):
            return f"; step {step} is whole: name it, or delete the folder of this one to resume from there"
    return ""
