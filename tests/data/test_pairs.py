"""Pictures of two domains: layouts, what is stored, the order in training, and what is refused."""

import dataclasses
import logging
import re

import numpy as np
import pytest
from etils import epath

from biggan_jax import config as configs
from biggan_jax import data
from biggan_jax.config.loading import load
from biggan_jax.data import builtin, domains, drawings, exact, forms, pairs, picture, raw, shards
from biggan_jax.data.dataset import Images
from biggan_jax.data.labelled import Options
from biggan_jax.types import UserError
from tests.cli import refused, run
from tests.data.conftest import encode

FORM = forms.Form(8, channels=6, bits=8, first=3)
NAMES = "fish", "goat", "hare", "ibis"


def image(domain, number, side=8):
    """A picture that tells its domain, by its red value, and its number, by its green one."""
    pixels = np.random.default_rng([domain, number]).integers(0, 256, (side, side, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = (50, 200)[domain], 10 * number
    return pixels


def write(root, layout, names=NAMES):
    """Write pictures of both domains. layout: paths of A and B with {name}, or one path, for both halves."""
    for number, name in enumerate(names):
        both = image(0, number), image(1, number)
        if len(layout) == 1:
            both = (np.concatenate(both, axis=1),)
        for path, pixels in zip(layout, both, strict=True):
            file = root / path.format(name=name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encode(pixels))
    return root


def prepared(found, out, form=FORM):
    shards.prepare(found, epath.Path(out), "pairs", form, map)
    return out


def config_of(preset, folder, **changes):
    c = load(f"classic/{preset}")
    own = {"model.image_shape": (8, 8, 3), "model.input_channels": 3, "data.name": "tfds", "data.dir": str(folder)}
    c.update_from_flattened_dict(own | {"batch_size": 2, "model.d_layers": 1, **changes})
    configs.validate(c)
    return c


@pytest.fixture(scope="module")
def paired(tmp_path_factory):
    """A prepared set of four pairs."""
    root = tmp_path_factory.mktemp("pairs")
    found = pairs.paired(epath.Path(write(root / "in", ("A/{name}.png", "B/{name}.png"))), None, raw.Rules())
    return prepared(found, root / "out")


LAYOUTS = [
    ("A/{name}.png", "B/{name}.png"),
    ("photo/{name}.png", "sketch/{name}.png"),
    ("A/train/{name}.png", "B/train/{name}.png"),
    ("train/A/{name}.png", "train/B/{name}.png"),
    ("trainA/{name}.png", "trainB/{name}.png"),
    ("{name}.png",),
    ("train/{name}.png",),
    ("A/x/{name}.png", "B/x/{name}.webp"),
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout[0].split("/{")[0])
def test_a_layout_gives_pairs_of_a_and_b(layout, tmp_path):
    found = pairs.paired(epath.Path(write(tmp_path, layout)), None, raw.Rules())
    items = [item for part in found.splits["train"] for item in part]
    assert len(items) == 4
    for item in items:
        stored = np.frombuffer(FORM(item.encoded, item.other).data, np.uint8).reshape(8, 8, 6)
        number = next(i for i, name in enumerate(NAMES) if name in item.name)
        np.testing.assert_array_equal(stored, np.concatenate([image(0, number), image(1, number)], axis=2))
    assert re.search(r"A is (A|photo|its left half), B is (B|sketch|its right half)", " ".join(found.notes))


def test_two_folders_may_be_given_and_pairs_held_out(tmp_path):
    write(tmp_path, ("one/{name}.png", "two/sub/{name}.png"))
    a, b = epath.Path(tmp_path / "one"), epath.Path(tmp_path / "two/sub")
    found = pairs.paired(a, b, raw.Rules(held_out=1))
    assert {split: sum(len(part.pairs) for part in parts) for split, parts in found.splits.items()} == {
        "train": 3,
        "test": 1,
    }
    both = pairs.unpaired(a, b, raw.Rules(held_out=1), Options())
    held = {path for part in both.splits["test"] for path in part.paths}
    assert held == {found.splits["test"][0].pairs[0].a}, "the same names are held out of A, of B and of pairs"
    assert [label for part in both.splits["train"] for label in part.labels] == [0, 0, 0, 1, 1, 1]
    with pytest.raises(UserError, match="has 1 folders of pictures|must have a folder of pictures for each class"):
        pairs.unpaired(a, None, raw.Rules(), Options())


def test_channels_of_both_pictures_may_differ(tmp_path):
    (tmp_path / "A").mkdir(), (tmp_path / "B").mkdir()
    (tmp_path / "A/x.png").write_bytes(encode(image(0, 1)[..., 0]))
    (tmp_path / "B/x.png").write_bytes(encode(image(1, 1)))
    found = pairs.paired(epath.Path(tmp_path), None, raw.Rules())
    folder = prepared(found, tmp_path / "out", forms.Form(8, channels=4, bits=8, first=1))
    c = config_of("pix2pix32", folder, **{"model.input_channels": 1, "batch_size": 1})
    batch, _ = data.host_batches(data.make_source(c), c, 0)(0)
    assert batch["image"].shape == (1, 1, 8, 8, 1) and (batch["image"] == 50).all()
    np.testing.assert_array_equal(batch["other"][0, 0], image(1, 1))
    c.model.input_channels = 3
    with pytest.raises(UserError, match="has pairs of 1 and 3 channels, but the model takes 3 and 3"):
        data.host_batches(data.make_source(c), c, 0)


def numbers_of(batches, name):
    """The numbers of the pictures of a few steps, in order."""
    return [int(picture[0, 0, 1]) // 10 for batch, _ in batches for picture in batch[name][0]]


def test_pix2pix_reads_pairs_and_cyclegan_b_in_its_own_order(paired):
    steps = range(6)  # Three epochs.
    c = config_of("pix2pix32", paired)
    batches = [data.host_batches(data.make_source(c), c, 0)(step) for step in steps]
    assert numbers_of(batches, "image") == numbers_of(batches, "other")
    assert all((batch["image"][..., 0] == 50).all() and (batch["other"][..., 0] == 200).all() for batch, _ in batches)
    c = config_of("cyclegan32", paired)
    batches = [data.host_batches(data.make_source(c), c, 0)(step) for step in steps]
    a, b = numbers_of(batches, "image"), numbers_of(batches, "other")
    assert a != b and all((batch["other"][..., 0] == 200).all() for batch, _ in batches)
    for order in (a, b):
        assert all(sorted(order[i : i + 4]) == [0, 1, 2, 3] for i in (0, 4, 8)), "an epoch has each picture once"
    again, _ = data.host_batches(data.make_source(c), c, 0)(4)
    np.testing.assert_array_equal(again["other"], batches[4][0]["other"])


def test_the_direction_exchanges_a_and_b(paired):
    c = config_of("pix2pix32", paired, **{"model.direction": "BtoA"})
    batch, _ = data.host_batches(data.make_source(c), c, 0)(0)
    assert (batch["image"][..., 0] == 200).all() and (batch["other"][..., 0] == 50).all()


def test_regions_are_cut_at_random_and_centred_for_probes():
    ramp = np.arange(12 * 12 * 2, dtype=np.uint8).reshape(1, 12, 12, 2).repeat(4, 0)
    source = Images(ramp, np.zeros(4, np.int32), 1, first=1)
    two = domains.Domains(1, False, True, (8, 8), at_random=True)
    found, _ = two.read(source, 0, 0, np.arange(64))
    corners = {int(value) for value in found["image"][:, 0, 0, 0]}
    assert len(corners) > 12 and corners <= {int(ramp[0, i, j, 0]) for i in range(5) for j in range(5)}
    np.testing.assert_array_equal(found["other"], found["image"] + 1)
    still, _ = two.unchanged().read(source, 0, 0, np.arange(4))
    np.testing.assert_array_equal(still["image"][0, ..., 0], ramp[0, 2:10, 2:10, 0])


def test_flips_of_a_pair_are_one_and_of_two_sets_are_not():
    halves = np.zeros((4, 4, 4, 2), np.uint8)
    halves[:, :, :2] = 255
    source = Images(halves, np.zeros(4, np.int32), 1, first=1)
    for matched in (True, False):
        two = domains.Domains(1, False, matched, (4, 4), flip=True)
        found, _ = two.read(source, 0, 0, np.arange(64))
        left = {name: found[name][:, 0, 0, 0] > 0 for name in ("image", "other")}
        assert 0 < left["image"].sum() < 64
        assert (left["image"] == left["other"]).all() == matched


def names_that_do_not_match(root):
    write(root, ("A/{name}.png", "B/{name}2.png"))
    return "8 of 8 pictures have no partner of the same name, such as A/fish.png"


def some_names_that_do_not_match(root):
    write(root, ("A/{name}.png", "B/{name}.png"))
    (root / "B/goat.png").rename(root / "B/goats.png")
    return r"2 of 8 pictures have no partner .* or leave them out with --skip_others"


def one_folder(root):
    write(root, ("A/{name}.png", "A/{name}_.png"))
    return r"has 1 folder of pictures \(A\); two folders with the same names, or pictures that hold both halves"


def three_folders(root):
    write(root, ("A/{name}.png", "B/{name}.png"))
    write(root, ("C/{name}.png", "C/{name}_.png"))
    return r"has 3 folders of pictures \(A, B, C\)"


def loose_pictures(root):
    write(root, ("A/{name}.png", "{name}.png"))
    return "has pictures beside its folders"


def an_empty_folder(root):
    return r"has no pictures \(.*; it is empty"


def two_of_one_name(root):
    write(root, ("A/{name}.png", "B/{name}.png"))
    (root / "A/fish.webp").write_bytes(b"")
    return "has two pictures of one name, A/fish.png and A/fish.webp"


def only_a_test_split(root):
    write(root, ("test/{name}.png",))
    return "has the splits test, but needs train"


@pytest.mark.parametrize(
    "case",
    [
        *(names_that_do_not_match, some_names_that_do_not_match, one_folder, three_folders, loose_pictures),
        *(an_empty_folder, two_of_one_name, only_a_test_split),
    ],
)
def test_folders_without_pairs_are_refused(case, tmp_path):
    sentence = case(tmp_path)
    with pytest.raises(UserError, match=sentence):
        pairs.paired(epath.Path(tmp_path), None, raw.Rules())


@pytest.mark.parametrize(("a", "b", "how"), [("A", "A", "are one folder"), (".", "A", "lie one inside the other")])
def test_two_sets_that_share_pictures_are_refused(a, b, how, tmp_path):
    write(tmp_path, ("A/{name}.png",))
    flags = f"--in={tmp_path / a}", f"--other={tmp_path / b}", f"--out={tmp_path.parent / 'out'}"
    for kind in ("unpaired", "pairs"):
        refused(run("data.prepare", f"--from={kind}", *flags, "--size=8"), how)


def test_pictures_of_unlike_sizes_and_odd_widths_are_unreadable():
    with pytest.raises(picture.UnreadableError, match="unlike sizes, 8 x 8 and 9 x 9 pixels"):
        FORM(encode(image(0, 0)), encode(image(1, 0, side=9)))
    with pytest.raises(picture.UnreadableError, match="its width of 9 pixels has no two halves"):
        FORM(encode(image(0, 0, side=9)))


def test_of_a_pair_the_picture_that_is_broken_is_named():
    with pytest.raises(picture.UnreadableError, match="^its partner of B: not a picture"):
        FORM(encode(image(0, 0)), b"no picture")
    with pytest.raises(picture.UnreadableError, match="^not a picture"):
        FORM(b"no picture", encode(image(0, 0)))
    grey = dataclasses.replace(FORM, channels=FORM.first + 1)
    with pytest.raises(exact.ChannelsError, match="^has a B that has 3 channels, not 1"):
        grey(encode(image(0, 0)), encode(image(1, 0)))


def test_of_a_pair_the_file_that_is_gone_is_named(tmp_path):
    write(tmp_path, ("A/{name}.png", "B/{name}.png"))
    for gone, kept in (("A", "B"), ("B", "A")):
        files = pairs.PairFiles(str(tmp_path), str(tmp_path), (pairs.Pair(f"{kept}/fish.png", f"{gone}/nothing.png"),))
        assert list(files) == [f"{gone}/nothing.png: No such file or directory"]


@pytest.mark.parametrize(("have", "lack"), [("A", "B"), ("B", "A")])
def test_a_set_of_one_domain_alone_is_refused_with_what_it_lacks(have, lack, tmp_path):
    write(tmp_path, (f"train{have}/{{name}}.png",))
    write(tmp_path, (f"test{have}/{{name}}.png",))
    sentence = f"has test{have}, train{have}, but not test{lack} and train{lack}; add it"
    with pytest.raises(UserError, match=sentence) as found:
        pairs.unpaired(epath.Path(tmp_path), None, raw.Rules(), Options())
    assert ("--other=FOLDER" in str(found.value)) == (have == "A")


def test_pairs_side_by_side_are_not_called_cropped(paired, caplog):
    c = load("classic/cogan_narrow")
    own = {"model.image_shape": (28, 28, 3), "data.name": "tfds", "data.dir": str(paired), "batch_size": 2}
    c.update_from_flattened_dict(own)
    logging.getLogger("biggan_jax").propagate = True
    with caplog.at_level(logging.INFO, logger="biggan_jax"):
        data.before_training(data.make_source(c), c)
    assert "cropped" not in caplog.text and "are enlarged to 28 x 28" in caplog.text


def test_the_command_prints_a_command_that_trains(tmp_path):
    write(tmp_path / "in", ("A/{name}.png", "B/{name}.png"))
    flags = f"--in={tmp_path / 'in'}", "--size=8", "--workers=1"
    refused(run("data.prepare", "--from=pairs", flags[0], f"--out={tmp_path / 'out'}"), "--from=pairs needs --size")
    inside = f"--out={tmp_path / 'in/out'}"
    refused(run("data.prepare", "--from=pairs", *flags, inside), "is inside --in=")
    for kind, preset in (("pairs", "pix2pix32"), ("unpaired", "cyclegan32")):
        result = run("data.prepare", f"--from={kind}", *flags, f"--out={tmp_path / kind}")
        assert result.returncode == 0, result.stderr
        assert "A is A, B is B" in result.stderr and f"--config=classic/{preset}" in result.stdout
        c = config_of(preset, tmp_path / kind)
        batch, _ = data.host_batches(data.make_source(c), c, 0)(0)
        assert (batch["image"][..., 0] == 50).all() and (batch["other"][..., 0] == 200).all()


def test_a_family_refuses_data_of_another_kind(paired, tmp_path):
    folder = tmp_path / "in"
    write(folder, ("a/{name}.png", "b/{name}.png"))
    found = pairs.unpaired(epath.Path(folder), None, raw.Rules(), Options())
    two = prepared(found, tmp_path / "two", forms.Form(8))
    with pytest.raises(UserError, match="pix2pix learns from pairs, and .* has none; prepare pairs"):
        data.make_source(config_of("pix2pix32", two))
    write(folder, ("c/{name}.png", "d/{name}.png"))
    four = prepared(raw.folder(epath.Path(folder), raw.Rules()), tmp_path / "four", forms.Form(8))
    c = config_of("cyclegan32", four)
    with pytest.raises(UserError, match="has 4 classes, and model.family cyclegan learns from two sets, A and B"):
        data.host_batches(data.make_source(c), c, 0)
    c = configs.load("auto")
    c.data.dir = str(paired)
    with pytest.raises(UserError, match="has pairs of pictures, and auto is for single ones"):
        data.facts_of(c)
    c = configs.base("dcgan")
    c.update_from_flattened_dict({"model.image_shape": (8, 8, 3), "data.name": "tfds", "data.dir": str(paired)})
    with pytest.raises(UserError, match="has pairs of pictures, and model.family dcgan learns from single pictures"):
        data.make_source(c)
    c.model.image_shape = (8, 8, 6)
    assert data.make_source(c).shape == (8, 8, 6), "both pictures of a pair as one"


BUILTIN = {
    ("text_to_image32", "digit_edges"): "digit_edges has pairs of pictures, and model.family text_to_image learns from",
    ("cyclegan32", "mnist5k"): "mnist5k has 10 classes, and model.family cyclegan learns from two sets, A and B",
    ("pix2pix32", "mnist5k"): "mnist5k has 10 classes, and model.family pix2pix learns from two sets",
    ("cogan", "mnist5k"): "mnist5k has 10 classes, and model.family cogan learns from two sets",
    ("cogan", "digit_captions"): "digit_captions has captions, for model.family text_to_image",
    ("pix2pix32", "moving_digits"): "moving_digits has clips, and model.family pix2pix learns from single images",
    ("vgan_digits", "digit_edges"): "digit_edges has single images, and model.family vgan learns from clips",
    ("text_to_image64", "digit_edges"): "digit_edges has pairs of pictures",
}


@pytest.mark.parametrize(("preset", "name"), BUILTIN)
def test_sets_of_another_kind_are_one_sentence(preset, name):
    c = load(f"classic/{preset}")
    c.data.name = name
    with pytest.raises(UserError, match=BUILTIN[preset, name]):
        data.check_changes(data.make_source(c), c)


def test_digits_have_three_sizes():
    for name, make in (
        ("digit_edges", lambda: builtin.digit_edges((24, 24, 2), "train")),
        ("digit_captions", lambda: builtin.digit_captions(64, "train", 3, 20)),
    ):
        with pytest.raises(UserError, match=f"data.name {name} has images of 16, 28 or 32 pixels, not of"):
            make()


def test_digits_have_edges():
    c = load("classic/pix2pix32")
    source = data.make_source(c)
    batch, _ = data.host_batches(source, c, 0)(0)
    digit, edge = batch["image"].astype(int), batch["other"].astype(int)
    assert digit.shape == (1, 16, 32, 32, 1) and ((digit == 0) | (edge + digit >= digit)).all() and edge.max() > 200
    assert (edge[digit == 255] == 0).all()


def test_lines_are_drawn_where_colours_change():
    """Also between colours of equal brightness; flat parts stay white."""
    image = np.full((12, 12, 3), (200, 0, 0), np.uint8)
    image[:, 6:] = 0, 102, 0  # Of the same luma.
    assert abs(int(picture.to_gray(image)[0, 0, 0]) - int(picture.to_gray(image)[0, 11, 0])) <= 1
    drawn = drawings.lines(image)
    assert drawn.shape == (12, 12, 1) and set(np.unique(drawn)) == {0, 255}
    assert (drawn[:, 5:8] == 0).any(1).all() and (drawn[:, :4] == 255).all() and (drawn[:, 9:] == 255).all()


def test_pictures_are_paired_with_their_drawings(tmp_path):
    """Large pictures are reduced first, to twice the size of the set, so that their lines are not lost."""
    for number, side in enumerate((8, 160)):
        image = np.full((side, side, 3), 255, np.uint8)
        image[side // 4 : -side // 4, side // 4 : -side // 4] = 0, 0, 200
        file = tmp_path / "in" / f"{number}.png"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(encode(image))
    (tmp_path / "in" / "broken.png").write_bytes(b"none")
    found = pairs.drawn(epath.Path(tmp_path / "in"), 8, raw.Rules())
    items = [item for part in found.splits["train"] for item in part]
    assert [item for item in items if isinstance(item, str)] == ["broken.png: not a picture"]
    stored = [
        forms.Form(8, channels=4, bits=8, first=1)(item.encoded, item.other)
        for item in items
        if item[0] in ("0.png", "1.png")
    ]
    sides = [picture.decode(item.encoded).shape[:2] for item in items if not isinstance(item, str)]
    assert len(stored) == 2 and sides == [(8, 8), (16, 16)]
    drawing = picture.decode(items[1].encoded)
    assert (drawing[4] == 0).any() and (drawing[0] == 255).all() and (drawing[8, 8] == 255).all()


def test_edges_need_a_size_and_a_picture(tmp_path):
    with pytest.raises(UserError, match="has no pictures"):
        pairs.drawn(epath.Path(tmp_path), 8, raw.Rules())
    given = "data.prepare", "--from=edges", f"--in={tmp_path}", f"--out={tmp_path.with_name('out')}"
    refused(run(*given), "--from=edges needs --size, such as --size=256")
