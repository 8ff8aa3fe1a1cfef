"""ImageNet prepared by TFDS's builder, from tars of small pictures in image-net.org's format."""

import io
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from absl import app  # noqa: F401  TFDS's builder asks for flags that absl defines.

from biggan_jax.data import tfds
from tests.conftest import ROOT
from tests.data.conftest import encode, opened, picture, read_all
from tests.data.test_prepare import run

tensorflow = pytest.importorskip("tensorflow", reason="TFDS prepares ImageNet with TensorFlow, which is not installed")
pytestmark = pytest.mark.tf

CLASSES = "n01440764", "n01443537", "n02119789"
"""The first two of ImageNet's thousand in TFDS's order of labels, and one further on."""


def add(tar, name, data):
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


@pytest.fixture
def tars(tmp_path):
    """The official layout: a tar that contains one tar per class, and a tar of validation pictures."""
    folder = tmp_path / "tars"
    folder.mkdir()
    with tarfile.open(folder / tfds.IMAGENET_TARS[0], "w") as train:
        for colour, synset in enumerate(CLASSES):
            inner = io.BytesIO()
            with tarfile.open(fileobj=inner, mode="w") as tar:
                for i in range(30):
                    add(tar, f"{synset}_{i}.JPEG", encode(picture(colour, i), "JPEG", quality=95))
            add(train, f"{synset}.tar", inner.getvalue())
    with tarfile.open(folder / tfds.IMAGENET_TARS[1], "w") as val:
        for i in range(1, 13):
            add(val, f"ILSVRC2012_val_{i:08d}.JPEG", encode(picture(0, 100 + i), "JPEG"))
    return folder


def test_the_two_tars_become_a_set_read_without_tensorflow(tars, tmp_path):
    out = tmp_path / "out"
    code, said, err = run("--from=imagenet", f"--in={tars}", f"--out={out}")
    assert code == 0, err
    assert "--config=biggan_imagenet128" in said
    read = f"""
import sys
from tests.data.conftest import opened, read_all
images, labels, unreadable = read_all(opened({str(out)!r}, dataset="imagenet2012"))
assert not unreadable and images.shape == (90, 16, 16, 3), images.shape
assert len(set(labels.tolist())) == 3 and "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", read], check=True, cwd=ROOT, timeout=120)
    source = opened(out, dataset="imagenet2012")
    images, labels, _ = read_all(source)
    assert source.num_classes == 1000 and {source.class_names[label] for label in labels} == set(CLASSES)
    brightest = images.mean((1, 2)).argmax(-1)
    assert [CLASSES[colour] for colour in brightest] == [source.class_names[label] for label in labels]
    assert len(opened(out, "test", dataset="imagenet2012")) == 12, "what is held out is the validation split"


def test_imagenet_is_prepared_again_in_the_size_of_training(tars, tmp_path):
    built = tfds.prepare_imagenet(tars, tmp_path / "out")
    code, _, err = run("--from=tfds", f"--in={built}", f"--out={tmp_path / 'small'}", "--size=16")
    assert code == 0 and "90 images in 1,000 classes" in err and "997 classes have no images" in err
    whole, small = opened(built), opened(tmp_path / "small")
    for a, b in zip(read_all(whole)[:2], read_all(small)[:2], strict=True):
        np.testing.assert_array_equal(a, b)


def test_pictures_are_decoded_as_tensorflow_does(tars, tmp_path):
    source = opened(tfds.prepare_imagenet(tars, tmp_path / "out"))
    stored = source.example(0).features.feature["image"].bytes_list.value[0]
    pixels = tensorflow.io.decode_jpeg(stored, 3, dct_method="INTEGER_ACCURATE").numpy()
    np.testing.assert_array_equal(source.pixels(source.example(0)), pixels)
