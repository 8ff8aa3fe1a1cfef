import functools
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
from biggan_jax import train as training
from biggan_jax.checkpoint import Checkpoints, checkpoint_steps, checksums, restore
from biggan_jax.models import build_gan
from biggan_jax.sampling import generate
from biggan_jax.state import init_state
from biggan_jax.train import train
from biggan_jax.train_step import train_step
from biggan_jax.types import UserError
from tests.cli import refused, run
from tests.conftest import assert_identical, fresh_state, tiny_config


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """(workdir with steps 1 and 2, state of step 2)."""
    return save_two(tmp_path_factory.mktemp("saved"), "biggan")


def save_two(workdir, family):
    c = tiny_config(family)
    state = fresh_state(family)
    checkpoints = Checkpoints(workdir, keep=3)
    checkpoints.save(state.replace(step=np.int32(1)), c)
    state = state.replace(step=np.int32(2), averages={"G": jax.tree.map(lambda x: x + 0.5, state.averages["G"])})
    checkpoints.save(state, c)
    checkpoints.close()
    return workdir, state


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved[0], tmp_path / "copy")


@pytest.fixture
def small_copy(tmp_path):
    """A workdir like `copy`, of few arrays, for tests that read them often."""
    return save_two(tmp_path / "copy", "dense")[0]


def on_one_device(state):
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype, sharding=device), state)


def test_a_restored_state_is_bitwise_identical(saved):
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


def test_a_generator_loads_from_a_workdir_its_folder_or_a_step(saved):
    workdir, state = saved
    for path in (workdir, workdir / "checkpoints", workdir / "checkpoints" / "2"):
        trained = checkpoint.load_generator(path)
        assert trained.step == 2 and trained.config.model.dim_z == 12
        assert_identical(trained.params, state.averages["G"])
        assert_identical(trained.stats, state.networks["G"].stats)
    assert checkpoint.load_generator(workdir / "checkpoints" / "1").step == 1


def test_compare_names_what_differs_and_by_how_much(saved):
    workdir, _ = saved
    assert checkpoint.compare(workdir, workdir) == []
    lines = checkpoint.compare(workdir / "checkpoints" / "1", workdir)
    assert "ema_params.conv_out.bias: 3 of 3 values differ, by at most 0.5" in lines
    assert any(line.startswith("step: 1 of 1 values differ, by at most 1") for line in lines)
    assert not any(line.startswith("generator") for line in lines)


def test_the_compare_command_exits_0_or_1(saved):
    workdir, _ = saved
    compare = functools.partial(run, "checkpoint", "compare")
    same, different = compare(workdir, workdir), compare(workdir, workdir / "checkpoints" / "1")
    assert same.returncode == 0 and "bit-identical" in same.stdout, same.stderr
    assert different.returncode == 1 and "ema_params.conv_out.bias" in different.stdout
    missing = compare(workdir, "nowhere")
    assert missing.returncode == 2 and "no checkpoint at" in missing.stderr and "Traceback" not in missing.stderr


def test_a_missing_checkpoint_is_reported(tmp_path):
    with pytest.raises(UserError, match="no checkpoint at .*give a workdir"):
        checkpoint.load_generator(tmp_path)


def test_a_truncated_checkpoint_is_refused_and_another_suggested(copy):
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
    """Return (checkpoints, state) of a run that saved steps 1, 2, ... with these scores; the state is small."""
    state = fresh_state("dense")
    checkpoints = Checkpoints(workdir, keep=keep, keep_every=keep_every)
    for step, score in enumerate(scores, start=1):
        checkpoints.save(state.replace(step=np.int32(step)), config, score=score)
    return checkpoints, state


def test_checkpoints_rotate_and_keep_each_multiple(config, tmp_path):
    checkpoints, _ = keeping(tmp_path, config, [None] * 7, keep=2, keep_every=4)
    checkpoints.close()
    assert sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir()) == [4, 6, 7]


def test_the_best_step_outlives_rotation_and_restarts(config, tmp_path):
    checkpoints, state = keeping(tmp_path, config, [3.0, 1.0, float("nan"), 2.0])
    assert (checkpoints.steps(), checkpoints.best_step()) == ([2, 4], 2)
    checkpoints.close()
    checkpoints = Checkpoints(tmp_path, keep=1)
    assert checkpoints.best_step() == 2
    checkpoints.save(state.replace(step=np.int32(5)), config, score=0.5)
    assert (checkpoints.steps(), checkpoints.best_step()) == ([5], 5)
    checkpoints.close()


