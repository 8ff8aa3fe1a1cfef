"""How the labels of pictures are found: folders, splits and tables, as public data sets have them."""

import json
import os
import re
import zipfile

import numpy as np
import pytest
from etils import epath

from biggan_jax.data import exact, layouts, raw, trees
from biggan_jax.data.labelled import Options
from biggan_jax.types import UserError
from tests import cli
from tests.data import conftest
from tests.data.conftest import encode


def tree(*paths, left_out=None, **texts):
    """A tree with these files. texts: of some of them, with __ for a dot."""
    content = {name.replace("__", "."): text.encode() for name, text in texts.items()}
    folders = {path[:at] for path in [*paths, *content] for at, letter in enumerate(path) if letter == "/"}
    sizes = dict.fromkeys(sorted([*(path for path in paths if not path.endswith("/")), *content]), 1)
    return trees.Tree("ROOT", sizes, frozenset(folders), left_out or {}, content.__getitem__)


def many(pattern, count=3):
    return [pattern.format(i) for i in range(count)]


KAGGLE = [*many("ILSVRC/Annotations/CLS-LOC/train/n01/n01_{}.xml"), *many("ILSVRC/ImageSets/CLS-LOC/{}.txt")]
KAGGLE += [f"ILSVRC/Data/CLS-LOC/train/n0{c}/n0{c}_{i}.JPEG" for c in (1, 2) for i in range(9)]
KAGGLE += [*many("ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_{}.JPEG"), *many("ILSVRC/Data/CLS-LOC/test/t_{}.JPEG")]
SOLUTION = "ImageId,PredictionString\n" + "".join(f"ILSVRC2012_val_{i},n0{1 + i % 2} 1 2 3 4\n" for i in range(3))
CLASSES = [*many("cat/{}.jpg"), *many("dog/{}.jpg")]


def below(folder, paths):
    return [f"{folder}/{path}" for path in paths]


@pytest.mark.parametrize(
    ("given", "sizes", "classes"),
    [
        (tree(*CLASSES), {"train": 6}, "cat dog"),
        (tree(*below("train", CLASSES), *below("val", CLASSES)), {"train": 6, "validation": 6}, "cat dog"),
        (tree(*below("Training", CLASSES), *below("Testing", CLASSES)), {"train": 6, "test": 6}, "cat dog"),
        (tree(*below("train", CLASSES), *many("test/{}.jpg")), {"train": 6}, "cat dog"),
        (tree(*below("train", CLASSES), *many("test/images/{}.jpg")), {"train": 6}, "cat dog"),
        (tree(*many("cat/images/{}.jpg"), *many("dog/images/{}.jpg")), {"train": 6}, "cat dog"),
        (tree(*many("trainA/{}.jpg"), *many("trainB/{}.jpg"), *many("testA/{}.jpg")), {"train": 6, "test": 3}, "A B"),
        (
            tree(
                *many("00000/img{}.png"),
                *many("00001/img9{}.png"),
                dataset__json=json.dumps(
                    {"labels": [[f"0000{i // 3}/img{'9' * (i // 3)}{i % 3}.png", i % 2] for i in range(6)]}
                ),
            ),
            {"train": 6},
            "0 1",
        ),
        (tree(*many("00000/img{}.png"), dataset__json='{"labels": null}'), {"train": 3}, "all"),
        (
            tree(*many("{}.png"), metadata__csv="file_name,text,label\n0.png,x,a\n1.png,y,b\n2.png,z,b\n"),
            {"train": 3},
            "a b",
        ),
        (
            tree(
                *many("i/{}.png"),
                metadata__jsonl='{"file_name": "i/0.png", "label": 3}\n{"file_name": "i/1.png", "label": 1}\n'
                '{"file_name": "i/2.png", "label": 1}\n',
            ),
            {"train": 3},
            "1 3",
        ),
        (
            tree(*many("train/a{}.jpg"), *many("test/b{}.jpg", 4), labels__csv="id,breed\na0,x\na1,y\na2,x\n"),
            {"train": 3},
            "x y",
        ),
        (
            tree(
                *many("train/a{}.jpg"),
                *many("test/b{}.jpg"),
                trainLabels__csv="image,level\na0,1\na1,0\na2,0\n",
                test__csv="image\nb0\nb1\nb2\n",
            ),
            {"train": 3},
            "0 1",
        ),
        (tree(*many("{}.jpg"), solution__csv="0.jpg,x\n1.jpg,y\n2.jpg,x\n"), {"train": 3}, "x y"),
        (tree(*many("v_{}.jpg"), val__csv="v_0,x\nv_1,y\nv_2,x\n"), {"train": 3}, "x y"),
        (
            tree(*many("{}.jpg"), labels__csv="image,label,split\n0,x,train\n1,y,train\n2,x,valid\n"),
            {"train": 2, "validation": 1},
            "x y",
        ),
        (tree(*many("{}.jpg"), labels__tsv="image\tlabel\n./0.jpg\t1.0\n.\\1.jpg\t0.0\n2.jpg\t\n"), None, None),
    ],
    ids=[
        *("classes", "torchvision", "capitals", "flat test", "test images", "inner folder", "cyclegan", "stylegan"),
        *(
            "stylegan null",
            "hf csv",
            "hf jsonl",
            "kaggle breeds",
            "kaggle labels",
            "flat csv",
            "no header",
            "split column",
            "missing",
        ),
    ],
)
def test_public_layouts_are_read(given, sizes, classes):
    if sizes is None:
        with pytest.raises(UserError, match="1 of 3 pictures have no label in labels.tsv, such as 2.jpg"):
            layouts.read(given)
        found = layouts.read(given, Options(skip_others=True))
        assert found.splits == {"train": {"0.jpg": "1", "1.jpg": "0"}}
        return
    found = layouts.read(given)
    assert {split: len(rows) for split, rows in found.splits.items()} == sizes
    assert " ".join(sorted({name for rows in found.splits.values() for name in rows.values()})) == classes


