import io
import types

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from biggan_jax.sampling import latent_files, pictures
from biggan_jax.types import UserError

GREY = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 1), dtype=np.uint8)


def test_a_grid_of_grey_images_is_a_grey_png():
    png = Image.open(io.BytesIO(pictures.png(pictures.grid(GREY, columns=3))))
    assert png.mode == "L" and png.size == (3 * 8 + 2, 8)
    np.testing.assert_array_equal(np.asarray(png)[2:6, 2:8], GREY[0, :, :, 0])


def test_grey_images_are_repeated_to_rgb_and_rgb_images_stay():
    for images in (GREY, jnp.asarray(GREY)):
        rgb = pictures.to_rgb(images)
        assert type(rgb) is type(images) and rgb.shape == (3, 4, 6, 3)
        np.testing.assert_array_equal(rgb, np.concatenate([GREY] * 3, axis=-1))
        assert pictures.to_rgb(rgb) is rgb


@pytest.mark.parametrize("shape", [(4, 4, 2), (4, 4, 4), (2,)])
def test_a_png_of_other_shapes_is_refused(shape):
    with pytest.raises(UserError, match=r"are not grey or RGB images .* as \.npz"):
        pictures.png(np.zeros(shape, np.uint8))


class Vectors:
    """A sampler of vectors."""

    truncation, gan = None, types.SimpleNamespace(image_shape=(2,), frames=0)

    def floats(self, z, y, batch_size):
        return 3 * z


def test_vectors_are_stored_as_floats(tmp_path):
    z = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    latent_files.write_samples(tmp_path / "a.npz", Vectors(), z, np.zeros(5, np.int32))
    stored = np.load(tmp_path / "a.npz")["arr_0"]
    assert stored.dtype == np.float32
    np.testing.assert_array_equal(stored, 3 * z)
