"""Archives of CIFAR in their two forms, made small; their hashes stand in for the public ones."""

import dataclasses
import hashlib
import io
import pickle
import pickletools
import tarfile

import numpy as np
import pytest

from biggan_jax.data import cifar, forms, shards
from biggan_jax.types import UserError
from tests import cli
from tests.data.conftest import opened, read_all

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 12, 32, 32, 3), np.uint8)
"""Six files of twelve pictures: five to train, one to test."""


def rows(images):
    return images.transpose(0, 3, 1, 2).reshape(len(images), -1)


def python2(values):
    """Pickle a dict with one array as Python 2 did: texts are bytes, and NumPy's functions have their old names."""
    array = lambda a: (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I%d\nI%d\ntcnumpy\ndtype\n(S'u1'\nI0\nI1\ntR"
        b"(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\n" % a.shape + b"T" + np.int32(a.size).tobytes() + a.tobytes() + b"tb"
    )
    text = lambda t: b"S" + repr(t)[0:].encode() + b"\n"
    whole = b"("
    for key, value in values.items():
        whole += text(key)
        if isinstance(value, np.ndarray):
            whole += array(value)
        else:
            whole += b"(l" + b"".join((text(v) if isinstance(v, str) else b"I%d\n" % v) + b"a" for v in value)
        whole += b"s"
    whole = whole[:1] + b"d" + whole[1:] + b"."
    pickletools.dis(whole, io.StringIO())
    return whole


def made(folder, kind, form):
    """Write an archive of this kind and form; return its path and description."""
    archive = cifar.ARCHIVES[kind][0 if form == "binary" else 1]
    labels, coarse = np.arange(12) % 10, np.arange(12) % 4
    names = {
        "": [f"c{i}" for i in range(10)],
        "fine": [f"f{i}" for i in range(10)],
        "coarse": [f"k{i}" for i in range(4)],
    }
    files = {}
    for name, images in zip([*archive.train, archive.test], IMAGES, strict=False):
        if form == "binary":
            columns = [labels] if kind == "cifar10" else [coarse, labels]
            files[name] = np.column_stack([*(c.astype(np.uint8) for c in columns), rows(images)]).tobytes()
        elif kind == "cifar10":
            files[name] = python2({"data": rows(images), "labels": labels.tolist()})
        else:
            files[name] = python2(
                {"data": rows(images), "fine_labels": labels.tolist(), "coarse_labels": coarse.tolist()}
            )
    for label in cifar.LABELS[kind]:
        if form == "binary":
            files[archive.names.format(label)] = "\n".join(names[label]).encode() + b"\n\n"
    if form == "python":
        files[archive.names] = python2(
            {f"{label}_label_names".lstrip("_"): names[label] for label in cifar.LABELS[kind]}
        )
    path = folder / archive.file
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{archive.folder}/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path, dataclasses.replace(archive, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.parametrize("form", ["binary", "python"])
@pytest.mark.parametrize(
    ("kind", "label", "first"), [("cifar10", "", "c0"), ("cifar100", "", "f0"), ("cifar100", "coarse", "k0")]
)
def test_an_archive_becomes_a_set_with_its_own_test_split(kind, label, first, form, tmp_path, monkeypatch):
    _, archive = made(tmp_path, kind, form)
    monkeypatch.setitem(cifar.ARCHIVES, kind, (archive,))
    monkeypatch.setattr(cifar, "EACH", 5)  # A file becomes several shards.
    found = cifar.corpus(kind, tmp_path, label)
    assert found.class_names[0] == first
    shards.prepare(found, tmp_path / "out", "set", forms.Form(32), map)
    train, test = opened(tmp_path / "out", resolution=32), opened(tmp_path / "out", "test", resolution=32)
    read = read_all(train)
    whole = IMAGES[: len(archive.train)].reshape(-1, 32, 32, 3)
    np.testing.assert_array_equal(read.images, whole)
    modulus = 4 if label == "coarse" else 10
    assert read.labels.tolist() == [i % 12 % modulus for i in range(len(whole))]
    np.testing.assert_array_equal(read_all(test).images, IMAGES[len(archive.train)])


def test_another_file_than_the_public_archive_is_refused(tmp_path):
    path, _ = made(tmp_path, "cifar10", "binary")
    flags = "--workers=1", "--from=cifar10", f"--out={tmp_path / 'out'}"
    cli.refused(
        cli.run("data.prepare", *flags, f"--in={path}"), "is not a public archive of cifar10, or not whole (SHA-256 "
    )
    (tmp_path / "empty").mkdir()
    said = cli.run("data.prepare", *flags, f"--in={tmp_path / 'empty'}")
    cli.refused(said, "has no archive of cifar10; download https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz or")


def test_a_pickle_runs_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    for content in (
        pickle.dumps({b"data": Evil()}, 2),
        b"cos\nsystem\n(S'touch /tmp/x'\ntR.",
        b"",
        b"(dp0",
        pickle.dumps([1]),
    ):
        with pytest.raises(UserError, match="not a batch of CIFAR"):
            cifar.unpickle(content)
    with pytest.raises(UserError, match="it names posix.system"):
        cifar.unpickle(b"cposix\nsystem\n(S'true'\ntR.")
