import errno

import pytest

from biggan_jax.checkpoint import full_disk
from biggan_jax.types import UserError

FULL = OSError(errno.ENOSPC, "No space left on device")


def caused_by(cause):
    error = RuntimeError("writing failed")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        FULL,
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        ValueError("tensorstore: Error writing file [OS error 28: No space left on device]"),
        caused_by(caused_by(FULL)),
    ],
    ids=["disk", "quota", "TensorStore", "cause"],
)
def test_a_full_disk_is_a_user_error_with_the_step_to_resume(tmp_path, error):
    sentence = r"no room is left to write in .* \(.* MB of .* MB are free.*; free some, and the same command "
    with pytest.raises(UserError, match=sentence + "starts from the beginning"), full_disk.explained(tmp_path):
        raise error
    (tmp_path / "checkpoints" / "40").mkdir(parents=True)
    with pytest.raises(UserError, match=sentence + "resumes from step 40"), full_disk.explained(tmp_path):
        raise error


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "I/O error"), UserError("no space left"), caused_by(None)], ids=str
)
def test_other_errors_pass_unchanged(tmp_path, error):
    with pytest.raises(type(error)) as raised, full_disk.explained(tmp_path):
        raise error
    assert raised.value is error
