"""Begin or resume a training run: claim its workdir; start from its latest checkpoint, another run's weights, or from scratch."""

import logging
import shlex
from collections.abc import Callable

import jax
import ml_collections
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from biggan_jax import config as configs
from biggan_jax import sharding
from biggan_jax.checkpoint import transfer
from biggan_jax.checkpoint.checksums import named_arrays
from biggan_jax.checkpoint.layout import FOLDER, checkpoint_steps, find
from biggan_jax.checkpoint.manager import Checkpoints
from biggan_jax.checkpoint.restore import load_config, load_metadata, load_state, newest_intact
from biggan_jax.family import Family
from biggan_jax.models import build_gan
from biggan_jax.partitioning import sharded_init_state, state_layout
from biggan_jax.runtime import numerics
from biggan_jax.runtime.files import user_errors, write_text
from biggan_jax.state import NetworkState, TrainState, init_shapes
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

SHOWN = 6  # Changed keys in a refusal.

Weights = dict[str, dict]
"""{"networks": ..., "averages": ...} of a state, on the host; None where the fresh state stays: optimizer states that do not
fit, and layers of networks of another resolution or number of classes."""

OTHER_IMAGES = {"model.resolution", "model.image_shape", "model.num_classes", "model.condition_dim"}
"""Keys with whose change a new run takes over the layers that fit."""


