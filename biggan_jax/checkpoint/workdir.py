"""The config of a training run, in its workdir and in its checkpoints."""

import logging

import jax
import ml_collections
from etils import epath
from jax.experimental import multihost_utils

from biggan_jax import config as configs
from biggan_jax.checkpoint.paths import checkpoint_steps, find
from biggan_jax.checkpoint.restore import load_config
from biggan_jax.runtime.files import user_errors, write_text
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)


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


def claim_workdir(workdir: epath.PathLike, config: ml_collections.ConfigDict) -> None:
    """Make the workdir and store the config in it. Call from all processes.

    Raises:
        UserError: the folder has checkpoints of another config; the message names the keys that differ.
    """
    workdir = epath.Path(workdir)
    with user_errors(workdir, "workdir"):
        # Without a checkpoint, nothing of an earlier run can be lost or mixed with this one.
        if checkpoint_steps(workdir):
            _refuse_changes(workdir, load_config(find(workdir)), config)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("config.json read by all")
        if jax.process_index() == 0:
            store_config(workdir, config)


def store_config(workdir: epath.Path, config: ml_collections.ConfigDict) -> None:
    """Write `workdir`/config.json, for people and for finetuning. A run resumes with the config in its checkpoint."""
    workdir.mkdir(parents=True, exist_ok=True)
    write_text(workdir / "config.json", configs.to_json(config))


def _refuse_changes(workdir: epath.Path, stored: ml_collections.ConfigDict, config: ml_collections.ConfigDict) -> None:
    changed = configs.differences(stored.to_dict(), config.to_dict())
    unsafe = {key: values for key, values in changed.items() if key not in configs.SAFE_TO_CHANGE}
    if unsafe:
        listed = ", ".join(f"{key} {old!r} -> {new!r}" for key, (old, new) in unsafe.items())
        raise UserError(f"{workdir} holds a run of another config ({listed}); use another folder, or that config")
