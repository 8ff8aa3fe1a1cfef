"""The StableHLO program of a G: it runs without this package, and draws the checkpoint's images bit for bit."""

import dataclasses
import subprocess
import sys

import jax
import jax.export
import numpy as np
import pytest

from biggan_jax.latents import Truncation
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.tools.export import program
from biggan_jax.types import UserError
from tests.cli import refused, run
from tests.conftest import fresh_state, with_attention

SCRIPT = """
import sys
sys.modules["biggan_jax"] = None  # As if not installed.
import jax, jax.export, numpy as np
folder = sys.argv[1]
program = jax.export.deserialize(bytearray(open(f"{folder}/g.stablehlo", "rb").read()))
given = np.load(f"{folder}/given.npz")
images = {name: program.call(given["z"], given["y"], np.float32(name)) for name in ("inf", "0.5", "1", "0.75", "9")}
assert not any(name.startswith(("flax", "optax", "orbax")) for name in sys.modules)
np.savez(f"{folder}/drawn.npz", **images)
"""


@pytest.fixture(scope="module")
def samplers(trained):
    """Samplers without truncation, and with two."""
    attends = with_attention(fresh_state())
    trained = dataclasses.replace(trained, params=attends.averages["G"])
    truncations = (None, Truncation(1.0), Truncation(0.5))
    return [Sampler.from_checkpoint(trained, truncation, passes=1) for truncation in truncations]


@pytest.fixture(scope="module")
def drawn(samplers, tmp_path_factory):
    """(z, y, images by truncation) of the program, run by jax alone."""
    pytest.importorskip("flatbuffers")
    folder = tmp_path_factory.mktemp("program")
    z, y = samplers[0].latents(8), np.arange(8, dtype=np.int32)
    (folder / "g.stablehlo").write_bytes(program.serialize(samplers, ("cpu", "cuda", "tpu")))
    np.savez(folder / "given.npz", z=z, y=y)
    done = subprocess.run([sys.executable, "-c", SCRIPT, folder], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return z, y, dict(np.load(folder / "drawn.npz"))


def test_a_program_draws_the_images_of_the_checkpoint(drawn, samplers):
    z, y, images = drawn
    for sampler, name in zip(samplers, ("inf", "1", "0.5"), strict=True):
        assert images[name].tobytes() == np.asarray(sampler.generate_batch(z, y)).tobytes(), name
    assert not np.array_equal(images["inf"], images["1"]) and not np.array_equal(images["1"], images["0.5"])


def test_between_two_truncations_statistics_are_interpolated(drawn, samplers):
    z, y, images = drawn
    np.testing.assert_array_equal(images["9"], images["1"])
    middle = jax.tree.map(lambda a, b: (a + b) / 2, samplers[1].variables, samplers[2].variables)
    expected = samplers[0].gan.sample(samplers[0].weights, middle, z, y)
    np.testing.assert_allclose(images["0.75"], expected, atol=1e-5)


def test_the_batch_size_and_the_platforms_are_free(samplers):
    pytest.importorskip("flatbuffers")
    exported = jax.export.deserialize(bytearray(program.serialize(samplers[:1], ("tpu", "cpu"))))
    assert exported.platforms == ("tpu", "cpu")
    assert [str(a.shape) for a in exported.in_avals] == ["(batch, 12)", "(batch,)", "()"]
    assert str(exported.out_avals[0].shape) == "(batch, 16, 16, 3)"


@pytest.mark.parametrize("platforms", [["gpu"], [], ["cpu", "cpu"]])
def test_unknown_platforms_are_refused(platforms):
    with pytest.raises(UserError, match=r"--platforms=.*; use any of cpu, cuda, rocm, tpu"):
        program.check_platforms(platforms)


def test_without_flatbuffers_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(program.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"flatbuffers, which is missing: pip install 'biggan-jax\[program\]'"):
        program.check_installed()


def test_the_command_writes_a_program(workdir, tmp_path):
    pytest.importorskip("flatbuffers")
    given = "program", f"--checkpoint={workdir}", "--statistics=running", f"--out={tmp_path / 'g.stablehlo'}"
    done = run("tools.export", *given, "--platforms=cpu")
    assert done.returncode == 0, done.stderr
    assert f"step 0 for cpu in {tmp_path / 'g.stablehlo'}" in done.stdout
    refused(run("tools.export", *given, "--truncations=1"), "--truncations has no meaning")
    refused(run("tools.export", *given, "--truncations=x"), "--truncations=x must be different numbers above 0")
    refused(run("tools.export", *given, "--out=g.bin"), "--out=g.bin must end in .stablehlo")
    refused(run("tools.export", *given, "--truncation=1"), "--truncation has no effect on a program")
