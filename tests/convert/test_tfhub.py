import jax
import numpy as np
import pytest

from biggan_jax.convert import imported, tables, tf_checkpoint, tf_graph, tfhub
from biggan_jax.models import build_gan
from biggan_jax.sampling import generate
from biggan_jax.types import UserError
from tests.cli import run
from tests.convert import hub_reference, tf_files
from tests.convert.parity import epath

SMALL = {
    False: {"ch": 8, "classes": 3, "shared": 5, "chunk": 2},
    True: {"ch": 8, "classes": 3, "shared": 5, "chunk": 5},
}


def module(folder, variables, *, deep, resolution=128, ch=8, seed=1):
    """Write a module's folder; returns the statistics by truncation, in the order of the graph."""
    rng, stacks, nodes = np.random.default_rng(seed), [], []
    for width in hub_reference.layer_widths(resolution, ch, deep):
        stacks += [rng.normal(size=(hub_reference.BINS, width)), rng.random((hub_reference.BINS, width)) + 0.5]
    stacks = [stack.astype(np.float32) for stack in stacks]
    for i, stack in enumerate(stacks):
        layer, kind = divmod(i, 2)
        number = 5 * layer + (3 if kind else 1)
        names = [f"value_{i}_{j}" for j in range(len(stack))]
        nodes += [tf_files.constant(name, row) for name, row in zip(names, stack, strict=True)]
        nodes.append(tf_files.node(f"stack_{number}", "Pack", names, N=tf_files.field(3, len(names))))
        # Other stacks of the graph are of scalars.
        nodes += [tf_files.constant(f"index_{i}", 0), tf_files.node(f"stack_{number + 1}", "Pack", [f"index_{i}"] * 2)]
    folder.mkdir()
    tf_files.saved_model(folder / "saved_model.pb", nodes)
    tf_files.checkpoint(folder / "variables" / "variables", variables)
    return stacks


@pytest.fixture(scope="module", params=[False, pytest.param(True, marks=pytest.mark.slow)], ids=["biggan", "deep"])
def made(request, tmp_path_factory):
    """(deep, folder, variables, statistics, what is read of them)"""
    deep, folder = request.param, tmp_path_factory.mktemp("hub") / "module"
    variables = hub_reference.variables(hub_reference.shapes(128, deep=deep, **SMALL[deep]))
    stacks = module(folder, variables, deep=deep)
    return deep, folder, variables, stacks, tfhub.read(epath(folder))


def test_images_equal_those_that_the_graph_computes(made):
    deep, _, variables, stacks, came = made
    gan, network = build_gan(came.config), came.networks["G"]
    z, y = np.random.default_rng(2).normal(size=(2, gan.dim_z)).astype(np.float32), np.array([2, 0])
    weights = generate.evaluation_weights(gan, network["params"], network["spectral"])
    ours = lambda moments: generate.generate(gan, weights, {"batch_stats": moments}, z, y, batch_size=2)
    theirs = lambda statistics=None: hub_reference.images(
        variables, z.astype(np.float64), np.eye(3)[y], resolution=128, ch=8, deep=deep, statistics=statistics
    )
    plain = theirs()
    assert plain.std() > 0.1
    np.testing.assert_allclose(ours(network["batch_stats"]), plain, atol=2e-4)
    half = [stack[25] for stack in stacks]
    np.testing.assert_allclose(ours(generate.binned_statistics(came.extras["binned"], 0.5)), theirs(half), atol=2e-4)


