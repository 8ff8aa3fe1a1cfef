"""The command: pictures of all kinds, the discriminator of a run, and mistakes."""

import io

import jax
import numpy as np
import pytest
from PIL import Image

from biggan_jax.tools.dream.layers import discriminator
from biggan_jax.tools.dream.source import fitted, read_picture
from biggan_jax.types import UserError
from tests.cli import refused, run

GREY = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)


def saved(folder, image, name="given.png"):
    image.save(folder / name)
    return str(folder / name)


PICTURES = {
    "grey": (Image.fromarray(GREY), GREY),
    "16-bit": (Image.fromarray(GREY.astype(np.uint16) * 257), GREY),
    "transparent": (Image.fromarray(np.dstack([GREY, GREY, GREY, np.zeros_like(GREY)])), np.full_like(GREY, 255)),
    "palette": (Image.fromarray(GREY).convert("P"), GREY),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_of_any_kind_is_read_as_rgb(kind, tmp_path):
    image, expected = PICTURES[kind]
    found = read_picture("picture", saved(tmp_path, image), None)
    np.testing.assert_array_equal(found, np.repeat(expected[..., None], 3, 2))


@pytest.mark.parametrize(("size", "shape"), [(12, (8, 12, 3)), (3, (2, 3, 3)), (1, (1, 1, 3))])
def test_a_picture_of_any_size_is_fitted(size, shape):
    assert fitted(np.repeat(GREY[..., None], 3, 2), 3, size).shape == shape
    assert fitted(np.repeat(GREY[..., None], 3, 2), 1, size).shape == (*shape[:2], 1)


def test_pictures_of_floats_need_a_range(tmp_path):
    path = saved(tmp_path, Image.fromarray(GREY / np.float32(230)), "given.tif")
    with pytest.raises(UserError, match="given.tif cannot be read: its pixels are floats .* give --range=LOW:HIGH"):
        read_picture("picture", path, None)
    assert read_picture("picture", path, (0, 1)).max() == 255


def test_what_is_no_picture_is_refused(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    for name, why in (("text.png", "not a picture"), ("missing.png", "No such file"), ("", "Is a directory")):
        with pytest.raises(UserError, match=f"--guide=.*{name} cannot be read: {why}"):
            read_picture("guide", str(tmp_path / name), None)


def test_a_discriminator_takes_pictures_of_any_size(workdir):
    network = discriminator(workdir)
    assert network.shape == (16, 16, 3) and network.padded(17, 40) == (32, 48)
    layers = network.layers()
    assert network.layer in layers and len(layers[network.layer]) == 3
    output = lambda pixels: network.output(network.params, pixels, "block_0")
    assert jax.eval_shape(output, np.zeros((1, 16, 32, 3), np.float32)).shape[1:3] == (8, 16)
    with pytest.raises(UserError, match=r"--discriminator=D_B: .* has D"):
        discriminator(workdir, "D_B")


def test_a_dream_is_written_once(workdir, tmp_path):
    picture, out = saved(tmp_path, Image.fromarray(GREY)), tmp_path / "out.png"
    given = f"--checkpoint={workdir}", f"--picture={picture}", f"--out={out}", "--layer=block_0/conv_1"
    result = run("tools.dream", *given, "--steps=1", "--octaves=1")
    assert result.returncode == 0, result.stderr
    assert "octave 1 of 1, 6 x 4: norm of block_0/conv_1" in result.stdout
    before = out.read_bytes()
    assert Image.open(io.BytesIO(before)).size == (6, 4)
    refused(run("tools.dream", *given), f"--out={out} exists; give the name of a new file")
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--picture and --out are needed, such as --picture=photo.jpg --out=dream.png"),
        (["--picture=a.jpg", "--out=a.jpg"], "--out=a.jpg must end in .png; for .gif and .mp4 give --zoom"),
        (["--picture=a.jpg", "--out=a.png", "--zoom=3"], "must end in .gif or .mp4 with --zoom=3"),
        (["--picture=a.jpg", "--out=no/a.png"], "--out=no/a.png: the folder no does not exist"),
        (["--picture=a.jpg", "--out=a.png"], "--picture=a.jpg cannot be read: No such file or directory"),
        (["--layer=list", "--discriminator=D"], "--discriminator has no effect without --checkpoint"),
        (["--layer=list", "--inception=x"], "--inception has no effect with --network=efficientnet-lite0"),
        (["--layer=list", "--network=inception-2015"], "inception-2015 needs its weights: --inception=PATH"),
        (
            ["--layer=list", "--checkpoint=digits"],
            "digits is an exported model, which has no discriminator; give the folder",
        ),
        (["--octaves=0"], "--octaves=0"),
    ],
)
def test_mistakes_are_refused_in_one_sentence(arguments, sentence):
    refused(run("tools.dream", *arguments), sentence)


def test_the_layers_of_a_run_are_listed(workdir):
    result = run("tools.dream", f"--checkpoint={workdir}", "--layer=list")
    assert result.returncode == 0, result.stderr
    assert "block_0/conv_1" in result.stdout and result.stdout.count("(default)") == 1