def test_pinned_steps_outlive_rotation_and_restarts(config, tmp_path):
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


def test_invalid_pins_are_refused_before_anything_is_deleted(config, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "kept.json").write_text('{"2": ')
    with pytest.raises(UserError, match="kept.json is not JSON such as"):
        Checkpoints(tmp_path, keep=1)


def test_the_last_healthy_checkpoint_outlives_rotation(config, tmp_path):
    checkpoints, state = keeping(tmp_path, config, [], keep=1)
    for step, last_healthy_step in ((1, None), (2, 2), (3, 2), (4, 3), (5, 3)):
        checkpoints.save(state.replace(step=np.int32(step)), config, last_healthy_step=last_healthy_step)
    assert checkpoints.steps() == [3, 5]
    checkpoints.close()


def test_discarded_steps_may_be_saved_again(config, tmp_path):
    checkpoints, state = keeping(tmp_path, config, [3.0, 2.0, 1.0], keep=3)
    checkpoints.pin(3, "why")
    checkpoints.discard_after(1, "aside")
    assert (checkpoints.steps(), checkpoints.best_step(), checkpoints.pinned()) == ([1], 1, {})
    assert [path.name for path in (tmp_path / "aside").iterdir()] == ["3"], "the best and pinned one is moved"
    assert checkpoint.load_arrays(tmp_path / "aside" / "3")["step"] == 3
    checkpoints.save(state.replace(step=np.int32(3), attempt=np.int32(1)), config)
    assert checkpoints.attempts() == {1: 0, 3: 1}
    assert (checkpoints.best_step(), checkpoints.pinned()) == (1, {})
    checkpoints.close()
    checkpoints = Checkpoints(tmp_path, keep=3)
    assert (checkpoints.steps(), checkpoints.attempts(), checkpoints.best_step()) == ([1, 3], {1: 0, 3: 1}, 1)
    checkpoints.close()


