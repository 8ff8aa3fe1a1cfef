import numpy as np
import pytest
from PIL import Image

from biggan_jax.data import make_source
from biggan_jax.sampling.training_data import labels_of
from biggan_jax.tools.export.samples import (
    atomic_folder,
    draw_pictures,
    real_set,
    rows_of,
    write_folder,
    write_records,
)
from biggan_jax.types import UserError
from tests.conftest import tiny_config

NAMES = [f"class {label}" for label in range(10)]
COUNTS = np.array([3, 0, 1, 2, 2, 2, 2, 2, 2, 70])
"""More than a batch, of one class nothing."""


@pytest.fixture(scope="module")
def folder(sampler, tmp_path_factory):
    out = tmp_path_factory.mktemp("folder")
    write_folder(out, sampler, 5, NAMES, COUNTS)
    return out


@pytest.fixture(scope="module")
def records(sampler, tmp_path_factory):
    out = tmp_path_factory.mktemp("records") / "set"
    write_records(out, sampler, 5, NAMES, COUNTS)
    config = tiny_config()
    config.data.update(name="tfds", dataset="", dir=str(out))
    return make_source(config)


def test_a_folder_has_as_many_pictures_of_each_class_as_are_wanted(folder):
    assert {path.name: len(list(path.iterdir())) for path in folder.iterdir()} == {
        name: count for name, count in zip(NAMES, COUNTS, strict=True) if count
    }


def test_a_prepared_set_is_read_as_training_reads_it(records, folder):
    assert records.class_names == tuple(NAMES)
    reading = records.read(np.arange(len(records)), np.full(len(records), 0.5))
    assert np.bincount(reading.labels, minlength=10).tolist() == COUNTS.tolist() and not reading.unreadable
    first_of_nine = reading.images[np.flatnonzero(reading.labels == 9)[0]]
    np.testing.assert_array_equal(first_of_nine, np.asarray(Image.open(folder / "class 9" / "00000.png")))


def test_a_prepared_set_can_be_balanced_itself(records, sampler, tmp_path):
    write_records(tmp_path / "set", sampler, 0, NAMES, COUNTS)
    labels = labels_of(real_set(tiny_config(), str(tmp_path / "set")))
    assert np.bincount(labels, minlength=10).tolist() == COUNTS.tolist()


def test_a_sample_depends_on_seed_class_and_number_only(sampler, folder):
    stored = np.asarray(Image.open(folder / "class 9" / "00069.png"))
    alone = lambda seed: next(draw_pictures(sampler, seed, np.array([9], np.int32), np.array([69], np.int32)))
    # Sums round differently in another batch, which moves a pixel by at most one level.
    assert np.abs(stored.astype(int) - alone(5)).max() <= 1
    assert np.abs(stored.astype(int) - alone(6)).max() > 1


def test_samples_of_a_class_differ(folder):
    first, second = (np.asarray(Image.open(folder / "class 9" / f"0000{i}.png")) for i in (0, 1))
    assert (first != second).any()


def test_rows_are_numbered_within_their_class():
    labels, numbers = rows_of(np.array([2, 0, 3]))
    assert labels.tolist() == [0, 0, 2, 2, 2] and numbers.tolist() == [0, 1, 0, 1, 2]


def test_a_folder_is_written_atomically(tmp_path):
    with pytest.raises(OSError, match="full"), atomic_folder(tmp_path / "out") as unfinished:
        (unfinished / "half").write_text("")
        raise OSError("the disk is full")
    assert not any(tmp_path.iterdir())
    with atomic_folder(tmp_path / "out") as unfinished:
        (unfinished / "whole").write_text("")
    assert [path.name for path in tmp_path.iterdir()] == ["out"] and (tmp_path / "out" / "whole").exists()


def test_a_complete_set_is_kept_if_it_cannot_be_renamed(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(UserError, match="the complete set is in") as refused, atomic_folder(out) as unfinished:
        (unfinished / "a.png").write_text("a")
        out.write_text("meanwhile another's")
    kept = next(path for path in tmp_path.iterdir() if path.is_dir())
    assert str(kept) in str(refused.value) and (kept / "a.png").exists()
    assert out.read_text() == "meanwhile another's"
