"""Save, restore, pin and discard the checkpoints of a training run."""

import concurrent.futures
import logging
from typing import Any

import jax
import ml_collections
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils

from biggan_jax.checkpoint import checksums, full_disk, restore, retention
from biggan_jax.checkpoint.metadata import Metadata, create, read
from biggan_jax.checkpoint.paths import FOLDER
from biggan_jax.checkpoint.tree import from_tree, to_tree
from biggan_jax.runtime.files import is_remote
from biggan_jax.state import TrainState
from biggan_jax.types import UserError

_DELETED = "deleted"
"""A folder beside the steps. A checkpoint is renamed into it before its files are deleted, so none is ever half-deleted."""


class Checkpoints:
    """The checkpoints of one training run, in `workdir`/checkpoints/<step>/{state,config[,extras]}.

    Saving is asynchronous: it returns once the arrays have left the devices. Methods that list checkpoints wait for a
    save in progress, so they list complete checkpoints only. All processes must call the same methods in the same order.

    See RetentionPolicy for which checkpoints are kept: among others the `keep` newest and multiples of `keep_every` (0: none).
    """

    def __init__(self, workdir: epath.PathLike, keep: int, keep_every: int = 0):
        folder = epath.Path(workdir).absolute() / FOLDER
        logging.getLogger("absl").addFilter(_drop_duplicate)
        self._workdir, self._folder = workdir, folder
        self._retention = retention.RetentionPolicy(keep, keep_every, scores={}, pinned=retention.read_pinned(folder))
        options = ocp.CheckpointManagerOptions(
            preservation_policy=self._retention,
            cleanup_tmp_directories=True,  # Left by a process that died while saving.
            todelete_subdir=None if is_remote(folder) else _DELETED,
        )
        handlers = {"state": _array_handler(), "extras": _array_handler(), "config": ocp.JsonCheckpointHandler()}
        self._manager = ocp.CheckpointManager(folder, options=options, item_handlers=handlers)
        self._empty_deleted()
        scores = {step: metadata["score"] for step, metadata in self._metadata().items()}
        self._retention.scores = {step: score for step, score in scores.items() if score is not None}

    def steps(self) -> list[int]:
        """Return the steps of all complete checkpoints, in order."""
        self._wait()
        return sorted(self._manager.all_steps())

    def latest_step(self) -> int | None:
        """Return the latest step that is saved or being saved."""
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """Return the step of the lowest score, of equal ones the latest; None if no step has a score."""
        return self._retention.best(self.steps())

    def attempts(self) -> dict[int, int]:
        """Return {step: attempt} of all complete checkpoints that are not corrupted; see TrainState.attempt."""
        return {step: metadata["attempt"] for step, metadata in self._metadata().items()}

    def save(
        self,
        state: TrainState,
        config: ml_collections.ConfigDict,
        extras: restore.Extras | None = None,
        score: float | None = None,
        last_healthy_step: int | None = None,
    ) -> None:
        """Save the state, unless its step is saved already.

        Args:
            state: the training state.
            config: the resolved config, stored with the state.
            extras: converted arrays that training does not use; see restore.Extras.
            score: lower is better; None: unknown.
            last_healthy_step: the last step at which diagnostics were healthy; the newest checkpoint not after it is kept.

        Raises:
            UserError: there are later steps (of another run, or of an abandoned attempt), or the disk is full, for this
                checkpoint or for the one before.
        """
        step, latest = int(state.step), self.latest_step()
        if step == latest:
            return
        if latest is not None and step < latest:
            raise UserError(
                f"step {step} cannot be saved in {self._folder}: there is a later one, {latest}; use another folder"
            )
        self._wait()
        self._empty_deleted()
        self._retention.last_healthy_step = last_healthy_step
        items = {"state": to_tree(state)} | ({"extras": extras} if extras else {})
        sums = {item: checksums.of_arrays(tree) for item, tree in items.items()}
        metadata = create(config, step=step, attempt=int(state.attempt), score=score, sums=sums)
        if metadata["score"] is not None:
            self._retention.scores[step] = metadata["score"]
        arguments = {item: ocp.args.PyTreeSave(tree) for item, tree in items.items()}
        with full_disk.explained(self._workdir):
            self._manager.save(step, args=ocp.args.Composite(**arguments, config=ocp.args.JsonSave(metadata)))

    def restore(self, like: TrainState, step: int | None = None) -> TrainState:
        """Restore the state of `step`, by default the latest, with the shardings of `like` (arrays, or shapes with shardings).

        Raises:
            UserError: the checkpoint is corrupted.
        """
        path = self._folder / str(self.latest_step() if step is None else step)
        return from_tree(restore.restore(path, to_tree(like)), like)

    def pin(self, step: int, reason: str) -> None:
        """Keep the step's checkpoint for good and record the reason in checkpoints/kept.json."""
        if step not in self.steps():
            raise ValueError(f"there is no complete checkpoint of step {step} in {self._folder} to pin")
        # The user may have pinned others by hand.
        self._retention.pinned |= retention.read_pinned(self._folder) | {step: reason}
        self._write_pinned()

    def pinned(self) -> dict[int, str]:
        """Return {step: reason} of the complete checkpoints that are pinned."""
        return {step: self._retention.pinned[step] for step in self.steps() if step in self._retention.pinned}

    def discard_after(self, step: int, aside: str) -> None:
        """Delete all later checkpoints, the latest first, so that a kill leaves no gap.

        The best of them and pinned ones are moved to the folder `aside` beside checkpoints/ instead.
        """
        later = [s for s in self.steps() if s > step]
        self._move_aside([s for s in later if s == self.best_step() or s in self._retention.pinned], aside)
        later = [s for s in self.steps() if s > step]
        self._retention.forget_after(step)
        if later:
            self._write_pinned()
        self._empty_deleted()
        for s in reversed(later):
            self._manager.delete(s)
        self._empty_deleted()

    def _move_aside(self, steps: list[int], aside: str) -> None:
        if not steps:
            return
        if jax.process_index() == 0:
            folder = self._folder.parent / aside
            folder.mkdir(parents=True, exist_ok=True)
            for step in steps:
                (self._folder / str(step)).rename(folder / str(step))
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("checkpoints moved aside")
        self._manager.reload()

    def close(self) -> None:
        """Wait for a save in progress. Raise UserError if the disk is full."""
        with full_disk.explained(self._workdir):
            try:
                self._manager.wait_until_finished()
                self._empty_deleted()
            finally:
                self._manager.close()

    def _wait(self) -> None:
        """Wait until nothing is being saved or deleted. Errors of the background threads are raised here."""
        with full_disk.explained(self._workdir):
            self._manager.wait_until_finished()

    def _metadata(self) -> dict[int, Metadata]:
        """Return the metadata of every complete checkpoint that is not corrupted."""

        def read_or_none(step: int) -> Metadata | None:
            try:
                return read(self._folder / str(step))
            except Exception:  # Corruption raises nearly anything; restoring the checkpoint reports it.
                return None

        steps = self.steps()
        with concurrent.futures.ThreadPoolExecutor(16) as pool:  # Object stores take long to answer.
            return {step: found for step, found in zip(steps, pool.map(read_or_none, steps), strict=True) if found}

    def _write_pinned(self) -> None:
        if jax.process_index() == 0:
            retention.write_pinned(self._folder, self._retention.pinned)

    def _empty_deleted(self) -> None:
        deleted = self._folder / _DELETED
        if jax.process_index() == 0 and deleted.exists():
            deleted.rmtree()


def _array_handler() -> ocp.PyTreeCheckpointHandler:
    """Return Orbax's handler of a tree of arrays.

    By default, replicas share the writing of each array, and each share is a program to compile. One process gains nothing by it.
    """
    arrays = ocp.type_handlers.ArrayHandler(use_replica_parallel=jax.process_count() > 1)
    handlers: list[tuple[Any, Any]] = [(jax.Array, arrays), (np.ndarray, ocp.type_handlers.NumpyHandler())]
    handlers += [(kind, ocp.type_handlers.ScalarHandler()) for kind in (int, float, np.number)]
    return ocp.PyTreeCheckpointHandler(type_handler_registry=ocp.type_handlers.create_type_handler_registry(*handlers))


def _drop_duplicate(record: logging.LogRecord) -> bool:
    """Filter out Orbax's log record of an error: the error is raised again on wait."""
    return not (record.exc_info and "orbax" in record.pathname)
