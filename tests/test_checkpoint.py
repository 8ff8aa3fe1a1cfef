import json
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


def on_one_device(state):
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype, sharding=device), state)


def test_what_is_restored_is_what_was_saved(saved):
    workdir, state = saved
    restored = Checkpoints(workdir, keep=3).restore(on_one_device(state))
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
        match=r"checkpoints/2 is damaged or incomplete .*step 1 is whole",
    ):
        checkpoint.load_generator(copy)
    with pytest.raises(UserError, match="damaged"):
        checkpoint.compare(copy, copy / "checkpoints" / "1")


def test_a_checkpoint_without_its_config_is_refused(copy):
    shutil.rmtree(copy / "checkpoints" / "2" / "config")
    with pytest.raises(UserError, match="checkpoints/2 is damaged"):
        checkpoint.load_generator(copy)


def keeping(workdir, config, scores, *, keep=1, keep_every=0):
    """Checkpoints of a run that saved steps 1, 2, ... with these scores."""
    state = jax.jit(lambda: init_state(build_gan(config), 0))()
    checkpoints = Checkpoints(workdir, keep=keep, keep_every=keep_every)
    for step, score in enumerate(scores, start=1):
        checkpoints.save(state.replace(step=np.int32(step)), config, score=score)
    return checkpoints, state


def test_the_best_outlives_rotation_and_restarts(config, tmp_path):
    checkpoints, state = keeping(tmp_path, config, [3.0, 1.0, float("nan"), 2.0])
    assert (checkpoints.steps(), checkpoints.best_step()) == ([2, 4], 2)
    checkpoints.close()
    checkpoints = Checkpoints(tmp_path, keep=1)
    assert checkpoints.best_step() == 2
    checkpoints.save(state.replace(step=np.int32(5)), config, score=0.5)
    assert (checkpoints.steps(), checkpoints.best_step()) == ([5], 5)
    checkpoints.close()


def test_pinned_ones_outlive_rotation_and_restarts_and_say_why(config, tmp_path):
    checkpoints, state = keeping(tmp_path, config, [None, None])
    checkpoints.pin(2, "before the collapse seen at step 3")
    with pytest.raises(ValueError, match="no complete checkpoint of step 7"):
        checkpoints.pin(7, "")
    checkpoints.close()
    assert json.loads((tmp_path / "checkpoints" / "kept.json").read_text()) == {
        "2": "before the collapse seen at step 3"
    }
    checkpoints = Checkpoints(tmp_path, keep=1)
    for step in (3, 4):
        checkpoints.save(state.replace(step=np.int32(step)), config)
    assert checkpoints.steps() == [2, 4]
    assert checkpoints.pinned() == {2: "before the collapse seen at step 3"}
    checkpoints.close()


def test_what_is_pinned_is_not_guessed(config, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "kept.json").write_text('{"2": ')
    with pytest.raises(UserError, match="kept.json is not JSON such as"):
        Checkpoints(tmp_path, keep=1)


def test_what_came_after_a_step_is_discarded_and_may_be_saved_anew(config, tmp_path):
    checkpoints, state = keeping(tmp_path, config, [3.0, 2.0, 1.0], keep=3)
    checkpoints.pin(3, "soon gone")
    checkpoints.discard_after(1)
    assert (checkpoints.steps(), checkpoints.best_step(), checkpoints.pinned()) == ([1], 1, {})
    checkpoints.save(state.replace(step=np.int32(3), attempt=np.int32(1)), config)
    assert checkpoints.attempts() == {1: 0, 3: 1}
    checkpoints.close()
    checkpoints = Checkpoints(tmp_path, keep=3)
    assert (checkpoints.steps(), checkpoints.attempts(), checkpoints.best_step()) == ([1, 3], {1: 0, 3: 1}, 1)
    checkpoints.close()


def test_a_step_before_the_latest_is_not_dropped_in_silence(config, tmp_path):
    checkpoints, state = keeping(tmp_path, config, [None, None], keep=3)
    with pytest.raises(UserError, match="step 1 cannot be saved in .* a later one, 2"):
        checkpoints.save(state.replace(step=np.int32(1)), config)
    checkpoints.close()


def test_an_earlier_step_is_restored_on_demand(saved):
    workdir, state = saved
    checkpoints = Checkpoints(workdir, keep=3)
    assert int(checkpoints.restore(on_one_device(state), step=1).step) == 1
    checkpoints.close()