@pytest.mark.parametrize(
    ("resolution", "deep"),
    [
        (256, False),
        (128, True),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [(128, False), (512, False), (256, True), (512, True)]
        ),
    ],
)
def test_variables_of_the_public_modules_have_a_place(resolution, deep):
    sizes = hub_reference.shapes(resolution, ch=128 if deep else 96, deep=deep)
    arrays, averaged = tfhub.canonical({name: np.broadcast_to(np.float32(0), size) for name, size in sizes.items()})
    found = tfhub.infer(arrays)
    assert averaged and (found["resolution"], found["g_ch"], found["num_classes"]) == (
        resolution,
        128 if deep else 96,
        1000,
    )
    assert found["dim_z"] == (128 if deep else {128: 120, 256: 140, 512: 128}[resolution])
    assert found["g_attention"] == ((128,) if resolution == 256 and not deep else (64,))
    config = imported.base_config()
    imported.complete(config.model, found)
    shapes = imported.shapes_of(build_gan(config))["G"]
    del shapes["spectral"]["v"]
    entries = tables.table(shapes, tfhub.entry_of(config.model))
    assert {entry.there for entry in entries} == {name for name in arrays if not tfhub.is_foreign(name)}
    for (path, leaf), entry in zip(tables.leaves(shapes), entries, strict=True):
        assert entry.layout.to_there(np.broadcast_to(np.float32(0), leaf.shape)).shape == arrays[entry.there].shape, (
            path
        )


def test_averages_replace_live_weights(made):
    deep, _, variables, _, came = made
    name = "Generator/conv_to_rgb" if deep else "Generator/conv_2d"
    ours = came.networks["G"]["params"]["conv_out"]["kernel"]
    np.testing.assert_array_equal(ours, variables[f"{name}/w/{hub_reference.EMA[deep]}"])
    assert not np.array_equal(ours, variables[f"{name}/w"])


@pytest.mark.parametrize("snappy", [False, True])
def test_a_checkpoint_gives_back_its_arrays(snappy, tmp_path):
    rng = np.random.default_rng(0)
    sizes = {"a": (), "a/b": (3,), "a/bc": (2, 0), "z": (2, 3, 4)} | {f"long/common/name_{i}": (i,) for i in range(40)}
    arrays = {name: rng.normal(size=size).astype(np.float32) for name, size in sizes.items()}
    tf_files.checkpoint(tmp_path / "variables", arrays, snappy=snappy)
    found = tf_checkpoint.read(epath(tmp_path / "variables"))
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def test_what_tensorflow_writes_is_read(tmp_path):
    tf = pytest.importorskip("tensorflow", reason="TensorFlow is an extra")
    rng = np.random.default_rng(0)
    arrays = {f"Generator/GBlock_{i}/w": rng.normal(size=(i, 3)).astype(np.float32) for i in range(60)}
    names, values = list(arrays), list(arrays.values())
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "variables"), tensor_names=names, shape_and_slices=[""] * len(names), tensors=values
    )
    found = tf_checkpoint.read(epath(tmp_path / "variables"))
    assert found.keys() == arrays.keys() and all(np.array_equal(found[name], arrays[name]) for name in names)

    with tf.Graph().as_default() as graph:
        tf.stack([tf.constant(row, tf.float32) for row in values[3]], name="stack_1")
        tf.constant(2.5, tf.float32, (2, 3), name="equal")
    saved = tf.compat.v1.MetaGraphDef(graph_def=graph.as_graph_def())
    content = tf_files.field(2, saved.SerializeToString())
    (tmp_path / "saved_model.pb").write_bytes(content)
    nodes = tf_graph.read(epath(tmp_path / "saved_model.pb"))
    np.testing.assert_array_equal(tf_graph.stacked(nodes, "stack_1"), values[3])
    np.testing.assert_array_equal(tf_graph.stacked(nodes, "equal"), np.full((2, 3), 2.5, np.float32))


def test_damaged_checkpoints_are_refused_in_one_sentence(tmp_path):
    prefix = tmp_path / "variables"
    tf_files.checkpoint(prefix, {"a": np.ones(9), "b": np.ones((2, 2))}, shards=1)
    index, data = tmp_path / "variables.index", tmp_path / "variables.data-00000-of-00001"
    whole, numbers = index.read_bytes(), data.read_bytes()
    for content, sentence in [
        (whole[:-1], "does not end like a table of LevelDB"),
        (b"", "does not end like a table of LevelDB"),
        (whole[:20] + b"\xff" * 20 + whole[40:], "is no checkpoint of TensorFlow, or is corrupted"),
    ]:
        index.write_bytes(content)
        with pytest.raises(UserError, match=sentence):
            tf_checkpoint.read(epath(prefix))
    index.write_bytes(whole)
    data.write_bytes(numbers[:-1])
    with pytest.raises(UserError, match="b ends behind its file of data, which is truncated"):
        tf_checkpoint.read(epath(prefix))
    data.unlink()
    with pytest.raises(UserError, match="data-00000-of-00001 is missing"):
        tf_checkpoint.read(epath(prefix))


