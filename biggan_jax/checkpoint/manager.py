"""Save, restore, pin and discard the checkpoints of a training run."""

import concurrent.futures
import contextlib
import dataclasses
import json
import logging
from collections.abc import Sequence
from typing import Any

import jax
import ml_collections
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers as policies

from biggan_jax.checkpoint import checksums, restore
from biggan_jax.checkpoint.layout import FOLDER, check_name, from_tree, steps_in, to_tree
from biggan_jax.checkpoint.metadata import Metadata, create, read
from biggan_jax.runtime import heap
from biggan_jax.runtime.files import disk_faults_explained, is_remote, write_text
from biggan_jax.state import TrainState
from biggan_jax.types import UserError

_DELETED = "deleted"  # A folder beside the steps. A checkpoint is renamed into it first, so none is ever half-deleted.
# Filter out Orbax's log record of an error: the error is raised again on wait.
_drop_duplicate = lambda record: not (record.exc_info and "orbax" in record.pathname)
PINNED = "kept.json"  # In the checkpoints folder: {step: reason} of the pinned checkpoints.


@dataclasses.dataclass
class RetentionPolicy:
    """A preservation policy for Orbax's CheckpointManager."""

    newest: int  # Keep this many of the latest checkpoints.
    every: int  # Keep multiples of this step; 0: none.
    # {step: score}, lower is better; the best is kept. Orbax's BestN would need them as an item of its own in each checkpoint.
    scores: dict[int, float]
    pinned: dict[int, str]  # {step: reason}, all kept.
    last_healthy_step: int | None = None  # Keep the newest checkpoint not after it; None: unknown.

    def should_preserve(self, checkpoints: Sequence, *, context=None) -> Sequence[bool]:
        steps = [checkpoint.step for checkpoint in checkpoints]
        limit = -1 if self.last_healthy_step is None else self.last_healthy_step
        healthy = max((step for step in steps if step <= limit), default=None)
        chosen = [step for step in (*self.pinned, self.best(steps), healthy) if step is not None]
        chosen_by = [policies.LatestN(self.newest), policies.CustomSteps(chosen)]
        if self.every:
            chosen_by.append(policies.EveryNSteps(self.every))
        return policies.AnyPreservationPolicy(chosen_by).should_preserve(checkpoints, context=context)

    def best(self, steps: Sequence[int]) -> int | None:
        """Return the step of the lowest score, of equal ones the latest; None if no step has a score."""
        return min((s for s in steps if s in self.scores), key=lambda s: (self.scores[s], -s), default=None)

    def forget_after(self, step: int) -> None:
        """Drop scores and pins of later steps."""
        self.scores = {s: score for s, score in self.scores.items() if s <= step}
        self.pinned = {s: reason for s, reason in self.pinned.items() if s <= step}


def read_pinned(folder: epath.Path) -> dict[int, str]:
    """Read kept.json in the checkpoints folder. Raise UserError if it is invalid: nothing must be deleted then."""
    path = folder / PINNED
    if not path.exists():
        return {}
    try:
        return {int(step): str(reason) for step, reason in json.loads(path.read_text()).items()}
    except (ValueError, AttributeError) as error:
        hint = "mend it, or delete it if no checkpoint is to be pinned"
        raise UserError(f'{path} is not JSON such as {{"1000": "why it is kept"}}; {hint}') from error


def write_pinned(folder: epath.Path, pinned: dict[int, str]) -> None:
    """Write kept.json, in process 0."""
    if jax.process_index() == 0:
        write_text(folder / PINNED, json.dumps({str(step): pinned[step] for step in sorted(pinned)}, indent=2) + "\n")


