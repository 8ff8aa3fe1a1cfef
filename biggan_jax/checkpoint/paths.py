"""Owns where checkpoints lie: `workdir`/checkpoints/<step>. Must not know what is in them."""

import orbax.checkpoint as ocp
from etils import epath

from biggan_jax.types import UserError

FOLDER = "checkpoints"


def find(path: epath.PathLike) -> epath.Path:
    """The folder of one step: the latest of a workdir or of a checkpoints folder, or the step that is named itself."""
    path = epath.Path(path).absolute()
    for folder in (path, path / FOLDER):
        if (folder / "state").is_dir():
            return folder
        if steps := steps_in(folder):
            return folder / str(steps[-1])
    raise UserError(f"no checkpoint at {path}; give a workdir, its {FOLDER} folder or one step in it")


def checkpoint_steps(workdir: epath.PathLike) -> list[int]:
    """The steps of which a run has complete checkpoints, in order."""
    return steps_in(epath.Path(workdir) / FOLDER)


def steps_in(folder: epath.Path) -> list[int]:
    """As `checkpoint_steps`, of a checkpoints folder."""
    return sorted(ocp.utils.checkpoint_steps(folder)) if folder.is_dir() else []
