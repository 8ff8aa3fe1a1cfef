import errno

import pytest

from biggan_jax.runtime import cli
from biggan_jax.runtime.files import disk_faults_explained
from biggan_jax.types import InterruptedRunError, UserError

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
        with pytest.raises(UserError, match=sentence + saved), disk_faults_explained(tmp_path, lambda step=step: step):
            raise error


READ_ONLY = OSError(errno.EROFS, "Read-only file system")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (READ_ONLY, "Read-only file system"),
        (caused_by(OSError(errno.EIO, "Input/output error")), "Input/output error"),
        (OSError(errno.ENOENT, "No such file or directory", "{}/metrics.jsonl"), "No such file or directory"),
        (OSError(errno.ESTALE, "Stale file handle"), "Stale file handle"),
        (ValueError("tensorstore: Error opening {}/d/0 [OS error 30: Read-only file system]"), "Read-only file system"),
        (ValueError("NOT_FOUND: Error opening {}/d/0"), "NOT_FOUND"),
        (
            TimeoutError("ChainedFuture completed 1/4 futures but timed out after 0.00 seconds."),
            "the clock was set ahead",
        ),
    ],
    ids=str,
)
def test_a_disk_that_fails_in_mid_run_ends_it_resumably(tmp_path, error, reason):
    put = lambda text: text.format(tmp_path) if isinstance(text, str) else text
    raised = type(error)(*map(put, error.args), *([put(error.filename)] if getattr(error, "filename", None) else []))
    raised.__cause__ = error.__cause__
    sentence = f"training ended, since {tmp_path} cannot be used any more .*{reason}.*; step 40 is saved; rerun"
    with pytest.raises(InterruptedRunError, match=sentence), disk_faults_explained(tmp_path, lambda: 40):
        raise raised
    with pytest.raises(type(error)), disk_faults_explained(tmp_path, lambda: 40, began=lambda: False):
        raise raised


def test_a_folder_that_is_gone_cannot_say_what_is_saved(tmp_path):
    explained = disk_faults_explained(tmp_path, lambda: 1 // 0)
    with pytest.raises(InterruptedRunError, match="nothing is known to be saved"), explained:
        raise READ_ONLY
    assert InterruptedRunError("").status == cli.RUN_AGAIN == 75


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOENT, "No such file or directory", "/elsewhere/picture.png"),
        OSError(errno.EIO, "Input/output error", "/elsewhere/shard"),
        UserError("no space left"),
        caused_by(None),
    ],
    ids=str,
)
def test_other_errors_pass_unchanged(tmp_path, error):
    with pytest.raises(type(error)) as raised, disk_faults_explained(tmp_path, lambda: None):
        raise error
    assert raised.value is error
