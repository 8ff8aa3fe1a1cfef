import re
import sys

import jax
import numpy as np
import pytest

from biggan_jax.checkpoint import Checkpoints, load_generator, load_state
from biggan_jax.config import base
from biggan_jax.convert import biggan_pytorch, classes, files, imported, tables
from biggan_jax.convert import biggan_pytorch_options as options
from biggan_jax.models import build_gan
from biggan_jax.types import UserError
from tests.conftest import assert_identical, leaves, tiny_config
from tests.convert import parity, recordings
from tests.convert.parity import epath
from tests.variants import further_slow

SMALL_G, SMALL_D = (
    parity.ROOT / "tests" / "data" / "parity" / f"biggan32_{name}.npz" for name in ("nohier_G", "dattn_D")
)
state_of = lambda path: parity.under("state/", parity.load(path)[0])


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """G's and D's state dicts as .npz files, without other arrays."""
    folder = tmp_path_factory.mktemp("small")
    for name, path in (("G", SMALL_G), ("D", SMALL_D)):
        np.savez(folder / f"{name}.npz", **state_of(path))
    return folder


@pytest.mark.parametrize(
    ("family", "settings"),
    further_slow(
        [
            ("biggan", {}),
            ("biggan", {"skip_z": False, "shared_dim": 24, "g_attention": (8, 16), "d_attention": (16,)}),
            ("biggan", {"skip_z": False, "shared_embedding": False, "d_wide": False, "d_attention": ()}),
            ("biggan_deep", {}),
            ("biggan_deep", {"g_attention": (16,), "d_attention": (8,), "dim_z": 20, "shared_dim": 30}),
            ("biggan_deep", {"depth": 3, "g_spectral_norm": False, "dim_z": 30, "shared_dim": 20}),
        ],
        quick=(1, 4),
    ),
)
def test_the_architecture_is_inferred_from_the_shapes(family, settings):
    # Tracing takes half a second, so test every resolution once and every setting at two resolutions.
    for resolution in (32, 128) if settings else biggan_pytorch.RESOLUTIONS:
        c = base()
        c.model.update(family=family, resolution=resolution, num_classes=7, g_ch=8, d_ch=12, dim_z=840, shared_dim=840)
        c.model.g_attention = c.model.d_attention = (64,) if resolution > 64 else ()
        c.model.update(settings)
        for role, network in imported.shapes_of(build_gan(c)).items():
            there = {}
            for path, shape in tables.leaves(network):
                entry = biggan_pytorch.entry_of(c.model, role == "G")(path, shape.shape)
                there[entry.there] = entry.layout.to_there(np.broadcast_to(np.float32(0), shape.shape))
            for key, value in biggan_pytorch.infer(there).items():
                assert value == c.model[key], key


@pytest.mark.parametrize("path", recordings.cases(parity.fixtures("biggan*_[GD].npz")))
def test_weights_convert_there_and_back_to_the_same_bits(path):
    state = state_of(path)
    role = "G" if biggan_pytorch.is_generator(state) else "D"
    config, gan, networks = parity.read({role: state})
    foreign = {name: array for name, array in state.items() if biggan_pytorch.is_foreign(name)}
    back = biggan_pytorch.state_dict(networks[role], gan, config.model, role, foreign)
    assert list(back) == list(state)
    assert not [n for n in state if back[n].tobytes() != state[n].tobytes() or back[n].shape != state[n].shape]


def test_missing_logs_are_replaced_by_sigma():
    state = state_of(SMALL_D)
    config, gan, networks = parity.read({"D": state})
    back = biggan_pytorch.state_dict(networks["D"], gan, config.model, "D")
    weight = state["blocks.1.0.conv1.weight"].reshape(32, -1).astype(np.float64)
    v = state["blocks.1.0.conv1.u0"] @ weight
    v /= np.linalg.norm(v)
    np.testing.assert_allclose(back["blocks.1.0.conv1.sv0"], [np.linalg.norm(weight @ v.T)], rtol=1e-5)


def test_a_g_alone_is_also_the_average_beside_a_new_d(small):
    came = biggan_pytorch.read(epath(small / "G.npz"), bn_eps=1e-4, sn_eps=1e-8)
    assert (came.config.model.bn_eps, came.config.model.bn_out_eps, came.config.model.spectral_eps) == (
        1e-4,
        1e-5,
        1e-8,
    )
    state = imported.to_state(came)
    assert_identical(state.networks["G"].params, state.averages["G"])
    assert_identical(state.networks["G"].params, came.networks["G"]["params"])
    assert_identical(state.networks["G"].variables["batch_stats"], came.networks["G"]["batch_stats"])
    assert state.networks["D"].params["embed"]["embedding"].shape == (10, 32)


