import json
import shutil

import numpy as np
import pytest

from biggan_jax.checkpoint import Checkpoints
from biggan_jax.stability import recovery
from biggan_jax.stability.recovery import CollapseError
from biggan_jax.stability.rules import Verdict
from biggan_jax.types import UserError
from tests.conftest import fresh_state

VERDICT = Verdict(7, 4, "diversity", 0.1, 0.3, "samples of one class are nearly equal")


@pytest.fixture(scope="module")
def state():
    return fresh_state("dense")


@pytest.fixture
def run(config, tmp_path, state):
    """(config, checkpoints, workdir): steps 2, 4 and 6 are saved, and rotation keeps two of them."""
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step, score in ((2, 9.0), (4, 20.0), (6, 30.0)):
        checkpoints.save(state.replace(step=np.int32(step)), config, score=score)
    yield config, checkpoints, tmp_path
    checkpoints.close()


def handle(run, attempt=0):
    return recovery.handle(VERDICT, attempt, *run, write=True)


def recover(run):
    return recovery.recover(*run, write=True)


def events(workdir):
    return [json.loads(line) for line in (workdir / "guard.jsonl").read_text().splitlines()]


def test_the_last_checkpoint_before_the_onset_and_the_best_are_kept(run, state):
    config, checkpoints, workdir = run
    event = handle(run)
    assert (event["action"], event["checkpoint"], event["best"]) == ("stop", 4, 2)
    for step in (8, 10, 12):
        checkpoints.save(state.replace(step=np.int32(step)), config)
    assert checkpoints.steps() == [2, 4, 10, 12]
    assert events(workdir) == [json.loads(json.dumps(event))]


def test_a_stopped_run_stops_again_and_says_how_to_resume(run):
    handle(run)
    with pytest.raises(
        CollapseError, match=r"collapsed: samples of one class .* step 4 is kept .*on_collapse=rollback"
    ):
        recover(run)
    assert CollapseError.status == 3


def test_a_stopped_run_rolls_back_once_the_config_says_so(run):
    config, checkpoints, workdir = run
    handle(run)
    config.stability.on_collapse = "rollback"
    assert recover(run) == 1
    assert checkpoints.steps() == [2, 4]
    assert [event["action"] for event in events(workdir)] == ["stop", "rollback"]
    assert recover(run) == 1, "once is enough"


def test_a_stopped_run_resumes_once_the_config_says_ignore(run):
    config, checkpoints, _ = run
    handle(run)
    config.stability.on_collapse = "ignore"
    assert recover(run) == 0 and checkpoints.steps() == [2, 4, 6]
    assert recovery.ignored(run[2]) == set()
    config.stability.on_collapse = "stop"
    assert recover(run) == 0, "the verdict has had its effect"


def test_an_interrupted_rollback_is_completed_once(run, state):
    config, checkpoints, _ = run
    config.stability.on_collapse = "rollback"
    assert handle(run)["action"] == "rollback"
    assert recover(run) == 1 and checkpoints.latest_step() == 4
    checkpoints.save(state.replace(step=np.int32(6), attempt=np.int32(1)), config)
    assert recover(run) == 1 and checkpoints.latest_step() == 6


def test_without_a_checkpoint_from_before_a_run_stops(run):
    config, checkpoints, _ = run
    config.stability.on_collapse = "rollback"
    event = recovery.handle(VERDICT._replace(onset=1), 0, config, checkpoints, run[2], write=True)
    assert (event["action"], event["checkpoint"]) == ("stop", None)
    with pytest.raises(
        CollapseError, match="step 2 has the best score, in checkpoints/2; .*on_collapse=ignore from the latest"
    ):
        recover(run)
    assert checkpoints.steps() == [2, 4, 6]


