"""Names of models: those that come with the package, and names that mean no model."""

import pathlib

from etils import epath

from biggan_jax.config import closest
from biggan_jax.errors import UserError


def packaged() -> dict[str, epath.Path]:
    """Return {name: folder} of the models that are installed with the package."""
    folder = pathlib.Path(__file__).parent.parent / "pretrained"
    return {path.name: epath.Path(path) for path in sorted(folder.glob("[a-z]*")) if path.is_dir()}


def missing(path: epath.Path, name: str = "") -> UserError:
    """Return the error that no checkpoint is at `path`. name: what was given, if it may be one of those in the package."""
    near = "" if not name or "/" in name else closest(name, packaged())
    hint = f"; did you mean {near}, which is in the package?" if near else ""
    return UserError(f"no checkpoint at {path}; give a workdir, its checkpoints folder or one step in it{hint}")
