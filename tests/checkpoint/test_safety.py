"""Loading untrusted files executes no code: no source line could, and real attacks fail. See docs/safety.md."""

import ast
import contextlib
import io
import json
import pathlib
import pickle
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from biggan_jax import checkpoint
from biggan_jax.checkpoint import checksums, metadata
from biggan_jax.convert import files as torch_files
from biggan_jax.data import features, forms, raw, records, shards, stats, tfds
from biggan_jax.data.picture import UnreadableError
from biggan_jax.runtime import files, jsonl
from biggan_jax.tools.classes import terms
from biggan_jax.tools.export.samples import folder_names
from biggan_jax.types import UserError
from tests import cli
from tests.conftest import ROOT, untrained_run
from tests.properties import damaged

# --- Source lines ---

MAY_RUN = {
    "biggan_jax/data/cifar.py": {"pickle"},  # Its unpickler imports nothing; tests/data/test_cifar.py attacks it.
    "biggan_jax/convert/snapshot.py": {
        "pickle"
    },  # Its unpicklers import nothing; tests/convert/test_snapshot.py attacks them.
    # Its unpickler imports nothing; tests/evaluation/test_stylegan_statistics.py attacks it.
    "biggan_jax/evaluation/stylegan_statistics.py": {"pickle"},
    # CLIP's own files, after their published SHA-256; tests/evaluation/test_encoders.py gives it others.
    "biggan_jax/evaluation/weights.py": {"torch.jit.load"},
    "biggan_jax/config/loading.py": {"runpy.run_path"},  # A config file is Python; --help says so.
    "biggan_jax/runtime/startup.py": {"importlib.import_module"},  # jax, and a command of this package.
    "biggan_jax/runtime/distributed.py": {"subprocess"},  # The command itself, once for each process.
    "biggan_jax/tools/notebook.py": {"subprocess"},  # A command of this package, with the flags in a cell.
    "biggan_jax/tools/layout.py": {"subprocess"},  # ffmpeg, with pixels as its input.
    "biggan_jax/runtime/heap.py": {"ctypes"},  # The C library's malloc_trim, without arguments from files.
}
MODULES = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "yaml",
    "subprocess",
    "ctypes",
    "code",
    "pty",
}
CALLS = {"eval", "exec", "compile", "__import__", "import_module", "run_path", "run_module", "system", "popen"}
CALLS |= {
    "execv",
    "execve",
    "execvp",
    "spawnl",
    "spawnv",
    "extractall",
    "unpack_archive",
    "read_pickle",
    "literal_eval",
}


def name_of(node):
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def constant(call, keyword):
    return next((k.value.value for k in call.keywords if k.arg == keyword and isinstance(k.value, ast.Constant)), None)


def offences(text):
    """Return the names in a module that could execute the contents of a file."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.partition(".")[0] in MODULES}
        elif isinstance(node, ast.ImportFrom):
            named = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {node.module} if (node.module or "").partition(".")[0] in MODULES else set()
            found |= {name for name in named if name.rpartition(".")[2] in CALLS}
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            found |= set() if isinstance(node.value, ast.Constant) and node.value.value is False else {"allow_pickle"}
        elif isinstance(node, ast.keyword) and node.arg == "shell":
            found.add("shell")
        elif isinstance(node, ast.Call):
            name = name_of(node.func)
            # re.compile and the compile methods of JAX do not execute files.
            if name.rpartition(".")[2] in CALLS and not (name != "compile" and name.endswith(".compile")):
                found.add(name)
            if name == "torch.jit.load":  # A TorchScript archive is a program.
                found.add(name)
            if name == "torch.load" and constant(node, "weights_only") is not True:
                found.add(name)
            if name in ("np.load", "numpy.load") and len(node.args) > 2:
                found.add(f"{name} with positional arguments")
            if name == "Image.open" and not any(k.arg == "formats" for k in node.keywords):
                found.add("Image.open of any format")
    return found


SOURCES = sorted(path for folder in ("biggan_jax", "configs") for path in (ROOT / folder).rglob("*.py"))


def test_no_source_line_executes_file_contents():
    found = {str(path.relative_to(ROOT)): offences(path.read_text()) for path in SOURCES}
    allowed = {path: names - MAY_RUN.get(path, set()) for path, names in found.items()}
    assert not {path: names for path, names in allowed.items() if names}


PLANTED = [
    "import pickle",
    "import pickle as harmless",
    "from pickle import loads",
    "import yaml",
    "import subprocess",
    "from joblib import load",
    "from os import system",
    "x = eval(text)",
    "exec(text)",
    "exec(compile(text, 'x', 'exec'))",
    "__import__(name)",
    "importlib.import_module(name)",
    "from importlib import import_module",
    "runpy.run_path(path)",
    "os.system(text)",
    "np.load(path, allow_pickle=True)",
    "np.load(path, allow_pickle=flag)",
    "np.load(path, None, True)",
    "torch.load(path)",
    "torch.jit.load(path)",
    "torch.load(path, weights_only=False)",
    "pandas.read_pickle(path)",
    "archive.extractall(out)",
    "shutil.unpack_archive(path)",
    "Image.open(path)",
    "run(text, shell=True)",
]


def test_a_planted_line_is_found():
    assert not [line for line in PLANTED if not offences(line)]


def test_harmless_lines_are_not_reported():
    assert not offences(
        "re.compile(x)\nlowered.compile()\nnp.load(f)\nnp.load(f, allow_pickle=False)\nfrom biggan_jax.plan import program\n"
        "torch.load(f, weights_only=True)\nImage.open(f, formats=FORMATS)\njson.loads(text)\nprogram.compile(lowered, name)"
    )


# --- Attacks ---


class Bomb:
    """An object that creates a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return (open, (self.marker, "w"))


