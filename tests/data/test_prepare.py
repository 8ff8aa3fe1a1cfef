"""The command that prepares data; its output is read as in training."""

import collections
import contextlib
import io
import json
import os
import shlex
import shutil
import signal
import struct
import time

import numpy as np
import pytest
from array_record.python import array_record_module
from etils import epath
from PIL import Image

from biggan_jax import config as configs
from biggan_jax import data
from biggan_jax.config import own_data
from biggan_jax.data import forms, picture, raw, recommend, shards, stats
from biggan_jax.data.labelled import ONE_CLASS
from biggan_jax.data.records import example_type
from biggan_jax.models import build_gan
from biggan_jax.types import UserError
from tests import cli
from tests.data import conftest
from tests.data.conftest import COLOURS, damage, encode, make_folder, opened, parsed, prepared, read_all


def run(*flags, workers=1):
    """Return (status, stdout, stderr) of the command, which by default uses one process."""
    result = cli.run("data.prepare", f"--workers={workers}", *flags)
    assert "Traceback" not in result.stderr, result.stderr
    return result.returncode, result.stdout, result.stderr


def test_a_folder_becomes_a_set_that_training_and_tfds_read(all_pictures, tmp_path):
    out = tmp_path / "out"
    flags = "--from=folder", f"--in={all_pictures}", f"--out={out}", "--held_out=4", "--per_shard=25"
    code, said, log = run(*flags, workers=2)
    assert code == 0, log
    assert f"--config.data.dir={out} --config.model.num_classes=3" in said
    assert "train: 60 images in 3 classes of 20" in log
    assert "test: 12 images in 3 classes of 4" in log
    train, test = opened(out), opened(out, "test")
    assert (len(train), len(test), train.class_names) == (60, 12, ("blue", "green", "red"))
    images, labels, unreadable = read_all(train)
    assert not unreadable and images.shape == (60, 16, 16, 3)
    # Each picture is a ramp of the colour that its class is named after.
    brightest = images.mean((1, 2)).argmax(-1)
    assert [COLOURS[i] for i in brightest] == [train.class_names[label] for label in labels]
    import tensorflow_datasets

    rows = tensorflow_datasets.builder_from_directory(out).as_data_source("test")
    assert [row["label"] for row in rows] == read_all(test).labels.tolist()


def test_upright_opaque_jpeg_and_png_are_kept_to_the_byte(all_pictures, all_made):
    source = opened(all_made)
    kept = {}
    for number in range(len(source)):
        feature = source.example(number).features.feature
        name = feature["file_name"].bytes_list.value[0].decode()
        kept[name] = feature["image"].bytes_list.value[0]
    assert len(kept) == 72
    for name, stored in kept.items():
        original = (all_pictures / name).read_bytes()
        if name.endswith("webp"):  # TFDS cannot decode WebP.
            assert Image.open(io.BytesIO(stored)).format == "PNG"
            np.testing.assert_array_equal(picture.decode(stored), picture.decode(original))
        else:
            assert stored == original


def test_gray_alpha_cmyk_16_bit_and_rotated_are_converted(tmp_path):
    """Gray, RGBA, CMYK, 16-bit and EXIF-rotated pictures are stored as viewers show them."""
    root = tmp_path / "odd"
    (root / "a").mkdir(parents=True)
    pixels = conftest.picture(0, 0)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(root / "a/turned.JPG", exif=exif, quality=95)
    Image.fromarray(pixels).convert("L").save(root / "a/gray.png")
    Image.fromarray(np.dstack([pixels, np.zeros(pixels.shape[:2], np.uint8)])).save(root / "a/clear.png")
    Image.fromarray(pixels).convert("CMYK").save(root / "a/cmyk.jpg", quality=95)
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(root / "a/deep.png")
    for form in (forms.Form(), forms.Form(16)):
        source = opened(prepared(root, tmp_path / f"out{form.size}", form))
        names = [source.name(i, source.example(i)).rpartition("(")[2][2:-1] for i in range(5)]
        images = dict(zip(names, read_all(source).images.astype(int), strict=True))
        upright = picture.resize(picture.crop(np.rot90(pixels, -1)), (16, 16), "area")
        level = picture.resize(picture.crop(pixels), (16, 16), "area").astype(int)
        assert np.abs(images["turned.JPG"] - upright).mean() < 4
        assert (images["clear.png"] == 255).all()
        assert (np.ptp(images["gray.png"], -1) == 0).all()
        assert np.abs(images["deep.png"][..., 1] - level[..., 0]).max() <= 1
        assert np.abs(images["cmyk.jpg"] - level).mean() < 8


