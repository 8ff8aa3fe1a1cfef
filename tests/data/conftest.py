import io

import numpy as np
import pytest
from PIL import Image

COLOURS = "red", "green", "blue"


def picture(colour, number):
    """A ramp of one colour with noise, between 40 and 90 pixels an edge: the same for the same number."""
    rng = np.random.default_rng([colour, number])
    height, width = rng.integers(40, 90, 2)
    pixels = rng.normal(0, 8, (height, width, 3))
    pixels[..., colour] += np.linspace(100, 255, width)
    return pixels.clip(0, 255).astype(np.uint8)


def encode(pixels, form="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def make_folder(root, each=24):
    """A folder for each colour, with pictures in three formats."""
    for colour, name in enumerate(COLOURS):
        (root / name).mkdir(parents=True)
        for i in range(each):
            form = ("JPEG", "PNG", "WEBP")[i % 3]
            (root / name / f"{i:03}.{form.lower()}").write_bytes(encode(picture(colour, i), form, quality=95))
    return root


@pytest.fixture
def pictures(tmp_path):
    return make_folder(tmp_path / "pictures")
