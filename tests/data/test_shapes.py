"""Sets of any number of channels, 16 bits, pictures that are not square, vectors and conditions of real numbers."""

import io
import json
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from biggan_jax.config import base
from biggan_jax.data import (
    exact,
    forms,
    host_batches,
    layouts,
    make_source,
    picture,
    raw,
    recommend,
    shards,
    stats,
    tfds,
)
from biggan_jax.data.label_tables import PICTURES
from biggan_jax.data.labelled import Options
from biggan_jax.flags import values
from biggan_jax.models import build_gan
from biggan_jax.sampling import pictures
from biggan_jax.train_step import to_float
from biggan_jax.types import UserError
from tests import cli
from tests.data.conftest import encode, parsed, read_all

RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 65536, (24, 40, 1), np.uint16)
COLOUR = RNG.integers(0, 65536, (24, 40, 3), np.uint16)
FIVE = RNG.integers(0, 65536, (24, 40, 5), np.uint16)


def config(shape, folder, condition=0):
    c = base("cgan")
    c.model.image_shape, c.model.condition_dim = shape, condition
    c.data.name, c.data.dir = "tfds", str(folder)
    return c


def npy(values):
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def tiff(image, compression=1):
    ordered = image[..., 0] if image.shape[2] == 1 else np.ascontiguousarray(image[..., ::-1])
    return cv2.imencode(".tiff", ordered, [cv2.IMWRITE_TIFF_COMPRESSION, compression])[1].tobytes()


def pages(image):
    """A TIFF with a page for each channel."""
    first, *others = (Image.fromarray(image[..., i]) for i in range(image.shape[2]))
    file = io.BytesIO()
    first.save(file, "TIFF", save_all=True, append_images=others)
    return file.getvalue()


def folder(root, **files):
    (root / "a").mkdir(parents=True)
    for name, encoded in files.items():
        (root / "a" / name.replace("_", ".")).write_bytes(encoded)
    return root


def from_folder(root, out, form):
    options = Options(PICTURES + layouts.ARRAYS)
    return shards.prepare(raw.folder(root, raw.Rules(per_part=16), options), out, "set", form, map)["train"]


@pytest.mark.parametrize("image", [DEEP, COLOUR], ids=["grey", "rgb"])
@pytest.mark.parametrize("write", [exact.png, tiff, lambda x: tiff(x, 5), lambda x: tiff(x, 8), pages, npy])
def test_16_bits_and_all_channels_are_read_without_loss(write, image):
    np.testing.assert_array_equal(exact.read(write(image)).image, image)


def test_many_channels_are_read_from_pages_and_arrays():
    for encoded in (pages(FIVE), npy(FIVE), npy(np.asfortranarray(FIVE))):
        np.testing.assert_array_equal(exact.read(encoded).image, FIVE)