def test_without_any_checkpoint_a_rollback_starts_anew(config, tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    config.stability.on_collapse = "rollback"
    event = recovery.handle(VERDICT, 0, config, checkpoints, tmp_path, write=True)
    assert (event["action"], event["checkpoint"]) == ("rollback", None)
    assert recovery.recover(config, checkpoints, tmp_path, write=True) == 1
    checkpoints.close()


def test_a_stop_has_no_effect_after_its_checkpoints_are_deleted(run, state):
    """The user deleted the collapsed checkpoints; the run passes the step of the collapse."""
    config, checkpoints, workdir = run
    handle(run)
    checkpoints.discard_after(2, "aside")
    assert recover(run) == 0
    checkpoints.save(state.replace(step=np.int32(8)), config)
    assert recover(run) == 0
    assert [event["action"] for event in events(workdir)] == ["stop", "resumed"]


def test_no_more_rollbacks_than_allowed(run):
    config = run[0]
    config.stability.on_collapse, config.stability.rollbacks = "rollback", 2
    assert [handle(run, attempt)["action"] for attempt in (0, 1, 2)] == ["rollback", "rollback", "stop"]


def test_a_nonfinite_verdict_stops_where_others_are_ignored(run):
    config, _, workdir = run
    config.stability.on_collapse = "ignore"
    assert handle(run)["action"] == "ignored" and recover(run) == 0 and recovery.ignored(workdir) == {"diversity"}
    nonfinite = VERDICT._replace(signal="nonfinite")
    assert recovery.handle(nonfinite, 0, *run, write=True)["action"] == "stop"


def test_an_attempt_changes_only_a_copy_of_the_config(config):
    config.stability.rollback_d_lr, config.stability.rollback_d_steps = 0.5, 1
    rate, steps = config.optimizer.d_lr, config.d_steps
    in_force = recovery.config_of_attempt(config, 2)
    assert (in_force.optimizer.d_lr, in_force.d_steps) == (rate / 4, steps + 2)
    assert (config.optimizer.d_lr, config.d_steps) == (rate, steps)


def damage(workdir, step):
    """Overwrite the arrays of a checkpoint."""
    files = [path for path in (workdir / "checkpoints" / str(step) / "state").rglob("*") if path.is_file()]
    for path in files:
        path.write_bytes(bytes(path.stat().st_size))
    assert files


@pytest.mark.parametrize("gone", [False, True])
def test_a_rollback_goes_to_a_whole_checkpoint(run, gone, caplog):
    config, checkpoints, workdir = run
    config.stability.on_collapse = "rollback"
    handle(run)
    if gone:
        shutil.rmtree(workdir / "checkpoints" / "4")
        checkpoints._manager.reload()
    else:
        damage(workdir, 4)
    assert recover(run) == 1 and checkpoints.steps() == [2]
    said = f"the checkpoint of step 4 is {'gone' if gone else 'damaged'}; rolling back to step 2, which is whole"
    assert said in caplog.messages
    assert events(workdir)[-1]["checkpoint"] == 2 and recover(run) == 1


def test_a_rollback_without_a_whole_checkpoint_deletes_nothing(run):
    config, checkpoints, workdir = run
    config.stability.on_collapse = "rollback"
    handle(run)
    damage(workdir, 2), damage(workdir, 4)
    for _ in range(2):
        with pytest.raises(
            UserError, match="roll back to step 4, whose checkpoint is damaged, and no earlier .* deleted"
        ):
            recover(run)
    assert checkpoints.steps() == [2, 4, 6]
    assert checkpoints.newest_whole(6) == 6


def test_a_rollback_without_checkpoints_says_that_it_starts_over(run, caplog):
    config, checkpoints, workdir = run
    config.stability.on_collapse = "rollback"
    handle(run)
    for step in (2, 4, 6):
        shutil.rmtree(workdir / "checkpoints" / str(step))
    checkpoints._manager.reload()
    assert recover(run) == 1
    assert "has no checkpoint to roll back to: attempt 1 starts from step 0" in caplog.messages[-1]