def test_saving_a_step_before_the_latest_is_refused(config, tmp_path):
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
def test_each_bit_changes_a_checksum(dtype, shape):
    rng = np.random.default_rng(0)
    x = np.asarray(rng.normal(size=shape) > 0 if dtype == "bool" else rng.normal(size=shape) * 99).astype(dtype)
    sums = [checksums.of_arrays(x)]
    for bit in range(x.nbytes * 8):
        if dtype == "bool" and bit % 8:
            continue
        flipped = bytearray(x.tobytes())
        flipped[bit // 8] ^= 1 << bit % 8
        sums.append(checksums.of_arrays(np.frombuffer(flipped, x.dtype).reshape(x.shape)))
    assert len({str(s) for s in sums}) == len(sums)


def test_swapped_or_pairwise_flipped_values_change_a_checksum():
    x = np.arange(1, 9, dtype=np.float32)
    sums = [checksums.of_arrays(y)[""] for y in (x, x[::-1].copy(), x * [-1, -1, 1, 1, 1, 1, 1, 1], x.reshape(2, 4))]
    assert len(set(sums)) == 4


@pytest.mark.parametrize("devices", [(1, 1), (8, 1), (4, 2)])
def test_a_checksum_does_not_depend_on_sharding(devices):
    from jax.sharding import NamedSharding, PartitionSpec

    x = np.random.default_rng(0).normal(size=(16, 3, 8)).astype(np.float32)
    mesh = jax.make_mesh(devices, ("a", "b"), devices=jax.devices()[: devices[0] * devices[1]])
    on_mesh = jax.device_put(x, NamedSharding(mesh, PartitionSpec("a", None, "b")))
    assert int(checksums._on_devices(on_mesh)) == int(checksums._on_host(x))
    assert checksums.of_arrays(on_mesh) == checksums.of_arrays(x)


def flips(data, count, seed):
    """Return `count` copies of the data, each with one bit flipped in another byte; fewer if there are fewer bytes."""
    rng = random.Random(seed)
    for byte in rng.sample(range(len(data)), min(count, len(data))):
        flipped = bytearray(data)
        flipped[byte] ^= 1 << rng.randrange(8)
        yield bytes(flipped)


@pytest.mark.parametrize("count", [2, pytest.param(60, marks=pytest.mark.slow)])
def test_a_flipped_bit_in_any_file_is_harmless_or_step_1_serves(small_copy, dense, monkeypatch, count):
    monkeypatch.setattr(restore.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(restore, "_suggest_intact_step", lambda path: "")
    step = small_copy / "checkpoints" / "2"
    arrays, config = checkpoint.load_arrays(step), checkpoint.load_config(step)
    refused = set()
    for seed, file in enumerate(sorted(path for path in step.rglob("*") if path.is_file())):
        intact = file.read_bytes()
        for damaged in flips(intact, count, seed):
            file.write_bytes(damaged)
            try:
                assert_identical(checkpoint.load_arrays(step), arrays)
                assert checkpoint.load_config(step) == config
            except UserError as error:
                assert "checkpoints/2 is damaged or incomplete (" in str(error)
                if file.parent.name not in refused or count > 2:  # What --on_damage=fallback goes on from.
                    assert restore.newest_intact(step.parent, [1, 2]) == 1
                refused.add(file.parent.name)
        file.write_bytes(intact)
    assert {"config", "state", "d"} <= refused


def test_a_corrupted_weight_is_named_and_another_step_suggested(copy, saved, tmp_path):
    """The arrays are those of another save. Flipped bits would not do: zstd refuses some of them before any checksum."""
    state = saved[1]
    G = state.networks["G"]
    linear = G.params["linear"] | {"kernel": G.params["linear"]["kernel"].at[0, 0].add(1e-3)}
    checkpoints = Checkpoints(tmp_path / "other", keep=1)
    checkpoints.save(state.with_networks(G=G.replace(params=G.params | {"linear": linear})), tiny_config())
    checkpoints.close()
    shutil.rmtree(copy / "checkpoints" / "2" / "state")
    shutil.copytree(tmp_path / "other" / "checkpoints" / "2" / "state", copy / "checkpoints" / "2" / "state")
    sentence = r"2 is damaged or incomplete \(state: generator.params.linear.kernel is not what was saved\); step 1 is whole: name"
    for load in (checkpoint.load_state, checkpoint.load_arrays):
        with pytest.raises(UserError, match=sentence):
            load(copy)


def test_a_missing_file_is_refused_or_harmless(small_copy, dense, monkeypatch):
    monkeypatch.setattr(restore.time, "sleep", lambda seconds: None)
    step = small_copy / "checkpoints" / "2"
    arrays = checkpoint.load_arrays(step)
    for file in sorted(path for path in step.rglob("*") if path.is_file()):
        intact = file.read_bytes()
        file.unlink()
        try:
            assert_identical(checkpoint.load_arrays(step), arrays)
            checkpoint.load_config(step)
        except UserError as error:
            assert "checkpoints/2 is damaged or incomplete" in str(error) and "step 1 is whole" in str(error)
        file.write_bytes(intact)


@pytest.mark.parametrize("damage", [{"score": 0.1}, {"config": {"seed": 7}}, {"format": 2}, {"format": 9}])
def test_changed_metadata_are_refused(copy, damage):
    file = copy / "checkpoints" / "2" / "config" / "metadata"
    file.write_text(json.dumps(json.loads(file.read_text()) | damage))
    with pytest.raises(UserError, match="config/metadata is not what was saved.*step 1 is whole"):
        checkpoint.load_config(copy / "checkpoints" / "2")


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (1, "format 1, which this version no longer reads; resume with"),
        (4, "format 4, newer than .* update biggan_jax"),
    ],
)
def test_other_formats_are_refused_with_a_remedy(copy, written, sentence):
    file = copy / "checkpoints" / "2" / "config" / "metadata"
    stored = json.loads(file.read_text()) | {"format": written}
    del stored["digest"]
    file.write_text(json.dumps(stored | ({"digest": checksums.of_json(stored)} if written > 1 else {})))
    with pytest.raises(UserError, match=sentence):
        checkpoint.load_generator(copy)


@pytest.fixture
def format_2(tmp_path):
    """A run of one step, saved by the version before checksums."""
    with tarfile.open(pathlib.Path(__file__).parents[1] / "data" / "checkpoints" / "format_2.tar.xz") as archive:
        archive.extractall(tmp_path / "run", filter="data")
    return tmp_path / "run"


def test_format_2_is_read_bit_for_bit(format_2):
    digest = hashlib.sha256()
    for name, array in sorted(checkpoint.load_arrays(format_2).items()):
        digest.update(name.encode() + array.tobytes())
    assert digest.hexdigest() == "087c81b97f891d306c0a73c9d434c3eca6c4052f3681aaa7d049712daf50d781"
    trained = checkpoint.load_generator(format_2)
    assert (trained.step, trained.config.model.dim_z) == (1, 3)


