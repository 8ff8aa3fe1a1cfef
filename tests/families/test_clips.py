"""VGAN of first frames: it trains, draws sheets, resumes bit for bit, computes the same on 8 devices, and translates."""

import numpy as np
import pytest
from PIL import Image

from biggan_jax import config as configs
from biggan_jax.checkpoint import load_arrays
from biggan_jax.config.loading import load
from biggan_jax.sampling import pictures
from biggan_jax.train import train
from tests import cli
from tests.families import table

FRAMES = 4


def config_of(steps=2):
    c = load("classic/vgan_digits")
    small = {"model.first_frame": True, "model.ch": 2, "model.frames": FRAMES, "batch_size": 16, "num_steps": steps}
    small |= {"checkpoint_every": 1, "sample_every": 2, "log_every": 1, "stability.every": 2}
    c.update_from_flattened_dict(small | {"stability.on_collapse": "ignore"})
    configs.validate(c)
    return c


@pytest.mark.families
def test_a_picture_is_continued_after_an_exact_resume(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    assert train(config_of(), one)
    for steps in (1, 2):
        assert train(config_of(steps), two)
    a, b = load_arrays(one), load_arrays(two)
    assert a.keys() == b.keys() and all(a[name].tobytes() == b[name].tobytes() for name in a)
    with Image.open(one / "samples" / "00000002_ema.png") as sheet:
        assert sheet.width > sheet.height  # A frame, four of G's and four real ones.
    (tmp_path / "in").mkdir()
    pictures.save_png(tmp_path / "in" / "a.png", np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8), 0)
    made = cli.run("translate", f"--checkpoint={one}", f"--in={tmp_path / 'in'}", f"--out={tmp_path / 'out'}")
    assert made.returncode == 0, made.stderr
    with Image.open(tmp_path / "out" / "a.gif") as clip:
        assert 1 <= clip.n_frames <= FRAMES and clip.width == clip.height  # Equal frames are joined.


@pytest.mark.families
def test_of_a_first_frame_eight_devices_are_one(monkeypatch, tmp_path):
    monkeypatch.setattr(table, "config_of", lambda family: config_of())
    assert table.devices("vgan", tmp_path, tmp_path) == "yes"
