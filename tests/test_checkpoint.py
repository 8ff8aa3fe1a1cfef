import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from biggan_jax import checkpoint
from biggan_jax.checkpoint import Checkpoints
from biggan_jax.models import build_gan
from biggan_jax.state import init_state
from biggan_jax.types import UserError
from tests.conftest import assert_identical, tiny_config


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """(workdir with steps 1 and 2, state of step 2)."""
    c = tiny_config()
    workdir = tmp_path_factory.mktemp("saved")
    state = jax.jit(lambda: init_state(build_gan(c), 0))()
    checkpoints = Checkpoints(workdir, keep=3)
    checkpoints.save(state.replace(step=np.int32(1)), c)
    state = state.replace(step=np.int32(2), ema_params=jax.tree.map(lambda x: x + 0.5, state.ema_params))
    checkpoints.save(state, c)
    checkpoints.close()
    return workdir, state


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved[0], tmp_path / "copy")


def test_what_is_restored_is_what_was_saved(saved):
    workdir, state = saved
    checkpoints = Checkpoints(workdir, keep=3)
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype, sharding=device), state)
    restored = checkpoints.restore(shapes)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    assert_identical(restored, state)


def test_a_generator_is_loaded_from_a_workdir_its_folder_or_a_step(saved):
    workdir, state = saved
    for path in (workdir, workdir / "checkpoints", workdir / "checkpoints" / "2"):
        trained = checkpoint.load_generator(path)
        assert trained.step == 2 and trained.config.model.dim_z == 12
        assert_identical(trained.params, state.ema_params)
        assert_identical(trained.stats, state.generator.stats)
    assert checkpoint.load_generator(workdir / "checkpoints" / "1").step == 1


def test_compare_names_what_differs_and_by_how_much(saved):
    workdir, _ = saved
    assert checkpoint.compare(workdir, workdir) == []
    lines = checkpoint.compare(workdir / "checkpoints" / "1", workdir)
    assert "ema_params.conv_out.bias: 3 of 3 values differ, by at most 0.5" in lines
    assert any(line.startswith("step: 1 of 1 values differ, by at most 1") for line in lines)
    assert not any(line.startswith("generator") for line in lines)


def test_the_compare_command_exits_with_0_for_equal_and_1_for_different(saved):
    workdir, _ = saved
    run = lambda a, b: subprocess.run(
        [sys.executable, "-m", "biggan_jax.checkpoint", "compare", a, b], capture_output=True, text=True
    )
    same, different = run(workdir, workdir), run(workdir, workdir / "checkpoints" / "1")
    assert same.returncode == 0 and "bit-identical" in same.stdout, same.stderr
    assert different.returncode == 1 and "ema_params.conv_out.bias" in different.stdout
    missing = run(workdir, "nowhere")
    assert missing.returncode == 2 and "no checkpoint at" in missing.stderr and "Traceback" not in missing.stderr


def test_a_missing_checkpoint_is_said_to_be_missing(tmp_path):
    with pytest.raises(UserError, match="no checkpoint at .*give a workdir"):
        checkpoint.load_generator(tmp_path)


def test_a_truncated_checkpoint_is_refused_by_name_and_the_others_are_offered(copy):
    step = copy / "checkpoints" / "2"
    for file in (step / "state").rglob("d/*"):
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(
        UserError,
        match=r"checkpoints/2 is damaged or incomplete .*step 1 is there too",
    ):
        checkpoint.load_generator(copy)
    with pytest.raises(UserError, match="damaged"):
        checkpoint.compare(copy, copy / "checkpoints" / "1")


def test_a_checkpoint_without_its_config_is_refused(copy):
    shutil.rmtree(copy / "checkpoints" / "2" / "config")
    with pytest.raises(UserError, match="checkpoints/2 is damaged"):
        checkpoint.load_generator(copy)