def test_kaggles_imagenet_is_read_with_its_solution():
    """The table lies at the root of the download, three levels above the pictures."""
    root = tree(*KAGGLE, LOC_val_solution__csv=SOLUTION, LOC_synset_mapping__txt="n01 tench\n")
    for top in ("", "ILSVRC", "ILSVRC/Data", "ILSVRC/Data/CLS-LOC"):
        found = layouts.read(root.below(top) if top else root)
        assert {split: len(rows) for split, rows in found.splits.items()} == {"train": 18, "validation": 3}
        start = "ILSVRC/Data/CLS-LOC".removeprefix(top).removeprefix("/")
        assert found.splits["validation"][f"{start}/val/ILSVRC2012_val_1.JPEG".removeprefix("/")] == "n02"
        assert any("test" in note and "no labels" in note for note in found.notes)
        assert not start or f"the set is in the folder {start}" in found.notes
    alone = layouts.read(root.below("ILSVRC/Data/CLS-LOC/val"))
    assert set(alone.splits["train"].values()) == {"n01", "n02"}


@pytest.mark.parametrize("labels", ["auto", "folders", "parent", "prefix"])
def test_kaggles_imagenet_without_its_solution_has_no_val(labels):
    """No way to read it makes classes of its splits."""
    found = layouts.read(tree(*KAGGLE), Options(labels=labels))
    assert set(found.splits) == {"train"} and set(found.splits["train"].values()) == {"n01", "n02"}
    said = "\n".join(found.notes)
    assert "6 held-out pictures without a label" in said or (
        "3 pictures of val" in said and "3 pictures of test" in said
    )


@pytest.mark.parametrize("labels", ["auto", "folders", "parent"])
@pytest.mark.parametrize("top", ["", "a/b/"])
@pytest.mark.parametrize("test", [below("test", CLASSES), many("test/{}.jpg"), []], ids=["classes", "flat", "none"])
def test_torchvisions_splits_are_never_classes(labels, top, test):
    paths = [*below("train", CLASSES), *below("val", CLASSES), *test]
    found = layouts.read(tree(*[top + path for path in paths]), Options(labels=labels))
    labelled = {"train": 6, "validation": 6} | ({"test": 6} if len(test) > 3 else {})
    assert {split: len(rows) for split, rows in found.splits.items()} == labelled
    assert {name for rows in found.splits.values() for name in rows.values()} == {"cat", "dog"}
    assert (len(test) == 3) == ("left out: 3 pictures of test, which have no labels" in found.notes)
    unlabelled = layouts.read(tree(*[top + path for path in paths]), Options(labels="none"))
    assert len(unlabelled.splits["train"]) == len(unlabelled.splits["validation"]) == 6