def test_cropped_pictures_are_what_training_makes_of_the_files(all_made, all_small):
    whole, small = opened(all_made), opened(all_small)
    np.testing.assert_array_equal(read_all(whole).images, read_all(small).images)
    np.testing.assert_array_equal(read_all(whole).labels, read_all(small).labels)
    with pytest.raises(UserError, match="has pictures resized by area, not by data.resize=lanczos"):
        opened(all_small, resize="lanczos")


def test_unreadable_and_duplicate_pictures_are_named(pictures, tmp_path):
    (pictures / "red/bad.jpg").write_bytes(b"\xff\xd8\xff nothing")
    shutil.copy(pictures / "red/001.png", pictures / "green/copy.png")
    (pictures / "red/notes.txt").write_text("not a picture")
    _, _, log = run("--from=folder", f"--in={pictures}", f"--out={tmp_path / 'out'}")
    assert "1 records cannot be read: red/bad.jpg" in log
    assert "1 pairs of equal files are in two classes: ['green/copy.png', 'red/001.png']" in log
    found = json.loads((tmp_path / "out" / stats.FILE).read_text())["train"]
    assert found["images"] == 73 and found["unreadable"] == 1 and found["labels"] == [0, 2]
    assert opened(tmp_path / "out").checked == found, "training shows it again"


def wrong_level(pictures, tmp_path):
    return (
        pictures.parent,
        "no folder in --in=.* has pictures of its own, .*; what works: --in=.*/pictures: it can be read",
    )


def no_classes(pictures, tmp_path):
    return (
        pictures / "red",
        "must have a folder of pictures for each class, but it has 24 pictures and no folders",
    )


def an_empty_class(pictures, tmp_path):
    (pictures / "yellow").mkdir()
    return pictures, "1 folders in --in=.* have no pictures: yellow"


def loose_pictures(pictures, tmp_path):
    shutil.copy(pictures / "red/001.png", pictures / "stray.png")
    return pictures, "has 1 pictures outside its class folders, such as stray.png; what works: .*moving them into one"


def nothing(pictures, tmp_path):
    return pictures / "nowhere", "--in=.* is not a folder"


