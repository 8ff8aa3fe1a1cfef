"""Folders of pictures as sets to evaluate, and the forms that samples and real images may have."""

import functools
import json

import numpy as np
import pytest
from etils import epath
from PIL import Image

from biggan_jax.data import forms, raw, shards, trees
from biggan_jax.data.dataset import Images
from biggan_jax.data.labelled import Options
from biggan_jax.evaluation import cache, features, folders, resizers, sets
from biggan_jax.evaluation.networks import FeatureNetwork
from biggan_jax.types import UserError
from tests.cli import refused, run

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def own_cache(request, tmp_path, monkeypatch):
    """A cache of results for each test, unless the test uses the fitted classifier, which is in the common one."""
    if "classifier" not in request.fixturenames:
        monkeypatch.setenv("BIGGAN_JAX_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def said(monkeypatch):
    lines = []
    for level in ("info", "warning"):
        monkeypatch.setattr(folders.logger, level, lambda text, *arguments: lines.append(text % arguments))
    return lines


def draw(path, *shape):
    """Write noise [H, W] or [H, W, 3] as a picture, and return it."""
    image = RNG.integers(0, 256, shape, dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return image


@pytest.mark.parametrize(
    ("name", "said_of"), [("b", "the folder b cannot be read"), ("", "the folder s cannot be read")]
)
def test_a_folder_that_cannot_be_read_is_refused(name, said_of, tmp_path, monkeypatch):
    draw(tmp_path / "s" / "a" / "1.png", 8, 8)
    (tmp_path / "s" / "b").mkdir()
    scan = trees.os.scandir

    def denied(folder):
        if str(folder).rstrip("/") == str(tmp_path / "s" / name).rstrip("/"):
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(trees.os, "scandir", denied)
    with pytest.raises(UserError, match=f"{said_of}: Permission denied; allow it, or remove the folder"):
        folders.open_folder(epath.Path(tmp_path / "s"), "--samples")


def test_pictures_of_any_size_and_mode_are_one_set(tmp_path, said):
    wide, grey = draw(tmp_path / "a" / "wide.png", 8, 12, 3), draw(tmp_path / "a" / "grey.png", 9, 9)
    draw(tmp_path / "a" / "b" / "again.png", 8, 12, 3)
    (tmp_path / "a" / "notes.txt").write_text("no picture")
    found = folders.open_folder(epath.Path(tmp_path / "a"), "--samples")
    assert found.paths == ("b/again.png", "grey.png", "wide.png") and not found.num_classes
    assert found.image_shape == (8, 12, 3) and not found.one_shape
    assert "3 pictures, 2 of 12x8, 1 of 9x9" in said[0]
    prepare, _ = resizers.prepare("tf1", 5)
    images = found.read(np.array([2, 1]), prepare=prepare).images
    np.testing.assert_array_equal(images[0], resizers.tf1(wide, (5, 5)))
    np.testing.assert_array_equal(images[1], resizers.tf1(np.repeat(grey[..., None], 3, -1), (5, 5)))
    with pytest.raises(UserError, match="pictures of several sizes"):
        found.read(np.array([0]))


def test_an_unreadable_file_is_named_and_left_out(tmp_path, said):
    root = tmp_path / "set"
    for i in range(3):
        draw(root / f"{i}.png", 4, 4, 3)
    (root / "broken.png").write_bytes((root / "0.png").read_bytes()[:40])
    (root / "empty.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"2 of 5 pictures cannot be read, such as broken\.png: .*--max_broken=2"):
        folders.open_folder(epath.Path(root), "--samples")
    found = folders.open_folder(epath.Path(root), "--samples", max_broken=2)
    assert len(found) == 3 and len(found.broken) == 2
    assert any("left out: empty.jpg: an empty file" in line for line in said)
    assert any("2 unreadable pictures are left out" in line for line in said)
    (root / "broken.png").unlink()
    assert len(folders.open_folder(epath.Path(root), "--samples")) == 3, "one in three is the least that is allowed"


def test_first_folders_are_classes_unless_they_are_blocks(tmp_path):
    for name in ("cat/0", "cat/1", "dog/0"):
        draw(tmp_path / "classes" / f"{name}.png", 4, 4, 3)
        draw(tmp_path / "blocks" / f"{name.replace('cat', '00000').replace('dog', '00001')}.png", 4, 4, 3)
    found = folders.open_folder(epath.Path(tmp_path / "classes"), "--samples")
    assert found.class_names == ("cat", "dog") and found.labels.tolist() == [0, 0, 1]
    assert not folders.open_folder(epath.Path(tmp_path / "blocks"), "--samples").num_classes


def test_the_hash_of_a_folder_is_of_its_pictures(tmp_path):
    root = tmp_path / "set"
    images = [draw(root / f"{i}.png", 4, 4, 3) for i in range(2)]
    first = cache.hash_of_source(folders.open_folder(epath.Path(root), "--samples"))
    moved = root.rename(tmp_path / "moved")
    assert cache.hash_of_source(folders.open_folder(epath.Path(moved), "--samples")) == first
    Image.fromarray(255 - images[0]).save(moved / "0.png", compress_level=0)
    assert cache.hash_of_source(folders.open_folder(epath.Path(moved), "--samples")) != first


def test_images_are_resized_on_the_host_if_the_protocol_says():
    prepare, words = resizers.prepare("clean", 6)
    network = FeatureNetwork("a", "0", words, "", "", {}, lambda params, images: images, prepare, on_host=True)
    images = RNG.integers(0, 256, (3, 4, 4, 1), dtype=np.uint8)
    source = Images(images, np.zeros(3, np.int32), 0)
    ((made, labels),) = features.of_source(source, np.arange(3), 4, network)
    assert made.shape == (4, 6, 6, 3) and made.dtype == np.float32 and len(labels) == 3
    np.testing.assert_array_equal(made[1], prepare(np.repeat(images[1], 3, -1)))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "does not exist; give an .npz, a folder of pictures"),
        (b"", "is neither an .npz nor a folder"),
        ("folder", "has no pictures"),
    ],
)
def test_what_is_no_set_of_images_is_refused(tmp_path, content, sentence):
    path = tmp_path / "set"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        sets.open_samples(epath.Path(path), "--samples", None)


