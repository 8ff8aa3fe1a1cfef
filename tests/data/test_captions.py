"""Pictures with captions: what is prepared, which captions a step reads, and what is refused."""

import json

import numpy as np
import pytest
from etils import epath

from biggan_jax import config as configs
from biggan_jax import data
from biggan_jax.checkpoint import safetensors
from biggan_jax.config.loading import load
from biggan_jax.data import builtin, captioned, captions, forms, raw, recommend, shards
from biggan_jax.data.label_tables import PICTURES
from biggan_jax.types import UserError
from tests.cli import refused, run
from tests.data.conftest import encode

NAMES = "fish", "goat", "hare", "ibis"
TEXTS = {
    "fish": ("a red fish", "it swims"),
    "goat": ("an old goat",),
    "hare": ("Häschen",),
    "ibis": ("a white ibis", "it flies"),
}


def write(root, folder="", names=NAMES):
    """Write pictures of 8 pixels, each of one grey level, its number times 10."""
    for number, name in enumerate(names):
        file = root / folder / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode(np.full((8, 8, 3), 10 * number, np.uint8)))
    return root


def beside(root):
    for name, texts in TEXTS.items():
        (root / f"{name}.txt").write_text("\n".join(["", *texts, ""]), encoding="utf-8")


def as_csv(root):
    rows = [f'{name}.png,"{text}"' for name, texts in TEXTS.items() for text in texts]
    (root / "metadata.csv").write_text("\n".join(["file_name,text", *rows]))


def as_lists(root):
    rows = [json.dumps({"file_name": f"{name}.png", "text": texts}) for name, texts in TEXTS.items()]
    (root / "captions.jsonl").write_text("\n".join(rows))


def corpus(root, rules=None, **options):
    return captioned.corpus(epath.Path(root), rules or raw.Rules(), PICTURES, **options)


def texts_of(found):
    items = [item for parts in found.splits.values() for part in parts for item in part]
    return {item.name.removesuffix(".png"): item.captions for item in items}


@pytest.mark.parametrize("form", [beside, as_csv, as_lists])
def test_captions_are_lines_beside_pictures_or_a_table(tmp_path, form):
    form(write(tmp_path))
    found, shape = corpus(tmp_path)
    assert texts_of(found) == TEXTS and shape == () and any("captions are" in note for note in found.notes)
    first = {name: texts[:1] for name, texts in TEXTS.items()}
    assert texts_of(corpus(tmp_path, most=1)[0]) == first


def test_captions_of_no_picture_and_empty_ones_are_said(tmp_path):
    beside(write(tmp_path / "texts"))
    (tmp_path / "texts" / "gost.txt").write_text("a ghost")
    assert ".txt that are beside no picture: 1, such as gost.txt" in corpus(tmp_path / "texts")[0].notes
    as_csv(write(tmp_path / "table"))
    with (tmp_path / "table" / "metadata.csv").open("a") as file:
        file.write("\ngost.png,a ghost\nfish.png,")
    said = "; ".join(corpus(tmp_path / "table")[0].notes)
    assert "rows of metadata.csv that name no picture: 1, such as gost.png" in said
    assert "rows of metadata.csv without a text: 1, such as that of fish.png" in said
    beside(write(tmp_path / "whole"))
    assert not any("rows" in note or "beside no" in note for note in corpus(tmp_path / "whole")[0].notes)


def test_a_table_of_another_name_and_splits_in_folders(tmp_path):
    write(write(tmp_path / "in", "train"), "test", ("lynx",))
    table = tmp_path / "flickr.tsv"
    table.write_text(
        "image\twords\tnote\nfish.png\ta fish\tx\ngoat.png\ta goat\tx\ntrain/hare.png\ta hare\tx\nlynx\ta lynx\tx\n"
    )
    given = {"table": str(table), "column": "words"}
    with pytest.raises(UserError, match=r"1 of 5 pictures have no caption, such as train/ibis.png; add them, or leave"):
        corpus(tmp_path / "in", **given)
    found, _ = corpus(tmp_path / "in", **given, skip_others=True)
    assert {split: sum(len(part.captions) for part in parts) for split, parts in found.splits.items()} == {
        "train": 3,
        "test": 1,
    }
    assert texts_of(found)["test/lynx"] == ("a lynx",)
    with pytest.raises(
        UserError, match=r"has the columns image, words, note; give the one of the captions as --label_key"
    ):
        corpus(tmp_path / "in", table=str(table))


