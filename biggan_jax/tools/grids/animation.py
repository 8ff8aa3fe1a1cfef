"""Animated grids: one frame per column, forward and back, as GIF or MP4."""

import math
import subprocess

import numpy as np
from etils import epath
from PIL import Image

from biggan_jax.runtime.files import atomic_write
from biggan_jax.tools.layout import Grid, draw
from biggan_jax.types import UserError

SUFFIXES = (".gif", ".mp4")

FRAMES_PER_SECOND = 20

SMALLEST = 144
"""Pixels of an image at least: an animation shows few images at once."""


def frames(grid: Grid) -> list[np.ndarray]:
    """Draw one frame per column, with its rows' images in a square: uint8 [H, W, 3], for a loop forward and back."""
    rows, columns, *shape = grid.images.shape
    across = math.ceil(math.sqrt(rows))
    down = -(-rows // across)
    images = np.full((down * across, columns, *shape), 255, np.uint8)
    images[:rows] = grid.images
    labels = [*grid.rows, *[""] * (down * across - rows)]
    captions = [labels[i * across : (i + 1) * across] for i in range(down)] if any(labels) else ()
    forward = [
        draw(Grid(images[:, i].reshape(down, across, *shape), captions=captions), SMALLEST) for i in range(columns)
    ]
    return forward + forward[-2:0:-1]


def save(path: epath.Path, frames: list[np.ndarray]) -> None:
    """Write a looping .gif, or an .mp4. Raises UserError if the package that .mp4 needs is missing."""
    write = _gif if path.suffix == ".gif" else _mp4
    with atomic_write(path) as unfinished:
        write(unfinished, frames)


def check(path: epath.Path) -> None:
    """Raise UserError if a file of this type cannot be written."""
    if path.suffix == ".mp4":
        _ffmpeg()


def _gif(path: str, frames: list[np.ndarray]) -> None:
    first, *others = (Image.fromarray(frame) for frame in frames)
    duration = round(1000 / FRAMES_PER_SECOND)
    first.save(path, format="gif", save_all=True, append_images=others, duration=duration, loop=0)


def _mp4(path: str, frames: list[np.ndarray]) -> None:
    height, width, _ = frames[0].shape
    even = ((0, height % 2), (0, width % 2), (0, 0))  # yuv420p shares colours among two by two pixels.
    pixels = b"".join(np.pad(frame, even, constant_values=255).tobytes() for frame in frames)
    size = f"{width + width % 2}x{height + height % 2}"
    read = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(FRAMES_PER_SECOND), "-i", "-"]
    write = ["-c:v", "libx264", "-crf", "18", "-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4", path]
    done = subprocess.run([_ffmpeg(), "-y", "-loglevel", "error", *read, *write], input=pixels, capture_output=True)
    if done.returncode:
        raise OSError(f"ffmpeg: {' '.join(done.stderr.decode(errors='replace').split())[-200:]}")


def _ffmpeg() -> str:
    """Return the path of ffmpeg, which imageio-ffmpeg installs."""
    try:
        import imageio_ffmpeg
    except ImportError:
        raise UserError("writing .mp4 needs ffmpeg: pip install 'biggan-jax[video]', or give a .gif") from None
    return imageio_ffmpeg.get_ffmpeg_exe()
