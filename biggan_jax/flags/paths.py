"""Check the files and folders that flags name."""

import importlib.util

from absl import flags
from etils import epath

from biggan_jax.errors import UserError
from biggan_jax.runtime import pretrained
from biggan_jax.runtime.files import is_remote

ANIMATIONS = (".gif", ".mp4")


def check_checkpoint(name: str) -> None:
    """Raise UserError if --checkpoint=`name` is no local file or folder, no model of the package, and no address."""
    path = epath.Path(name).absolute()
    if not (name.startswith("hf:") or is_remote(path) or path.exists() or name in pretrained.packaged()):
        raise pretrained.missing(path, name)


def check_inputs(*given: flags.FlagHolder, why: str = "cannot be read: No such file or directory") -> None:
    """Raise UserError if no local file or folder has the path of a flag that is given. why: the end of the sentence."""
    for flag in given:
        if flag.value and not is_remote(flag.value) and not epath.Path(flag.value).exists():
            raise UserError(f"--{flag.name}={flag.value} {why}")


def check_out(path: str, suffixes: tuple[str, ...] = (), context: str = "") -> epath.Path:
    """Check a command's --out before any slow work. Raises UserError for another suffix, or a missing folder.

    suffixes: "" among them stands for a folder.
    """
    out = epath.Path(path)
    if suffixes and out.suffix not in suffixes and not ("" in suffixes and out.is_dir()):
        folder = ", or be a folder without a suffix" if "" in suffixes else ""
        raise UserError(f"--out={out} must end in {' or '.join(filter(None, suffixes))}{folder}{context}")
    if not out.parent.exists():
        raise UserError(f"--out={out}: the folder {out.parent} does not exist")
    return out


def check_animation(path: epath.Path) -> None:
    """Raise UserError if a file of this type cannot be written."""
    if path.suffix == ".mp4" and not importlib.util.find_spec("imageio_ffmpeg"):
        raise UserError("writing .mp4 needs ffmpeg: pip install 'biggan-jax[video]', or give a .gif")