def test_names_of_other_batch_norms_are_those_of_the_plain():
    plain = {name: array for name, array in state_of(SMALL_G).items() if not name.endswith("stored_mean")}
    means = {f"{block}.stored_mean": np.full(4, 3, np.float32) for block in ("blocks.0.0.bn1", "output_layer.0")}
    renamed = lambda name: re.sub(r"stored_(?=mean|var)", "bn.running_", name)
    synchronized = {renamed(name): array for name, array in (plain | means).items()}
    counts = {f"{block}.bn.num_batches_tracked": np.array(7) for block in ("blocks.0.0.bn1", "output_layer.0")}
    assert_identical(biggan_pytorch.canonical(synchronized | counts), plain | means)

    sums = {name.replace(".stored", ".bn.stored"): 16 * array for name, array in means.items()}
    counts = {name.replace("stored_mean", "accumulation_counter"): np.full(1, 16, np.float32) for name in sums}
    assert_identical(biggan_pytorch.canonical(plain | sums | counts), plain | means)
    running = {name.replace(".stored", ".bn.stored"): array for name, array in means.items()}
    counts = {name: np.zeros(1, np.float32) for name in counts}
    assert_identical(biggan_pytorch.canonical(plain | running | counts), plain | means)


def test_only_the_first_singular_vector_is_converted():
    plain = state_of(SMALL_G)
    more = {name.replace("0", "1"): array for name, array in plain.items() if name in ("linear.u0", "linear.sv0")}
    assert len(more) == 2
    assert_identical(biggan_pytorch.canonical(plain | more), plain)


def test_differences_of_a_run_are_named(caplog):
    name = lambda run, synchronized=False: (
        caplog.clear(),
        options.name_differences(run, "RUN", synchronized=synchronized, bn_eps=1e-5, sn_eps=1e-6),
        caplog.text,
    )[-1]
    for run, word in [
        ({"split_D": True}, "split_D"),
        ({"G_batch_size": 64, "batch_size": 32}, "G_batch_size"),
        ({"norm_style": "in"}, "norm_style in"),
        ({"mybn": True}, "mybn"),
        ({"parallel": True}, "parallel without cross_replica"),
        ({"D_mixed_precision": True}, "half precision"),
        ({"augment": True}, "augment"),
    ]:
        assert f"RUN: {word}" in name(run)
    assert "cross_replica: gains" in name({}, synchronized=True)
    assert not name({"G_batch_size": 32, "batch_size": 32, "norm_style": "bn", "parallel": True, "cross_replica": True})


def test_an_assumed_eps_is_named(caplog):
    options.name_differences({"BN_eps": 1e-5}, "RUN", synchronized=False, bn_eps=None, sn_eps=None)
    assert "RUN does not tell SN_eps: 1e-06" in caplog.text and "BN_eps" not in caplog.text


def test_an_average_without_spectral_norm_can_be_loaded(tmp_path):
    state = {name: array for name, array in state_of(SMALL_G).items() if not name.endswith(("u0", "sv0"))}
    config, _, networks = parity.read({"G": state, "G_ema": state})
    extras = {"ema_stats": {key: value for key, value in networks["G"].items() if key != "params"}}
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(imported.to_state(imported.Imported(config, networks, extras=extras)), config, extras)
    checkpoints.close()
    assert load_generator(tmp_path).spectral == {"u": {}}
    assert load_state(tmp_path)[2]["ema_stats"].keys() == {"batch_stats"}


def test_a_d_alone_comes_with_a_new_g_that_fits(small):
    came = biggan_pytorch.read(epath(small / "D.npz"))
    state = imported.to_state(came, seed=1)
    assert_identical(state.networks["D"].params, came.networks["D"]["params"])
    assert came.config.model.resolution == 32 and came.config.model.d_attention == (16, 8)
    assert_identical(state.networks["G"].params, state.averages["G"])