def prepared(root, out, **options):
    found, shape = corpus(root, **options)
    several = shape[0] if len(shape) == 2 else 0
    form = forms.Form(8, condition=shape[-1] if shape else 0, several=several)
    return shards.prepare(found, epath.Path(out), "words", form, map)["train"]


def config_of(folder, **changes):
    c = load("classic/text_to_image32")
    own = {
        "model.image_shape": (8, 8, 3),
        "model.text_length": 10,
        "batch_size": 4,
        "data.name": "tfds",
        "data.dir": str(folder),
    }
    c.update_from_flattened_dict(own | changes)
    configs.validate(c)
    return c


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """(folder, summary) of a prepared set of four pictures with one or two captions."""
    root = tmp_path_factory.mktemp("words")
    beside(write(root / "in"))
    return root / "out", prepared(root / "in", root / "out")


def test_a_prepared_set_says_how_many_captions_it_has(words):
    folder, summary = words
    assert summary["captions"] == {"each": [1, 1, 2], "bytes": [8, 9, 12], "different": 6}
    source = data.make_source(config_of(folder))
    (note,) = source.notes
    assert note == "captions longer than model.text_length=10 bytes are cut; the longest has 12"
    assert "captions: 1 to 2 a picture, 6 different, of 8 to 12 bytes, median 9" in data.stats.lines(summary)
    found = source.read(np.arange(4), np.full(4, 0.5))
    own = {
        int(image[0, 0, 0]) // 10: [captions.decode(row) for row in rows]
        for image, rows in zip(*found[:2], strict=True)
    }
    cut = [[text.encode()[:10].decode() for text in TEXTS[name]] for name in NAMES]
    assert own == {i: [*texts, *[""] * (2 - len(texts))] for i, texts in enumerate(cut)}


def test_each_step_draws_captions_as_a_function_of_the_step(words):
    c = config_of(words[0], **{"model.captions": 2})
    source = data.make_source(c)
    batches = data.host_batches(source, c, 0)
    seen = {}
    for step in range(8):
        batch, _ = batches(step)
        assert batch["label"].shape == (1, 4, 2, 10) and batch["label"].dtype == np.int32
        for image, rows in zip(batch["image"][0], batch["label"][0], strict=True):
            pair = tuple(captions.decode(row) for row in rows)
            seen.setdefault(NAMES[int(image[0, 0, 0]) // 10], set()).add(pair)
    cut = lambda text: text.encode()[:10].decode()
    both = {name: tuple(map(cut, texts)) for name, texts in TEXTS.items()}
    assert seen["goat"] == {both["goat"] * 2} and seen["hare"] == {both["hare"] * 2}, "one caption stands for both"
    assert seen["fish"] == {both["fish"], both["fish"][::-1]}, "none is drawn twice"
    again, _ = data.host_batches(source, c, 0)(5)
    np.testing.assert_array_equal(again["label"], batches(5)[0]["label"])
    halves = [data.host_batches(source, c, 0, host, 2)(5)[0]["label"] for host in (0, 1)]
    np.testing.assert_array_equal(np.concatenate(halves, axis=1), again["label"])


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_embeddings_come_from_a_file(tmp_path, suffix):
    write(tmp_path / "in")
    arrays = {f"{name}.png": np.arange(6, dtype=np.float32).reshape(2, 3) + 10 * i for i, name in enumerate(NAMES)}
    file = tmp_path / f"embeddings{suffix}"
    if suffix == ".npz":
        np.savez(file, **arrays)
    else:
        file.write_bytes(safetensors.to_bytes(arrays, {}))
    prepared(tmp_path / "in", tmp_path / "out", embeddings=str(file))
    c = load("classic/text_to_image64")
    own = {
        "model.image_shape": (8, 8, 3),
        "model.condition_dim": 3,
        "model.captions": 2,
        "data.dir": str(tmp_path / "out"),
    }
    c.update_from_flattened_dict(own | {"data.resize": "area", "batch_size": 4, "data.flip": False})
    batch, _ = data.host_batches(data.make_source(c), c, 0)(0)
    assert batch["label"].shape == (1, 4, 2, 3) and batch["label"].dtype == np.float32
    for image, rows in zip(batch["image"][0], batch["label"][0], strict=True):
        np.testing.assert_array_equal(rows[np.argsort(rows[:, 0])], arrays[f"{NAMES[int(image[0, 0, 0]) // 10]}.png"])
    with pytest.raises(UserError, match="2 conditions of each picture, and model.family dcgan takes one"):
        other = configs.base("dcgan")
        other.update_from_flattened_dict(
            {"data.name": "tfds", "data.dir": str(tmp_path / "out"), "model.form": "conditional"}
        )
        other.update_from_flattened_dict({"model.image_shape": (8, 8, 3), "model.condition_dim": 3})
        data.make_source(other)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda root: None, "has no captions: a .txt beside each picture, such as fish.txt, or a table"),
        (lambda root: (root / "fish.txt").write_bytes(b"\xff\xfe\x00"), "fish.txt cannot be read as UTF-8 text"),
        (lambda root: (root / "fish.txt").write_text("x" * 4097), "fish.txt has a text of 4,097 characters"),
        (lambda root: (root / "metadata.csv").write_text("file,text\nlynx.png,a lynx\n"), "no column of metadata.csv"),
        (lambda root: (root / "metadata.csv").write_text("\n"), "metadata.csv cannot be read .*: it is empty"),
        (lambda root: (root / "metadata.csv").write_text("file,text\n"), "metadata.csv has no row below its header"),
    ],
)
def test_pictures_without_captions_are_refused(tmp_path, make, why):
    make(write(tmp_path))
    with pytest.raises(UserError, match=why):
        corpus(tmp_path)


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"lynx": np.zeros(3, np.float32)}, "no array .lynx. has the name of a picture, such as fish"),
        (
            {"fish": np.zeros(3, np.float32), "goat": np.zeros(2, np.float32)},
            "has arrays .2., .3.; each picture needs one",
        ),
        ({"fish": np.full(3, np.nan, np.float32)}, "fish is float32; finite numbers, float32, are needed"),
        ({"fish": np.zeros(3, np.int64)}, "fish is int64; finite numbers"),
    ],
)
def test_embeddings_that_do_not_fit_are_refused(tmp_path, arrays, why):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError, match=why):
        corpus(write(tmp_path / "in"), embeddings=str(tmp_path / "a.npz"))