def test_splits_inside_of_classes_are_no_classes():
    given = tree(
        *[f"{name}/{split}/{i}.jpg" for name in ("cat", "dog") for split in ("train", "val") for i in range(3)]
    )
    with pytest.raises(UserError, match="no folder in --in=ROOT has pictures of its own") as error:
        layouts.read(given)
    assert "--labels=folders" in str(error.value) and "--labels=parent" not in str(error.value)
    with pytest.raises(UserError, match="--labels=parent would make classes of the splits cat/train, cat/val"):
        layouts.read(given, Options(labels="parent"))


def test_a_table_that_names_whole_paths_comes_before_splits():
    rows = "".join(f"set/{split}/{i}.jpg,{'xy'[i % 2]}\n" for split in ("train", "val") for i in range(4))
    given = tree(*many("set/train/{}.jpg", 4), *many("set/val/{}.jpg", 4), labels__csv=f"file,label\n{rows}")
    assert set(layouts.read(given).splits["train"].values()) == {"x", "y"}


PETS = [f"great_pyrenees_{i}.jpg" for i in range(4)] + [f"Abyssinian_{i}.jpg" for i in range(4)]


@pytest.mark.parametrize(
    "folder", ["train", "Train", "test", "val", "images", "img", "data", "all", "dataset", "photos_2"]
)
def test_one_folder_that_is_no_class_says_so(folder):
    found = layouts.read(tree(*many(f"{folder}/{{}}.jpg", 4)))
    assert found.notes == (f"the only folder is {folder}, which is no name of a class: the set has no classes",)
    with pytest.raises(
        UserError, match=f"the only folder is {folder}, .* file names begin with Abyssinian, great_pyr"
    ) as error:
        layouts.read(tree(*below(folder, PETS)))
    assert "--labels=prefix" in str(error.value)
    found = layouts.read(tree(*below(folder, PETS)), Options(labels="prefix"))
    assert set(found.splits["train"].values()) == {"great_pyrenees", "Abyssinian"}
    one = layouts.read(tree(*below(folder, PETS)), Options(labels="folders"))
    assert one.notes == (f"the only class is {folder}: the set has no classes",)


def test_names_before_numbers_are_classes_in_each_split():
    """Kaggle's dogs and cats, whose test pictures have numbers alone."""
    train = [f"train/{name}.{i}.jpg" for name in ("cat", "dog") for i in range(5)]
    with pytest.raises(UserError, match="the pictures in ROOT/train have no labels; what works: --labels=prefix: "):
        layouts.read(tree(*train, *many("test1/{}.jpg", 9)))
    found = layouts.read(tree(*train, *many("test1/{}.jpg", 9)), Options(labels="prefix"))
    assert set(found.splits) == {"train"} and found.splits["train"]["train/dog.3.jpg"] == "dog"
    assert found.notes == (
        "classes are the file names before their numbers: cat, dog",
        "left out: 9 held-out pictures without a label",
    )
    found = layouts.read(tree(*train, "val/cat.1.jpg", "val/cow.1.jpg", "val/x.jpg"), Options(labels="prefix"))
    assert found.splits["validation"] == {"val/cat.1.jpg": "cat"}


def test_a_file_without_a_name_before_a_number_is_told():
    given = tree(*[f"p/cat_{i}.jpg" for i in range(20)], *[f"p/dog_{i}.jpg" for i in range(20)], "p/logo.jpg")
    found = layouts.read(given, Options(labels="prefix"))
    assert "left out: 1 of 41 pictures have no name before a number, such as p/logo.jpg" in found.notes
    with pytest.raises(UserError, match="3 of 3 pictures have no name before a number, such as p/0.jpg"):
        layouts.read(tree(*many("p/{}.jpg")), Options(labels="prefix"))


@pytest.mark.parametrize(
    "names",
    [
        [f"IMG_{i}.jpg" for i in range(4)] + [f"DSC_{i}.jpg" for i in range(4)],
        [f"{i:06}.jpg" for i in range(8)],
        [f"{age}_0_{i}.jpg" for age in (20, 30) for i in range(4)],
        [f"{word}_1.jpg" for word in "abcdefgh"],
        [f"holiday_{i}.jpg" for i in range(8)],
    ],
    ids=["cameras", "numbers", "ages", "all different", "one"],
)
def test_file_names_that_are_no_classes_are_not_suggested(names):
    assert layouts.read(tree(*below("images", names))).splits["train"]
    with pytest.raises(UserError, match="pictures and no folders; what works: --labels=none") as error:
        layouts.read(tree(*names))
    assert "prefix" not in str(error.value)