def test_arrays_that_do_not_fit_are_refused_by_name(tmp_path):
    for change, sentence in [
        (lambda s: s.pop("blocks.1.0.conv2.bias"), "G lacks blocks.1.0.conv2.bias"),
        (lambda s: s.update({"blocks.1.0.conv9.weight": np.ones(3)}), "G has blocks.1.0.conv9.weight, which this arch"),
        (
            lambda s: s.update({"linear.u0": np.ones((1, 3))}),
            r"linear.u0 is \[1, 3\], where this architecture has \[1, 512\]",
        ),
        (lambda s: s.update({"linear.u0": np.ones((1, 512), int)}), "linear.u0 is int64, not floating point"),
        (lambda s: s.pop("output_layer.2.weight"), "has neither G's output_layer.2.weight nor D's embed.weight"),
        (lambda s: s.pop("blocks.0.0.bn1.gain.weight"), "it lacks blocks.0.0.bn1.gain.weight"),
        (
            lambda s: s.update({"blocks.1.0.conv1.weight": np.ones((32, 31, 3, 3))}),
            "its channels .* fit no known architecture",
        ),
    ]:
        state = state_of(SMALL_G)
        change(state)
        np.savez(tmp_path / "G.npz", **state)
        with pytest.raises(UserError, match=sentence):
            biggan_pytorch.read(epath(tmp_path / "G.npz"))


def test_a_folder_without_the_asked_copy_says_which_it_has(tmp_path):
    for name in ("G_best0", "G_ema_best0", "G_optim_best0", "G_copy1", "D_copy1"):
        (tmp_path / f"{name}.pth").touch()
    with pytest.raises(
        UserError, match="neither G.pth nor D.pth nor G_ema.pth; it has copies of --suffix best0, copy1"
    ):
        biggan_pytorch.read(epath(tmp_path))