def test_no_training_is_recommended_for_one_text():
    found = {"images": 9, "width": [8, 8, 8], "height": [8, 8, 8], "captions": {"different": 1}}
    recommended = lambda: recommend.training(
        epath.Path("x"), "", 1, found, forms.Form(32), resize="area", kind="captions"
    )
    assert recommended() == "no preset fits: every picture has the same caption, so nothing can be learnt of them"
    found["captions"]["different"] = 2
    assert recommended().startswith("to train: ")


def test_data_without_captions_or_with_one_text_are_refused(words):
    c = config_of("", **{"data.name": "mnist5k", "model.image_shape": (32, 32, 3)})
    with pytest.raises(UserError, match="mnist5k has no captions, and model.family text_to_image needs some; prepare"):
        data.make_source(c)
    found = dict(words[1], captions={"each": [1, 1, 1], "bytes": [1, 1, 1], "different": 1})
    with pytest.raises(UserError, match="every picture of here has the same caption"):
        data.stats.refuse(found, conditional=False, batch_size=2, where="here", captioned=True)
    c = configs.base("gan")
    c.update_from_flattened_dict({"data.name": "digit_captions", "model.image_shape": (16, 16, 1)})
    with pytest.raises(UserError, match="digit_captions has captions, for model.family text_to_image; use mnist5k"):
        data.make_source(c)


def test_digits_have_captions_of_their_class_and_stroke():
    found, plain = builtin.digit_captions(16, "test", 1, 40), builtin.digits(16, "test", 1)
    texts = [[captions.decode(row) for row in rows] for rows in found.labels]
    for rows, label in zip(texts, plain.labels.tolist(), strict=True):
        assert all(builtin.WORDS[label] in text for text in rows[:2]) and rows[2].endswith(str(label))
    ink, bold = plain.images.mean((1, 2, 3)), np.array(["bold" in rows[0] for rows in texts])
    assert 0.2 < bold.mean() < 0.5 and ink[bold].min() >= ink[~bold].max()


@pytest.mark.slow
def test_the_command_prepares_a_zip_and_says_how_to_train(tmp_path):
    import zipfile

    beside(write(tmp_path / "in"))
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for file in sorted((tmp_path / "in").iterdir()):
            archive.write(file, file.name)
    common = ("--from=captions", f"--in={tmp_path / 'in.zip'}", "--size=8", "--workers=1")
    result = run("data.prepare", *common, f"--out={tmp_path / 'out'}")
    assert result.returncode == 0, result.stderr
    assert "--config=classic/text_to_image32" in result.stdout and "image_shape=(8,8,3)" in result.stdout
    refused(
        run("data.prepare", *common, f"--out={tmp_path / 'b'}", "--labels=none"),
        "--labels has no effect with --from=captions",
    )
