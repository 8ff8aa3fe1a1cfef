"""Translation of pictures of any size, and the command."""

import numpy as np
import pytest
from PIL import Image

from biggan_jax.config.loading import load
from biggan_jax.sampling import translations
from biggan_jax.types import UserError
from tests.cli import refused, run
from tests.conftest import untrained_run


def config_of(preset, **changes):
    c = load(f"classic/{preset}")
    small = {
        "model.ch": 4,
        "model.d_ch": 4,
        "model.d_layers": 1,
        "model.image_shape": (16, 16, 3),
        "model.input_channels": 3,
    }
    c.update_from_flattened_dict(small | {"batch_size": 1, "data.name": "fake"} | changes)
    return c


@pytest.fixture(scope="module")
def cycle(tmp_path_factory):
    return untrained_run(
        tmp_path_factory.mktemp("cycle"), config_of("cyclegan32", **{"model.blocks": 1, "model.pool": 2})
    )


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return untrained_run(tmp_path_factory.mktemp("pair"), config_of("pix2pix32", **{"model.input_channels": 1}))


def test_images_are_mirrored_to_the_sides_that_a_network_takes():
    images = np.arange(2 * 5 * 17 * 1).reshape(2, 5, 17, 1)
    padded = translations.mirrored(images, 16)
    assert padded.shape == (2, 16, 32, 1)
    np.testing.assert_array_equal(padded[:, :5, :17], images)
    np.testing.assert_array_equal(padded[:, :5, 17:20], images[:, :, 15:12:-1])
    assert translations.mirrored(np.zeros((1, 1, 40, 3)), 4).shape == (1, 16, 40, 3)


def test_neighbours_of_one_size_are_a_batch():
    images = [np.full((side, 4, 1), i, np.uint8) for i, side in enumerate((4, 4, 4, 8, 4))]
    found = list(translations.by_size(enumerate(images), most=2))
    assert [names for names, _ in found] == [[0, 1], [2], [3], [4]]
    assert [batch.shape for _, batch in found] == [(2, 4, 4, 1), (1, 4, 4, 1), (1, 8, 4, 1), (1, 4, 4, 1)]


def test_pictures_are_translated_in_both_directions(cycle, tmp_path):
    folder, rng = tmp_path / "in", np.random.default_rng(0)
    (folder / "sub").mkdir(parents=True)
    for name, shape in {
        "a.png": (16, 16, 3),
        "sub/b.png": (11, 30, 3),
        "sub/b.webp": (16, 16, 4),
        "grey.png": (20, 16),
    }.items():
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(folder / name)
    (folder / "broken.png").write_bytes(b"\x89PNG no picture")
    (folder / "photo.heic").write_bytes(b"of a kind that is not read")
    made = {}
    for direction in ("AtoB", "BtoA"):
        out = tmp_path / direction
        result = run("translate", f"--checkpoint={cycle}", f"--in={folder}", f"--out={out}", f"--direction={direction}")
        assert result.returncode == 0, result.stderr
        assert (
            f"4 pictures translated {direction} by G_{direction[0]} of step 0 in {out}; 1 could not be read"
            in result.stdout
        )
        assert "left out: broken.png" in result.stderr and "left out: photo.heic, of no kind" in result.stderr
        files = {path.relative_to(out).as_posix(): np.asarray(Image.open(path)) for path in out.rglob("*.png")}
        assert {name: image.shape for name, image in files.items()} == {
            "a.png": (16, 16, 3), "sub/b.png.png": (11, 30, 3), "sub/b.webp.png": (16, 16, 3), "grey.png": (20, 16, 3),
        }  # fmt: skip
        made[direction] = files
    assert (made["AtoB"]["a.png"] != made["BtoA"]["a.png"]).mean() > 0.5
    refused(
        run("translate", f"--checkpoint={cycle}", f"--in={folder}", f"--out={tmp_path / 'AtoB'}"), "has a.png already"
    )


def test_a_pix2pix_has_one_direction_and_takes_its_channels(pair, tmp_path):
    picture = tmp_path / "x.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)).save(picture)
    arguments = f"--checkpoint={pair}", f"--in={picture}"
    result = run("translate", *arguments, f"--out={tmp_path / 'out'}")
    assert result.returncode == 0, result.stderr
    assert np.asarray(Image.open(tmp_path / "out/x.png")).shape == (24, 24, 3)
    refused(
        run("translate", *arguments, f"--out={tmp_path / 'other'}", "--direction=BtoA"),
        "this model translates AtoB alone, not BtoA",
    )
    result = run("translate", *arguments, f"--out={tmp_path / 'again'}", "--dropout")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out/x.png").read_bytes() != (tmp_path / "again/x.png").read_bytes()


def test_mistakes_are_refused_in_one_sentence(cycle, workdir, tmp_path):
    (tmp_path / "empty").mkdir()
    given = {"checkpoint": cycle, "in": tmp_path / "empty", "out": tmp_path / "out"}
    flags = lambda **changes: [f"--{name}={value}" for name, value in (given | changes).items()]
    refused(run("translate"), "--checkpoint, --in and --out are needed, such as")
    refused(run("translate", *flags()), "has no pictures (")
    refused(
        run("translate", *flags(**{"in": tmp_path / "nowhere"})), "does not exist; give a picture or a folder of them"
    )
    picture = tmp_path / "x.png"
    picture.write_bytes(b"no picture")
    refused(run("translate", *flags(**{"in": picture})), "can be translated: x.png: ")
    refused(run("translate", *flags(**{"in": picture}, checkpoint=workdir)), "translates none; use biggan-sample")
    refused(run("sample", f"--checkpoint={cycle}", "--out=x.png"), "this model translates images and draws none")
    assert not (tmp_path / "out").exists()


def test_a_directions_network_is_named():
    gan = type("Gan", (), {"translations": {"AtoB": "G"}})()
    assert translations.network_of(gan, "AtoB") == "G"
    with pytest.raises(UserError, match="use biggan-sample"):
        translations.network_of(type("Gan", (), {"translations": {}})(), "AtoB")
