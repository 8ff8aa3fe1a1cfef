"""Paths of checkpoints: `workdir`/checkpoints/<step>."""

import orbax.checkpoint as ocp
from etils import epath

from biggan_jax.types import UserError

FOLDER = "checkpoints"


def find(path: epath.PathLike) -> epath.Path:
    """Return the folder of one step: the latest of a workdir or of a checkpoints folder, or `path` itself."""
    path = epath.Path(path).absolute()
    for folder in (path, path / FOLDER):
        if (folder / "state").is_dir():
            return folder
        if steps := steps_in(folder):
            return folder / str(steps[-1])
    raise UserError(f"no checkpoint at {path}; give a workdir, its {FOLDER} folder or one step in it")


def checkpoint_steps(workdir: epath.PathLike) -> list[int]:
    """Return the steps of a training run's complete checkpoints, in order."""
    return steps_in(epath.Path(workdir) / FOLDER)


def steps_in(folder: epath.Path) -> list[int]:
    """Return the steps of the complete checkpoints in a checkpoints folder, in order."""
    return sorted(ocp.utils.checkpoint_steps(folder)) if folder.is_dir() else []