class Checkpoints:
    """The checkpoints of one training run, in `workdir`/checkpoints/<step>/{state,config[,extras]}.

    Saving is asynchronous: it returns once the arrays have left the devices. Methods that list checkpoints wait for a
    save in progress, so they list complete checkpoints only. All processes must call the same methods in the same order.
    RetentionPolicy says which checkpoints are kept: among others the `keep` newest and multiples of `keep_every` (0: none).
    """

    def __init__(self, workdir: epath.PathLike, keep: int, keep_every: int = 0):
        folder, self._saved = epath.Path(workdir).absolute() / FOLDER, False
        check_name(folder)
        logging.getLogger("absl").addFilter(_drop_duplicate)
        self._workdir, self._folder, self._last_saved = workdir, folder, lambda: max(steps_in(folder), default=None)
        self._retention = RetentionPolicy(keep, keep_every, scores={}, pinned=read_pinned(folder))
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
        data: str = "",
    ) -> None:
        """Save the state and its resolved config, unless its step is saved already.

        extras: see restore.Extras. score, last_healthy_step: see RetentionPolicy. data: the digest of the data set. Raises
        UserError if there are later steps (of another run, or of an abandoned attempt), the disk is full, for this checkpoint or
        for the one before, or the first one is not on the disk as it was saved.
        """
        step, latest = int(state.step), self.latest_step()
        if step == latest:
            return
        if latest is not None and step < latest:
            where = f"{self._folder}: there is a later one, {latest}"
            raise UserError(f"step {step} cannot be saved in {where}; use another folder")
        self._wait()
        self._empty_deleted()
        self._retention.last_healthy_step = last_healthy_step
        items = {"state": to_tree(state)} | ({"extras": extras} if extras else {})
        sums = {item: checksums.of_arrays(tree) for item, tree in items.items()}
        metadata = create(config, step=step, attempt=int(state.attempt), score=score, sums=sums, data=data)
        if metadata["score"] is not None:
            self._retention.scores[step] = metadata["score"]
        arguments = {item: ocp.args.PyTreeSave(tree) for item, tree in items.items()}
        with disk_faults_explained(self._workdir, self._last_saved):
            self._manager.save(step, args=ocp.args.Composite(**arguments, config=ocp.args.JsonSave(metadata)))
        self._saved = True
        if latest is None:
            self._read_back(step)

    def _read_back(self, step: int) -> None:
        """Verify a run's first checkpoint: a disk or a folder that loses it ends the run now, not after days."""
        self._wait()
        path = self._folder / str(step)
        whole = restore.is_intact(path)
        if jax.process_count() > 1:
            whole = bool(multihost_utils.process_allgather(np.array(whole)).all())
        if not whole:
            what = f"the first checkpoint cannot be read back from {path} as it was saved"
            raise UserError(f"{what}; give another folder, or one on another disk")

    def restore(self, like: TrainState, step: int | None = None) -> TrainState:
        """Restore a step's state, by default the latest, with the shardings of `like`. Raises UserError if it is corrupted."""
        path = self._folder / str(self.latest_step() if step is None else step)
        return from_tree(restore.restore(path, to_tree(like)), like)

    def newest_whole(self, until: int) -> int | None:
        """Return the newest step up to `until` whose checkpoint is as it was saved; None if none is. Reads each that it tries."""
        return restore.newest_intact(self._folder, [step for step in self.steps() if step <= until])

    def pin(self, step: int, reason: str) -> None:
        """Keep the step's checkpoint for good and record the reason in checkpoints/kept.json."""
        if step not in self.steps():
            raise ValueError(f"there is no complete checkpoint of step {step} in {self._folder} to pin")
        # The user may have pinned others by hand.
        self._retention.pinned |= read_pinned(self._folder) | {step: reason}
        write_pinned(self._folder, self._retention.pinned)

    def pinned(self) -> dict[int, str]:
        """Return {step: reason} of the complete checkpoints that are pinned."""
        return {step: self._retention.pinned[step] for step in self.steps() if step in self._retention.pinned}

    def discard_after(self, step: int, aside: str) -> None:
        """Delete all later checkpoints. The best and pinned ones are moved to the folder `aside` beside checkpoints/ instead."""
        kept, folder = {self.best_step(), *self._retention.pinned}, self._folder.parent / aside
        kept &= {s for s in self.steps() if s > step}
        if kept and jax.process_index() == 0:
            folder.mkdir(parents=True, exist_ok=True)
            for s in kept:
                (self._folder / str(s)).rename(folder / str(s))
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("checkpoints moved aside")
        self._manager.reload()
        self._retention.forget_after(step)
        write_pinned(self._folder, self._retention.pinned)
        self._empty_deleted()
        for s in reversed([s for s in self.steps() if s > step]):  # The latest first: a kill leaves no gap.
            self._manager.delete(s)
        self._empty_deleted()

    def close(self) -> None:
        """Wait for a save in progress. Raise UserError if the disk is full."""
        with disk_faults_explained(self._workdir, self._last_saved):
            try:
                self._manager.wait_until_finished()
                self._empty_deleted()
            finally:
                self._manager.close()

    def _wait(self) -> None:
        """Wait until nothing is being saved or deleted. Errors of the background threads are raised here."""
        with disk_faults_explained(self._workdir, self._last_saved):
            self._manager.wait_until_finished()
        if self._saved:
            self._saved = False
            heap.trim()

    def _metadata(self) -> dict[int, Metadata]:
        """Return the metadata of every complete checkpoint that is not corrupted."""
        found: dict[int, Metadata] = {}
        with concurrent.futures.ThreadPoolExecutor(16) as pool:  # Object stores take long to answer.
            for step, answer in {s: pool.submit(read, self._folder / str(s)) for s in self.steps()}.items():
                with contextlib.suppress(Exception):  # Corruption raises nearly anything; restoring reports it.
                    found[step] = answer.result()
        return found

    def _empty_deleted(self) -> None:
        deleted = self._folder / _DELETED
        if jax.process_index() == 0 and deleted.exists():
            deleted.rmtree()


def _array_handler() -> ocp.PyTreeCheckpointHandler:
    # By default, replicas share the writing of each array, and each share is a program to compile: no gain in one process.
    arrays = ocp.type_handlers.ArrayHandler(use_replica_parallel=jax.process_count() > 1)
    handlers: list[tuple[Any, Any]] = [(jax.Array, arrays), (np.ndarray, ocp.type_handlers.NumpyHandler())]
    handlers += [(kind, ocp.type_handlers.ScalarHandler()) for kind in (int, float, np.number)]
    return ocp.PyTreeCheckpointHandler(type_handler_registry=ocp.type_handlers.create_type_handler_registry(*handlers))
