"""The command that prepares data, started as a user starts it, and what it makes, read as training reads it."""

import collections
import contextlib
import io
import json
import os
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
from array_record.python import array_record_module
from PIL import Image

from biggan_jax.config import base
from biggan_jax.data import picture, raw, shards, stats, tfds
from biggan_jax.data.records import example_type
from biggan_jax.types import UserError
from tests.data import conftest
from tests.data.conftest import COLOURS, encode, make_folder


def start(*flags):
    command = [sys.executable, "-m", "biggan_jax.data.prepare", *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(*flags):
    process = start(*flags)
    out, err = process.communicate(timeout=300)
    assert "Traceback" not in err, err
    return process.returncode, out, err


def opened(folder, split="train", resolution=16, **data):
    config = base()
    config.data.update(dir=str(folder), **data)
    config.model.resolution = resolution
    return tfds.open_tfds(config, split)


def read_all(source):
    return source.read(np.arange(len(source)), np.full(len(source), 0.5))


def here(function, items):
    """`parallel` in this process."""
    return map(function, items)


AS_IT_IS = shards.Form()


def prepared(folder, out, form=AS_IT_IS, held_out=0, per_part=16):
    found = raw.folder(folder, held_out=held_out, per_part=per_part)
    shards.prepare(found, out, "pictures", form, here, lambda done, of: None)
    return out


def test_a_folder_becomes_a_set_that_training_and_tfds_read(pictures, tmp_path):
    out = tmp_path / "out"
    code, said, log = run("--from=folder", f"--in={pictures}", f"--out={out}", "--held_out=4", "--per_shard=25")
    assert code == 0, log
    assert f"--config.data.dir={out} --config.model.num_classes=3" in said
    assert "train: 60 images in 3 classes, 20 to 20 a class" in log
    assert "test: 12 images in 3 classes, 4 to 4 a class" in log
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


def test_pictures_are_kept_to_the_byte_where_their_bytes_say_all(pictures, tmp_path):
    source = opened(prepared(pictures, tmp_path / "out"))
    kept = {}
    for number in range(len(source)):
        feature = source.example(number).features.feature
        name = feature["file_name"].bytes_list.value[0].decode()
        kept[name] = feature["image"].bytes_list.value[0]
    assert len(kept) == 72
    for name, stored in kept.items():
        original = (pictures / name).read_bytes()
        if name.endswith("webp"):  # Which TFDS cannot decode.
            assert Image.open(io.BytesIO(stored)).format == "PNG"
            np.testing.assert_array_equal(picture.decode(stored), picture.decode(original))
        else:
            assert stored == original


def test_odd_pictures_are_set_right(tmp_path):
    """Gray, RGBA, CMYK, 16-bit and EXIF-rotated pictures end as people see them."""
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
    for form in (shards.Form(), shards.Form(16)):
        source = opened(prepared(root, tmp_path / f"out{form.size}", form))
        names = [source.name(i, source.example(i)).rpartition("(")[2][2:-1] for i in range(5)]
        images = dict(zip(names, read_all(source).images.astype(int), strict=True))
        upright = picture.resize(picture.square(np.rot90(pixels, -1)), 16, "area")
        level = picture.resize(picture.square(pixels), 16, "area").astype(int)
        assert np.abs(images["turned.JPG"] - upright).mean() < 4
        assert (images["clear.png"] == 255).all()
        assert (np.ptp(images["gray.png"], -1) == 0).all()
        assert np.abs(images["deep.png"][..., 1] - level[..., 0]).max() <= 1
        assert np.abs(images["cmyk.jpg"] - level).mean() < 8


def test_cropped_pictures_are_what_training_would_make_of_the_files(pictures, tmp_path):
    whole = opened(prepared(pictures, tmp_path / "whole"))
    small = opened(prepared(pictures, tmp_path / "small", shards.Form(16)))
    np.testing.assert_array_equal(read_all(whole).images, read_all(small).images)
    np.testing.assert_array_equal(read_all(whole).labels, read_all(small).labels)
    with pytest.raises(UserError, match="holds pictures resized by area, not by data.resize=lanczos"):
        opened(tmp_path / "small", resize="lanczos")


def test_what_is_wrong_with_a_folder_is_seen_and_named(pictures, tmp_path):
    (pictures / "red/bad.jpg").write_bytes(b"\xff\xd8\xff nothing")
    shutil.copy(pictures / "red/001.png", pictures / "green/copy.png")
    (pictures / "red/notes.txt").write_text("not a picture")
    _, _, log = run("--from=folder", f"--in={pictures}", f"--out={tmp_path / 'out'}")
    assert "1 cannot be read: red/bad.jpg" in log
    assert "1 pairs of equal files lie in two classes: ['green/copy.png', 'red/001.png']" in log
    found = json.loads((tmp_path / "out" / stats.FILE).read_text())["train"]
    assert found["images"] == 73 and found["unreadable"] == 1 and found["labels"] == [0, 2]
    assert opened(tmp_path / "out").checked == found, "training shows it again"


def wrong_level(pictures, tmp_path):
    return pictures.parent, "no folder in --in=.* has pictures .*; they may be one level deeper: --in=.*pictures"


def no_classes(pictures, tmp_path):
    return (
        pictures / "red",
        "must hold a folder for each class, with pictures in it, but it has 24 pictures and no folders",
    )


def an_empty_class(pictures, tmp_path):
    (pictures / "yellow").mkdir()
    return pictures, "1 folders in --in=.* have no pictures: yellow"


def loose_pictures(pictures, tmp_path):
    shutil.copy(pictures / "red/001.png", pictures / "stray.png")
    return pictures, "has 1 pictures beside its folders, such as stray.png, of no class; move them into one"


def nothing(pictures, tmp_path):
    return pictures / "nowhere", "--in=.* is not a folder"


@pytest.mark.parametrize("case", [wrong_level, no_classes, an_empty_class, loose_pictures, nothing])
def test_a_folder_of_another_shape_is_refused_with_what_to_do(case, pictures, tmp_path):
    root, sentence = case(pictures, tmp_path)
    with pytest.raises(UserError, match=sentence):
        prepared(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_mistakes_on_the_command_line_end_with_one_sentence(pictures, tmp_path):
    out = f"--out={tmp_path / 'out'}"
    assert run(out)[0] == 2
    code, _, err = run("--from=folders", f"--in={pictures}", out)
    assert code == 2 and "did you mean folder?" in err
    code, _, err = run("--from=folder", f"--in={pictures}", out, "--keep_classes=5")
    assert code == 2 and "--keep_classes means nothing with --from=folder" in err


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_killed_at_any_time_it_goes_on_and_ends_in_the_same_bytes(pictures, tmp_path):
    flags = "--from=folder", f"--in={pictures}", "--per_shard=2", "--size=16", "--workers=2"
    assert run(*flags, f"--out={tmp_path / 'whole'}")[0] == 0
    out = tmp_path / "out"
    killed = 0
    for shards_there in (3, 12, 24):
        process = start(*flags, f"--out={out}")
        while process.poll() is None and len(list(out.glob("*array_record*"))) < shards_there:
            time.sleep(0.005)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
    assert killed
    finished = {path: path.stat().st_mtime_ns for path in out.glob("out-*")}
    code, _, err = run(*flags, f"--out={out}")
    assert code == 0, err
    assert finished and all(path.stat().st_mtime_ns == then for path, then in finished.items()), "none is made twice"
    expected = {str(path).replace("whole", "out"): data for path, data in contents(tmp_path / "whole").items()}
    found = {str(path): data for path, data in contents(out).items() if not path.name.startswith(".")}
    assert {p: d for p, d in found.items() if "array_record" in p} == {
        p: d for p, d in expected.items() if "array_record" in p
    }
    assert not list(out.glob(".*")), "nothing half written is left"


def test_what_is_there_is_not_overwritten(pictures, tmp_path):
    out = prepared(pictures, tmp_path / "out")
    before = contents(out)
    prepared(pictures, out)
    assert contents(out) == before, "asked for again, it is there"
    with pytest.raises(UserError, match="holds another prepared set"):
        prepared(pictures, out, per_part=7)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("dear to someone")
    with pytest.raises(UserError, match="is not empty"):
        prepared(pictures, other)
    half = tmp_path / "half"
    (half / shards.WORK).mkdir(parents=True)
    (half / shards.WORK / "plan").write_text("of something else")
    with pytest.raises(UserError, match="holds another set, half prepared"):
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
def test_a_corpus_of_examples_with_several_labels(form, options, names, expected, tmp_path):
    pattern, classes = make_corpus(tmp_path / "corpus", form)
    found = raw.examples(
        str(pattern),
        image="image/encoded",
        label="image/class/label",
        parallel=here,
        classes=str(classes),
        pick=options.get("pick", "first"),
        keep=options.get("keep_classes", 0),
    )
    shards.prepare(found, tmp_path / "out", "corpus", shards.Form(), here, lambda done, of: None)
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


def test_a_file_that_is_cut_off_is_named(tmp_path):
    pattern, _ = make_corpus(tmp_path / "corpus", "tfrecord")
    first = min(pattern.parent.glob("train*"))
    first.write_bytes(first.read_bytes()[:-7])
    with pytest.raises(UserError, match=f"{first} is cut off"):
        list(raw.read_records(str(first)))


def test_a_set_that_tfds_prepared_as_tfrecord_is_converted_once(pictures, tmp_path):
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
    with pytest.raises(UserError, match="is prepared as tfrecord, which cannot be read by number; convert it once"):
        opened(old)
    code, _, err = run("--from=tfds", f"--in={old}", f"--out={tmp_path / 'new'}")
    assert code == 0, err
    for split in ("train", "test"):
        before, after = opened(made, split), opened(tmp_path / "new", split)
        for a, b in zip(read_all(before), read_all(after), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_prepared_set_is_examined_again(pictures, tmp_path):
    out = prepared(pictures, tmp_path / "out")
    examine = [sys.executable, "-m", "biggan_jax.data.validate", f"--in={out}"]
    result = subprocess.run(examine, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0 and "72 images in 3 classes, 24 to 24 a class" in result.stdout, result.stderr
    damage(out)
    result = subprocess.run(examine, capture_output=True, text=True, timeout=120)
    assert result.returncode == 1 and "cannot be read: record" in result.stdout, result.stderr


def damage(out):
    """Overwrites the middle of one picture of the first shard."""
    shard = min(out.glob("*array_record*"))
    data = bytearray(shard.read_bytes())
    at = data.find(b"IDAT") + 40
    data[at : at + 20] = os.urandom(20)
    shard.write_bytes(data)
    return shard


def test_imagenet_without_its_tars_is_refused(tmp_path):
    code, _, err = run("--from=imagenet", f"--in={tmp_path}", f"--out={tmp_path / 'out'}")
    assert code == 2 and "has neither ILSVRC2012_img_train.tar nor ILSVRC2012_img_val.tar" in err


def test_a_large_folder_needs_few_files(tmp_path):
    found = raw.folder(make_folder(tmp_path / "p", each=10), held_out=0, per_part=7)
    parts = found.splits["train"]
    assert sorted(len(part.paths) for part in parts) == [6, 6, 6, 6, 6]
    assert all(set(part.labels) == {0, 1, 2} for part in parts)


@pytest.mark.parametrize("size", [0, 64])
def test_the_command_it_prints_is_one_that_trains(size, pictures, tmp_path):
    """Pasted into a shell, whatever the folder is called, it is a config that all that training asks agrees to."""
    out = tmp_path / "my ü $set 2024"
    flags = [f"--size={size}", "--resize=lanczos"] if size else []
    code, said, err = run("--from=folder", f"--in={pictures}", f"--out={out}", *flags)
    assert code == 0, err
    command = shlex.split(said.partition("to train: ")[2])
    check_config = """
import sys
from absl import flags
from biggan_jax import config as configs, data, main
from biggan_jax.runtime import cli
from biggan_jax.models import build_gan
cli._parse(sys.argv)
config = main.CONFIG.value
configs.validate(config)
build_gan(config)
config.batch_size = 8
source = data.make_source(config)
data.before_training(source, config, None, write=False)
print(len(source))
"""
    result = subprocess.run(
        [sys.executable, "-c", check_config, *command[3:]], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0 and result.stdout.strip() == "72", result.stderr


def test_a_set_of_one_class_is_trained_without_labels(tmp_path):
    root = make_folder(tmp_path / "p")
    shutil.rmtree(root / "red")
    shutil.rmtree(root / "blue")
    _, said, _ = run("--from=folder", f"--in={root}", f"--out={tmp_path / 'out'}")
    assert "--config.model.num_classes=0" in said


def test_names_that_are_no_text_and_what_is_passed_over_are_said(pictures, tmp_path):
    (pictures / "red" / os.fsdecode(b"\xff\xfe.png")).write_bytes(encode(conftest.picture(0, 99)))
    (pictures / "red" / "deep").mkdir()
    (pictures / "green" / "p.heic").write_text("of a telephone")
    code, _, err = run("--from=folder", f"--in={pictures}", f"--out={tmp_path / 'out'}")
    assert code == 0 and "73 images" in err, err
    assert "passed over 2 entries of class folders: " in err and "1 folders" in err and "1 .heic" in err


def test_two_commands_do_not_make_one_set(pictures, tmp_path):
    out = tmp_path / "out"
    found = raw.folder(pictures, held_out=0, per_part=16)
    with (
        shards._claimed(out, shards._fingerprint(found, "pictures", AS_IT_IS)),
        pytest.raises(UserError, match="another command is preparing"),
    ):
        prepared(pictures, out)
    assert prepared(pictures, out) == out


def test_pictures_that_were_mended_are_looked_at_again(tmp_path):
    root = tmp_path / "p"
    (root / "a").mkdir(parents=True)
    (root / "a/1.png").write_text("no picture")
    with pytest.raises(UserError, match="not one picture can be read: a/1.png: not a picture"):
        prepared(root, tmp_path / "out")
    (root / "a/1.png").write_bytes(encode(conftest.picture(0, 0)))
    assert len(opened(prepared(root, tmp_path / "out"))) == 1


def test_class_names_are_each_given_once(tmp_path):
    pattern, classes = make_corpus(tmp_path / "corpus", "tfrecord")
    for text, name in (("a\nb\na", "'a'"), ("a\n\nb", "''")):
        classes.write_text(text)
        code, _, err = run("--from=examples", f"--in={pattern}", f"--out={tmp_path / 'o'}", f"--classes={classes}")
        assert code == 2 and f"each line must be the name of another class, but {name} is not" in err


def test_what_is_no_example_is_named_and_what_is_no_tfrecord_refused(tmp_path):
    path = tmp_path / "x.tfrecord"
    good = example(encode(conftest.picture(0, 0)), 3)
    with path.open("wb") as file:
        for record in (b"\xffnonsense", good):
            file.write(struct.pack("<Q", len(record)) + b"\0\0\0\0" + record + b"\0\0\0\0")
    items = list(raw.Examples(str(path), "image/encoded", "image/class/label"))
    assert items[0] == f"record 0 of {path}: no example" and items[1].label == 3
    path.write_bytes(b"this is a text file, of some length")
    with pytest.raises(UserError, match="is cut off, or not a TFRecord file"):
        list(raw.read_records(str(path)))
