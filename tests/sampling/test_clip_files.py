"""How clips are written: animations, sheets, arrays, folders."""

import types

import numpy as np
import pytest
from etils import epath
from PIL import Image

from biggan_jax import sample
from biggan_jax.sampling import latent_files, pictures
from biggan_jax.tools import layout

T, N = 4, 3
CLIPS = np.random.default_rng(0).integers(0, 2, (N, T, 8, 8, 1), np.uint8) * 255
STORED = CLIPS.reshape(N, T * 8, 8, 1)


class Sampler(types.SimpleNamespace):
    """Draws the same clips, whatever z is."""

    gan = types.SimpleNamespace(frames=T, image_shape=(T * 8, 8, 1))
    truncation = None

    def images(self, z, y, batch_size=64, bits=8):
        return STORED

    def image_batches(self, z, y, batch_size=64, bits=8):
        yield STORED[:2]
        yield STORED[2:]


def written(out):
    drawn = sample.Drawn(Sampler(), np.zeros((N, 2), np.float32), np.zeros(N, np.int32), columns=2)
    sample.write(epath.Path(out), drawn, bits=8)
    return out


def frames_of_gif(path):
    with Image.open(path) as file:
        for i in range(file.n_frames):
            file.seek(i)
            yield np.asarray(file.convert("L"))


def test_a_gif_plays_all_clips_side_by_side(tmp_path):
    shown = list(frames_of_gif(written(tmp_path / "a.gif")))
    assert len(shown) == T
    factor = shown[0].shape[1] // 22  # Two columns of 8 pixels, with margins of 2.
    for t, picture in enumerate(shown):
        small = picture[::factor, ::factor]
        np.testing.assert_array_equal(small[2:10, 2:10], CLIPS[0, t, ..., 0])
        np.testing.assert_array_equal(small[12:20, 2:10], CLIPS[2, t, ..., 0])


def test_a_folder_gets_a_gif_for_each_clip(tmp_path):
    written(tmp_path / "clips")
    assert sorted(path.name for path in (tmp_path / "clips").iterdir()) == [f"0000{i}.gif" for i in range(N)]
    shown = list(frames_of_gif(tmp_path / "clips" / "00001.gif"))
    assert len(shown) == T and shown[0].shape[0] > 8


def test_a_sheet_has_a_row_for_each_clip(tmp_path):
    made = pictures.sheet(STORED, columns=2, frames=T)
    assert made.shape == (N * 10 + 2, T * 10 + 2, 1)
    np.testing.assert_array_equal(made[12:20, 32:40], CLIPS[1, 3])
    np.testing.assert_array_equal(pictures.sheet(STORED, columns=2, frames=T, most=2)[2:10, 12:20], CLIPS[0, 3])
    with Image.open(written(tmp_path / "a.png")) as file:
        assert file.width > file.height
    np.testing.assert_array_equal(pictures.film(STORED, T), np.concatenate(np.moveaxis(CLIPS, 1, 0), axis=2))
    assert pictures.film(STORED, 0) is STORED


def test_arrays_have_an_axis_of_time_and_a_tiff_a_page_a_frame(tmp_path):
    latent_files.write_samples(epath.Path(tmp_path / "a.npz"), Sampler(), np.zeros((N, 2)), np.zeros(N))
    with np.load(tmp_path / "a.npz") as file:
        np.testing.assert_array_equal(file["arr_0"], CLIPS)
    with Image.open(written(tmp_path / "a.tif")) as file:
        assert file.n_frames == N * T
        file.seek(T + 1)
        np.testing.assert_array_equal(np.asarray(file), CLIPS[1, 1, ..., 0])


def test_an_mp4_is_written_or_refused(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    import cv2

    layout.save_animation(epath.Path(tmp_path / "a.mp4"), layout.played(STORED, T, columns=2))
    assert cv2.VideoCapture(str(tmp_path / "a.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == T