@pytest.mark.parametrize("turn", range(1, 9))
def test_pictures_are_turned_as_pillow_does(turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    pixels = picture.to_8_bits(COLOUR)
    encoded = encode(pixels, exif=exif)
    np.testing.assert_array_equal(exact.read(encoded).image, picture.decode(encoded, upright=True))


@pytest.mark.parametrize(
    "encoded",
    [
        npy(DEEP)[:-1],
        npy(DEEP.astype(np.float32)),
        npy(np.zeros((0, 4, 1), np.uint8)),
        np.lib.format.MAGIC_PREFIX + b"\1\0",
        tiff(DEEP)[:60],
        pages(FIVE)[:-200],
        b"PK\3\4 nothing",
    ],
    ids=["short", "floats", "empty", "no header", "tiff", "pages", "zip"],
)
def test_damaged_or_unknown_pixels_are_unreadable(encoded):
    with pytest.raises(picture.UnreadableError):
        exact.read(encoded)


def test_numbers_of_32_bits_are_refused():
    for pixels in (np.zeros((4, 4), np.int32), np.zeros((4, 4), np.float32)):
        with pytest.raises(
            picture.UnreadableError, match=r"its pixels are .* \((int32|float32)\); give --range=LOW:HIGH"
        ):
            exact.read(encode(pixels, "TIFF"))


def test_a_float_tiff_of_16_bits_is_not_read_as_integers():
    encoded = bytearray(pictures.tiff(DEEP[None] % 0x7C00))  # Finite as floats of 16 bits.
    at = encoded.index(struct.pack("<HHIH", 339, 3, 1, 1))
    encoded[at + 8] = 3
    with pytest.raises(picture.UnreadableError, match="floats"):
        exact.read(bytes(encoded))


@pytest.mark.parametrize(
    ("channels", "bits", "made", "notes"),
    [
        (1, 16, DEEP, {}),
        (3, 16, DEEP.repeat(3, 2), {exact.REPEATED: 1}),
        (1, 8, picture.to_8_bits(DEEP), {exact.SHORTENED: 1}),
    ],
)
def test_a_set_keeps_what_was_asked_for_and_names_conversions(channels, bits, made, notes, tmp_path):
    root = folder(tmp_path / "in", a_png=exact.png(DEEP))
    for form in (forms.Form((24, 40), channels=channels, bits=bits), forms.Form(channels=channels, bits=bits)):
        out = tmp_path / f"out{form.size}"
        summary = from_folder(root, out, form)
        assert summary.get("converted", {}) == notes
        assert all(any(note in line for line in stats.lines(summary)) for note in notes)
        source = tfds.open_tfds(config((24, 40, channels), out), "train")
        read = read_all(source)
        assert not read.unreadable
        assert ("16 bits; sample grids show 8 of them" in source.notes) == (bits == 16)
        np.testing.assert_array_equal(read.images, made[None])
        assert read.images.dtype == made.dtype


def test_grey_pictures_of_16_bits_are_cropped_and_resized_in_training(tmp_path):
    out = tmp_path / "out"
    from_folder(folder(tmp_path / "in", a_tif=tiff(DEEP)), out, forms.Form(channels=1, bits=16))
    areas = DEEP[:, 8:32].reshape(12, 2, 12, 2, 1).mean((1, 3))
    c = config((12, 12, 1), out)
    np.testing.assert_allclose(read_all(tfds.open_tfds(c, "train")).images[0], areas, atol=0.51)
    c.data.resize = "lanczos"
    filtered = read_all(tfds.open_tfds(c, "train")).images[0, ..., 0]
    floats = Image.fromarray(DEEP[:, 8:32, 0].astype(np.float32)).resize((12, 12), Image.Resampling.LANCZOS)
    np.testing.assert_allclose(filtered, np.clip(floats, 0, 65535), atol=0.51)


def test_every_filter_takes_any_number_of_channels():
    for how in ("area", *picture.FILTERS):
        for image in (FIVE, picture.to_8_bits(FIVE)):
            made = picture.resize(image, (6, 10), how)
            each = [picture.resize(image[..., i : i + 1], (6, 10), how)[..., 0] for i in range(5)]
            assert made.dtype == image.dtype
            np.testing.assert_array_equal(made, np.stack(each, -1))
        threefold = picture.to_8_bits(COLOUR)
        np.testing.assert_array_equal(
            picture.resize(threefold, (6, 10), how)[..., :1], picture.resize(threefold[..., :1], (6, 10), how)
        )


def test_another_number_of_channels_is_refused(tmp_path):
    root = folder(tmp_path / "in", a_png=encode(picture.to_8_bits(COLOUR)))
    with pytest.raises(UserError, match=r"a/a.png has 3 channels, not 5; give another --channels"):
        from_folder(root, tmp_path / "out", forms.Form(16, channels=5, bits=8))
    assert not (tmp_path / "out").exists()
    from_folder(root, tmp_path / "out", forms.Form(16, channels=3, bits=8))
    with pytest.raises(UserError, match="pictures of 3 channels, but this model's data have the shape"):
        tfds.open_tfds(config((16, 16, 5), tmp_path / "out"), "train")


def test_the_fingerprint_of_sets_made_before_stays():
    assert repr(forms.Form(128, "lanczos")) == "Form(size=128, resize='lanczos')"
    assert forms.Form(16).described() == {"size": 16, "resize": "area"}


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def from_arrays(path, out, held_out=0):
    found, shapes = raw.arrays(path, raw.Rules(held_out, 3))
    form = forms.form_of_arrays(forms.Form(), shapes)
    return shards.prepare(found, out, "set", form, map)


def test_arrays_of_many_channels_are_trained_on_as_they_are(tmp_path):
    images = RNG.integers(0, 65536, (9, 6, 8, 5), np.uint16)
    label = np.array([0, 1, 2] * 3)
    out = tmp_path / "out"
    made = from_arrays(save(tmp_path / "a.npz", image=images, label=label), out, held_out=1)
    assert made["test"]["images"] == 3 and made["train"]["images_per_class"] == [2, 2, 2]
    c = config((6, 8, 5), out)
    c.model.num_classes, c.batch_size, c.data.flip = 3, 6, True
    source = make_source(c)
    read = read_all(source)
    order = [int(source.example(i).features.feature["file_name"].bytes_list.value[0][4:]) for i in range(6)]
    assert sorted(label[order].tolist()) == [0, 0, 1, 1, 2, 2]
    np.testing.assert_array_equal(read.images, images[order])
    np.testing.assert_array_equal(read.labels, label[order])
    batch, _ = host_batches(source, c, 0)(0)
    assert batch["image"].dtype == np.uint16 and batch["image"].shape == (c.d_steps, 6, 6, 8, 5)
    c.data.dequantize = True
    with pytest.raises(UserError, match="data.dequantize adds noise below a level of 8 bits"):
        host_batches(source, c, 0)


def test_vectors_and_conditions_are_stored_as_they_are(tmp_path):
    image = RNG.normal(size=(7, 4)).astype(np.float32) * 1000
    condition = RNG.normal(size=(7, 2)).astype(np.float32)
    out = tmp_path / "out"
    made = from_arrays(save(tmp_path / "a.npz", image=image, condition=condition), out)["train"]
    assert any("stored as they are, without scaling" in line for line in stats.lines(made))
    np.testing.assert_allclose(made["conditions"], np.stack([condition.min(0), condition.max(0)], 1))
    assert any(line.startswith("conditions: of length 2, stored as they are: ") for line in stats.lines(made))
    assert json.loads((out / stats.FILE).read_text())["form"]["vector"] == 4
    c = config((4,), out, condition=2)
    c.batch_size = 4
    source = make_source(c)
    read = read_all(source)
    order = [int(source.example(i).features.feature["file_name"].bytes_list.value[0][4:]) for i in range(7)]
    np.testing.assert_array_equal(read.images, image[order])
    np.testing.assert_array_equal(read.labels, condition[order])
    batch, _ = host_batches(source, c, 0)(0)
    assert batch["label"].shape == (c.d_steps, 4, 2) and batch["label"].dtype == np.float32
    for shape, dim, sentence in (
        ((4,), 0, "has a condition of 2 numbers, but model.condition_dim is 0; give 2"),
        ((4,), 3, "has a condition of 2 numbers, but model.condition_dim is 3"),
        ((5,), 2, r"has vectors \(4,\), but this model's data have the shape \(5,\)"),
        ((8, 8, 1), 2, r"has vectors \(4,\)"),
    ):
        with pytest.raises(UserError, match=sentence):
            make_source(config(shape, out, dim))


def test_a_model_with_a_condition_needs_data_with_one():
    c = config((16, 16, 1), "", condition=2)
    c.data.name = "digits"
    with pytest.raises(UserError, match="the data have no condition, but model.condition_dim is 2"):
        make_source(c)
    c.data.name = "fake"
    assert make_source(c).read(np.arange(3)).labels.shape == (3, 2)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"x": DEEP}, "has the arrays x; image is needed"),
        ({"image": DEEP}, r"image is uint16 \[24, 40, 1\]; numbers \[N, H, W, C\]"),
        ({"image": np.zeros((2, 3))}, r"image is float64 \[2, 3\]"),
        ({"image": DEEP[None], "label": np.array([-1])}, "label \\[0\\] is -1"),
        ({"image": DEEP[None], "condition": np.zeros((1, 2))}, r"condition is float64 \[1, 2\]; float32 \[1, k\]"),
        ({"image": np.full((1, 2), np.nan, np.float32)}, "image has 2 NaN values of 2 in 1 rows"),
        (
            {"image": DEEP[None], "label": np.array([0]), "condition": np.zeros((1, 2), np.float32)},
            "has label and condition",
        ),
    ],
)
def test_other_arrays_are_refused(arrays, sentence, tmp_path):
    with pytest.raises(UserError, match=sentence):
        raw.arrays(save(tmp_path / "a.npz", **arrays), raw.Rules())


