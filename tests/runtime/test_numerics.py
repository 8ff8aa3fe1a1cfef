"""Process-wide settings of JAX that decide values are pinned in commands, refused in a library, and recorded."""

import json
import logging

import jax
import numpy as np
import pytest

from biggan_jax.checkpoint import Checkpoints, load_generator, load_state, metadata, resume
from biggan_jax.checkpoint.restore import check
from biggan_jax.runtime import numerics
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.train import train
from biggan_jax.types import UserError
from tests.cli import run_alone
from tests.conftest import fresh_state, tiny_config

OTHERS = {
    "jax_enable_x64": True,
    "jax_default_prng_impl": "rbg",
    "jax_threefry_partitionable": False,
    "jax_random_seed_offset": 1,
    "jax_numpy_dtype_promotion": "strict",
    "jax_numpy_rank_promotion": "raise",
}


@pytest.fixture
def setting():
    """Set one of JAX's settings for a test."""
    before = {}

    def set_(name, value):
        before.setdefault(name, getattr(jax.config, name))
        jax.config.update(name, value)

    yield set_
    for name, value in before.items():
        jax.config.update(name, value)


def test_every_pinned_setting_is_tried():
    assert OTHERS.keys() == numerics.PINNED.keys()


@pytest.mark.parametrize("name", OTHERS)
def test_a_command_pins_a_setting_and_says_so(setting, caplog, name):
    logging.getLogger("biggan_jax").propagate = True
    setting(name, OTHERS[name])
    numerics.pin()
    assert getattr(jax.config, name) == numerics.PINNED[name]
    assert f"{name.upper()}={OTHERS[name]} has no effect" in caplog.text
    numerics.check()


@pytest.mark.parametrize("use", [lambda run, out: train(tiny_config(), out), lambda run, out: load_generator(run)])
def test_a_library_refuses_a_setting_before_it_writes(setting, workdir, tmp_path, use):
    setting("jax_enable_x64", True)
    with pytest.raises(UserError, match=r"call jax.config.update\('jax_enable_x64', False\) first"):
        use(workdir, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_context_of_jax_is_seen_too(workdir):
    with jax.default_prng_impl("rbg"), pytest.raises(UserError, match="jax_default_prng_impl is 'rbg'"):
        load_state(workdir)


def test_a_checkpoint_records_the_settings(workdir):
    saved = json.loads((workdir / "checkpoints" / "0" / "config" / "metadata").read_text())["numerics"]
    assert saved == {
        "jax_enable_x64": False,
        "jax_default_prng_impl": "threefry2x32",
        "jax_threefry_partitionable": True,
        "jax_default_matmul_precision": "default",
    }


def test_a_run_with_another_precision_is_refused_by_name(setting, workdir):
    setting("jax_default_matmul_precision", "bfloat16")
    resume.check_config(workdir, tiny_config())  # Another name of the same.
    setting("jax_default_matmul_precision", "float32")
    with pytest.raises(
        UserError, match="jax_default_matmul_precision=default, but this process has highest; resume it with JAX_"
    ):
        resume.check_config(workdir, tiny_config())


def test_a_checkpoint_without_settings_is_resumed(workdir, monkeypatch):
    read = metadata.read
    monkeypatch.setattr(metadata, "read", lambda path: {k: v for k, v in read(path).items() if k != "numerics"})
    monkeypatch.setattr(numerics, "recorded", lambda: pytest.fail("nothing to compare with"))
    with pytest.raises(pytest.fail.Exception):
        numerics.check_recorded({"jax_enable_x64": True}, "a run")
    monkeypatch.setattr(numerics, "recorded", lambda: {"jax_enable_x64": True})
    resume.check_config(workdir, tiny_config())


@pytest.fixture(scope="module")
def float64_run(tmp_path_factory):
    """A run as older versions wrote it under JAX_ENABLE_X64."""
    widened = lambda x: np.asarray(x, np.float64 if x.dtype == np.float32 else x.dtype)
    folder = tmp_path_factory.mktemp("run")
    checkpoints = Checkpoints(folder, keep=1)
    checkpoints.save(jax.tree.map(widened, fresh_state()), tiny_config())
    checkpoints.close()
    return folder


def test_arrays_in_float64_are_rounded_and_it_is_said(float64_run, caplog, trained):
    logging.getLogger("biggan_jax").propagate = True
    loaded = load_generator(float64_run)
    assert "is float64[" in caplog.text and "they are rounded" in caplog.text and "damaged" not in caplog.text
    jax.tree.map(np.testing.assert_array_equal, loaded.params, trained.params)
    sampler = Sampler.from_checkpoint(loaded, statistics="running")
    assert sampler.images(sampler.latents(1), np.zeros(1, np.int32)).dtype == np.uint8
    load_state(float64_run)


def test_a_run_in_float64_is_not_resumed_nor_called_damaged(float64_run, tmp_path):
    assert check(float64_run / "checkpoints" / "0").endswith("all as they were saved")
    with pytest.raises(UserError, match=r"is float64\[.*not float32\[.*JAX_ENABLE_X64.*--config=finetune:") as refusal:
        train(tiny_config(), float64_run)
    assert "damaged" not in str(refusal.value)


@pytest.mark.slow
def test_samples_do_not_depend_on_the_environment(workdir, tmp_path):
    settings = {"JAX_ENABLE_X64": "1", "JAX_DEFAULT_PRNG_IMPL": "rbg", "JAX_THREEFRY_PARTITIONABLE": "0"}
    drawn = []
    for name, environment in {"plain": {}, "other": settings}.items():
        out = tmp_path / f"{name}.npz"
        done = run_alone("sample", f"--checkpoint={workdir}", "--passes=1", f"--out={out}", **environment)
        assert done.returncode == 0, done.stderr
        assert all((f"{key}=" in done.stderr) == (key in environment) for key in settings), done.stderr
        drawn.append(np.load(out))
    for name in ("arr_0", "z", "y"):
        np.testing.assert_array_equal(drawn[0][name], drawn[1][name])
