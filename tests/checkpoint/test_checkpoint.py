import hashlib
import json
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import tarfile
import time

import jax
import numpy as np
import pytest

from biggan_jax import checkpoint, sharding
from biggan_jax.checkpoint import Checkpoints, checkpoint_steps, checksums, restore
from biggan_jax.models import build_gan
from biggan_jax.sampling import generate
from biggan_jax.state import init_state
from biggan_jax.train import train
from biggan_jax.types import UserError
from tests.cli import run
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


def test_saving_replicated_arrays_compiles_no_programs(tmp_path, saved):
    everywhere = jax.device_put(saved[1], sharding.replicated(sharding.make_mesh()))
    assert len(everywhere.seed.devices()) > 1
    compiled = []
    listener = lambda event, *_, **__: compiled.append(event) if "backend_compile" in event else None
    jax.monitoring.register_event_duration_secs_listener(listener)
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(everywhere, tiny_config())
    checkpoints.close()
    jax.monitoring.unregister_event_duration_listener(listener)
    assert not compiled
    assert_identical(Checkpoints(tmp_path, keep=1).restore(on_one_device(saved[1])), saved[1])


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
    compare = lambda a, b: run("checkpoint", "compare", a, b)
    same, different = compare(workdir, workdir), compare(workdir, workdir / "checkpoints" / "1")
    assert same.returncode == 0 and "bit-identical" in same.stdout, same.stderr
    assert different.returncode == 1 and "ema_params.conv_out.bias" in different.stdout
    missing = compare(workdir, "nowhere")
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


def test_the_newest_from_when_the_run_was_well_outlives_rotation(config, tmp_path):
    checkpoints, state = keeping(tmp_path, config, [], keep=1)
    for step, last_healthy_step in ((1, None), (2, 2), (3, 2), (4, 3), (5, 3)):
        checkpoints.save(state.replace(step=np.int32(step)), config, last_healthy_step=last_healthy_step)
    assert checkpoints.steps() == [3, 5]
    checkpoints.close()


