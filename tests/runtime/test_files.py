import numpy as np
import pytest

from biggan_jax.runtime.files import atomic_write, read_npz, write_text
from biggan_jax.types import UserError


def test_a_file_is_whole_or_not_there(tmp_path):
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
    with pytest.raises(UserError, match="is not an .npz of arrays$"):
        read_npz(path)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut"])
def test_what_is_no_archive_is_refused_without_advice_to_allow_pickle(tmp_path, content):
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is not an .npz of arrays") as refused:
        read_npz(path)
    assert "pickle" not in str(refused.value)
