"""Models to hand on: they draw the checkpoint's images, from a folder, by name or from the hub, and damage is found."""

import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
import types

import jax
import numpy as np
import pytest

import biggan_jax
from biggan_jax.checkpoint import exported, find, load_generator, locate, safetensors
from biggan_jax.checkpoint.exported import CARD, CONFIG, FILES, SUMMED, SUMS
from biggan_jax.checkpoint.layout import MODEL
from biggan_jax.latents import Truncation
from biggan_jax.runtime import pretrained
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.sampling.training_data import bits_of
from biggan_jax.tools.classes import find_names
from biggan_jax.types import UserError
from tests.conftest import ROOT, assert_identical

NAMES = [f"digit {i}" for i in range(10)]


def write(folder, trained, **data):
    folder.mkdir()
    for name, content in exported.contents(trained, data or {"class_names": NAMES, "dtype": "uint16"}, "0").items():
        (folder / name).write_bytes(content)
    (folder / CARD).write_text("# A model\n")
    return folder


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    return write(tmp_path_factory.mktemp("exported") / "model", trained)


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def resummed(folder, **changed):
    """Change files, by the names of this module, and write their sums, as an untrusted model may."""
    for name, content in changed.items():
        (folder / globals()[name]).write_bytes(content)
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in SUMMED]
    (folder / SUMS).write_text("".join(sums))
    return folder


def test_a_model_draws_the_images_of_its_checkpoint(folder, workdir, trained):
    read = load_generator(folder)
    assert_identical({"params": read.params, "stats": read.stats}, {"params": trained.params, "stats": trained.stats})
    assert (read.step, read.live, read.gan is trained.gan) == (trained.step, False, True)
    ours, theirs = (biggan_jax.load(str(path), statistics="running") for path in (folder, workdir))
    z, y = theirs.latents(3), [0, 1, 2]
    assert ours.floats(z, y, 8).tobytes() == theirs.floats(z, y, 8).tobytes()


def test_truncation_is_a_number_or_of_a_kind(folder):
    load = lambda truncation: biggan_jax.load(folder, truncation=truncation, statistics="running").truncation
    assert load(0.5) == Truncation(0.5, "resample") and load(Truncation(2.0, "std")).kind == "std"
    with pytest.raises(UserError, match="truncation=0 must be greater than 0"):
        load(0)


def test_class_names_and_bits_come_along(folder):
    read = load_generator(folder)
    assert find_names(read) == tuple(NAMES) and bits_of(read) == 16


def test_statistics_by_truncation_come_along(trained, tmp_path):
    binned = jax.tree.map(lambda x: np.stack([x, x + 1]), trained.stats["batch_stats"])
    read = load_generator(write(tmp_path / "binned", dataclasses.replace(trained, binned=binned)))
    assert_identical(read.binned, binned)


def test_live_weights_are_those_of_a_live_model_only(folder, trained, tmp_path):
    with pytest.raises(UserError, match="has averaged weights alone; for --weights=live give the run's checkpoint"):
        load_generator(folder, live=True)
    assert load_generator(write(tmp_path / "live", dataclasses.replace(trained, live=True))).live


@pytest.mark.parametrize("name", [*SUMMED, SUMS])
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(UserError, match=f"copy lacks {name}; an exported model has {MODEL}"):
        load_generator(copy)


@pytest.mark.parametrize("name", SUMMED)
@pytest.mark.parametrize("damage", [lambda raw: raw[:-3], lambda raw: raw[:-3] + b"\0\0\0", lambda raw: b""])
def test_a_damaged_file_is_named(copy, name, damage):
    (copy / name).write_bytes(damage((copy / name).read_bytes()))
    with pytest.raises(UserError, match=rf"{name} is damaged, truncated or changed: its SHA-256 is not that in"):
        load_generator(copy)


@pytest.mark.parametrize("line", ["", "0" * 64 + "  ../x", "x", "0" * 63 + f"  {MODEL}", "\xff"])
def test_damaged_sums_are_refused(copy, line):
    (copy / SUMS).write_text(f"{line}\n" + (copy / SUMS).read_text())
    with pytest.raises(UserError, match="SHA256SUMS is damaged: the line"):
        load_generator(copy)


def test_a_sum_must_be_there_for_each_file(copy):
    (copy / SUMS).write_text((copy / SUMS).read_text().partition("\n")[2])
    with pytest.raises(UserError, match="SHA256SUMS has no sum of model.safetensors"):
        load_generator(copy)


def test_weights_of_another_config_are_refused(copy):
    config = json.loads((copy / CONFIG).read_text())
    config["model"]["ch"] = 6
    with pytest.raises(UserError, match=r"the array params\.\S+ is float32\[\S+\], but its config makes it float32"):
        load_generator(resummed(copy, CONFIG=json.dumps(config).encode()))