def test_folders_of_images_and_masks_are_no_classes():
    with pytest.raises(
        UserError, match="pictures whose folders images, masks have no names of classes; what works: "
    ) as error:
        layouts.read(tree(*many("images/{}.jpg"), *many("masks/{}.png")))
    assert "--in=ROOT/images --labels=none" in str(error.value)
    assert layouts.read(tree(*many("{}.jpg")), Options(labels="none")).splits["train"]
    assert layouts.read(tree(*many("images/{}.jpg"), *many("masks/{}.png")), Options(labels="folders")).splits["train"]


@pytest.mark.parametrize("labels", ['{"labels": null}', '{"labels": []}'])
def test_a_stylegan_set_without_labels_is_unlabelled(labels):
    found = layouts.read(tree(*many("00000/img{}.png"), dataset__json=labels))
    assert found.notes == ("dataset.json has no labels: the set has no classes",)


def test_a_held_out_split_may_have_one_picture_a_class():
    rows = "ImageId,PredictionString\n" + "".join(f"v{i},n{i:02} 1 2 3 4\n" for i in range(12))
    train = [f"train/n{i:02}/{k}.jpg" for i in range(12) for k in range(2)]
    found = layouts.read(tree(*train, *many("val/v{}.jpg", 12), LOC_val_solution__csv=rows))
    assert found.splits["validation"]["val/v7.jpg"] == "n07"


def test_tiny_imagenet_is_read():
    val = "".join(f"val_{i}.JPEG\tn0{1 + i % 2}\t0\t0\t9\t9\n" for i in range(3))
    root = tree(
        *[f"train/n0{c}/images/n0{c}_{i}.JPEG" for c in (1, 2) for i in range(9)],
        *many("val/images/val_{}.JPEG"),
        *many("test/images/test_{}.JPEG"),
        "train/n01/n01_boxes.txt",
        **{"val/val_annotations__txt": val, "wnids__txt": "n01\nn02\n"},
    )
    found = layouts.read(root)
    assert {split: len(rows) for split, rows in found.splits.items()} == {"train": 18, "validation": 3}
    assert found.splits["validation"]["val/images/val_1.JPEG"] == "n02"