def test_any_change_of_an_index_is_read_or_refused(tmp_path):
    tf_files.checkpoint(tmp_path / "variables", {f"name_{i}": np.ones(i) for i in range(9)}, shards=1)
    index, rng = tmp_path / "variables.index", np.random.default_rng(0)
    whole = bytearray(index.read_bytes())
    for _ in range(100):
        changed = bytearray(whole)
        changed[rng.integers(len(whole) - 8)] = rng.integers(256)
        index.write_bytes(changed)
        try:
            tf_checkpoint.read(epath(tmp_path / "variables"))
        except UserError:
            continue


@pytest.mark.slow
def test_the_command_converts_draws_and_names_what_differs(made, tmp_path):
    deep, folder, *_ = made
    out = tmp_path / "run"
    result = run("convert", "--from=tfhub", f"--in={folder}", f"--out={out}")
    assert result.returncode == 0, result.stderr
    assert f"{'biggan_deep' if deep else 'biggan'}, 128 pixels, ch 8, 3 classes, from G: step 0" in result.stdout
    assert "eps of batch norm and of spectral norm are 0.0001" in result.stderr
    assert "statistics of truncation 1 in graph and variables differ" in result.stderr
    if deep:
        return
    (folder / "saved_model.pb").rename(folder / "other.pb")
    alone = run("convert", "--from=tfhub", f"--in={folder / 'variables'}", f"--out={tmp_path / 'alone'}")
    (folder / "other.pb").rename(folder / "saved_model.pb")
    assert alone.returncode == 0 and "statistics for truncations below 1 were not found" in alone.stderr, alone.stderr


def test_a_missing_variable_is_named(made, tmp_path):
    _, _, variables, *_ = made
    rest = {name: array for name, array in variables.items() if "attention/theta/u0" not in name}
    np.savez(tmp_path / "wrong.npz", **{f"module/{name}:0": array for name, array in rest.items()})
    with pytest.raises(UserError, match="wrong.npz lacks Generator/attention/theta/u0"):
        tfhub.read(epath(tmp_path / "wrong.npz"))


def test_what_is_no_module_is_refused_with_what_to_do(tmp_path):
    np.savez(tmp_path / "other.npz", a=np.ones(2))
    for path, sentence in [
        (tmp_path, "has no variables/variables.index"),
        (tmp_path / "other.npz", "is not a generator of BigGAN from TF-Hub: it lacks Generator/conv_2d/w"),
        (tmp_path / "module.tar.gz", "unpack a .tar.gz first"),
    ]:
        with pytest.raises(UserError, match=sentence):
            tfhub.read(epath(path))


def test_a_small_g_needs_the_eps_of_the_graph():
    kernel = {"kernel": np.full((2, 2), 1e-2, np.float32)}
    found = tfhub.vectors_at_run_time({"linear": kernel}, {"linear": {"kernel": np.ones(2)}}, 1e-4)
    sigma = found["v"]["linear"]["kernel"] @ kernel["kernel"] @ found["u"]["linear"]["kernel"]
    v = np.full(2, 0.02) / np.sqrt(2 * 0.02**2 + 1e-4)
    u = v @ kernel["kernel"]
    u = u / np.sqrt(np.sum(u**2) + 1e-4)
    assert sigma == pytest.approx(float(v @ kernel["kernel"] @ u), rel=1e-6)
    assert jax.tree.leaves(found["u"])[0].dtype == np.float32