@pytest.mark.parametrize(("text", "size"), [("0", 0), ("128", 128), ("64x64", 64), ("96x128", (96, 128))])
def test_sizes(text, size):
    assert values.size_of(text) == size


@pytest.mark.parametrize("text", ["", "x", "1x", "0x4", "4x0", "-1", "5000", "1x2x3", "a"])
def test_other_sizes_are_refused(text):
    with pytest.raises(UserError, match="is no number of pixels"):
        values.size_of(text)


def test_16_bits_fill_the_range_of_the_networks():
    levels = np.array([0, 32767, 32768, 65535], np.uint16)
    np.testing.assert_allclose(to_float(levels), [-1, -1 / 65535, 1 / 65535, 1], atol=1e-7)


@pytest.mark.parametrize(
    ("arrays", "shape"),
    [
        ({"image": FIVE[None, :8, :8].repeat(9, 0)}, (8, 8, 5)),
        ({"image": np.ones((9, 7), np.float32), "condition": np.ones((9, 2), np.float32)}, (7,)),
        (
            {"image": RNG.integers(0, 65536, (9, 32, 64, 1), np.uint16), "condition": np.ones((9, 2), np.float32)},
            (32, 64, 1),
        ),
        ({"image": np.zeros((9, 32, 32, 1), np.uint8), "label": np.arange(9) % 3}, (32, 32, 1)),
    ],
)
def test_the_command_that_is_printed_trains_on_the_set(arrays, shape, tmp_path, monkeypatch):
    said = cli.run(
        "data.prepare",
        "--workers=1",
        "--from=arrays",
        f"--in={save(tmp_path / 'a.npz', **arrays)}",
        f"--out={tmp_path / 'out'}",
    )
    assert said.returncode == 0, said.stderr
    config = parsed(said.stdout, monkeypatch)
    assert build_gan(config).image_shape == shape
    assert host_batches(make_source(config), config, 0).source.shape == shape