def test_a_folder_of_another_structure_is_refused(all_pictures, tmp_path):
    for case in (wrong_level, no_classes, an_empty_class, loose_pictures, nothing):
        pictures = shutil.copytree(all_pictures, tmp_path / case.__name__ / "pictures")
        root, sentence = case(pictures, tmp_path)
        with pytest.raises(UserError, match=sentence):
            prepared(root, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_mistakes_on_the_command_line_end_with_one_sentence(all_pictures, tmp_path):
    out = f"--out={tmp_path / 'out'}"
    assert run(out)[0] == 2
    code, _, err = run("--from=folders", f"--in={all_pictures}", out)
    assert code == 2 and "did you mean folder?" in err
    code, _, err = run("--from=folder", f"--in={all_pictures}", out, "--keep_classes=5")
    assert code == 2 and "--keep_classes has no effect with --from=folder" in err
    code, _, err = run("--from=folder", f"--in={all_pictures}", f"--out={all_pictures / 'out'}")
    assert code == 2 and "where it would become a class; give another --out" in err
    code, _, err = run("--from=imagenet", f"--in={tmp_path}", out)
    assert code == 2 and "has neither ILSVRC2012_img_train.tar nor ILSVRC2012_img_val.tar" in err


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_interrupted_it_resumes_with_the_missing_shards(all_pictures, all_made, tmp_path):
    out = tmp_path / "made"

    def interrupted(run, jobs):
        yield from map(run, jobs[:2])
        (out / f".{jobs[2].shard}.tmp").write_bytes(b"half a shard, of a command that was killed")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        found = raw.folder(all_pictures, raw.Rules(per_part=16))
        shards.prepare(found, out, "pictures", forms.Form(), interrupted)
    finished = {path: path.stat().st_mtime_ns for path in out.glob("pictures-*")}
    assert len(finished) == 2
    prepared(all_pictures, out)
    assert all(path.stat().st_mtime_ns == then for path, then in finished.items()), "no shard is written twice"
    assert contents(out) == contents(all_made)


@pytest.mark.slow
def test_killed_at_any_time_it_resumes_to_the_same_bytes(pictures, tmp_path):
    flags = "--from=folder", f"--in={pictures}", "--per_shard=2", "--size=16", "--workers=2"
    assert cli.run("data.prepare", *flags, f"--out={tmp_path / 'whole'}").returncode == 0
    out = tmp_path / "out"
    killed = 0
    for shards_there in (3, 12, 24):
        with cli.Process("data.prepare", *flags, f"--out={out}") as process:
            while process.poll() is None and len(list(out.glob("*array_record*"))) < shards_there:
                time.sleep(0.005)
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
        killed += process.returncode == -signal.SIGKILL
    assert killed
    finished = {path: path.stat().st_mtime_ns for path in out.glob("out-*")}
    result = cli.run("data.prepare", *flags, f"--out={out}")
    assert result.returncode == 0, result.stderr
    assert finished and all(path.stat().st_mtime_ns == then for path, then in finished.items()), "none is made twice"
    expected = {str(path).replace("whole", "out"): data for path, data in contents(tmp_path / "whole").items()}
    found = {str(path): data for path, data in contents(out).items() if not path.name.startswith(".")}
    assert {p: d for p, d in found.items() if "array_record" in p} == {
        p: d for p, d in expected.items() if "array_record" in p
    }
    assert not list(out.glob(".*")), "nothing half written is left"


def test_an_existing_set_or_folder_is_not_overwritten(pictures, tmp_path):
    out = prepared(pictures, tmp_path / "out")
    before = contents(out)
    prepared(pictures, out)
    assert contents(out) == before, "asked for again, it is there"
    with pytest.raises(UserError, match="has another prepared set"):
        prepared(pictures, out, per_part=7)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("dear to someone")
    with pytest.raises(UserError, match="is not empty"):
        prepared(pictures, other)
    half = tmp_path / "half"
    (half / shards.WORK).mkdir(parents=True)
    (half / shards.WORK / "plan").write_text("of something else")
    with pytest.raises(UserError, match="has another, incomplete set"):
        prepared(pictures, half)


def example(encoded, *labels):
    made = example_type()()
    made.features.feature["image/encoded"].bytes_list.value.append(encoded)
    made.features.feature["image/class/label"].int64_list.value.extend(labels)
    return made.SerializeToString()


LABELS = [(0,), (1, 2), (2, 1), (2,), (3, 2), (5, 0), ()]
"""Of a corpus's examples. Label 2 occurs four times, 0 and 1 twice, 3 and 5 once, 4 never."""


def make_corpus(folder, form):
    folder.mkdir()
    for shard in range(2):
        path = folder / f"train.{form}-{shard:05d}-of-00002"
        records = [example(encode(conftest.picture(0, i)), *labels) for i, labels in list(enumerate(LABELS))[shard::2]]
        if form == "tfrecord":
            with path.open("wb") as file:
                for record in records:
                    file.write(struct.pack("<Q", len(record)) + b"\0\0\0\0" + record + b"\0\0\0\0")
        else:
            writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
            for record in records:
                writer.write(record)
            writer.close()
    names = folder / "classes.txt"
    names.write_text("\n".join(["zero", "one", "two", "three", "four", "five"]))
    return folder / "train*", names


@pytest.mark.parametrize(
    ("options", "names", "expected"),
    [
        ({}, ("zero", "one", "two", "three", "five"), [0, 1, 2, 2, 3, 4]),
        ({"pick": "frequent"}, ("zero", "one", "two", "three", "five"), [0, 2, 2, 2, 2, 0]),
        ({"keep_classes": 2}, ("zero", "two"), [0, 1, 1, 1, 1, 0]),
        ({"keep_classes": 1, "pick": "frequent"}, ("two",), [0, 0, 0, 0]),
    ],
    ids=["first", "frequent", "two classes", "one class"],
)
@pytest.mark.parametrize("form", ["tfrecord", "array_record"])
def test_of_several_labels_of_an_example_one_is_kept(form, options, names, expected, tmp_path):
    pattern, classes = make_corpus(tmp_path / "corpus", form)
    found = raw.examples(
        str(pattern),
        image="image/encoded",
        label="image/class/label",
        parallel=map,
        classes=str(classes),
        pick=options.get("pick", "first"),
        keep=options.get("keep_classes", 0),
    )
    shards.prepare(found, tmp_path / "out", "corpus", forms.Form(), map)
    source = opened(tmp_path / "out")
    assert source.class_names == names
    assert collections.Counter(read_all(source).labels.tolist()) == collections.Counter(expected)


def test_a_corpus_is_prepared_by_the_command(tmp_path):
    pattern, classes = make_corpus(tmp_path / "corpus", "tfrecord")
    flags = f"--in={pattern}", f"--out={tmp_path / 'out'}", f"--classes={classes}", "--pick=frequent"
    code, _, err = run("--from=examples", *flags)
    assert code == 0 and "6 images in 5 classes" in err
    code, _, err = run("--from=examples", f"--in={tmp_path}/nothing*", f"--out={tmp_path / 'new'}")
    assert code == 2 and "matches no file" in err
    code, _, err = run("--from=examples", f"--in={pattern}", f"--out={tmp_path / 'new'}", "--label_key=lable")
    assert code == 2 and "has labels in 'lable'; give --label_key" in err


def test_a_truncated_file_is_named(tmp_path):
    pattern, _ = make_corpus(tmp_path / "corpus", "tfrecord")
    first = min(pattern.parent.glob("train*"))
    first.write_bytes(first.read_bytes()[:-7])
    with pytest.raises(UserError, match=f"{first} is truncated"):
        list(raw.read_records(str(first)))


def test_a_set_that_tfds_prepared_as_tfrecord_is_converted(pictures, tmp_path):
    made = prepared(pictures, tmp_path / "made", held_out=4)
    old = tmp_path / "old"
    old.mkdir()
    for path in made.iterdir():
        name = path.name.replace("array_record", "tfrecord")
        if name == path.name:
            shutil.copy(path, old / name)
            continue
        with (old / name).open("wb") as file:
            for record in raw.read_records(str(path)):
                file.write(struct.pack("<Q", len(record)) + b"\0\0\0\0" + record + b"\0\0\0\0")
    info = old / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(UserError, match="in the format tfrecord, which has no access by number; convert it once"):
        opened(old)
    code, _, err = run("--from=tfds", f"--in={old}", f"--out={tmp_path / 'new'}")
    assert code == 0, err
    for split in ("train", "test"):
        before, after = opened(made, split), opened(tmp_path / "new", split)
        for a, b in zip(read_all(before), read_all(after), strict=True):
            np.testing.assert_array_equal(a, b)


def test_validate_reads_all_of_a_set_again(made):
    result = cli.run("data.validate", f"--in={made}")
    assert result.returncode == 0 and "72 images in 3 classes of 24" in result.stdout, result.stderr
    damage(made)
    result = cli.run("data.validate", f"--in={made}")
    assert result.returncode == 1 and "records cannot be read: record" in result.stdout, result.stderr


def test_each_shard_has_pictures_of_all_classes(tmp_path):
    found = raw.folder(make_folder(tmp_path / "p", each=10), raw.Rules(per_part=7))
    parts = found.splits["train"]
    assert sorted(len(part.paths) for part in parts) == [6, 6, 6, 6, 6]
    assert all(set(part.labels) == {0, 1, 2} for part in parts)


@pytest.mark.parametrize(("size", "pixels"), [(0, 64), (16, 16), (64, 64)])
def test_the_command_it_prints_is_one_that_trains(size, pixels, pictures, tmp_path, monkeypatch):
    """The shell parses the command for any folder name, and training accepts its config."""
    out = tmp_path / "my ü $set 2024"
    options = [f"--size={size}", "--resize=lanczos"] if size else []
    code, said, err = run("--from=folder", f"--in={pictures}", f"--out={out}", *options)
    assert code == 0, err
    assert " --config=auto " in said
    config = parsed(said, monkeypatch)
    assert config.data.resize == ("lanczos" if size else "area") and config.model.resolution == pixels
    build_gan(config)
    source = data.make_source(config)
    data.before_training(source, config)
    assert len(source) == 72


@pytest.mark.slow
def test_the_printed_command_trains_on_400_pictures_and_resumes(tmp_path, monkeypatch):
    code, said, err = run("--from=folder", f"--in={many(tmp_path / 'p')}", f"--out={tmp_path / 'set'}", "--size=16")
    assert code == 0, err
    monkeypatch.chdir(tmp_path)
    _, _, _, *flags = shlex.split(said.partition("to train: ")[2])
    small = "--config.model.ch=4", "--config.stability.every=0", "--config.sample_every=0"
    for steps in (2, 3):
        trained = cli.run("main", *flags, *small, f"--config.num_steps={steps}")
        assert trained.returncode == 0, trained.stderr
        assert ("auto: batch_size=32: " in trained.stderr) == (steps == 2)
    assert "auto: as this run began" in trained.stderr and "resuming from step 2" in trained.stderr
    stored = json.loads((tmp_path / "runs/set/config.json").read_text())
    assert "auto" not in configs.flatten(stored).values()
    assert (stored["model"]["ch"], stored["model"]["resolution"], stored["batch_size"]) == (4, 16, 32)
    again = "--config_json=runs/set/config.json", "--workdir=runs/set", "--config.num_steps=4"
    resumed = cli.run("main", *again)
    assert resumed.returncode == 0 and "resuming from step 3" in resumed.stderr, resumed.stderr


def many(root):
    """Make a folder of 400 pictures in four classes."""
    rng = np.random.default_rng(0)
    for name in "abcd":
        (root / name).mkdir(parents=True)
        for i in range(100):
            (root / name / f"{i}.png").write_bytes(encode(rng.integers(0, 256, (16, 18, 3), np.uint8)))
    return root


def test_a_set_of_one_class_is_trained_without_labels(tmp_path):
    (tmp_path / "p" / "red").mkdir(parents=True)
    (tmp_path / "p" / "red" / "0.png").write_bytes(encode(conftest.picture(0, 0)))
    _, said, _ = run("--from=folder", f"--in={tmp_path / 'p'}", f"--out={tmp_path / 'out'}")
    assert "--config.model.num_classes=0" in said


@pytest.mark.parametrize(
    ("images", "classes", "used", "why"),
    [
        (
            6,
            3,
            0,
            "num_classes=0: 2 pictures per class are too few to learn classes from, below 10; to use them, set model.num_classes=3; ",
        ),
        (9, 1, 0, "num_classes=0: the set has no classes, or one; "),
        (30, 3, 3, ""),
    ],
)
@pytest.mark.parametrize("form", [forms.Form(64), forms.Form(8, channels=1, bits=8)], ids=["auto", "dense"])
def test_a_recommendation_says_why_classes_are_left_out(form, images, classes, used, why):
    found = {"images": images, "width": None, "height": None}
    said = recommend.training(epath.Path("data/set"), "", classes, found, form, resize="area")
    assert said.startswith(f"{why}to train: python -m biggan_jax.main") and f"--config.model.num_classes={used}" in said
    facts = own_data.Facts(images, classes, (64, 64, 3))
    assert own_data.choose_for(own_data.template(), facts, 1, "cpu")[0].model.num_classes == used, "as auto does"


def test_a_set_without_classes_is_called_unlabelled():
    assert recommend.named([ONE_CLASS]) == "none; the set is unlabelled"
    assert recommend.named(["cat", "dog"]) == "0 = cat, 1 = dog"


def test_names_that_are_not_text_and_other_files_are_skipped(pictures, tmp_path):
    (pictures / "red" / os.fsdecode(b"\xff\xfe.png")).write_bytes(encode(conftest.picture(0, 99)))
    (pictures / "red" / "deep").mkdir()
    (pictures / "green" / "p.heic").write_text("of a telephone")
    code, _, err = run("--from=folder", f"--in={pictures}", f"--out={tmp_path / 'out'}")
    assert code == 0 and "73 images" in err, err
    assert "left out: 1 of 74 pictures are of formats that are not read (1 .heic; convert them)" in err


def test_two_commands_do_not_write_one_set(pictures, tmp_path):
    out = tmp_path / "out"
    found = raw.folder(pictures, raw.Rules(per_part=16))
    with (
        shards._claimed(out, shards.fingerprint(found, "pictures", forms.Form())),
        pytest.raises(UserError, match="another command is preparing"),
    ):
        prepared(pictures, out)
    assert prepared(pictures, out) == out


def test_pictures_that_were_repaired_are_read_again(tmp_path):
    root = tmp_path / "p"
    (root / "a").mkdir(parents=True)
    (root / "a/1.png").write_text("no picture")
    with pytest.raises(UserError, match="no picture can be read: a/1.png: not a picture"):
        prepared(root, tmp_path / "out")
    (root / "a/1.png").write_bytes(encode(conftest.picture(0, 0)))
    assert len(opened(prepared(root, tmp_path / "out"))) == 1


def test_class_names_are_each_given_once(tmp_path):
    path = tmp_path / "classes.txt"
    for text, name in (("a\nb\na", "'a'"), ("a\n\nb", "''")):
        path.write_text(text)
        with pytest.raises(UserError, match=f"different class name in each line; {name} is empty or repeated"):
            raw._read_names(str(path))


def test_a_damaged_example_is_named_and_another_format_refused(tmp_path):
    path = tmp_path / "x.tfrecord"
    good = example(encode(conftest.picture(0, 0)), 3)
    with path.open("wb") as file:
        for record in (b"\xffnonsense", good):
            file.write(struct.pack("<Q", len(record)) + b"\0\0\0\0" + record + b"\0\0\0\0")
    items = list(raw.Examples(str(path), "image/encoded", "image/class/label"))
    assert items[0] == f"record 0 of {path}: no example" and items[1].label == 3
    path.write_bytes(b"this is a text file, of some length")
    with pytest.raises(UserError, match="is truncated, or not a TFRecord file"):
        list(raw.read_records(str(path)))