def traced_step(gan):
    """Return a step that checks shapes and dtypes, and counts: compiling a step takes ten times as long as tracing it."""
    shapes = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)

    def step(state, batch):
        after, metrics = jax.eval_shape(functools.partial(train_step, gan), state, batch)
        assert shapes(after) == shapes(state)
        return state.replace(step=state.step + 1), jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), metrics)

    return step


def test_format_2_is_resumed_and_saved_as_format_3(format_2, monkeypatch):
    monkeypatch.setattr(training, "compile_step", traced_step)
    config = checkpoint.load_config(checkpoint.find(format_2))
    config.num_steps, config.stability.every = 2, 0
    assert train(config, format_2)
    metadata = checkpoint.load_metadata(checkpoint.find(format_2))
    assert (metadata["format"], metadata["step"], metadata["attempt"]) == (3, 2, 0)


def test_format_2_is_sampled(format_2):
    trained = checkpoint.load_generator(format_2)
    gan = trained.gan
    weights = generate.evaluation_weights(gan, trained.params, trained.spectral)
    z, y = generate.draw_latents(gan, jax.random.key(0), 2), np.arange(2)
    images = generate.generate(gan, weights, trained.variables, z, y, batch_size=2)
    assert np.isfinite(images).all() and images.shape == (2, 16, 16, 3)


def test_other_device_counts_restore_the_same_bits(saved):
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


def test_remains_of_a_killed_save_are_deleted_and_foreign_files_stay(copy):
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
    deadline = time.monotonic() + 60  # Orbax deletes in a thread.
    while (folder / "7.orbax-checkpoint-tmp").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert {path.name for path in folder.iterdir()} == {"1", "2", "9", "README.txt", "notes"}


def test_an_empty_step_folder_is_refused_and_another_step_suggested(copy, saved):
    (copy / "checkpoints" / "9").mkdir()
    with pytest.raises(UserError, match=r"checkpoints/9 is damaged or incomplete .*; step 2 is whole: name it"):
        checkpoint.load_generator(copy)
    checkpoints = Checkpoints(copy, keep=3)
    with pytest.raises(UserError, match=r"checkpoints/9 is damaged or incomplete .*; step 2 is whole: name it"):
        checkpoints.restore(on_one_device(saved[1]))
    checkpoints.close()


def test_an_empty_checkpoints_folder_has_no_checkpoints(tmp_path):
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
from biggan_jax.state import init_shapes, init_state
from tests.configs.tiny import get_config

config = get_config()
gan = build_gan(config, sharding.make_mesh())
shapes = init_shapes(gan)
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
assert checksums.of_arrays(restored.averages["G"]) == checksums.of_arrays(state.averages["G"])
checkpoints.close()
"""


@pytest.mark.slow
def test_two_processes_agree_on_retention_and_checksums(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    environment = os.environ | {"XLA_FLAGS": os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=2")}
    command = lambda i: [sys.executable, "-c", TWO_PROCESSES, address, str(i), str(tmp_path)]
    two = [subprocess.Popen(command(i), stderr=subprocess.PIPE, text=True, env=environment) for i in range(2)]
    try:
        printed = [process.communicate(timeout=300)[1] for process in two]
    finally:
        for process in two:
            process.kill()
    assert [process.returncode for process in two] == [0, 0], printed
    assert checkpoint_steps(tmp_path) == [2, 4, 6]
    state = checkpoint.load_state(tmp_path)[0]
    assert int(state.step) == 6


def test_the_check_command_names_corrupted_steps_and_exits_1(copy):
    intact = run("checkpoint", "check", copy)
    assert intact.returncode == 0 and intact.stdout.count("arrays, all as they were saved") == 2, intact.stderr
    (copy / "checkpoints" / "2" / "state" / "manifest.ocdbt").unlink()
    damaged = run("checkpoint", "check", copy)
    assert damaged.returncode == 1 and "Traceback" not in damaged.stderr
    assert "checkpoints/1: " in damaged.stdout and "checkpoints/2 is damaged or incomplete" in damaged.stdout


def test_help_exits_0_and_a_wrong_command_exits_2():
    for flag in ("--help", "-h"):
        shown = run("checkpoint", flag)
        assert shown.returncode == 0 and "{compare,check}" in shown.stdout
    for wrong, sentence in {"": "required: command", "compare a": "required: B", "chekc a": "choose from"}.items():
        refused(run("checkpoint", *wrong.split()), sentence)