@pytest.mark.parametrize(
    ("label", "sentence"),
    [
        (np.zeros(8, np.int64), "label is int64 [8]; integers [9] are needed"),
        (np.arange(9) - 1, "label [0] is -1; labels are from 0 to 16,777,215"),
    ],
)
def test_labels_of_arrays_that_do_not_fit_are_named(label, sentence, tmp_path):
    path = save(tmp_path / "a.npz", image=np.zeros((9, 8, 8, 1), np.uint8), label=label)
    cli.refused(cli.run("data.prepare", "--from=arrays", f"--in={path}", f"--out={tmp_path / 'out'}"), sentence)


def test_the_command_names_the_sides_that_convolutions_take(tmp_path):
    path = save(tmp_path / "a.npz", image=np.zeros((9, 40, 24, 2), np.uint8))
    said = cli.run("data.prepare", "--workers=1", "--from=arrays", f"--in={path}", f"--out={tmp_path / 'out'}")
    assert "pictures of 40 x 24 pixels with 2 channels, for which --config=auto has no networks" in said.stdout


def test_pictures_of_1024_pixels_have_the_preset_of_progan(tmp_path, monkeypatch):
    for name in "ab":
        (tmp_path / "in" / name).mkdir(parents=True)
        picture = RNG.integers(0, 256, (8, 8, 3), np.uint8).repeat(128, 0).repeat(128, 1)
        Image.fromarray(picture).save(tmp_path / "in" / name / "1.png")
    command = "--workers=1", "--from=folder", f"--in={tmp_path / 'in'}", f"--out={tmp_path / 'out'}", "--size=1024"
    said = cli.run("data.prepare", *command)
    assert said.returncode == 0, said.stderr
    assert "num_classes=0: 1 pictures per class are too few" in said.stdout
    assert build_gan(parsed(said.stdout, monkeypatch)).num_classes == 0
    enough = recommend.training(tmp_path / "out", "", 2, {"images": 40}, forms.Form(1024), resize="area")
    config = parsed(enough, monkeypatch)
    gan = build_gan(config)
    assert gan.image_shape == (1024, 1024, 3) and gan.num_classes == 2
    batch, _ = host_batches(make_source(config), config, 0)(0)
    assert batch["image"].shape == (1, 128, 4, 4, 3)
