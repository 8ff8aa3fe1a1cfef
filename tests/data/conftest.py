"""Small pictures in folders, and data sets prepared from them."""

import io
import os
import shlex
import shutil

import numpy as np
import pytest
from absl import flags
from ml_collections import config_flags
from PIL import Image

from biggan_jax import config as configs
from biggan_jax import data
from biggan_jax.config import base
from biggan_jax.data import forms, raw, shards, tfds

COLOURS = "red", "green", "blue"


def picture(colour, number):
    """Return a noisy ramp of one colour, with edges of 40 to 90 pixels; deterministic."""
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
    """Make a folder for each colour, with pictures in three formats."""
    for colour, name in enumerate(COLOURS):
        (root / name).mkdir(parents=True)
        for i in range(each):
            form = ("JPEG", "PNG", "WEBP")[i % 3]
            (root / name / f"{i:03}.{form.lower()}").write_bytes(encode(picture(colour, i), form, quality=95))
    return root


def prepared(folder, out, form=forms.Form(), held_out=0, per_part=16):  # noqa: B008  A form is frozen.
    """Prepare the data set in this process."""
    found = raw.folder(folder, raw.Rules(held_out, per_part))
    shards.prepare(found, out, "pictures", form, map)
    return out


def parsed(command, monkeypatch):
    """Return the config of a printed training command, with what is auto chosen for one CPU."""
    program, module, preset, _, *overrides = shlex.split(command.partition("to train: ")[2])[1:]
    assert (program, module) == ("-m", "biggan_jax.main")
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values)
    argv = ["main", f"--config={configs.config_path(preset.removeprefix('--config='))}", *overrides]
    monkeypatch.setattr("sys.argv", argv)  # ml_collections reads overrides from there.
    values(argv)
    configs.validate(values.config)
    if not configs.unresolved(values.config):
        return values.config
    return configs.choose_for(values.config, data.facts_of(values.config), devices=1, platform="cpu")[0]


def opened(folder, split="train", resolution=16, **data):
    config = base()
    config.data.update(dir=str(folder), **data)
    config.model.resolution = resolution
    return tfds.open_tfds(config, split)


def read_all(source):
    return source.read(np.arange(len(source)), np.full(len(source), 0.5))


def damage(out):
    """Overwrite the middle of one picture in the first shard."""
    shard = min(out.glob("*array_record*"))
    data = bytearray(shard.read_bytes())
    at = data.find(b"IDAT") + 40
    data[at : at + 20] = os.urandom(20)
    shard.write_bytes(data)
    return shard


@pytest.fixture(scope="session")
def all_pictures(tmp_path_factory):
    """72 pictures in 3 classes. Tests must not change them."""
    return make_folder(tmp_path_factory.mktemp("all") / "pictures")


@pytest.fixture(scope="session")
def all_made(all_pictures, tmp_path_factory):
    """The data set prepared from them. Tests must not change it."""
    return prepared(all_pictures, tmp_path_factory.mktemp("all") / "made")


@pytest.fixture(scope="session")
def all_small(all_pictures, tmp_path_factory):
    """The same, cropped to squares of 16 pixels."""
    return prepared(all_pictures, tmp_path_factory.mktemp("all") / "small", forms.Form(16))


@pytest.fixture
def pictures(all_pictures, tmp_path):
    """A copy of the pictures, which tests may change."""
    return shutil.copytree(all_pictures, tmp_path / "pictures")


@pytest.fixture
def made(all_made, tmp_path):
    """A copy of the prepared set, which tests may change."""
    return shutil.copytree(all_made, tmp_path / "made")
