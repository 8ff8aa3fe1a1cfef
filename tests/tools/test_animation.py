import sys

import numpy as np
import pytest
from etils import epath
from PIL import Image

from biggan_jax.tools import layout
from biggan_jax.tools.layout import Grid
from biggan_jax.types import UserError


@pytest.fixture(scope="module")
def frames():
    """Ten frames in shades of red, which text does not have."""
    images = np.zeros((3, 10, 9, 9, 3), np.uint8)
    images[..., 0] = np.arange(0, 250, 25)[:, None, None]
    return layout.frames(Grid(images, ["a", "b\nto c", "d"]))


def test_frames_go_there_and_back_without_showing_an_end_twice(frames):
    assert len(frames) == 18
    for i in range(1, 9):
        np.testing.assert_array_equal(frames[9 + i], frames[9 - i])
    assert (frames[1] != frames[0]).any() and (frames[17] == frames[1]).all()


def test_a_frame_shows_each_row_once_in_about_a_square(frames):
    level = (frames[4] == (100, 0, 0)).all(-1)
    assert level.sum() == 3 * 144**2
    assert level[:150, :150].sum() and not level[-150:, -150:].any(), "the fourth place stays empty"


def test_a_gif_has_all_frames_and_loops(frames, tmp_path):
    layout.save_animation(epath.Path(tmp_path / "a.gif"), frames)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 18
        assert image.info["loop"] == 0 and image.info["duration"] == 50
        image.seek(4)
        shown = np.asarray(image.convert("RGB"))
    # Each frame has a palette of 256 colours, so colours are close, not equal.
    assert np.abs(shown.astype(int) - frames[4]).max() <= 8
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]


def test_an_mp4_has_all_frames_at_an_even_size(frames, tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    odd = [np.pad(frame, ((0, 1 - frame.shape[0] % 2), (0, 1 - frame.shape[1] % 2), (0, 0))) for frame in frames]
    layout.save_animation(epath.Path(tmp_path / "a.mp4"), odd)
    count, seconds = ffmpeg.count_frames_and_secs(str(tmp_path / "a.mp4"))
    assert count == 18 and seconds == pytest.approx(0.9, abs=0.05)


def test_an_mp4_that_cannot_be_written_is_an_error_of_the_system(frames, tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    with pytest.raises(OSError, match="ffmpeg: .*No such file or directory"):
        layout.save_animation(epath.Path(tmp_path / "missing" / "a.mp4"), frames[:1])


def test_without_its_package_an_mp4_is_refused_and_a_gif_is_not(monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    layout.check_animation(epath.Path("a.gif"))
    with pytest.raises(UserError, match="pip install 'biggan-jax\\[video\\]', or give a .gif"):
        layout.check_animation(epath.Path("a.mp4"))