def test_files_of_different_models_are_not_mixed():
    with pytest.raises(UserError, match="G has num_classes 10, but D 12"):
        imported.merge({"G": {"num_classes": 10}, "D": {"num_classes": 12}})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(folder, Imported, state) of both networks; buffers of the average and optimizer slots have distinct values."""
    arrays = {"G": state_of(SMALL_G), "D": state_of(SMALL_D)}
    arrays["G_ema"] = {name: array + np.float32(0.01) for name, array in arrays["G"].items()}
    config, _, networks = parity.read(arrays)
    full = lambda network, value: jax.tree.map(lambda p: np.full(p.shape, value, np.float32), network["params"])
    moments = {role: {"nu": full(networks[role], i + 1), "count": 5 + i} for i, role in enumerate("GD")}
    extras = {"ema_stats": {key: networks["G_ema"][key] for key in ("spectral", "batch_stats")}}
    came = imported.Imported(config, networks, moments, 42, extras)
    state = imported.to_state(came)
    folder = tmp_path_factory.mktemp("trained")
    checkpoints = Checkpoints(folder, keep=1)
    checkpoints.save(state, config, extras)
    checkpoints.close()
    return folder, came, state


def test_a_checkpoint_has_step_moments_and_the_averages_buffers(trained):
    folder, came, state = trained
    again, config, extras = load_state(folder)
    assert int(again.step) == 42 and config.model.family == "biggan"
    assert_identical(again, state)
    assert_identical(extras["ema_stats"], came.extras["ema_stats"])
    found = imported.moments_of(again.networks["D"])
    assert found["count"] == 6 and set(np.unique(leaves(found["nu"])["linear.kernel"])) == {2.0}
    sampled = load_generator(folder)
    assert_identical(sampled.variables["batch_stats"], came.networks["G_ema"]["batch_stats"])
    assert_identical(sampled.params, came.networks["G_ema"]["params"])


def test_kept_classes_keep_their_rows_and_everything_else(trained):
    _, came, state = trained
    after, extras = classes.change_classes(state, came.extras | {"foreign": {}}, [7, 3])
    before, now = leaves(state), leaves(after)
    changed = {name for name in before if name.endswith("embedding")}
    assert len(changed) == 6, "G, its slot, its average; D, its slot, its u"
    for name in before:
        if name in changed and "nu" in name:
            assert not now[name].any()
        elif name in changed and "spectral" in name:
            kept = before[name][[7, 3]]
            np.testing.assert_allclose(now[name], kept / np.linalg.norm(kept), rtol=1e-6)
        else:
            np.testing.assert_array_equal(now[name], before[name][[7, 3]] if name in changed else before[name])
    assert "foreign" not in extras and "ema_stats" in extras


def test_new_classes_are_equal_in_g_and_its_average(trained):
    _, came, state = trained
    after, _ = classes.change_classes(state, came.extras, 13, seed=3)
    table = np.asarray(after.networks["G"].params["shared"]["embedding"])
    assert table.shape == (13, 64) and after.networks["D"].params["embed"]["embedding"].shape == (13, 32)
    np.testing.assert_array_equal(table, after.averages["G"]["shared"]["embedding"])
    u = after.networks["D"].spectral["u"]["embed"]["embedding"]
    assert u.shape == (13,) and np.linalg.norm(u) == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(
        after.networks["G"].params["linear"]["kernel"], state.networks["G"].params["linear"]["kernel"]
    )


def test_a_choice_of_classes_is_parsed():
    assert classes.parse("keep:3,7-9,0", 10) == [3, 7, 8, 9, 0]
    assert classes.parse("reinit:20", 10) == 20


def test_names_follow_a_choice_of_classes():
    assert classes.names_of(("cat", "cow", "dog"), [2, 0]) == ["dog", "cat"]
    assert classes.names_of(("cat",), [2, 0]) == classes.names_of(("cat",), 1) == []


def test_an_unclear_choice_of_classes_is_refused():
    for text, sentence in [
        ("keep:3,10", "classes 0 to 9, not 10"),
        ("keep:3,3", "names a class twice"),
        ("keep:cat", "neither keep:ID,ID,... nor reinit:NUMBER"),
        ("keep:0-999999999999", "classes 0 to 9, not 999999999999"),
        ("reinit:0", "neither keep"),
        ("reinit:2,3", "neither keep"),
        ("drop:3", "neither keep"),
    ]:
        with pytest.raises(UserError, match="unconditional"):
            classes.parse(text, 0)
        with pytest.raises(UserError, match=sentence):
            classes.parse(text, 10)


def test_a_folder_converts_there_and_back(trained, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is an extra")
    state, config, extras = load_state(trained[0])
    there, again = epath(tmp_path / "there"), epath(tmp_path / "again")
    biggan_pytorch.write(state, config, extras, there)
    came = biggan_pytorch.read(there)
    assert came.step == 42 and set(came.networks) == {"G", "D", "G_ema"}
    assert_identical(imported.to_state(came), state)
    assert (came.config.ema.decay, came.config.d_steps) == (config.ema.decay, config.d_steps)
    checkpoints = Checkpoints(tmp_path / "run", keep=1)
    checkpoints.save(imported.to_state(came), came.config, came.extras)
    checkpoints.close()
    assert load_state(tmp_path / "run")[2]["foreign"].keys() == {"G", "D", "G_ema", "G_optim", "D_optim", "counters"}
    biggan_pytorch.write(*load_state(tmp_path / "run"), again)
    for name in ("G", "D", "G_ema", "G_optim", "D_optim", "state_dict"):
        a, b = (torch.load(f / f"{name}.pth", weights_only=True) for f in (there, again))
        assert_same(torch, a, b)
    slots = torch.load(there / "D_optim.pth", weights_only=True)
    optimizer = torch.optim.Adam([torch.zeros(slot["exp_avg_sq"].shape) for slot in slots["state"].values()])
    optimizer.load_state_dict(slots)


def assert_same(torch, a, b):
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_same(torch, a[key], b[key])
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b) and a.dtype == b.dtype
    else:
        assert a == b


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_file_that_runs_code_is_refused_and_not_run(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is an extra")
    torch.save({"a": Trap(tmp_path / "sprung")}, tmp_path / "G.pth")
    with pytest.raises(UserError, match="has more than tensors and numbers"):
        files.read_arrays(epath(tmp_path / "G.pth"))
    assert not (tmp_path / "sprung").exists()


def test_counters_and_scores_of_a_run_can_be_read(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is an extra")
    stored = {
        "itr": 7,
        "best_IS": np.float64(3.25),
        "best_FID": np.float32(9.5),
        "config": {"nl": torch.nn.ReLU(inplace=True)},
    }
    torch.save(stored, tmp_path / "state_dict.pth")
    read = files.read_torch(epath(tmp_path / "state_dict.pth"))
    assert (read["itr"], read["best_IS"], read["best_FID"]) == (7, 3.25, 9.5)


def test_a_corrupted_file_is_refused(tmp_path):
    pytest.importorskip("torch", reason="PyTorch is an extra")
    for content in (b"", b".", b"x", bytes([0x80, 2, 46]), bytes(100)):
        (tmp_path / "G.pth").write_bytes(content)
        with pytest.raises(UserError, match="is not a PyTorch file, is corrupted"):
            files.read_arrays(epath(tmp_path / "G.pth"))


def test_half_precision_comes_in_as_float32(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is an extra")
    torch.save({"a": torch.tensor([1.5]).bfloat16(), "b": torch.tensor([2.5]).half()}, tmp_path / "G.pth")
    arrays = files.read_arrays(epath(tmp_path / "G.pth"))
    assert {name: (array.dtype, array.tolist()) for name, array in arrays.items()} == {
        "a": (np.float32, [1.5]), "b": (np.float32, [2.5]),
    }  # fmt: skip


def test_settings_of_a_run_are_taken_over():
    run = {
        "num_D_steps": 3, "num_D_accumulations": 4, "num_G_accumulations": 4, "batch_size": 8, "G_ortho": 1e-4, "BN_eps": 1e-3,
        "SN_eps": 1e-8, "ema_decay": 0.99, "ema_start": 5, "G_lr": 3e-4, "D_lr": 7e-4, "G_B1": 0.5, "D_B1": 0.5, "adam_eps": 1e-8,
        "num_G_SV_itrs": 2, "num_D_SV_itrs": 2, "G_nl": "inplace_relu",
    }  # fmt: skip
    c = biggan_pytorch.settings_of(run)
    assert (c.d_steps, c.microbatches, c.batch_size, c.spectral_advance) == (3, 4, 32, "microbatch")
    assert (c.optimizer.g_lr, c.optimizer.d_lr, c.optimizer.b1, c.optimizer.eps) == (3e-4, 7e-4, 0.5, 1e-8)
    assert (c.ema.decay, c.ema.start, c.regularizer.g_ortho, c.regularizer.ortho_factor) == (0.99, 5, 1e-4, 2.0)
    assert (c.model.bn_eps, c.model.bn_out_eps, c.model.spectral_eps, c.model.spectral_iterations) == (
        1e-3,
        1e-5,
        1e-8,
        2,
    )
    assert biggan_pytorch.settings_of(run, bn_eps=1e-4).model.bn_eps == 1e-4, "a flag goes first"


def test_settings_that_have_no_counterpart_are_refused():
    for run, sentence in [
        ({"D_nl": "leaky_relu"}, "was trained with D_nl leaky_relu; networks here support only ReLU"),
        ({"norm_style": "gn"}, "trained with norm_style gn; bn is supported, and in"),
        ({"model": "BigGANdeep", "G_depth": 1, "D_depth": 2}, "has G_depth 1, but D_depth 2; here G and D share"),
        ({"G_B1": 0.5}, "optimizers of G and D have different betas or eps"),
    ]:
        with pytest.raises(UserError, match=sentence):
            biggan_pytorch.settings_of(run)


@pytest.mark.parametrize("keys", [(0, 1, 2), (140_001, 140_009, 140_003)])
def test_moments_are_found_by_the_order_of_their_group(keys):
    """PyTorch before 1.6 named parameters by their memory addresses."""
    state = {
        name: array
        for name, array in state_of(SMALL_D).items()
        if name in ("linear.weight", "linear.bias", "embed.weight")
    }
    torch = pytest.importorskip("torch", reason="PyTorch is an extra")
    params = {"linear": {"kernel": np.zeros((32, 1)), "bias": np.zeros(1)}, "embed": {"embedding": np.zeros((10, 32))}}
    slots = {
        key: {"step": 4, "exp_avg": torch.zeros(array.shape), "exp_avg_sq": torch.full(array.shape, i + 1.0)}
        for i, (key, array) in enumerate(zip(keys, state.values(), strict=True))
    }
    optimizer = {"state": slots, "param_groups": [{"params": list(keys)}]}
    config = base()
    entry = biggan_pytorch.entry_of(config.model, False)
    arguments = {"params": params}, entry, biggan_pytorch.in_order, config, "D", "D_optim"
    moments, means = imported.read_moments(optimizer, *arguments)
    assert moments["count"] == 4 and list(means) == ["linear.weight", "linear.bias", "embed.weight"]
    nu = moments["nu"]
    assert [float(nu["linear"]["kernel"].max()), float(nu["embed"]["embedding"].max())] == [1, 3]
    with pytest.raises(UserError, match="has moments of 2 arrays, where this architecture has 3"):
        optimizer["param_groups"][0]["params"] = list(keys[:2])
        imported.read_moments(optimizer, *arguments)


def test_without_pytorch_its_files_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "G.pth").write_bytes(b"")
    with pytest.raises(UserError, match="pip install 'biggan-jax"):
        files.read_arrays(epath(tmp_path / "G.pth"))


def test_a_model_that_they_do_not_have_is_not_exported(tmp_path):
    for changes in [
        {"resolution": 16},
        {"num_classes": 0},
        {"pad_rgb": True},
        {"prior": "uniform"},
        {"spectral_eval": "stored"},
        {"d_attention": (8,)},
    ]:
        config = tiny_config()
        config.model.resolution, config.model.dim_z = 32, 16
        config.model.update(changes)
        if changes.get("resolution"):
            config.model.dim_z = 12
        with pytest.raises(UserError, match="BigGAN-PyTorch"):
            biggan_pytorch.write(None, config, {}, epath(tmp_path))
