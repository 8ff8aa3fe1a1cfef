"""The commands as a user runs them: what they print, and their exit status."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from biggan_jax import __version__
from biggan_jax.__main__ import COMMANDS
from biggan_jax.runtime import startup
from tests.cli import refused, run
from tests.test_train import TINY


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("--config.batchsize=8", "config key batchsize is unknown; did you mean batch_size?"),
        ("--config.model.famly=x", "config key model.famly is unknown; did you mean model.family?"),
        ("--config.resolution=32", "config key resolution is unknown; did you mean model.resolution?"),
        ("--config.d_steps=many", "config key d_steps must be a whole number, not 'many'"),
        (
            "--config=quikstart",
            "config 'quikstart' is unknown; did you mean quickstart?",
        ),
        ("--batch_size=8", "Unknown command line flag 'batch_size'"),
        ("extra", "unexpected argument 'extra'"),
        ("--config.batch_size=12", "batch_size 12 is not divisible by 8 devices; nearest are 8 and 16"),
    ],
)
def test_training_refuses_a_mistake_in_one_sentence(tmp_path, argument, sentence):
    config = [] if argument.startswith("--config=") else [f"--config={TINY}"]
    refused(run("main", *config, f"--workdir={tmp_path / 'run'}", argument), sentence)
    assert not (tmp_path / "run").exists()


def test_training_needs_a_config_and_a_workdir():
    refused(run("main"), "biggan-train: error: --config and --workdir are needed")
    refused(run("main", "--config=quickstart"), "error: --workdir is needed, such as")


def test_an_error_in_a_config_file_is_located(tmp_path):
    (tmp_path / "broken.py").write_text("import math\n\n\ndef get_config():\n    return math.sqroot(2)\n")
    result = run("main", f"--config={tmp_path / 'broken.py'}", f"--workdir={tmp_path / 'run'}")
    refused(result, "broken.py, line 5")


def test_json_given_as_a_python_config_is_refused(tmp_path):
    (tmp_path / "config.py").write_text('{"data": false}\n')
    result = run("main", f"--config={tmp_path / 'config.py'}", f"--workdir={tmp_path / 'run'}")
    refused(result, "the config file failed with NameError")


def test_process_flags_without_multihost_are_refused():
    refused(run("main", "--config=digits", "--workdir=unused", "--process_id=1"), "need --multihost")


def test_sampling_is_reproducible(workdir, tmp_path):
    arguments = f"--checkpoint={workdir}", "--classes=0,1,7", "--num=6", "--passes=2", "--truncation=0.5"
    for name in ("a.png", "b.png"):
        result = run("sample", *arguments, f"--out={tmp_path / name}")
        assert result.returncode == 0, result.stderr
        assert f"6 images of 3 classes (0, 1, 7) of step 0 in {tmp_path / name}" in result.stdout
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    width, height = Image.open(tmp_path / "a.png").size
    assert height > width, "three rows, a class each, of two images"


def test_stored_latents_reproduce_their_images(workdir, tmp_path):
    first, again = tmp_path / "first.npz", tmp_path / "again.npz"
    shared = f"--checkpoint={workdir}", "--statistics=running", "--float"
    assert run("sample", *shared, "--num=5", f"--out={first}").returncode == 0
    assert run("sample", *shared, f"--latents={first}", f"--out={again}").returncode == 0
    a, b = np.load(first), np.load(again)
    assert a["arr_0"].shape == (5, 16, 16, 3) and a["arr_0"].dtype == np.float32
    assert np.abs(a["arr_0"]).max() <= 1
    assert a["z"].shape == (5, 12) and a["y"].tolist() == [0, 1, 2, 3, 4]
    for name in ("arr_0", "z", "y"):
        np.testing.assert_array_equal(a[name], b[name])


def test_stored_latents_include_their_truncation(workdir, tmp_path):
    first, again = tmp_path / "first.npz", tmp_path / "again.npz"
    shared = f"--checkpoint={workdir}", "--passes=2"
    assert (
        run("sample", *shared, "--num=3", "--truncation=0.3", "--truncation_kind=std", f"--out={first}").returncode == 0
    )
    assert run("sample", *shared, f"--latents={first}", f"--out={again}").returncode == 0
    a, b = np.load(first), np.load(again)
    assert float(b["truncation"]) == 0.3 and str(b["truncation_kind"]) == "std"
    np.testing.assert_array_equal(a["arr_0"], b["arr_0"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--classes=3,10"], "class 10 is out of range: this model has classes 0 to 9"),
        (["--classes=cat"], "class 'cat' is unknown; the names of this model's classes are not known; give an id from"),
        (["--classes="], "--classes is empty; give ids, ranges, names or all"),
        (["--classes=3-10"], "class 10 is out of range"),
        (["--classes=7-3"], "the range 7-3 ends before it begins; give 3-7"),
        (["--seeds=0-x"], "--seeds=0-x: '0-x' is no seed or range from 0 to 2147483647, such as 0-35"),
        (["--seeds=1", "--num=3"], "--num has no effect with --seeds"),
        (["--statistics=running", "--passes=3"], "--passes has no meaning with --statistics=running"),
        (["--truncation=0"], "truncation 0 of kind resample must be greater than 0; 0 is for kind w"),
        (["--truncation=nan"], "--truncation=nan must be greater than 0"),
        (["--latents=nothing.npz"], "nothing.npz cannot be read: No such file or directory"),
        (["--latents=setup.cfg"], "setup.cfg is not an .npz of arrays"),
        (["--latents=setup.cfg", "--num=3"], "--num has no effect with --latents, which determines the"),
        (["--checkpoint=setup.cfg"], "no checkpoint at"),
        (["--float", "--out=picture.png"], "--float has no effect on a .png; write an .npz"),
        (["--float", "--bits=16", "--out=a.npz"], "--float and --bits are two types of arr_0; give one of them"),
        (["--out=picture.gif"], "this model draws single images, and .gif is for clips; give a .png"),
        (["--checkpoint=nowhere"], "no checkpoint at"),
    ],
)
def test_sampling_refuses_a_mistake_in_one_sentence(workdir, tmp_path, arguments, sentence):
    result = run("sample", f"--checkpoint={workdir}", f"--out={tmp_path / 'out.png'}", *arguments)
    refused(result, sentence)
    assert not (tmp_path / "out.png").exists()


def test_a_run_with_a_corrupted_checkpoint_is_left_unchanged(workdir, tmp_path):
    copy = shutil.copytree(workdir, tmp_path / "copy")
    for file in (copy / "checkpoints" / "0" / "state").rglob("d/*"):
        file.write_bytes(b"")
    refused(run("main", f"--config={TINY}", f"--workdir={copy}"), "checkpoints/0 is damaged or incomplete")
    assert (copy / "checkpoints" / "0" / "config").exists()


def test_training_needs_neither_tensorflow_nor_tensorboard(tmp_path):
    script = f"""
