"""What commands say where JAX finds no devices, or XLA does not know a flag."""

import importlib.util
import os
from unittest import mock

import pytest

from biggan_jax.checkpoint import restore
from biggan_jax.runtime import devices
from biggan_jax.types import UserError
from tests import cli

MISSING = "(set JAX_PLATFORMS='' to automatically choose an available backend)"


@pytest.mark.parametrize(
    ("platforms", "installed", "message", "sentence"),
    [
        (
            "cuda",
            False,
            f"Backend 'cuda' is not in the list {MISSING}",
            "no support for cuda; pip install 'biggan-jax[cuda]'",
        ),
        ("tpu", False, f"INTERNAL: no libtpu.so {MISSING}", "no support for tpu; pip install 'biggan-jax[tpu]'"),
        (
            "cuda",
            True,
            f"No visible GPU devices. {MISSING}",
            "no cuda device can be used: No visible GPU devices.; unset",
        ),
        ("", True, "ABORTED: The TPU is already in use by process 7", "no tpu device can be used: ABORTED: The TPU is"),
        (
            "foo",
            False,
            f"Backend 'foo' is not in the list {MISSING}",
            "foo is not a platform of jax; known are cpu, cuda and",
        ),
    ],
)
def test_devices_that_are_missing_are_one_sentence(monkeypatch, platforms, installed, message, sentence):
    monkeypatch.setattr(devices, "_platforms", lambda: platforms)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: installed or None)
    error = RuntimeError(f"Unable to initialize backend '{platforms or 'tpu'}': {message}")
    said = str(devices.user_error(error))
    assert sentence in said and said.startswith(f"JAX_PLATFORMS={platforms}: " if platforms else "no tpu")
    assert MISSING not in said


def test_a_missing_device_is_not_called_damage(workdir, monkeypatch):
    missing = RuntimeError(f"Unable to initialize backend 'tpu': INTERNAL: no libtpu.so {MISSING}")
    monkeypatch.setattr(devices, "_platforms", lambda: "tpu")
    monkeypatch.setattr(restore, "_read_item", mock.Mock(side_effect=missing))
    with pytest.raises(UserError, match="JAX_PLATFORMS=tpu: "):
        restore.check(workdir / "checkpoints" / "0")


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), AssertionError("5 images")])
def test_other_errors_are_not_explained(error):
    with pytest.raises(type(error)) as raised:
        raise error
    assert devices.user_error(raised.value) is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("--xla_nonsense=1", "XLA_FLAGS: --xla_nonsense=1 is unknown to jax"),
        ("--xla_force_host_platform_device_count=two", "Couldn't interpret value two for flag xla_force_host_platform"),
        ("nonsense", 'Could not open file "nonsense"'),
    ],
)
def test_flags_that_xla_does_not_take_are_refused(text, sentence, workdir):
    result = cli.run("stability", f"--workdir={workdir}", XLA_FLAGS=text)
    cli.refused(result, sentence)
    assert len(result.stderr) < 400


def test_flags_that_xla_takes_are_accepted(monkeypatch):
    assert os.environ["XLA_FLAGS"]
    devices.check_xla_flags()
    monkeypatch.delenv("XLA_FLAGS")
    monkeypatch.setattr(os, "fork", None)
    devices.check_xla_flags()


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["cuda", "tpu", "rocm", "foo"])
@pytest.mark.parametrize("module", ["main", "sample", "convert"])
def test_a_platform_that_is_not_here_is_one_sentence(workdir, tmp_path, module, platform):
    arguments = {
        "main": ["--config=quickstart", f"--workdir={tmp_path / 'out'}"],
        "sample": [f"--checkpoint={workdir}", f"--out={tmp_path / 'out.png'}"],
        "convert": ["--from=biggan-jax", f"--in={workdir}", f"--out={tmp_path / 'out'}", "--classes=reinit:2"],
    }
    result = cli.run_alone(module, *arguments[module], JAX_PLATFORMS=platform)
    cli.refused(result, f"JAX_PLATFORMS={platform}: ")
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["JAX_ENABLE_X64", "JAX_DEFAULT_PRNG_IMPL", "JAX_DEFAULT_MATMUL_PRECISION"])
def test_a_value_that_jax_does_not_take_is_one_sentence(variable, workdir):
    result = cli.run_alone("stability", f"--workdir={workdir}", **{variable: "maybe"})
    cli.refused(result, f"{variable}=maybe is not a value that jax takes")
