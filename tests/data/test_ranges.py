"""Pictures of more than 8 bits: one range of values for a set, found or given."""

import json
import re

import numpy as np
import pytest

from biggan_jax.data import exact, forms, ranges, stats
from biggan_jax.data.picture import UnreadableError
from biggan_jax.flags import values
from biggan_jax.types import UserError
from tests import cli
from tests.data import conftest
from tests.data.conftest import encode
from tests.data.test_shapes import npy, tiff

RAMP = np.linspace(0, 1, 24 * 40).reshape(24, 40, 1)
"""From black to white."""


def as_type(values, dtype):
    return np.rint(values).astype(dtype) if np.dtype(dtype).kind != "f" else values.astype(dtype)


WRITERS = {
    "float tiff": (lambda: encode(as_type(RAMP, np.float32)[..., 0], "TIFF"), (0, 1)),
    "float tiff, lzw": (lambda: encode(as_type(RAMP, np.float32)[..., 0], "TIFF", compression="tiff_lzw"), (0, 1)),
    "float rgb tiff": (lambda: tiff(as_type(RAMP.repeat(3, 2), np.float32), 5), (0, 1)),
    "float npy": (lambda: npy(RAMP), (0, 1)),
    "12 bits in png": (lambda: exact.png(as_type(RAMP * 4095, np.uint16)), (0, 4095)),
    "10 bits in rgb png": (lambda: exact.png(as_type(RAMP.repeat(3, 2) * 1000, np.uint16)), (0, 1023)),
    "16 bits in int32 tiff": (lambda: encode(as_type(RAMP * 65535, np.int32)[..., 0], "TIFF"), (0, 65535)),
    "14 bits in int16 tiff": (lambda: tiff(as_type(RAMP * 16383, np.int16)), (0, 16383)),
    "16 bits in png": (lambda: exact.png(as_type(RAMP * 65535, np.uint16)), None),
    "8 bits": (lambda: encode(as_type(RAMP.repeat(3, 2) * 255, np.uint8)), None),
}


def folder(root, *pictures):
    (root / "a").mkdir(parents=True)
    for i, encoded in enumerate(pictures):
        suffix = {exact.PNG[:4]: "png", exact.NPY[:4]: "npy"}.get(encoded[:4], "tif")
        (root / f"a/{i}.{suffix}").write_bytes(encoded)
    return root


def prepare(root, out, *flags):
    return cli.run("data.prepare", "--workers=1", "--from=folder", f"--in={root}", f"--out={out}", *flags)


@pytest.mark.parametrize("kind", WRITERS)
def test_values_fill_the_levels_whatever_holds_them(kind, tmp_path):
    make, limits = WRITERS[kind]
    encoded = make()
    part = conftest.raw.Files(str(folder(tmp_path, encoded)), (f"a/{next((tmp_path / 'a').iterdir()).name}",), (0,))
    found, said = ranges.choose(ranges.scan(part))
    assert found == limits and (not limits or f"read as --range=0:{limits[1]}" in said)
    kept = forms.Form((24, 40), range=found)(encoded)
    pixels = np.frombuffer(kept.data, np.uint8).reshape(24, 40, 3)
    # The ramp of 10 bits ends at 1000 of 1023.
    high = 1000 / 1023 if limits == (0, 1023) else 1
    np.testing.assert_allclose(pixels, RAMP.repeat(3, 2) * 255 * high, atol=1)
    assert kept.contrast > 0.9 and (exact.SCALED in kept.notes) == (limits is not None)
    deep = forms.Form((24, 40), channels=3, bits=16, range=found)(encoded)
    np.testing.assert_allclose(
        np.frombuffer(deep.data, np.uint16).reshape(24, 40, 3) / 65535, RAMP.repeat(3, 2) * high, atol=0.004
    )


def test_alpha_keeps_its_own_scale():
    dim = np.concatenate([RAMP.repeat(3, 2) * 4095, np.full_like(RAMP, 65535)], axis=2)
    import cv2

    encoded = cv2.imencode(".png", np.rint(dim).astype(np.uint16)[..., [2, 1, 0, 3]])[1].tobytes()
    pixels = exact.read(encoded, (0, 4095), 8)
    assert pixels.alpha and (pixels.image[..., 3] == 255).all() and pixels.image[..., 0].max() == 255