REFUSED = {
    "one level too high": (tree(*below("pictures", CLASSES)), "no folder in --in=ROOT has pictures"),
    "groups of classes": (tree(*below("grey", CLASSES), *below("colour", CLASSES)), "no folder in --in=ROOT has pictures"),
    "no folders": (tree(*many("{}.jpg")), "it has 3 pictures and no folders"),
    "nested": (tree(*CLASSES, *many("dog/old/{}.jpg")), "3 of 9 pictures deeper than CLASS/FILE, such as dog/old/0.jpg"),
    "hollow class": (tree(*many("a/{}.jpg", 99), "b/deep/1.jpg"), "1 of 100 pictures deeper than CLASS/FILE"),
    "loose": (tree(*CLASSES, "logo.png"), "1 pictures outside its class folders, such as logo.png"),
    "empty class": (tree(*CLASSES, "bird/"), "1 folders in --in=ROOT have no pictures: bird; what works: moving them elsewhere"),
    "xml beside": (tree(*CLASSES, "Annotations/1.xml"), "have no pictures: Annotations"),
    "flat splits": (tree(*many("train/cat.{}.jpg"), *many("test1/{}.jpg")), "the pictures in ROOT/train have no labels"),
    "two trains": (tree(*below("train1", CLASSES), *below("train2", CLASSES)), "but needs train, and each once"),
    "no train": (tree(*below("val", CLASSES), *below("test", CLASSES)), "but needs train"),
    "masks beside": (tree(*many("train/a/{}.jpg"), *many("test/a/{}.jpg"), *many("masks/{}.jpg")), "has masks beside"),
    "other classes": (tree(*below("train", CLASSES), *below("val", [*CLASSES, "cow/1.jpg"])), "that train lacks: cow"),
    "blocks": (tree(*many("00000/0000{}.png"), *many("01000/0100{}.png")), "parts of one numbered series"),
    "table below": (tree(*many("set/{}.jpg"), **{"set/labels__csv": "0,a\n1,b\n2,a\n"}), "table of their own"),
    "captions": (
        tree(*many("{}.png"), metadata__csv="file_name,text,author\n0.png,a,b\n1.png,c,d\n2.png,e,f\n"),
        "columns file_name, text, author; give the one of the labels as --label_key=COLUMN",
    ),
    "captions alone": (
        tree(*many("{}.png"), metadata__csv="file_name,text\n0.png,a\n1.png,c\n2.png,a\n"),
        "column 'text' is free text; captions need --from=captions; give --labels=none .*, or --label_key=text if",
    ),
    "captions in lines": (
        tree(*many("{}.png"), metadata__jsonl="".join(f'{{"file_name": "{i}.png", "prompt": "red"}}\n' for i in range(3))),
        "column 'prompt' is free text",
    ),
    "sentences": (
        tree(*many("{}.png", 9), data__csv="file,info\n" + "".join(f"{i}.png,a cat {i % 2} in a box\n" for i in range(9))),
        "column 'info' is free text",
    ),
    "names as labels": (
        tree(*many("{}.png", 30), labels__csv="".join(f"{i}.png,cat number {i}\n" for i in range(30))),
        "30 different values for 30 pictures.*without classes$",
    ),
    "names of few": (
        tree(*many("{}.png", 8), labels__csv="file,label\n" + "".join(f"{i}.png,p{i}\n" for i in range(8))),
        "8 different values for 8 pictures, so they are no classes; .*, or --labels=none .*, or --label_key=label if",
    ),
    "real numbers": (
        tree(*many("{}.png", 9), labels__csv="".join(f"{i}.png,{i % 2}.5\n" for i in range(9))),
        "real numbers",
    ),
    "vectors": (tree(*many("{}.png"), dataset__json='{"labels": [["0.png", [0.5, 1.5]]]}'), "2 numbers, not a class"),
    "two labels": (tree(*many("{}.png"), labels__csv="0.png,a\n0.png,b\n1.png,a\n"), "gives 0.png two labels"),
    "half a table": (tree(*many("{}.png"), labels__csv="0.png,a\n1.png,a\n"), "1 of 3 pictures have no label"),
    "two tables": (tree(*many("{}.png"), a__csv="0.png,a\n1.png,a\n2.png,b", b__csv="0.png,a\n1.png,a\n2.png,a"), "2 tables"),
    "heic": (tree(*CLASSES, *many("cat/{}.heic")), r"3 of 9 pictures are of formats that are not read \(3 .heic"),
    "broken links": (tree(*CLASSES, left_out={"cat/9.jpg": "its link points to nothing"}), "1 of 7 pictures cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_hint_that_is_followed_ends_in_success(case):
    """Each folder and flag in the message is tried; pictures are never to be removed."""
    given, sentence = REFUSED[case]
    with pytest.raises(UserError, match=sentence) as error:
        layouts.read(given)
    said = str(error.value)
    assert "remove" not in said
    ways = 0
    for folder in re.findall(r"--in=ROOT/(\S+): it can be read", said):
        layouts.read(given.below(folder))
        ways += 1
    for labels in re.findall(r"--labels=(none|folders|parent|prefix)", said):
        assert layouts.read(given, Options(labels=labels)).splits["train"]
        ways += 1
    for key in re.findall(r"--label_key=([a-z]+)", said):
        assert layouts.read(given, Options(label_key=key)).splits["train"]
    for flag in re.findall(r"--(skip_\w+)", said):
        assert layouts.read(given, Options(**{flag: True})).splits["train"]
        ways += 1
    assert ways or "correct it" in said or "--labels=FILE" in said, said


def test_few_nested_or_broken_entries_are_named_and_left_out():
    broken = {"cat/x.jpg": "its link points to nothing", "cow": "Permission denied", "notes.txt": "gone"}
    given = tree(*many("cat/{}.jpg", 99), "cat/deep/1.jpg", "cat/a.heic", "cat/notes.txt", left_out=broken)
    found = layouts.read(given)
    assert len(found.splits["train"]) == 99
    said = "\n".join(found.notes)
    for part in (
        "cat/x.jpg (its link points to nothing), cow (Permission denied)",
        "cat/deep/1.jpg",
        "1 .heic",
        "1 .txt",
    ):
        assert part in said
    assert "notes.txt (gone)" not in said


def test_classes_that_skip_nested_leaves_out_are_named():
    given, _ = REFUSED["hollow class"]
    assert any("with them the classes b" in note for note in layouts.read(given, Options(skip_nested=True)).notes)


def test_labels_may_be_folders_or_left_out():
    given = tree(*many("a/x/{}.jpg"), *many("b/x/{}.jpg"), *many("b/y/{}.jpg"))
    classes = lambda labels: set(layouts.read(given, Options(labels=labels)).splits["train"].values())
    assert classes("folders") == {"a", "b"}
    assert classes("parent") == {"a/x", "b/x", "y"}
    assert classes("none") == {"all"}
    splits = layouts.read(tree(*many("train/{}.jpg"), *many("test/{}.jpg")), Options(labels="none")).splits
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 3, "test": 3}


@pytest.mark.parametrize("name", [os.fsdecode(b"caf\xe9"), "cat ", "a\nb"], ids=["bytes", "space", "line break"])
def test_a_class_name_that_a_set_cannot_hold_is_refused(name):
    with pytest.raises(UserError, match=r"the class name '.*' (is not UTF-8|has a line break, or a space)"):
        layouts.read(tree(f"{name}/1.jpg", "b/1.jpg"))


def test_a_class_folder_that_is_not_utf8_stops_before_any_work(pictures, tmp_path):
    (pictures / "red").rename(pictures / os.fsdecode(b"r\xf6d"))
    result = cli.run("data.prepare", "--workers=1", "--from=folder", f"--in={pictures}", f"--out={tmp_path / 'out'}")
    cli.refused(result, r"the class name 'r\udcf6d' is not UTF-8; rename its folder")
    assert not (tmp_path / "out").exists()


def test_links_and_pipes_are_told_from_files(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.png").write_bytes(b"x")
    (tmp_path / "a/2.png").symlink_to(tmp_path / "a/1.png")
    (tmp_path / "a/3.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "a/loop").symlink_to(tmp_path)
    (tmp_path / "a/.hidden.png").write_bytes(b"x")
    (tmp_path / "__MACOSX").mkdir()
    os.mkfifo(tmp_path / "a/4.png")
    found = trees.of_folder(tmp_path)
    assert found.sizes == {"a/1.png": 1, "a/2.png": 1}
    assert found.left_out == {
        "a/3.png": "its link points to nothing",
        "a/4.png": "it is no regular file",
        "a/loop": "it is a link to a folder that it is in",
    }


def test_many_unreadable_pictures_are_left_out_only_if_asked(tmp_path):
    """The set stays incomplete until then, and no shard is written twice."""
    (tmp_path / "in/a").mkdir(parents=True)
    for i in range(4):
        (tmp_path / f"in/a/{i}.png").write_bytes(encode(conftest.picture(0, i)))
    (tmp_path / "in/a/4.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    flags = "--workers=1", "--from=folder", f"--in={tmp_path / 'in'}", f"--out={tmp_path / 'out'}"
    said = cli.run("data.prepare", *flags)
    cli.refused(
        said, "1 of 5 pictures cannot be read, such as a/4.png: a pointer of Git LFS, not the picture; run git lfs pull"
    )
    done = cli.run("data.prepare", *flags, "--skip-others")
    assert done.returncode == 0 and "4 images in 1 class" in done.stderr, done.stderr


def number_folders(root):
    for i in (0, 1, 2, 10, 11):
        (root / str(i)).mkdir(parents=True)
        for k in range(4):
            (root / f"{i}/{k}.png").write_bytes(encode(np.full((8, 8, 3), 20 * i, np.uint8)))
    return root


def test_classes_named_by_numbers_are_in_their_order(tmp_path):
    root = number_folders(tmp_path / "in")
    result = cli.run("data.prepare", "--workers=1", "--from=folder", f"--in={root}", f"--out={tmp_path / 'out'}")
    assert result.returncode == 0, result.stderr
    assert "classes are in the order of these" in result.stderr
    assert "classes: 0 = 0, 1 = 1, 2 = 2, 3 = 10, 4 = 11" in result.stderr
    assert conftest.opened(tmp_path / "out").class_names == ("0", "1", "2", "10", "11")


def test_a_set_of_the_earlier_rules_keeps_them(tmp_path):
    root, out = number_folders(tmp_path / "in"), tmp_path / "out"
    dark = np.full((8, 8, 1), 300, np.uint16)
    (root / "0/0.png").write_bytes(exact.png(dark))  # Without a range that is clear, which such sets did not need.
    old = raw.folder(root, raw.Rules(held_out=1, split="last", order="name"))
    raw_names = old.class_names
    assert raw_names == ("0", "1", "10", "11", "2")
    assert [path for part in old.splits["test"] for path in part.paths] == [f"{name}/3.png" for name in raw_names]
    conftest.shards.prepare(old, out, "out", conftest.forms.Form(), map)
    flags = "--workers=1", "--from=folder", f"--in={root}", f"--out={out}", "--held_out=1"
    result = cli.run("data.prepare", *flags)
    assert result.returncode == 0 and "was begun by an earlier version, whose order of classes" in result.stderr
    assert conftest.opened(out).class_names == raw_names


def test_held_out_pictures_are_drawn_by_class_and_seed(tmp_path):
    root = conftest.make_folder(tmp_path / "p", each=20)
    paths = lambda **rules: {
        path for part in raw.folder(root, raw.Rules(held_out=5, **rules)).splits["test"] for path in part.paths
    }
    drawn = paths()
    assert {name: sum(path.startswith(name) for path in drawn) for name in conftest.COLOURS} == dict.fromkeys(
        conftest.COLOURS, 5
    )
    assert drawn == paths() and drawn != paths(seed=1)
    last = paths(split="last")
    assert all(int(path[-8:].lstrip("/").split(".")[0][-3:]) >= 15 for path in last) and drawn != last
    (root / "red/999.png").write_bytes(encode(conftest.picture(0, 99)))
    assert len(drawn & paths()) >= 14, "a new picture moves at most one other"
    train = {path for part in raw.folder(root, raw.Rules(held_out=5)).splits["train"] for path in part.paths}
    assert not train & paths()


def test_a_set_with_splits_holds_out_no_more(tmp_path):
    conftest.make_folder(tmp_path / "p/train", each=2)
    conftest.make_folder(tmp_path / "p/val", each=1)
    with pytest.raises(UserError, match="--held_out has no effect: the pictures already have the split validation"):
        raw.folder(tmp_path / "p", raw.Rules(held_out=1))
    found = raw.folder(tmp_path / "p", raw.Rules())
    assert {split: sum(len(part.paths) for part in parts) for split, parts in found.splits.items()} == {
        "train": 6,
        "validation": 3,
    }


def test_pictures_of_a_zip_that_lead_out_of_it_are_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for name in ("cat/1.png", "../dog/2.png", "cat/../../3.png", ".hidden/4.png", "cat/..5.png"):
            archive.writestr(name, b"")
    tree = trees.of_zip(epath.Path(tmp_path / "p.zip"))
    assert list(tree.sizes) == ["cat/1.png"]
    assert tree.left_out == dict.fromkeys(("../dog/2.png", "cat/../../3.png"), "its path leads out of the zip")


def test_a_zip_is_read_like_the_folder_in_it(all_pictures, tmp_path):
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for path in sorted(all_pictures.rglob("*.*")):
            archive.write(path, f"pictures/{path.relative_to(all_pictures)}")
        archive.writestr("__MACOSX/pictures/red/._001.png", b"x")
    out = tmp_path / "out"
    result = cli.run("data.prepare", "--workers=1", "--from=zip", f"--in={tmp_path / 'p.zip'}", f"--out={out}")
    assert result.returncode == 0, result.stderr
    assert "the set is in the folder pictures" in result.stderr
    whole = conftest.opened(conftest.prepared(all_pictures, tmp_path / "made", per_part=2048))
    for a, b in zip(conftest.read_all(conftest.opened(out)), conftest.read_all(whole), strict=True):
        np.testing.assert_array_equal(a, b)
    again = cli.run("data.prepare", "--workers=1", "--from=folder", f"--in={tmp_path / 'p.zip'}", f"--out={out}")
    cli.refused(again, "is not a folder; a zip needs --from=zip")
