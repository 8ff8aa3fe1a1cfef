"""Turn disk-full errors into a clear message."""

import contextlib
import errno
import re
import shutil
from collections.abc import Iterator

from etils import epath

from biggan_jax.checkpoint.paths import checkpoint_steps
from biggan_jax.runtime.files import is_remote
from biggan_jax.types import UserError

_FULL = re.compile("No space left on device|Disk quota exceeded")


@contextlib.contextmanager
def explained(workdir: epath.PathLike) -> Iterator[None]:
    """Re-raise a disk-full error as a UserError that names the folder and the step to resume from."""
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError) or not is_full(error):
            raise
        steps = checkpoint_steps(workdir)
        resuming = (
            f"resumes from step {steps[-1]}" if steps else "starts from the beginning, since nothing was saved yet"
        )
        raise UserError(
            f"no room is left to write in {workdir}{_free_space(workdir)}; free some, and the same command {resuming}"
        ) from error


def is_full(error: BaseException | None) -> bool:
    """Return whether the error, or one that caused it, reports a full disk or an exhausted quota."""
    if error is None:
        return False
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or bool(_FULL.search(str(error))) or is_full(error.__cause__ or error.__context__)


def _free_space(workdir: epath.PathLike) -> str:
    if is_remote(workdir):
        return ""
    disk = shutil.disk_usage(workdir)
    return f" ({disk.free / 1e6:,.1f} MB of {disk.total / 1e6:,.1f} MB are free, or a quota is used up)"