def test_missing_and_foreign_arrays_are_named(copy):
    arrays, about = safetensors.from_bytes((copy / MODEL).read_bytes(), "m")
    first = next(iter(arrays))
    more = safetensors.to_bytes(arrays | {"params.other": np.zeros(1)}, about)
    with pytest.raises(UserError, match="has an array 'params.other' that its config does not name"):
        load_generator(resummed(copy, MODEL=more))
    fewer = {name: array for name, array in arrays.items() if name != first}
    with pytest.raises(UserError, match=f"has no array {first}; it belongs to another config"):
        load_generator(resummed(copy, MODEL=safetensors.to_bytes(fewer, about)))


@pytest.mark.parametrize("content", [b"{", b'{"model": {"family": "x"}}', b"[]", b" " * 2**21])
def test_a_config_that_is_none_is_refused(copy, content):
    with pytest.raises(UserError, match="config.json"):
        load_generator(resummed(copy, CONFIG=content))


def test_a_foreign_safetensors_file_is_refused(copy):
    with pytest.raises(UserError, match="is not a model of biggan_jax, or of another version"):
        load_generator(resummed(copy, MODEL=safetensors.to_bytes({"conv.weight": np.zeros(3)}, {"format": "pt"})))


def test_training_state_is_not_expected_of_a_model(folder):
    with pytest.raises(
        UserError, match="is an exported model, of which G can be sampled; this needs a run's checkpoint"
    ):
        find(folder)


# --- Names ---


@pytest.fixture
def hub(folder, monkeypatch):
    """A stand-in for huggingface_hub, which has one repository, here/model, with the tag v1."""
    calls = []

    def snapshot_download(repo, *, revision, allow_patterns):
        calls.append((repo, revision, sorted(allow_patterns)))
        if repo == "here/other":
            return str(ROOT / "configs")
        if repo != "here/model" or revision not in (None, "v1"):
            raise RuntimeError(f"404 Client Error.\n\nRepository Not Found for {repo}")
        return str(folder)

    stand_in = types.ModuleType("huggingface_hub")
    stand_in.snapshot_download = snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", stand_in)
    return calls


def test_a_model_of_the_hub_is_downloaded_and_checked(hub, folder, trained, copy, monkeypatch):
    sampler = biggan_jax.load("hf://here/model", revision="v1", statistics="running")
    assert_identical(sampler.variables["batch_stats"], trained.stats["batch_stats"])
    load_generator("hf://here/model")
    assert hub == [("here/model", "v1", sorted(FILES)), ("here/model", None, sorted(FILES))]
    (copy / MODEL).write_bytes(b"changed")
    monkeypatch.setattr(sys.modules["huggingface_hub"], "snapshot_download", lambda *_, **__: str(copy))
    with pytest.raises(UserError, match="model.safetensors is damaged"):
        load_generator("hf://here/model")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("hf://here", "hf://here is not the name of a model on the hub, which is hf://OWNER/NAME"),
        ("hf://here/model@", "is not the name of a model on the hub"),
        ("hf://a/b/c", "is not the name of a model on the hub"),
        ("hf://here/none", "hf://here/none cannot be downloaded: 404 Client Error"),
        ("hf://here/other", "hf://here/other has no model that `biggan-export model` wrote"),
    ],
)
def test_other_names_of_the_hub_are_refused(hub, name, sentence):
    with pytest.raises(UserError) as refused:
        locate(name)
    assert sentence in str(refused.value) and "\n" not in str(refused.value)


def test_without_huggingface_hub_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"hf://a/b needs huggingface_hub: pip install 'biggan-jax\[hub\]'"):
        load_generator("hf://a/b")
    with pytest.raises(UserError, match="revision='v1' has no meaning for runs/demo"):
        Sampler.from_pretrained("runs/demo", revision="v1")


def test_a_folder_comes_before_a_model_of_its_name(folder, workdir, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "packaged", lambda: {"mine": folder})
    monkeypatch.chdir(tmp_path)
    assert locate("mine") == folder
    with pytest.raises(UserError, match="no checkpoint at .*; did you mean mine, which is in the package"):
        locate("mina")
    (tmp_path / "mine").symlink_to(workdir)
    assert locate("mine") == find(tmp_path / "mine")


def test_importing_the_package_imports_no_jax():
    script = "import sys, biggan_jax; print(biggan_jax.load.__name__, {'jax', 'numpy', 'flax'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "load set()\n", done.stderr


def test_the_digits_in_the_package_are_whole_and_small():
    trained = load_generator("digits")
    assert (trained.step, trained.gan.num_classes, trained.gan.image_shape) == (1200, 10, (16, 16, 3))
    files = [path for path in (ROOT / "biggan_jax" / "pretrained" / "digits").iterdir() if path.is_file()]
    assert {"README.md", "SHA256SUMS"} < {path.name for path in files}
    assert sum(path.stat().st_size for path in files) <= 1_000_000