def test_statistics_are_written_as_pytorch_fid_reads_them(tmp_path):
    x = RNG.standard_normal((9, 3))
    found = sets.Moments(9, x.mean(0), np.cov(x, rowvar=False))
    sets.write_statistics(epath.Path(tmp_path / "s.npz"), found)
    with np.load(tmp_path / "s.npz") as written:
        np.testing.assert_array_equal(written["mu"], x.mean(0))
        np.testing.assert_array_equal(written["sigma"], found.covariance)
    again = sets.open_reference(epath.Path(tmp_path / "s.npz"), "--reference", (4, 4, 3), None, None)
    assert again.images is None and sets.of_dimension(again.statistics, 4) is None
    np.testing.assert_array_equal(sets.of_dimension(again.statistics, 3).mean, found.mean)


def test_two_folders_are_compared_without_a_model(tmp_path, classifier):
    evaluate = functools.partial(run, "evaluate", XLA_FLAGS="")  # Optimised, since thousands of real images are read.
    for i in range(12):
        draw(tmp_path / "a" / f"{i}.png", 16, 16, 3)
        draw(tmp_path / "b" / f"{i}.png", 16, 16, 3)
    fitted = "--config=quickstart", "--network=classifier", "--scores=fid"
    result = evaluate(f"--samples={tmp_path / 'a'}", f"--reference={tmp_path / 'a'}", *fitted)
    assert result.returncode == 0, result.stderr
    assert "are too few for the 64 features of classifier" in result.stderr
    (record,) = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert record["scores"]["frechet_distance"] == pytest.approx(0, abs=1e-3)
    assert record["protocol"]["samples"] == 12 and record["protocol"]["reference"] == "12 real images of a"
    statistics = tmp_path / "s.npz"
    written = evaluate(f"--reference={tmp_path / 'a'}", f"--write_statistics={statistics}", *fitted[:2])
    assert written.returncode == 0, written.stderr
    result = evaluate(f"--samples={tmp_path / 'a'}", f"--reference={statistics}", *fitted)
    assert result.returncode == 0, result.stderr
    (_, again) = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert again["scores"]["frechet_distance"] == pytest.approx(0, abs=1e-3)
    draw(tmp_path / "b" / "12.png", 20, 16, 3)
    result = evaluate(f"--samples={tmp_path / 'b'}", f"--reference={tmp_path / 'a'}", *fitted)
    refused(result, "--network=classifier takes images of one size, but")
    result = evaluate(f"--samples={tmp_path / 'a'}", "--resizer=clean", *fitted)
    refused(result, "the network classifier takes images as they are; leave out --resizer")


def test_a_prepared_set_may_be_on_either_side(tmp_path):
    for i in range(3):
        draw(tmp_path / "pictures" / f"{i}.png", 20, 20, 3)
        draw(tmp_path / "pictures" / "more" / f"{i}.png", 20, 20, 3)
    found = raw.folder(tmp_path / "pictures", raw.Rules(), Options(labels="none"))
    shards.prepare(found, tmp_path / "set", "pictures", forms.Form(16), map)
    samples = sets.open_samples(epath.Path(tmp_path / "set"), "--samples", None)
    assert len(samples) == 6 and sets.shape_of(samples, ()) == (16, 16, 3)
    reference = sets.open_reference(epath.Path(tmp_path / "set"), "--reference", (16, 16, 3), None, None)
    ((images, _),) = features.of_source(samples, np.arange(6), 6)
    ((again, _),) = features.of_source(reference.images, np.arange(6), 6)
    np.testing.assert_array_equal(images, again)
    assert images.shape == (6, 16, 16, 3) and reference.name == "set train, 16 px, resized by area"


def test_statistics_never_replace_a_file_of_images(tmp_path):
    np.savez(tmp_path / "a.npz", arr_0=np.zeros((2, 8, 8, 3), np.uint8))
    flags = (
        f"--reference={tmp_path / 'a.npz'}",
        f"--write_statistics={tmp_path / 'a.npz'}",
        "--network=efficientnet-lite0",
    )
    refused(run("evaluate", *flags), "a.npz exists, and holds other arrays: arr_0; give another file")
    assert np.load(tmp_path / "a.npz").files == ["arr_0"]