def keep_data_order(workdir: epath.PathLike, config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """Return the config with the data order of the run in the workdir, if any: a run never changes its order."""
    if not checkpoint_steps(workdir):
        return config
    stored = load_config(find(workdir)).data.order
    if stored == config.data.order:
        return config
    logger.info("data.order stays %s, with which this run began", stored)
    config = config.copy_and_resolve_references()
    config.data.order = stored
    return config


def keep_automatic(workdir: epath.PathLike, config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """Return the config with the values of the run in the workdir, if any, for what is `auto`: a run keeps its choices."""
    if not configs.unresolved(config) or not checkpoint_steps(workdir):
        return config
    logger.info("auto: as this run began")
    return configs.choose_again(config, load_config(find(workdir)))


def pass_over_damaged(workdir: epath.PathLike) -> None:
    """Move checkpoints after the newest whole one to checkpoints_damaged/, and say so. The caller holds the workdir's lock.

    Reads the newest ones. Raises UserError if none is whole; nothing is moved then.
    """
    folder, aside = epath.Path(workdir) / FOLDER, epath.Path(workdir) / "checkpoints_damaged"
    steps = checkpoint_steps(workdir)
    found = newest_intact(folder, steps)
    whole = -1 if found is None else found
    if jax.process_count() > 1:
        whole = int(multihost_utils.broadcast_one_to_all(np.int32(whole)))
    if whole < 0:
        known = ", ".join(map(str, steps))
        raise UserError(f"no checkpoint in {folder} is whole (steps {known}), and none was moved; use another workdir")
    damaged = [step for step in steps if step > whole]
    if damaged and jax.process_index() == 0:
        aside.mkdir(parents=True, exist_ok=True)
        for step in damaged:
            (folder / str(step)).rename(aside / str(step))
        some = ", ".join(map(str, damaged))
        logger.warning("damaged checkpoints were moved to %s: steps %s; continuing from step %d", aside, some, whole)
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("damaged checkpoints moved aside")


def claim_workdir(workdir: epath.PathLike, config: ml_collections.ConfigDict) -> None:
    """Make the workdir and store the config in it, in all processes. Raises UserError if it has checkpoints of another one."""
    workdir = epath.Path(workdir)
    with user_errors(workdir, "workdir"):
        check_config(workdir, config)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("config.json read by all")
        if jax.process_index() == 0:
            store_config(workdir, config)


def check_config(workdir: epath.PathLike, config: ml_collections.ConfigDict) -> None:
    """Raise UserError if the workdir has checkpoints of another config."""
    # Without a checkpoint, nothing of an earlier run can be lost or mixed with this one.
    if not checkpoint_steps(workdir):
        return
    numerics.check_recorded(load_metadata(find(workdir)).get("numerics", {}), f"{workdir}")
    changed = configs.differences(load_config(find(workdir)).to_dict(), config.to_dict())
    unsafe = [f"{key} {a!r} -> {b!r}" for key, (a, b) in changed.items() if key not in configs.SAFE_TO_CHANGE]
    if unsafe:
        whole = f"; biggan-config diff plain:{workdir}/config.json NAME lists all" if len(unsafe) > SHOWN else ""
        what = f"holds a run of another config ({configs.some(unsafe, SHOWN)}{whole})"
        raise UserError(f"{workdir} {what}; {_way_on(workdir, changed)}")


def check_data(workdir: epath.PathLike, digest: str, on_change: str) -> None:
    """Raise UserError if the workdir has a checkpoint of a run on other data, unless on_change is allow.

    digest: of the data now; "": not known.
    """
    if not digest or not checkpoint_steps(workdir):
        return
    path = find(workdir)
    before = load_metadata(path).get("data", "")
    if before in ("", digest):
        return
    what = f"the data are other ones than those of step {path.name} in {workdir}: {before} then, {digest} now"
    if on_change != "allow":
        raise UserError(f"{what}; give those data, or --config.data.on_change=allow to continue with these")
    logger.warning("%s; continuing, since data.on_change is allow", what)


def _way_on(workdir: epath.Path, changed: dict[str, tuple]) -> str:
    """Say how to train with changed keys: as a new run, from this one's weights if its networks stay, or make other images."""
    unsafe = {key: new for key, (_, new) in changed.items() if key not in configs.SAFE_TO_CHANGE}
    kept = "condition.", "init_from", "model.family", *(() if unsafe.keys() & OTHER_IMAGES else ("model.",))
    if any(key.startswith(kept) or new is None for key, new in unsafe.items()):
        return "use another folder, or that config"
    given = " ".join(f"--config.{key}={_as_flag(new)}" for key, new in unsafe.items())
    finetune = f"--config=finetune:{workdir} --workdir=NEW {given}"
    return f"resume with that config, or fine-tune: start a new run from these weights with {finetune}"


def _as_flag(value) -> str:
    """Format a key's value as a shell takes it."""
    return shlex.quote(",".join(map(str, value)) or "()" if isinstance(value, list) else str(value))


def store_config(workdir: epath.Path, config: ml_collections.ConfigDict) -> None:
    """Write `workdir`/config.json, for people and for finetuning. A run resumes with the config in its checkpoint."""
    workdir.mkdir(parents=True, exist_ok=True)
    write_text(workdir / "config.json", configs.to_json(config))


def restore_or_init(
    gan: Family, seed: int, checkpoints: Checkpoints, weights: Callable[[], Weights | None]
) -> TrainState:
    """Return the latest checkpoint's state, else a fresh one with `weights()`, if any; laid out on the model's mesh."""
    if checkpoints.latest_step() is None:
        state = sharded_init_state(gan, seed)
        return replace_weights(state, start) if (start := weights()) else state
    shapes = init_shapes(gan)
    return checkpoints.restore(sharding.with_sharding(shapes, state_layout(gan)))


def load_weights(gan: Family, path: str) -> Weights:
    """Load a checkpoint's networks to the host, with optimizer states where they fit.

    Where images or classes are others, the layers that fit are taken over, and the log says so of each layer; see
    checkpoint/transfer.py. Raises UserError for other networks.
    """
    stored, config, _ = load_state(path)
    fresh, before = init_shapes(gan), build_gan(config)
    if fresh.networks.keys() != stored.networks.keys():
        theirs, ours = (", ".join(sorted(state.networks)) for state in (stored, fresh))
        raise UserError(f"{path} has the networks {theirs}, this model has {ours}; start from a run of the same family")
    fits = all(_same_shapes(ours, stored.networks[name]) for name, ours in fresh.networks.items())
    if not fits and (gan.image_shape, gan.condition) != (before.image_shape, before.condition):
        return _transferred(gan, before, fresh, stored, path)
    networks = {}
    for name, ours in fresh.networks.items():
        theirs = stored.networks[name]
        _refuse_other_shapes(_without_optimizer(ours), _without_optimizer(theirs), f"{path}: {name}.")
        if _shapes(theirs.opt_state) != _shapes(ours.opt_state):
            logger.info("%s's optimizer differs from that of %s: it starts with a new state", name, path)
            theirs = theirs.replace(opt_state=None)
        networks[name] = theirs
    averages = {}
    for name in fresh.averages:
        if name not in stored.averages:
            logger.info("%s keeps no average of %s: the new one starts from its live weights", path, name)
        averages[name] = stored.averages.get(name, networks[name].params)
    logger.info("starting from the weights of %s, step %d", path, int(stored.step))
    return jax.tree.map(np.asarray, {"networks": networks, "averages": averages})


def _transferred(gan: Family, before: Family, fresh: TrainState, stored: TrainState, path: str) -> Weights:
    """Return the layers of `stored`, a state of `before`, that fit the networks of `gan`. Raises UserError if none does."""
    networks, averages, lines, copied = {}, {}, list[str](), 0
    for name, network in gan.networks.items():
        ours, theirs, other = fresh.networks[name], stored.networks[name], before.networks[name]
        if type(network.module) is not type(other.module):
            raise UserError(
                f"{path} has another kind of {name}; start from a run of the same model.family and its form"
            )
        arrays = transfer.arrays_of(ours), transfer.arrays_of(theirs)
        found = transfer.plan(*arrays, transfer.places(network), transfer.places(other))
        if frozen := [layer for layer in found.new if layer[0] in network.frozen]:
            what = f"{name}'s layer {'.'.join(frozen[0])} is not in {path} in this shape"
            raise UserError(f"freeze_d keeps blocks as they are, but {what}; freeze fewer blocks, or none")
        networks[name] = transfer.take_over(ours, theirs, found)
        if name in fresh.averages:
            average = stored.averages.get(name, theirs.params)
            averages[name] = transfer.take_over_tree("params", fresh.averages[name], average, found)
        count = lambda tree: sum(int(np.prod(x.shape)) for x in jax.tree.leaves(tree))
        lines += transfer.report(name, found)
        lines.append(f"{name}: {count(networks[name].params):,} of {count(ours.params):,} weights are copied")
        copied += len(found.copied)
    if not copied:
        raise UserError(f"no layer of {path} fits; choose model.ch or widths so that some blocks have equal channels")
    logger.info("starting from layers of %s, step %d; optimizer states are new", path, int(stored.step))
    for line in lines:
        logger.info("%s", line)
    return jax.tree.map(np.asarray, {"networks": networks, "averages": averages})


def replace_weights(fresh: TrainState, start: Weights) -> TrainState:
    """Replace networks of the fresh state by those that `load_weights` returned, with the fresh state's shardings."""

    def place(new, like):
        return like if new is None else jax.make_array_from_callback(new.shape, like.sharding, lambda index: new[index])

    replaced = lambda name, part: jax.tree.map(place, part, getattr(fresh, name), is_leaf=lambda leaf: leaf is None)
    return fresh.replace(**{name: replaced(name, part) for name, part in start.items()})


def _same_shapes(ours: NetworkState, theirs: NetworkState) -> bool:
    return _shapes(_without_optimizer(ours)) == _shapes(_without_optimizer(theirs))


def _without_optimizer(network: NetworkState) -> dict:
    return {"params": network.params, "stats": network.stats}


def _shapes(tree) -> dict[str, tuple[int, ...]]:
    return {name: x.shape for name, x in named_arrays(tree).items()}


def _refuse_other_shapes(ours, theirs, where: str) -> None:
    ours, theirs = _shapes(ours), _shapes(theirs)
    different = [name for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name)]
    hint = "use the networks of that run with --config=finetune:DIR, without overrides in config.model"
    if different:
        name = different[0]
        our, their = (list(shapes[name]) if name in shapes else "missing" for shapes in (ours, theirs))
        raise UserError(f"{where}{name} is {their}, in this config {our}; {hint}")
