"""Load the checkpoints of a run one after the other, including those that appear later."""

import logging
import time
from collections.abc import Callable, Iterator

import numpy as np
from etils import epath

from biggan_jax.checkpoint import FOLDER, TrainedGenerator, checkpoint_steps
from biggan_jax.runtime import distributed
from biggan_jax.types import UserError

logger = logging.getLogger("biggan_jax.evaluation.watch")

MAX_STEPS = 4096
"""Checkpoints that are considered, the newest."""


def run_folder(step_path: epath.Path) -> epath.Path:
    """Return the run's folder; for a step outside of a run, its parent folder."""
    return step_path.parent.parent if step_path.parent.name == FOLDER else step_path.parent


def checkpoints_folder(path: epath.Path, *, may_be_empty: bool) -> epath.Path:
    """Return the checkpoints folder of a run, given its own path or the run's."""
    folder = path if path.name == FOLDER else path / FOLDER
    if not may_be_empty and not agreed_steps(folder):
        raise UserError(f"no checkpoints in {folder}; give a run's folder with --all")
    return folder


def agreed_steps(folder: epath.Path) -> list[int]:
    """Return the steps of complete checkpoints, as process 0 sees them: hosts read the folder at different moments."""
    found = np.full(MAX_STEPS, -1, np.int32)
    steps = checkpoint_steps(folder.parent)[-MAX_STEPS:]
    found[: len(steps)] = steps
    return [int(step) for step in distributed.broadcast(found) if step >= 0]


def checkpoints(
    folder: epath.Path, load: Callable[[epath.Path], TrainedGenerator], every: float | None
) -> Iterator[TrainedGenerator]:
    """Load each checkpoint once. every: seconds between reads of the folder until the run ends; None: read it once.

    A checkpoint that the run has deleted meanwhile is skipped. Raises UserError if a checkpoint cannot be read.
    """
    seen: set[int] = set()
    while True:
        for step in (step for step in agreed_steps(folder) if step not in seen):
            seen.add(step)
            trained = error = None
            try:
                trained = load(folder / str(step))
            except UserError as e:
                error = e
            if not distributed.all_agree(error is None):
                if step in agreed_steps(folder):
                    raise error or UserError(f"another host cannot read {folder / str(step)}")
                logger.info("step %d was replaced by newer checkpoints", step)
                continue
            assert trained is not None
            yield trained
            if every and step >= trained.config.num_steps:
                return
        if not every:
            return
        time.sleep(every)