@pytest.fixture
def marker(tmp_path):
    path = tmp_path / "marker"
    yield path
    assert not path.exists(), "untrusted code was executed"


def test_the_malicious_pickle_works(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "executed")))
    assert (tmp_path / "executed").exists()


def malicious_npz(path, bomb):
    np.savez(path, z=np.array([bomb], dtype=object), y=np.zeros(1, int))


def malicious_member(path, bomb):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("z.npy", pickle.dumps(bomb))


def bare_pickle(path, bomb):
    path.write_bytes(pickle.dumps(bomb))


def an_npy_of_objects(path, bomb):
    with path.open("wb") as file:
        np.save(file, np.array([bomb], dtype=object))


MALICIOUS = [malicious_npz, malicious_member, bare_pickle, an_npy_of_objects]


@pytest.mark.parametrize("make", MALICIOUS)
def test_pickles_are_refused_as_arrays(tmp_path, marker, make):
    path = tmp_path / "latents.npz"
    make(path, Bomb(marker))
    with pytest.raises(UserError) as refusal:
        files.read_npz(path)
    assert "is not an .npz of arrays" in str(refusal.value) and "allow_pickle" not in str(refusal.value)


def torch_zip(path, bomb):
    import torch

    torch.save({"weight": bomb}, path)


def torch_of_old(path, bomb):
    import torch

    torch.save({"weight": bomb}, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("make", [torch_zip, torch_of_old, bare_pickle])
def test_pickles_are_refused_as_weights_of_pytorch(tmp_path, marker, make):
    pytest.importorskip("torch")
    path = tmp_path / "G_ema.pth"
    make(path, Bomb(marker))
    with pytest.raises(UserError, match="has more than tensors and numbers; only those are loaded"):
        torch_files.read_arrays(path)


def test_commands_refuse_malicious_files_in_one_sentence(tmp_path, marker):
    malicious_npz(tmp_path / "G.npz", Bomb(marker))
    out = tmp_path / "out"
    result = cli.run("convert", "--from=biggan-pytorch", f"--in={tmp_path / 'G.npz'}", f"--out={out}")
    cli.refused(result, "is not an .npz of arrays")
    (tmp_path / "config.json").write_text(f"open({str(marker)!r}, 'w')\n")
    result = cli.run("main", f"--config_json={tmp_path / 'config.json'}", f"--workdir={out}")
    cli.refused(result, "config.json is not JSON")
    assert not out.exists()


# --- Prepared data sets ---


@pytest.fixture
def prepared(tmp_path):
    """A data set of six pictures in two classes."""
    for name in ("a", "b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(3):
            pixels = np.random.default_rng(i).integers(0, 256, (20, 20, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{i}.png")
    found = raw.folder(tmp_path / "pictures", raw.Rules(per_part=100))
    shards.prepare(found, tmp_path / "set", "pictures", forms.Form(16), map)
    return tmp_path / "set"


def as_feature(features):
    features["featuresDict"]["features"]["file_name"]["pythonClassName"] = "evil_module.Text"


def as_top(features):
    features["pythonClassName"] = "evil_module.Text"


def as_json_in_json(features):
    inner = json.dumps({"x": {"type": "evil_module.Text", "content": {}}})
    del features["featuresDict"]
    features["jsonFeature"] = {"json": inner}


@pytest.mark.parametrize("change", [as_feature, as_top, as_json_in_json])
def test_a_data_set_cannot_import_a_module(prepared, marker, monkeypatch, change):
    (prepared.parent / "evil_module.py").write_text(f"open({str(marker)!r}, 'w')\n")
    monkeypatch.syspath_prepend(str(prepared.parent))  # Simulate a command that runs there.
    features = json.loads((prepared / "features.json").read_text())
    change(features)
    (prepared / "features.json").write_text(json.dumps(features))
    with pytest.raises(UserError, match="its files name the class 'evil_module.Text'"):
        tfds.find("", str(prepared))
    assert "evil_module" not in sys.modules


@pytest.mark.parametrize(
    "name", ["huggingface:mnist", "kaggle:mnist", "mnist/data_dir=/etc", "../mnist", "/etc/passwd"]
)
def test_a_data_set_name_fetches_no_code(name, tmp_path):
    with pytest.raises(UserError, match="only NAME, NAME/CONFIG and NAME:VERSION|Parsing builder name"):
        tfds.find(name, str(tmp_path))


def test_a_data_set_reads_no_shard_outside_its_folder(prepared):
    from tests.data.test_prepare import opened

    assert len(opened(prepared)) == 6
    info = json.loads((prepared / "dataset_info.json").read_text())
    info["splits"][0]["filepathTemplate"] = "../set/" + info["splits"][0]["filepathTemplate"]
    (prepared / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(UserError, match="names a shard outside its folder"):
        opened(prepared)


EVIL_NAMES = ["../escaped", "/tmp/escaped", "..", "a/../../escaped", "\x1b[2J"]


def test_names_in_a_data_set_are_not_used_as_paths(tmp_path):
    """Neither names of classes nor file names in examples."""
    from array_record.python import array_record_module

    writer = array_record_module.ArrayRecordWriter(str(tmp_path / "corpus"), "group_size:1")
    for label, name in enumerate(EVIL_NAMES):
        encoded = io.BytesIO()
        Image.new("RGB", (20, 20)).save(encoded, "PNG")
        example = records.example_type()()
        example.features.feature["image"].bytes_list.value.append(encoded.getvalue())
        example.features.feature["label"].int64_list.value.append(label)
        example.features.feature["file_name"].bytes_list.value.append(name.encode())
        writer.write(example.SerializeToString())
    writer.close()
    part = raw.Examples(str(tmp_path / "corpus"), "image", "label", "file_name")
    made = raw.Corpus(tuple(EVIL_NAMES), {"train": [part]})
    before = {*tmp_path.rglob("*")}
    shards.prepare(made, tmp_path / "within" / "set", "pictures", forms.Form(16), map)
    new = {*tmp_path.rglob("*")} - before
    assert new and all(path.is_relative_to(tmp_path / "within") for path in new)
    assert not pathlib.Path("/tmp/escaped").exists()
    assert folder_names(EVIL_NAMES, len(EVIL_NAMES)) == ["0", "1", "2", "3", "4"], "the folders of export"


def test_names_of_classes_cannot_drive_a_terminal(tmp_path):
    class Label:
        names = ("cat", "\x1b[2J")

    assert features.class_names({"label": Label()}, "label") == ("cat", r"\x1b[2J")
    (tmp_path / "data.json").write_text(json.dumps({"class_names": Label.names}))
    assert stats.recorded_names(tmp_path) == ("cat", r"\x1b[2J")


# --- Checkpoints ---


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return untrained_run(tmp_path_factory.mktemp("safety"))


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ({"config": {"model": {"ch": "__import__('os').system('x')"}}}, "model.ch must be a whole number"),
        ({"config": {"model": {"ch": 2**40}}}, "model.ch is 1099511627776; it must be"),
        ({"config": {"microbatches": 0}}, "microbatches is 0; it must be greater than 0"),
        ({"config": {"__class__": {}}}, "has the key __class__, which this version does not know"),
        ({"config": ["x"]}, "is no config: it holds a list"),
        ({"config": None}, "is no config: it holds null"),
        ({"checksums": []}, "damaged"),
    ],
    ids=str,
)
def test_the_config_in_a_checkpoint_is_validated(run, what, sentence, monkeypatch):
    """Even if its digest is right."""
    step = checkpoint.find(run)
    stored = json.loads((step / "config" / "metadata").read_text())
    stored.pop("digest")
    stored |= what
    stored["digest"] = checksums.of_json(stored)
    monkeypatch.setattr(metadata.json, "loads", lambda text: dict(stored))
    with pytest.raises(UserError, match=sentence):
        checkpoint.load_config(step)


# --- Any bytes ---


def arrays_in_bytes(save, **arrays):
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


NPZ = [
    arrays_in_bytes(save, z=np.zeros((2, 12), np.float32), y=np.arange(2), truncation=np.float64(0.5))
    for save in (np.savez, np.savez_compressed)
]


@pytest.fixture(scope="module")
def a_file(tmp_path_factory):
    return tmp_path_factory.mktemp("bytes") / "a.npz"


@given(st.one_of(damaged(NPZ), st.binary(max_size=300)))
def test_any_bytes_are_arrays_or_refused(a_file, raw):
    a_file.write_bytes(raw)
    try:
        assert all(isinstance(array, np.ndarray) for array in files.read_npz(a_file).values())
    except UserError as error:
        assert len(str(error)) < 400


@given(st.one_of(damaged(NPZ), st.binary(max_size=300)))
def test_any_bytes_are_latents_or_refused(a_file, sampler, raw):
    from biggan_jax.sampling.latent_files import read_latents

    a_file.write_bytes(raw)
    try:
        z, y, _ = read_latents(a_file, sampler.gan)
    except UserError as error:
        assert len(str(error)) < 500
    else:
        assert z.shape[1] == 12 and len(z) == len(y) and np.isfinite(z).all()


def an_example():
    example = records.example_type()()
    picture = io.BytesIO()
    Image.new("RGB", (4, 4)).save(picture, "PNG")
    example.features.feature["image"].bytes_list.value.append(picture.getvalue())
    example.features.feature["label"].int64_list.value.append(1)
    example.features.feature["file_name"].bytes_list.value.append(b"a.png")
    return example.SerializeToString()


@given(st.one_of(damaged([an_example()]), st.binary(max_size=200)), st.sampled_from([None, (4, 4, 3)]))
def test_any_bytes_are_an_example_or_unreadable(raw, shape):
    class File:
        filename, skip, take = "shard", 0, 1

    source = records.Records((File,), records.Fields("image", "label", "file_name", shape), 2, (4, 4, 3))
    source.__dict__["_records"] = [raw]
    for read in (lambda e: source.label(e), lambda e: source.pixels(e).shape, lambda e: source.name(0, e)):
        try:
            read(source.example(0))
        except UnreadableError as error:
            assert len(str(error)) < 300


@given(st.text())
def test_any_text_is_an_expression_or_refused(text):
    with contextlib.suppress(UserError):
        assert all(isinstance(factor, float) and name for factor, name in terms(text))


# --- Names of folders ---


def test_a_folder_whose_checkpoints_would_be_lost_is_refused(tmp_path):
    sentence = "for a pattern; use another name"
    for name in ("lr[1e-4]", "a*b", "a?b", "a\\b", "a]"):
        with pytest.raises(UserError, match=sentence):
            checkpoint.Checkpoints(tmp_path / name / "below", keep=1)
    workdir = f"--workdir={tmp_path / 'lr[1e-4]'}"
    cli.refused(cli.run("main", "--config=quickstart", workdir), sentence)
    cli.refused(cli.run("convert", "--from=r3gan", f"--in={tmp_path}", workdir.replace("workdir", "out")), sentence)
    assert not list(tmp_path.iterdir())


def test_other_names_of_folders_hold_checkpoints(tmp_path):
    for name in ("a b{1}", "naïve%20", "#1 it's ~x,b;c"):
        path = checkpoint.find(untrained_run(tmp_path / name))
        assert "all as they were saved" in checkpoint.restore.check(path)


def test_a_first_checkpoint_that_is_not_what_was_saved_ends_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint.restore, "is_intact", lambda path: False)
    with pytest.raises(UserError, match="the first checkpoint cannot be read back from .*/0 as it was saved"):
        untrained_run(tmp_path / "run")


def test_a_folder_named_like_a_pattern_keeps_its_files_apart(tmp_path):
    for name in ("run1", "run[1]"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text(json.dumps({"step": len(name)}) + "\n")
    assert [record["step"] for record in jsonl.read(tmp_path / "run[1]", "metrics")] == [6]
