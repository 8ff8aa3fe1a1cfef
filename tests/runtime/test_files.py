import numpy as np
import pytest

from biggan_jax.runtime.files import OSLock, atomic_write, read_npz, user_errors, write_text, writing
from biggan_jax.types import UserError


def test_atomic_write_leaves_the_old_file_on_errors(tmp_path):
    path = tmp_path / "file"
    with pytest.raises(RuntimeError), atomic_write(path) as unfinished:
        with open(unfinished, "w") as file:
            file.write("half")
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    write_text(path, "first")
    with pytest.raises(RuntimeError), atomic_write(path) as unfinished:
        raise RuntimeError
    assert path.read_text() == "first"


def test_arrays_are_read_without_pickle(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.arange(3), b=np.array("text"))
    arrays = read_npz(path)
    assert arrays["a"].tolist() == [0, 1, 2] and str(arrays["b"]) == "text"
    np.savez(path, a=np.array([{}], object))
    with pytest.raises(UserError, match="is not an .npz of arrays, such as numpy.savez writes$"):
        read_npz(path)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut"])
def test_broken_npz_is_refused_without_advice_to_allow_pickle(tmp_path, content):
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is not an .npz of arrays") as refused:
        read_npz(path)
    assert "pickle" not in str(refused.value)


def test_os_lock_is_held_by_one_and_freed_by_death(tmp_path):
    first, second, other = OSLock(str(tmp_path)), OSLock(str(tmp_path)), OSLock(str(tmp_path / "other"))
    assert first.acquire() and first.acquire() and other.acquire()
    assert not second.acquire() and second.id == first.id != other.id
    first._file.close()  # As the kernel does.
    assert second.acquire()
    second.release(), other.release()
    assert not second._path.exists()


def test_os_lock_that_failed_leaves_the_holders_file(tmp_path):
    first, second = OSLock(str(tmp_path)), OSLock(str(tmp_path))
    first.acquire(), second.acquire()
    second.release()
    assert first._path.exists()
    first.release()


def test_os_lock_of_a_deleted_file_has_an_id_of_its_own(tmp_path):
    first, late, new = (OSLock(str(tmp_path)) for _ in range(3))
    first.acquire(), late.acquire()
    first.release()
    assert new.acquire() and late.acquire() and new.id != late.id
    late.release(), new.release()


def test_errors_of_the_file_system_have_no_numbers(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.npz cannot be read: No such file or directory$"):
        read_npz(tmp_path / "nowhere.npz")
    with (
        pytest.raises(UserError, match=r"^workdir /a cannot be used: /a/b: Permission denied$"),
        user_errors("/a", "workdir"),
    ):
        raise PermissionError(13, "Permission denied", "/a/b")
    with (
        pytest.raises(UserError, match=r"^--out=/a cannot be written: No such file or directory$"),
        writing("--out=/a"),
    ):
        raise FileNotFoundError(2, "No such file or directory", "/a")
