"""Other data on resume are refused, unless data.on_change allows them."""

import dataclasses
import shutil

import numpy as np
import pytest

from biggan_jax import data
from biggan_jax.checkpoint import find, load_metadata
from biggan_jax.data.builtin import Stacked
from biggan_jax.data.dataset import Images
from biggan_jax.train import train
from biggan_jax.types import UserError
from tests.data.conftest import make_folder, opened, prepared

PIXELS, LABELS = np.zeros((4, 2, 2, 3), np.uint8), np.arange(4, dtype=np.int32)
SET = Images(PIXELS, LABELS, 4)


def test_each_pixel_and_label_of_images_in_memory_counts():
    one = PIXELS.copy()
    one[3, 1, 1, 2] = 1
    others = Images(one, LABELS, 4), Images(PIXELS, LABELS[::-1], 4), Images(PIXELS[:3], LABELS[:3], 4)
    digests = {data.digest_of(source) for source in (SET, *others, Stacked(SET, 9))}
    assert len(digests) == 5 and data.digest_of(Images(PIXELS.copy(), LABELS, 4)) in digests
    assert data.digest_of(SET).startswith("4 images ") and data.digest_of(object()) == ""


def test_a_prepared_set_is_known_wherever_it_lies_and_however_read(made, tmp_path):
    shutil.copytree(made, tmp_path / "moved")
    digest = data.digest_of(opened(made))
    assert digest.startswith("72 images ")
    assert data.digest_of(opened(tmp_path / "moved", resolution=32, resize="lanczos")) == digest


def test_a_prepared_set_with_one_other_picture_is_another(made, tmp_path):
    folder = make_folder(tmp_path / "pictures")
    (folder / "red" / "001.png").write_bytes((folder / "blue" / "001.png").read_bytes())
    assert data.digest_of(opened(prepared(folder, tmp_path / "out"))) != data.digest_of(opened(made))


def test_other_data_on_resume_are_refused_or_allowed_by_key(dense, tmp_path, monkeypatch, compile_once):
    dense.num_steps = 2
    assert train(dense, tmp_path)
    before = load_metadata(find(tmp_path))["data"]
    make = data.make_source
    other = lambda config, split="train": dataclasses.replace(
        s := make(config, split), images=s.images[:900], labels=s.labels[:900]
    )
    monkeypatch.setattr(data, "make_source", other)
    dense.num_steps = 4
    with pytest.raises(
        UserError, match=f"those of step 2 in .*: {before} then, 900 images .* now; give those data, or"
    ):
        train(dense, tmp_path)
    dense.data.on_change = "allow"
    assert train(dense, tmp_path)
    assert load_metadata(find(tmp_path))["data"].startswith("900 images ")
