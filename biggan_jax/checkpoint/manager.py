"""Owns a run's checkpoints: saving, going back to one, and which of them are kept. Must not know when it is time to save."""

import concurrent.futures
import logging

import jax
import ml_collections
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils

from biggan_jax import config as configs
from biggan_jax.checkpoint import checksums, full_disk, metadata, restore, retention
from biggan_jax.checkpoint.paths import FOLDER
from biggan_jax.runtime.files import is_remote, write_text
from biggan_jax.state import TrainState
from biggan_jax.types import UserError

_DELETED = "deleted"
"""A folder beside the steps. Renamed into it, a checkpoint is gone at once: what is half-deleted must not look like one."""


class Checkpoints:
    """The checkpoints of one run, in `workdir`/checkpoints/<step>/{state,config[,extras]}.

    Saving is asynchronous: it returns once the arrays have left the devices. Only complete checkpoints are ever named:
    whatever asks for them waits for what is being saved. Of several processes all call the same methods alike.

    Kept are the `keep` newest, multiples of `keep_every` (0: none), the one with the best score, and those that are pinned.
    """

    def __init__(self, workdir: epath.PathLike, keep: int, keep_every: int = 0):
        folder = epath.Path(workdir).absolute() / FOLDER
        logging.getLogger("absl").addFilter(_not_told_twice)
        self._workdir, self._folder = workdir, folder
        self._kept = retention.RetentionPolicy(keep, keep_every, scores={}, pinned=retention.read_pinned(folder))
        options = ocp.CheckpointManagerOptions(
            preservation_policy=self._kept,
            cleanup_tmp_directories=True,  # What a process left that died while it saved.
            todelete_subdir=None if is_remote(folder) else _DELETED,
        )
        self._manager = ocp.CheckpointManager(folder, options=options)
        self._empty_deleted()
        self._kept.scores = {
            step: said["score"] for step, said in self._described().items() if said["score"] is not None
        }

    def steps(self) -> list[int]:
        """The steps of all complete checkpoints, in order."""
        self._wait()
        return sorted(self._manager.all_steps())

    def latest_step(self) -> int | None:
        """The latest step that was saved, or is being saved."""
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """The step of the lowest score, of equal ones the latest; None if none has a score."""
        return self._kept.best(self.steps())

    def attempts(self) -> dict[int, int]:
        """{step: attempt} of all complete checkpoints but damaged ones; see TrainState."""
        return {step: said["attempt"] for step, said in self._described().items()}

    def save(
        self,
        state: TrainState,
        config: ml_collections.ConfigDict,
        extras: restore.Extras | None = None,
        score: float | None = None,
        last_healthy_step: int | None = None,
    ) -> None:
        """Saves the state, unless its step is saved already. score: how good it is, lower is better; None: nobody knows.

        last_healthy_step: the last step at which the run was seen to be well: the newest checkpoint not after it stays.

        Raises UserError if there are later steps (they are another run's, or those of an attempt that was given up), or if
        there is no room for this one, or was none for the one before.
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
        self._kept.last_healthy_step = last_healthy_step
        items = {"state": restore.to_tree(state)} | ({"extras": extras} if extras else {})
        sums = {item: checksums.of_arrays(tree) for item, tree in items.items()}
        said = metadata.describe(config, step=step, attempt=int(state.attempt), score=score, sums=sums)
        if said["score"] is not None:
            self._kept.scores[step] = said["score"]
        arguments = {item: ocp.args.PyTreeSave(tree) for item, tree in items.items()}
        with full_disk.explained(self._workdir):
            self._manager.save(step, args=ocp.args.Composite(**arguments, config=ocp.args.JsonSave(said)))

    def restore(self, like: TrainState, step: int | None = None) -> TrainState:
        """The state of a step, or the latest, its arrays laid out as those of `like` (arrays, or shapes with shardings).

        Raises UserError if a bit of it is not what was saved.
        """
        path = self._folder / str(self.latest_step() if step is None else step)
        return restore.from_tree(restore.restore(path, restore.to_tree(like)), like)

    def pin(self, step: int, why: str) -> None:
        """Keeps the step's checkpoint for good. `why` goes, for people, into checkpoints/kept.json."""
        if step not in self.steps():
            raise ValueError(f"there is no complete checkpoint of step {step} in {self._folder} to pin")
        self._kept.pinned |= retention.read_pinned(self._folder) | {
            step: why
        }  # By hand, too, something may have been pinned.
        self._write_pinned()

    def pinned(self) -> dict[int, str]:
        """{step: why} of the complete checkpoints that are pinned."""
        return {step: self._kept.pinned[step] for step in self.steps() if step in self._kept.pinned}

    def discard_after(self, step: int, aside: str) -> None:
        """Deletes all later checkpoints, the latest first: killed half-way, it leaves no gap.

        The best of them, and pinned ones, are moved to the folder `aside` beside checkpoints/ instead.
        """
        later = [s for s in self.steps() if s > step]
        self._move_aside([s for s in later if s == self.best_step() or s in self._kept.pinned], aside)
        later = [s for s in self.steps() if s > step]
        self._kept.forget_after(step)
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
        """Waits for what is still being written. Raises UserError if there is no room for it."""
        with full_disk.explained(self._workdir):
            try:
                self._manager.wait_until_finished()
                self._empty_deleted()
            finally:
                self._manager.close()

    def _wait(self) -> None:
        """Until nothing is being saved or deleted: whatever went wrong meanwhile is raised here."""
        with full_disk.explained(self._workdir):
            self._manager.wait_until_finished()

    def _described(self) -> dict[int, metadata.Metadata]:
        def read(step: int) -> metadata.Metadata | None:
            try:
                return metadata.read(self._folder / str(step))
            except Exception:  # Damaged in whatever way: whoever restores it is told.
                return None

        steps = self.steps()
        with concurrent.futures.ThreadPoolExecutor(16) as pool:  # In object stores each takes its time.
            return {step: said for step, said in zip(steps, pool.map(read, steps), strict=True) if said}

    def _write_pinned(self) -> None:
        if jax.process_index() == 0:
            retention.write_pinned(self._folder, self._kept.pinned)

    def _empty_deleted(self) -> None:
        deleted = self._folder / _DELETED
        if jax.process_index() == 0 and deleted.exists():
            deleted.rmtree()


def _not_told_twice(record: logging.LogRecord) -> bool:
    """Orbax's threads log each error with its stack, and then it is raised where one waits for them."""
    return not (record.exc_info and "orbax" in record.pathname)


def store_config(workdir: epath.Path, config: ml_collections.ConfigDict) -> None:
    """Writes `workdir`/config.json, for people and for configs that start from it; a checkpoint's own config is what counts."""
    workdir.mkdir(parents=True, exist_ok=True)
    write_text(workdir / "config.json", configs.to_json(config))