def seen(kind, low, high, typical=None, plain=False):
    return {kind: ranges.Seen(3, low, high, high if typical is None else typical, plain, "a/0", "a/1")}


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (seen("floats", -1, 1), "are -1 to 1 (smallest in a/0, largest in a/1), which is no usual range; give --range=LOW:HIGH"),
        (seen("floats", 0, 0.02), "are 0 to 0.02"),
        (seen("floats", 0, 300), "are 0 to 300"),
        (seen("integers", -1000, 3000), "are -1000 to 3000"),
        (seen("integers", 0, 30000, plain=True), "are 0 to 30000"),
        (seen("integers", 0, 300, plain=True), "are 0 to 300"),
        (seen("integers", 0, 10**6), "are 0 to 1000000"),
        (seen("integers", 0, 65535, 3000, plain=True), "and 99 % of each picture's are at most 3000"),
        (seen("integers", 0, 4095) | seen("floats", 0, 1), "and 3 of floats, such as a/1, have no range in common"),
    ],
)  # fmt: skip
def test_a_range_that_is_not_clear_is_refused(found, sentence):
    with pytest.raises(UserError, match=re.escape(sentence)) as error:
        ranges.choose(found)
    if "--range=LOW:HIGH" in sentence:
        values.limits_of(re.search(r"such as --range=(\S+), which has all", str(error.value))[1])


def deep(high, dtype=np.uint16, low=0):
    values = as_type(low + RAMP * (high - low), dtype)
    return exact.png(values) if dtype == np.uint16 else encode(values[..., 0], "TIFF")


def scan(root):
    paths = sorted(str(path.relative_to(root)) for path in root.rglob("*.*"))
    return ranges.scan(conftest.raw.Files(str(root), tuple(paths), (0,) * len(paths)))


@pytest.mark.parametrize(
    ("few", "many", "dtype", "named", "white"),
    [
        ([200], [1] * 7, np.float32, r"1 \(a/0.tif\) reach up to 200, those of 7 at most 1,", "0:255"),
        ([40000], [300] * 7, np.uint16, r"1 \(a/0.png\) reach up to 40000, those of 7 at most 300,", "0:65535"),
        ([1], [200] * 7, np.float32, r"7 reach up to 200, those of 1 \(a/0.tif\) at most 1,", "0:255"),
        ([200], [65000] * 7, np.uint16, r"7 reach up to 65000, those of 1 \(a/0.png\) at most 200,", "0:65535"),
        ([10**6, 10**6], [255] * 3, np.int32, r"2 \(a/0.tif, a/1.tif\) reach up to 1000000, those of 3", "0:1000000"),
        ([9] * 6, [255] * 7, np.float32, r".* of 6 \(a/0.tif, a/1.tif, a/2.tif, a/3.tif, ...\) at most 9,", "0:255"),
    ],
)
def test_pictures_of_two_scales_are_refused_and_named(few, many, dtype, named, white, tmp_path):
    root = folder(tmp_path, *(deep(high, dtype) for high in few + many))
    with pytest.raises(UserError, match=rf"have two scales: those of {named}.*, such as --range={white}$"):
        ranges.choose(scan(root))


def test_values_that_a_given_range_cuts_off_are_told(tmp_path):
    found = scan(folder(tmp_path, deep(1, np.float32), deep(200, np.float32, low=-2)))
    assert ranges.clipped(found, (0, 1)) == (
        "the values are -2 to 200 (smallest in a/1.tif, largest in a/1.tif); --range cuts off those outside of it"
    )
    assert not ranges.clipped(found, (-2, 200))


def test_blank_and_dim_pictures_are_of_the_same_scale(tmp_path):
    root = folder(tmp_path, deep(0), deep(400), deep(4095), deep(4000))
    assert ranges.choose(scan(root))[0] == (0, 4095)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        (np.int32, -1000, 1999),
        (np.int32, 0, 1234567),
        (np.float32, -0.123456789, 1.98765432),
        (np.float32, -3e20, 5e-7),
        (np.float32, 7, 7),
        (np.int32, -5, -5),
    ],
)
def test_the_suggested_range_has_all_values_and_works(dtype, low, high, tmp_path):
    root = folder(tmp_path / "in", *(deep(high, dtype, low) for _ in range(2)))
    found = scan(root)
    with pytest.raises(UserError, match="no usual range; give --range=LOW:HIGH") as error:
        ranges.choose(found)
    ((_, seen),) = found.items()
    black, white = values.limits_of(re.search(r"such as --range=(\S+), which", str(error.value))[1])
    assert black <= seen.low and white >= seen.high and white > black
    forms.Form(24, range=(black, white))((root / "a/0.tif").read_bytes())