import sys
sys.modules.update(tensorflow=None, tensorboard=None, tensorboardX=None)  # As if not installed.
from tests.families import minimal
from biggan_jax import checkpoint, models
from biggan_jax.sampling import generate
from biggan_jax.train import train
import numpy as np
models.register("dense", minimal.dense, minimal.dense_section)
c = minimal.dense_config()
c.num_steps = 1
assert train(c, {str(tmp_path)!r})
t = checkpoint.load_generator({str(tmp_path)!r})
w = generate.evaluation_weights(t.gan, t.params, t.spectral)
images = generate.generate(t.gan, w, t.variables, np.zeros((1, 12)), np.zeros(1, np.int32), batch_size=1)
assert images.shape == (1, 16, 16, 3) and np.isfinite(images).all()
assert not any(name.startswith("tensorflow.") for name in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("form", ["{}", "{}.__main__"], ids=["module", "package"])
def test_each_module_of_a_command_has_its_name(form, monkeypatch):
    for command, (module, _) in COMMANDS.items():
        monkeypatch.setattr(sys, "argv", ["main.py"])
        startup.name_program(form.format(module))
        assert sys.argv == [command]


def test_other_scripts_keep_their_names(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["peer.py", "1"])
    startup.name_program("tests.runtime.peer")
    assert sys.argv == ["peer.py", "1"]


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("sheets", "biggan-sheets"),
        ("edit", "biggan-edit"),
        ("export", "biggan-export"),
        ("explore", "biggan-explore"),
        ("data.examine", "biggan-validate"),
    ],
)
def test_an_old_name_says_when_it_ends(module, command):
    done = run(module)
    warning, error = done.stderr.splitlines()
    assert f"{command}: this is version {__version__}; version 0.3.0 drops" in warning
    assert done.returncode == 2 and error.startswith(f"{command}: error: ")


@pytest.mark.parametrize(
    "call",
    [["-m", "biggan_jax.sample"], ["-c", "from biggan_jax.runtime.startup import sample; sample()"]],
    ids=["-m", "installed"],
)
def test_help_describes_the_command_and_all_its_flags(call):
    """An installed command is a script without a docstring."""
    done = subprocess.run([sys.executable, *call, "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("Draw samples from a checkpoint, by biggan-sample or python -m biggan_jax.sample:")
    assert "\nbiggan-sample:\n" in done.stdout, done.stdout
    for flag in ("--out:", "--checkpoint:", "--truncation:"):
        assert flag in done.stdout
