"""Read the picture to dream on, of any kind and size."""

import numpy as np
from etils import epath

from biggan_jax.data import exact, picture
from biggan_jax.runtime.files import reason_of
from biggan_jax.types import UserError


def read_picture(flag: str, path: str, limits: tuple[float, float] | None) -> np.ndarray:
    """Read a picture upright, uint8 [H, W, 3], transparent parts on white. Raises UserError."""
    try:
        return exact.fitted(exact.read(epath.Path(path).read_bytes(), limits, 8), 3, 8).image
    except OSError as error:
        raise UserError(f"--{flag}={path} cannot be read: {reason_of(error, path)}") from error
    except (picture.UnreadableError, exact.ChannelsError) as error:
        raise UserError(f"--{flag}={path} cannot be read: {error}") from error


def fitted(image: np.ndarray, channels: int, size: int) -> np.ndarray:
    """Resize uint8 [H, W, 3] to a longer side of `size`, and to grey if the network sees one channel."""
    height, width = image.shape[:2]
    ratio = size / max(height, width)
    image = picture.resize(image, (max(1, round(height * ratio)), max(1, round(width * ratio))), "area")
    return picture.to_gray(image) if channels == 1 else image