@pytest.mark.parametrize("make", [lambda values: encode(values[..., 0], "TIFF"), npy], ids=["tiff", "npy"])
def test_nan_and_infinite_pixels_are_counted(make, tmp_path):
    values = as_type(RAMP, np.float32)
    values[:2, 0], values[3, 4] = np.nan, np.inf
    bad, sentence = make(values), "it has 2 NaN and 1 infinite values of 960; set them to numbers"
    for form in (forms.Form(24), forms.Form(24, range=(0, 1)), forms.Form(24, channels=1, bits=16, range=(0, 1))):
        if make is not npy or form.channels:
            with pytest.raises(UnreadableError, match=sentence):
                form(bad)
    found = scan(folder(tmp_path, bad, make(as_type(RAMP, np.float32))))
    assert ranges.choose(found)[0] == (0, 1) and found["unreadable"].unreadable == 1


def test_a_set_of_nan_is_refused_with_or_without_a_range(tmp_path):
    root = folder(tmp_path / "in", encode(np.full((24, 40), np.nan, np.float32), "TIFF"))
    seen = scan(root)
    assert seen and ranges.choose(seen) == (None, ""), "so --range is not said to have no effect"
    for limits in (None, (0, 1)):
        with pytest.raises(UserError, match="no picture can be read: a/0.tif: it has 960 NaN values of 960; set them"):
            conftest.prepared(root, tmp_path / "out", forms.Form(range=limits))


def test_arrays_name_the_rows_that_are_not_finite(tmp_path):
    images = np.zeros((3, 8, 8, 3), np.float32)
    images[1, 0, 0, 0], images[2, 0, 0] = np.nan, -np.inf
    with pytest.raises(UserError, match=r"image has 1 NaN and 3 infinite values of 576 in 2 rows, such as row 1; set"):
        conftest.raw.arrays(_saved(tmp_path / "a.npz", images), conftest.raw.Rules())


def test_a_set_has_one_range_that_the_command_says(tmp_path):
    """A dark picture stays dark: its own values do not decide."""
    bright, dark = (exact.png(as_type(RAMP * white, np.uint16)) for white in (4095, 400))
    out = tmp_path / "out"
    result = prepare(folder(tmp_path / "in", bright, dark), out, "--size=24")
    assert result.returncode == 0, result.stderr
    assert (
        "the values of 2 pictures of more than 8 bits are 0 to 4095; they are read as --range=0:4095" in result.stderr
    )
    images = conftest.read_all(conftest.opened(out, resolution=24)).images
    assert images[0].max() > 190 and images[1].max() < 26
    assert json.loads((out / stats.FILE).read_text())["form"]["range"] == [0, 4095]
    given = prepare(tmp_path / "in", tmp_path / "given", "--size=24", "--range=0:65535")
    assert "2 pictures are nearly constant: all values lie within 16 of 255 levels: a/0.png; a/1.png" in given.stderr


@pytest.mark.parametrize("kind", ["float tiff", "float rgb tiff", "16 bits in int32 tiff", "14 bits in int16 tiff"])
def test_without_a_range_such_numbers_are_not_guessed(kind):
    """As of a corpus of examples, whose values are not read first."""
    with pytest.raises(UnreadableError, match="give --range=LOW:HIGH"):
        forms.Form(24)(WRITERS[kind][0]())


def test_a_range_that_has_no_effect_is_refused(tmp_path):
    root = folder(tmp_path / "in", encode(as_type(RAMP.repeat(3, 2) * 255, np.uint8)))
    cli.refused(
        prepare(root, tmp_path / "out", "--range=0:1"), "--range=0:1 has no effect: no picture has more than 8 bits"
    )
    cli.refused(prepare(root, tmp_path / "out", "--range=1:0"), "--range=1:0 is not LOW:HIGH")


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint16"])
def test_arrays_of_other_types_have_a_range(dtype, tmp_path):
    white = 1 if "float" in dtype else 255
    images = as_type(np.random.default_rng(0).random((9, 8, 8, 3)) * white, dtype)
    found, shapes = conftest.raw.arrays(_saved(tmp_path / "a.npz", images), conftest.raw.Rules())
    limits, _ = ranges.choose(shapes.values)
    assert limits == (0, white)
    form = forms.form_of_arrays(forms.Form(range=limits), shapes)
    item = next(iter(found.splits["train"][0]))
    full = np.iinfo(form.dtype).max
    stored = np.frombuffer(form(item.encoded).data, form.dtype).reshape(8, 8, 3)
    np.testing.assert_allclose(stored / full, images[0] / white, atol=1 / 255)


def _saved(path, images):
    np.savez(path, image=images)
    return path
