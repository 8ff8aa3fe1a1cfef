import errno

import pytest

from biggan_jax.runtime.files import full_disk_explained
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
def test_a_full_disk_is_a_user_error_with_the_saved_step(tmp_path, error):
    sentence = (
        r"no room is left to write in .* \(.* MB of .* MB are free, or .*\); free some and rerun the same command"
    )
    for step, saved in ((None, "$"), (40, "; step 40 is saved$")):
        with pytest.raises(UserError, match=sentence + saved), full_disk_explained(tmp_path, lambda step=step: step):
            raise error


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "I/O error"), UserError("no space left"), caused_by(None)], ids=str
)
def test_other_errors_pass_unchanged(tmp_path, error):
    with pytest.raises(type(error)) as raised, full_disk_explained(tmp_path, lambda: None):
        raise error
    assert raised.value is error