def test_what_came_after_a_step_is_discarded_and_may_be_saved_anew(config, tmp_path):
    checkpoints, state = keeping(tmp_path, config, [3.0, 2.0, 1.0], keep=3)
    checkpoints.pin(3, "soon gone")
    checkpoints.discard_after(1, "aside")
    assert (checkpoints.steps(), checkpoints.best_step(), checkpoints.pinned()) == ([1], 1, {})
    assert [path.name for path in (tmp_path / "aside").iterdir()] == ["3"], (
        "the best, and pinned, is moved, not deleted"
    )
    assert checkpoint.load_state(tmp_path / "aside" / "3")[0].step == 3
    checkpoints.save(state.replace(step=np.int32(3), attempt=np.int32(1)), config)
    assert checkpoints.attempts() == {1: 0, 3: 1}
    assert (checkpoints.best_step(), checkpoints.pinned()) == (1, {})
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


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32", "uint8", "bool", "float64", "int64"])
@pytest.mark.parametrize("shape", [(), (1,), (5, 3), (2, 3, 4, 5)])
def test_each_bit_counts_in_a_checksum(dtype, shape):
    rng = np.random.default_rng(0)
    x = np.asarray(rng.normal(size=shape) > 0 if dtype == "bool" else rng.normal(size=shape) * 99).astype(dtype)
    sums = [checksums.of_arrays(x)]
    for place in range(x.nbytes * 8):
        if dtype == "bool" and place % 8:
            continue
        flipped = bytearray(x.tobytes())
        flipped[place // 8] ^= 1 << place % 8
        sums.append(checksums.of_arrays(np.frombuffer(flipped, x.dtype).reshape(x.shape)))
    assert len({str(s) for s in sums}) == len(sums)


def test_swapped_or_pairwise_flipped_values_change_a_checksum():
    x = np.arange(1, 9, dtype=np.float32)
    sums = [checksums.of_arrays(y)[""] for y in (x, x[::-1].copy(), x * [-1, -1, 1, 1, 1, 1, 1, 1], x.reshape(2, 4))]
    assert len(set(sums)) == 4


@pytest.mark.parametrize("devices", [(1, 1), (8, 1), (4, 2)])
def test_a_checksum_is_the_same_on_the_host_and_on_any_mesh(devices):
    from jax.sharding import NamedSharding, PartitionSpec

    x = np.random.default_rng(0).normal(size=(16, 3, 8)).astype(np.float32)
    mesh = jax.make_mesh(devices, ("a", "b"), devices=jax.devices()[: devices[0] * devices[1]])
    on_mesh = jax.device_put(x, NamedSharding(mesh, PartitionSpec("a", None, "b")))
    assert int(checksums._on_devices(on_mesh)) == int(checksums._on_host(x))
    assert checksums.of_arrays(on_mesh) == checksums.of_arrays(x)


def flips(data, count, seed):
    """The bytes with one bit flipped, `count` times, or once a byte if there are fewer."""
    rng = random.Random(seed)
    for place in rng.sample(range(len(data)), min(count, len(data))):
        flipped = bytearray(data)
        flipped[place] ^= 1 << rng.randrange(8)
        yield bytes(flipped)


@pytest.mark.parametrize("count", [2, pytest.param(60, marks=pytest.mark.slow)])
def test_a_flipped_bit_in_whatever_file_is_refused_or_harms_nothing(copy, monkeypatch, count):
    monkeypatch.setattr(restore.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(restore, "_suggest_intact_step", lambda path: "")
    step = copy / "checkpoints" / "2"
    arrays, config = checkpoint.load_arrays(step), checkpoint.load_config(step)
    refused = set()
    for seed, file in enumerate(sorted(path for path in step.rglob("*") if path.is_file())):
        whole = file.read_bytes()
        for damaged in flips(whole, count, seed):
            file.write_bytes(damaged)
            try:
                assert_identical(checkpoint.load_arrays(step), arrays)
                assert checkpoint.load_config(step) == config
            except UserError as error:
                assert "checkpoints/2 is damaged or incomplete (" in str(error)
                refused.add(file.parent.name)
        file.write_bytes(whole)
    assert {"config", "state", "d"} <= refused


def test_a_flipped_weight_is_named_and_the_other_checkpoint_offered(copy):
    """Orbax alone reads such a checkpoint without a word."""
    step = copy / "checkpoints" / "2"
    file = max((path for path in step.rglob("d/*")), key=lambda path: path.stat().st_size)
    data = bytearray(file.read_bytes())
    for place in range(len(data) // 4, len(data), len(data) // 4):
        data[place] ^= 1
    file.write_bytes(data)
    sentence = r"checkpoints/2 is damaged or incomplete \(state: \S+ .* not what was saved\); step 1 is whole: name it"
    for load in (checkpoint.load_state, checkpoint.load_arrays):
        with pytest.raises(UserError, match=sentence):
            load(copy)


def test_each_missing_file_is_refused_or_harms_nothing(copy, monkeypatch):
    monkeypatch.setattr(restore.time, "sleep", lambda seconds: None)
    step = copy / "checkpoints" / "2"
    arrays = checkpoint.load_arrays(step)
    for file in sorted(path for path in step.rglob("*") if path.is_file()):
        whole = file.read_bytes()
        file.unlink()
        try:
            assert_identical(checkpoint.load_arrays(step), arrays)
            checkpoint.load_config(step)
        except UserError as error:
            assert "checkpoints/2 is damaged or incomplete" in str(error) and "step 1 is whole" in str(error)
        file.write_bytes(whole)


@pytest.mark.parametrize("damage", [{"score": 0.1}, {"config": {"seed": 7}}, {"format": 2}, {"format": 9}])
def test_what_a_checkpoint_says_of_itself_does_not_change_silently(copy, damage):
    file = copy / "checkpoints" / "2" / "config" / "metadata"
    file.write_text(json.dumps(json.loads(file.read_text()) | damage))
    with pytest.raises(UserError, match="config/metadata is not what was saved.*step 1 is whole"):
        checkpoint.load_config(copy / "checkpoints" / "2")


@pytest.mark.parametrize(
    ("written", "sentence"),
    [(1, "format 1, which this version no longer reads; go on with"), (4, "format 4, newer than .* update biggan_jax")],
)
def test_other_formats_are_refused_with_what_to_do(copy, written, sentence):
    file = copy / "checkpoints" / "2" / "config" / "metadata"
    said = json.loads(file.read_text()) | {"format": written}
    del said["digest"]
    file.write_text(json.dumps(said | ({"digest": checksums.of_json(said)} if written > 1 else {})))
    with pytest.raises(UserError, match=sentence):
        checkpoint.load_generator(copy)


@pytest.fixture
def format_2(tmp_path):
    """A run of one round, as the version before checksums left it."""
    with tarfile.open(pathlib.Path(__file__).parents[1] / "data" / "checkpoints" / "format_2.tar.xz") as archive:
        archive.extractall(tmp_path / "run", filter="data")
    return tmp_path / "run"


def test_format_2_is_read_as_it_was_written(format_2):
    digest = hashlib.sha256()
    for name, array in sorted(checkpoint.load_arrays(format_2).items()):
        digest.update(name.encode() + array.tobytes())
    assert digest.hexdigest() == "087c81b97f891d306c0a73c9d434c3eca6c4052f3681aaa7d049712daf50d781"
    trained = checkpoint.load_generator(format_2)
    assert (trained.step, trained.config.model.dim_z) == (1, 3)


def test_format_2_is_resumed_from_and_goes_on_in_the_present_format(format_2):
    config = checkpoint.load_config(checkpoint.find(format_2))
    config.num_steps = 2
    assert train(config, format_2)
    said = checkpoint.load_metadata(checkpoint.find(format_2))
    assert (said["format"], said["step"], said["attempt"]) == (3, 2, 0)


def test_format_2_is_sampled(format_2):
    trained = checkpoint.load_generator(format_2)
    gan = trained.gan
    weights = generate.evaluation_weights(gan, trained.params, trained.stats["spectral"])
    z, y = generate.draw_latents(gan, jax.random.key(0), 2), np.arange(2)
    images = generate.generate(gan, weights, trained.stats["batch_stats"], z, y, batch_size=2)
    assert np.isfinite(images).all() and images.shape == (2, 16, 16, 3)


def test_other_device_counts_read_the_same_bits(saved):
    workdir, state = saved
    config = checkpoint.load_config(checkpoint.find(workdir))
    for data, fsdp in ((1, 1), (4, 2), (8, 1)):
        mesh = sharding.make_mesh(data=data, fsdp=fsdp, devices=jax.devices()[: data * fsdp])
        gan = build_gan(config, mesh)
        shapes = jax.eval_shape(lambda gan=gan: init_state(gan, 0))
        like = sharding.with_sharding(shapes, sharding.state_sharding(shapes, mesh, split_over_data=gan.shard_update))
        checkpoints = Checkpoints(workdir, keep=3)
        assert_identical(checkpoints.restore(like), state)
        checkpoints.close()


def test_what_a_dying_process_left_is_cleared_away_and_what_is_not_ours_stays(copy):
    folder = copy / "checkpoints"
    (folder / "README.txt").write_text("mine")
    (folder / "notes").mkdir()
    (folder / "9").write_text("a file")
    shutil.copytree(folder / "2", folder / "7.orbax-checkpoint-tmp")
    shutil.copytree(folder / "2", folder / "deleted" / "8")
    assert checkpoint.load_generator(copy).step == 2
    checkpoints = Checkpoints(copy, keep=3)
    assert checkpoints.steps() == [1, 2]
    checkpoints.close()
    deadline = time.monotonic() + 60  # Orbax clears away in a thread of its own.
    while (folder / "7.orbax-checkpoint-tmp").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert {path.name for path in folder.iterdir()} == {"1", "2", "9", "README.txt", "notes"}


def test_an_empty_folder_of_a_step_is_refused_and_the_last_whole_one_offered(copy, saved):
    (copy / "checkpoints" / "9").mkdir()
    with pytest.raises(UserError, match=r"checkpoints/9 is damaged or incomplete .*; step 2 is whole: name it"):
        checkpoint.load_generator(copy)
    checkpoints = Checkpoints(copy, keep=3)
    with pytest.raises(UserError, match=r"checkpoints/9 is damaged or incomplete .*; step 2 is whole: name it"):
        checkpoints.restore(on_one_device(saved[1]))
    checkpoints.close()


def test_an_empty_checkpoints_folder_is_a_run_that_saved_nothing(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    checkpoints = Checkpoints(tmp_path, keep=3)
    assert (checkpoints.latest_step(), checkpoints.best_step(), checkpoints.attempts()) == (None, None, {})
    checkpoints.close()


TWO_PROCESSES = """
import sys
import jax
import numpy as np
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
from biggan_jax import sharding
from biggan_jax.checkpoint import Checkpoints, checksums
from biggan_jax.models import build_gan
from biggan_jax.state import init_state
from tests.configs.tiny import get_config

config = get_config()
gan = build_gan(config, sharding.make_mesh())
shapes = jax.eval_shape(lambda: init_state(gan, 0))
layout = sharding.state_sharding(shapes, gan.mesh, split_over_data=True)
state = jax.jit(lambda: init_state(gan, 0), out_shardings=layout)()
on = lambda step: state.replace(step=jax.jit(lambda s: s * 0 + step, out_shardings=layout.step)(state.step))
checkpoints = Checkpoints(sys.argv[3], keep=1)
for step, score in enumerate([2.0, 1.0, 3.0, 4.0, 5.0, 6.0], start=1):
    checkpoints.save(on(step), config, score=score)
    if step == 4:
        checkpoints.pin(4, "why not")
assert checkpoints.steps() == [2, 4, 6], checkpoints.steps()
checkpoints.discard_after(4, "aside")
assert (checkpoints.steps(), checkpoints.best_step(), checkpoints.pinned()) == ([2, 4], 2, {4: "why not"})
checkpoints.save(on(6).replace(attempt=on(1).step), config)
assert checkpoints.attempts() == {2: 0, 4: 0, 6: 1}, checkpoints.attempts()
checkpoints.close()
checkpoints = Checkpoints(sys.argv[3], keep=1)
restored = checkpoints.restore(sharding.with_sharding(shapes, layout), 2)
assert checksums.of_arrays(restored.ema_params) == checksums.of_arrays(state.ema_params)
checkpoints.close()
"""


@pytest.mark.slow
def test_two_processes_agree_on_what_is_kept_and_on_checksums(tmp_path):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        address = f"localhost:{probe.getsockname()[1]}"
    environment = os.environ | {"XLA_FLAGS": os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=2")}
    command = lambda i: [sys.executable, "-c", TWO_PROCESSES, address, str(i), str(tmp_path)]
    two = [subprocess.Popen(command(i), stderr=subprocess.PIPE, text=True, env=environment) for i in range(2)]
    try:
        said = [process.communicate(timeout=300)[1] for process in two]
    finally:
        for process in two:
            process.kill()
    assert [process.returncode for process in two] == [0, 0], said
    assert checkpoint_steps(tmp_path) == [2, 4, 6]
    state = checkpoint.load_state(tmp_path)[0]
    assert int(state.step) == 6


def test_the_check_command_names_the_damaged_and_exits_with_1(copy):
    whole = run("checkpoint", "check", copy)
    assert whole.returncode == 0 and whole.stdout.count("arrays, all as they were saved") == 2, whole.stderr
    (copy / "checkpoints" / "2" / "state" / "manifest.ocdbt").unlink()
    damaged = run("checkpoint", "check", copy)
    assert damaged.returncode == 1 and "Traceback" not in damaged.stderr
    assert "checkpoints/1: " in damaged.stdout and "checkpoints/2 is damaged or incomplete" in damaged.stdout
