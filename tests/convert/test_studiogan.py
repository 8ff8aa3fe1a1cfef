"""Conversion of PyTorch-StudioGAN's checkpoints."""

import json
import logging

import jax
import numpy as np
import pytest

from biggan_jax.checkpoint import Checkpoints, load_state
from biggan_jax.config import base
from biggan_jax.convert import classes, files, imported, studiogan, studiogan_files, tables
from biggan_jax.layers import spectral
from biggan_jax.models import build_gan
from biggan_jax.types import UserError
from tests.cli import refused, run
from tests.conftest import assert_identical
from tests.convert import parity, recordings
from tests.convert.parity import epath
from tests.variants import further_slow

SMALL = parity.ROOT / "tests" / "data" / "parity" / "studio_biggan32.npz"
RECORDED = [path for path in parity.fixtures("studio_*.npz") if "losses" not in path.name]
CIFAR = (32, 32, 3)


def states_of(path=SMALL):
    arrays, _ = parity.load(path)
    return {role: parity.under(f"{role}/state/", arrays) for role in "GD"}


def there(config):
    """Return state dicts of random arrays of a config's networks, with StudioGAN's names."""
    gan, rng = build_gan(config), np.random.default_rng(0)
    draw = lambda shape: rng.normal(size=shape.shape).astype(np.float32)
    networks = {role: jax.tree.map(draw, network) for role, network in imported.shapes_of(gan).items()}
    return {role: studiogan_files.state_dict(network, gan, config, role) for role, network in networks.items()}


def config_of(family, changes):
    c = base(family)
    c.model.update(num_classes=7, dim_z=20, spectral_eval="stored")
    c.update_from_flattened_dict(
        {key if "." in key or key == "loss" else f"model.{key}": value for key, value in changes.items()}
    )
    return c


RESNET = {"g_ch": 8, "d_ch": 12, "d_bias": True, "d_skip_relu": True, "init": "orthogonal", "g_spectral_tables": True}
NO_NORM = {"d_batch_norm": True, "d_spectral_norm": False, "d_skip_relu": False}
BIG = {"widths": "studiogan", "d_skip_relu": True, "g_ch": 8, "d_ch": 12, "shared_dim": 6, "resolution": 32}
BIG |= {"g_attention": (16,), "d_attention": (16,)}
DEEP_CONV = {"form": "deep_conv", "image_shape": CIFAR, "ch": 4}


@pytest.mark.parametrize(
    ("family", "changes"),
    further_slow(
        [
            ("dcgan", DEEP_CONV | {"num_classes": 0}),
            ("dcgan", DEEP_CONV | {"condition.d": "ac", "g_spectral_norm": True, "d_spectral_norm": True}),
            ("sngan", RESNET | NO_NORM | {"num_classes": 0}),
            ("sngan", RESNET | {"image_shape": (64, 64, 3), "condition.d": "d2dce", "condition.embed_dim": 5}),
            ("sngan", RESNET | {"image_shape": (128, 128, 3), "condition.d": "none", "g_attention": (64,)}),
            ("sagan", RESNET | {"image_shape": (64, 64, 3), "g_attention": (16,), "d_attention": (32,)}),
            ("biggan", BIG | {"condition.d": "multi_hinge", "loss": "multi_hinge"}),
            ("biggan", BIG | {"resolution": 64, "condition.d": "contrastive", "d_attention": (32, 16)}),
            ("biggan", BIG | {"resolution": 128, "dim_z": 24, "num_classes": 0}),
            (
                "biggan",
                BIG | {"resolution": 512, "dim_z": 24, "g_attention": (), "d_attention": (), "g_spectral_norm": False},
            ),
            ("biggan_deep", BIG),
            (
                "biggan_deep",
                BIG | {"resolution": 64, "g_attention": (32,), "d_attention": (32,), "d_spectral_norm": False},
            ),
        ],
        quick=(0, 3, 6, 10),
    ),
)
def test_architectures_are_inferred_and_weights_come_back_exactly(family, changes):
    config = config_of(family, changes)
    states = there(config)
    head = {"d2dce": "D2DCE"}.get(config.condition.d, "")
    found = imported.merge(studiogan.infer_all(states, head=head))
    inferred = studiogan_files.config_of(found, set(states))
    differing = {key for key in config.model if inferred.model[key] != config.model[key]}
    assert differing <= {"prior", "bn_eps", "bn_momentum", "spectral_eps", "ch", "g_ch", "d_ch", "init", "shared_dim"}
    ch = lambda c, who: c.model.get(f"{who}_ch") or c.model.ch
    assert inferred.model.get("shared_dim") == config.model.get("shared_dim") or not config.model.num_classes
    assert [ch(inferred, who) for who in "gd"] == [ch(config, who) for who in "gd"]
    assert (inferred.condition.d == config.condition.d) or not config.model.num_classes
    gan = build_gan(inferred)
    shapes = imported.shapes_of(gan)
    for role, state in states.items():
        entry = studiogan.entry_of(inferred.model, role == "G", shapes[role])
        network = tables.to_here(state, shapes[role], entry, role, studiogan.is_foreign)
        back = studiogan_files.state_dict(network, gan, inferred, role)
        assert list(back) == list(state)
        assert all(back[name].tobytes() == state[name].tobytes() for name in state)


@pytest.mark.parametrize("path", recordings.cases(RECORDED))
def test_recorded_weights_come_back_bit_for_bit_in_their_order(path):
    """The order of names is that in which PyTorch's optimizer numbers parameters."""
    _, meta = parity.load(path)
    states = states_of(path)
    found = imported.merge(studiogan.infer_all(states, head=meta["spec"]["MODEL"]["d_cond_mtd"]))
    config = studiogan_files.config_of(found, set(states))
    settings = studiogan_files.settings_of(config)["MODEL"]
    recorded = meta["spec"]["MODEL"]
    assert {key: settings[key] for key in recorded if key in settings} == recorded
    gan = build_gan(config)
    shapes = imported.shapes_of(gan)
    for role, state in states.items():
        entry = studiogan.entry_of(config.model, role == "G", shapes[role])
        network = tables.to_here(state, shapes[role], entry, role, studiogan.is_foreign)
        foreign = {name: array for name, array in state.items() if studiogan.is_foreign(name)}
        back = studiogan_files.state_dict(network, gan, config, role, foreign)
        assert list(back) == list(state)
        assert not [n for n in state if back[n].tobytes() != state[n].tobytes() or back[n].dtype != state[n].dtype]


def test_stored_vectors_give_sigma_of_pytorch_for_each_kind_of_layer():
    """Sigma is u W v there, of the weight as a matrix [out, rest]; a transposed convolution's outputs are its second axis."""
    for config in (
        config_of("dcgan", DEEP_CONV | {"g_spectral_norm": True, "d_spectral_norm": True}),
        config_of("biggan_deep", BIG),
    ):
        gan, states = build_gan(config), there(config)
        shapes = imported.shapes_of(gan)
        for role, state in states.items():
            entry = studiogan.entry_of(config.model, role == "G", shapes[role])
            network = tables.to_here(state, shapes[role], entry, role, studiogan.is_foreign)
            evaluated = {**network, "params": spectral.normalize_stored(network["params"], network["spectral"])}
            after = tables.to_there(evaluated, entry)
            names = [name for name in state if name.endswith("weight_orig")]
            assert len(names) >= 4
            for name in names:
                weight = state[name].astype(np.float64)
                matrix = weight.swapaxes(0, 1) if "deconv" in name else weight
                u, v = (state[name.replace("_orig", f"_{which}")].astype(np.float64) for which in "uv")
                sigma = u @ matrix.reshape(len(u), -1) @ v
                np.testing.assert_allclose(after[name], weight / sigma, rtol=1e-3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of checkpoints as .npz files, which need no PyTorch."""
    folder = tmp_path_factory.mktemp("checkpoints")
    states = states_of()
    states["G_ema"] = {name: array + np.asarray(1, array.dtype) for name, array in states["G"].items()}
    for role, state in states.items():
        np.savez(folder / f"model={role}-best-weights-step=42.npz", **state)
    return folder


def test_a_folder_has_both_networks_the_average_and_the_step(folder):
    came = studiogan_files.read(epath(folder))
    assert set(came.networks) == {"G", "D", "G_ema"} and came.step == 42
    model = came.config.model
    assert (model.family, model.resolution, model.g_ch or model.ch, model.d_ch, model.dim_z) == ("biggan", 32, 4, 8, 16)
    assert (model.widths, model.d_skip_relu, model.spectral_eval) == ("studiogan", True, "stored")
    assert (model.bn_eps, model.spectral_eps, model.bn_momentum) == (1e-4, 1e-6, 0.9)
    assert (came.config.optimizer.b1, came.config.d_steps, came.config.condition.d) == (0.5, 5, "projection")
    state = imported.to_state(came)
    assert_identical(state.averages["G"], came.networks["G_ema"]["params"])
    assert_identical(came.extras["ema_stats"]["batch_stats"], came.networks["G_ema"]["batch_stats"])


def test_a_network_alone_comes_with_a_new_one_that_fits(folder):
    for role, other in (("G", "D"), ("D", "G"), ("G_ema", "D")):
        file = epath(folder / f"model={role}-best-weights-step=42.npz")
        came = studiogan_files.read(file, backbone="big_resnet" if role == "D" else "")
        assert list(came.networks) == [role] and came.step == 42
        # Shapes are enough: new weights are drawn as for any fresh network.
        assert set(jax.eval_shape(lambda came=came: imported.to_state(came)).networks) == {"G", "D"}, other


def test_the_command_imports_and_sampling_gives_the_recorded_images(folder, tmp_path):
    result = run("convert", "--from=studiogan", f"--in={folder}", f"--out={tmp_path / 'run'}")
    assert result.returncode == 0, result.stderr
    assert "biggan, 32 pixels, ch 4, 10 classes, from G, D, G_ema: step 42" in result.stdout
    arrays, _ = parity.load(SMALL)
    np.savez(tmp_path / "latents.npz", z=arrays["z"], y=arrays["gy"])
    command = f"--checkpoint={tmp_path / 'run'}", f"--latents={tmp_path / 'latents.npz'}", f"--out={tmp_path / 'x.npz'}"
    result = run("sample", *command, "--statistics=running", "--weights=live", "--float")
    assert result.returncode == 0, result.stderr
    np.testing.assert_allclose(np.load(tmp_path / "x.npz")["arr_0"], parity.to_nhwc(arrays["G/out_eval"]), atol=2e-5)


def test_mistakes_are_refused_in_one_sentence(folder, tmp_path):
    G = folder / "model=G-best-weights-step=42.npz"
    for arguments, sentence in [
        ([f"--in={folder}", "--suffix=current"], "has no file named model=G-current-weights-step=N.pth"),
        ([f"--in={G}", "--suffix=best"], "--suffix has no effect here"),
        ([f"--in={G}", "--bn_eps=1e-5"], "--bn_eps has no effect here"),
        ([f"--in={G}", "--head=D2DC"], "--head 'D2DC' is unknown; did you mean D2DCE?"),
        ([f"--in={G}", "--backbone=res_net"], "--backbone 'res_net' is unknown; did you mean resnet?"),
        ([f"--in={parity.ROOT / 'tests/data/parity/studio_losses.npz'}"], "has neither G's linear0 nor D's linear1"),
    ]:
        refused(run("convert", "--from=studiogan", f"--out={tmp_path / 'out'}", *arguments), sentence)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("role", "change", "sentence"),
    [
        ("G", lambda s: s.pop("conv2d5.bias"), "G lacks conv2d5.bias"),
        ("G", lambda s: s.update({"conv9.weight": np.ones(3)}), "G has conv9.weight, which this architecture does not"),
        ("G", lambda s: s.pop("linear0.weight_orig"), "it has neither G's linear0 nor D's linear1"),
        ("G", lambda s: s.update({"info_mix_linear.weight": np.ones(3)}), "it has InfoGAN's layers"),
        ("D", lambda s: s.update({"linear_mi.weight": np.ones((3, 3))}), "the twin classifier of TAC-GAN"),
        ("G", lambda s: s.update({"mapping.embed.weight": np.ones(3)}), "its backbone is stylegan2 or stylegan3"),
        (
            "G",
            lambda s: s.update({"conv2d5.weight_u": np.ones(4, np.float32)}),
            r"conv2d5.weight_u is \[4\], where this",
        ),
        (
            "G",
            lambda s: s.update({f"blocks.0.0.conv2d{i}.weight": np.ones((8, 8, 1, 1)) for i in (0, 4)}),
            "its backbone is big_resnet_deep_studiogan, whose skip connections are convolutions",
        ),
        (
            "D",
            lambda s: s.update({"blocks.0.0.conv2d2.weight_orig": np.ones((17, 16, 3, 3))}),
            "its channels .* fit no known architecture",
        ),
    ],
)
def test_arrays_of_what_is_not_ours_are_refused_by_name(tmp_path, role, change, sentence):
    state = states_of()[role]
    change(state)
    np.savez(tmp_path / "x.npz", **state)
    with pytest.raises(UserError, match=sentence):
        studiogan_files.read(epath(tmp_path / "x.npz"), backbone="big_resnet" if role == "D" else "")


def test_what_arrays_cannot_tell_is_said(caplog, tmp_path):
    states = there(config_of("sngan", RESNET | {"condition.d": "contrastive"}))
    for role, state in states.items():
        np.savez(tmp_path / f"model={role}-current-weights-step=1.npz", **state)
    with caplog.at_level(logging.INFO):
        assert studiogan_files.read(epath(tmp_path)).config.condition.d == "contrastive"
        assert "it is taken for 2C: --head=D2DCE takes the other" in caplog.text
        assert studiogan_files.read(epath(tmp_path), head="D2DCE").config.condition.d == "d2dce"
        caplog.clear()
        studiogan_files.read(epath(tmp_path / "model=D-current-weights-step=1.npz"))
    assert "it is taken for resnet: --backbone=big_resnet takes the other" in caplog.text


def test_unit_features_of_acgan_are_a_key_that_arrays_do_not_tell(caplog, tmp_path):
    config = config_of("sngan", RESNET | {"condition.d": "ac", "condition.normalize": True})
    assert build_gan(config).networks["D"].module.head.normalize
    assert studiogan_files.settings_of(config)["MODEL"]["normalize_d_embed"] is True
    np.savez(tmp_path / "D.npz", **there(config)["D"])
    with caplog.at_level(logging.INFO):
        assert not studiogan_files.read(epath(tmp_path / "D.npz")).config.condition.normalize
    assert "to train one that has it, set condition.normalize=True" in caplog.text


@pytest.mark.parametrize(
    ("family", "changes", "sentence"),
    [
        ("wgan", {}, "has no network like family wgan"),
        ("dcgan", {"form": "paper"}, "has no network like family dcgan of the form paper"),
        ("sngan", {}, "skip connections see the input before ReLU"),
        ("sngan", RESNET | {"d_wide": False}, "channels at the second convolution"),
        ("sngan", RESNET | {"image_shape": (32, 64, 3)}, "network for images of the shape"),
        ("sagan", RESNET | {"g_spectral_tables": False, "num_classes": 7}, "leaves out conditional batch norm"),
        ("biggan", {"d_skip_relu": True, "skip_z": False, "resolution": 128}, "a shared embedding, chunks of z"),
        ("biggan", BIG | {"widths": "paper"}, "have the channels of model.widths=studiogan"),
        ("biggan", BIG | {"d_spectral_norm": False}, "without spectral norm has batch norm"),
        ("biggan_deep", BIG | {"depth": 3}, "two blocks in each stage"),
    ],
)
def test_a_model_that_they_do_not_have_is_not_exported(family, changes, sentence):
    changes = changes if family != "wgan" else {"num_classes": 0, "dim_z": 100}
    config = base(family)
    config.update_from_flattened_dict({f"model.{key}": value for key, value in changes.items()})
    with pytest.raises(UserError, match=sentence):
        studiogan_files.settings_of(config)


def test_heads_of_d_that_are_not_ours_are_known_by_the_classes_of_g():
    states = there(config_of("sngan", RESNET | {"condition.d": "ac"}))
    for outputs, name, sentence in ((14, "linear2", "D's head is ADC"), (7, "linear1", "D's head is MD")):
        D = {**states["D"], f"{name}.weight_orig": np.ones((outputs, 24), np.float32)}
        with pytest.raises(UserError, match=sentence):
            studiogan.infer_all({"G": states["G"], "D": D})


def test_classes_of_other_layers_than_embeddings_are_not_changed():
    with pytest.raises(UserError, match="--classes changes embeddings of classes; a model of family sngan"):
        classes.check(base("sngan"))


@pytest.fixture
def pickled(monkeypatch):
    """Files of NumPy arrays in place of PyTorch's, so that reading and writing are tested without it."""
    stored = {}
    monkeypatch.setattr(files, "write_torch", lambda path, tree: stored.update({str(path): tree}) or path.touch())
    monkeypatch.setattr(files, "read_torch", lambda path: stored[str(path)])
    monkeypatch.setattr(files, "to_arrays", lambda loaded, path: dict(loaded))
    monkeypatch.setattr(files, "to_numpy", np.asarray)


def test_a_run_converts_there_and_back(folder, tmp_path, pickled):
    came = studiogan_files.read(epath(folder))
    full = lambda network, value: jax.tree.map(lambda p: np.full(p.shape, value, np.float32), network["params"])
    network = lambda role: came.networks[role]
    came.moments = {
        r: {"nu": full(network(r), 2.0 + i), "mu": full(network(r), -1.0), "count": 5} for i, r in enumerate("GD")
    }
    state = imported.to_state(came)
    checkpoints = Checkpoints(tmp_path / "run", keep=1)
    checkpoints.save(state, came.config, came.extras)
    checkpoints.close()
    studiogan_files.write(*load_state(tmp_path / "run"), epath(tmp_path / "there"))
    again = studiogan_files.read(epath(tmp_path / "there"))
    assert_identical(imported.to_state(again), state)
    assert again.step == 42 and again.moments["G"]["count"] == 5
    G = files.read_torch(tmp_path / "there" / "model=G-current-weights-step=42.pth")
    for name, array in states_of()["G"].items():
        np.testing.assert_array_equal(G["state_dict"][name], array)
    slots = G["optimizer"]["state"]
    params = [name for name in G["state_dict"] if not name.endswith(("_u", "_v", "_mean", "_var", studiogan.COUNTER))]
    assert [slot["exp_avg_sq"].shape for slot in slots.values()] == [G["state_dict"][name].shape for name in params]
    settings = json.loads((tmp_path / "there" / "model.yaml").read_text())["MODEL"]
    assert (settings["backbone"], settings["attn_g_loc"], settings["attn_d_loc"]) == ("big_resnet", [2], [1])


def test_a_model_of_our_own_is_exported_with_v_and_a_bias_of_zero(tmp_path, pickled):
    config = config_of("sngan", RESNET | {"d_bias": False, "spectral_eval": "step"})
    gan = build_gan(config)
    state = imported.to_state(imported.Imported(config, {}))
    studiogan_files.write(state, config, {}, epath(tmp_path / "there"))
    came = studiogan_files.read(epath(tmp_path / "there"))
    assert not np.asarray(came.networks["D"]["params"]["linear"]["bias"]).any()
    ours = jax.jit(gan.evaluation_weights)(state.networks["D"].params, state.networks["D"].spectral)
    theirs = spectral.normalize_stored(came.networks["D"]["params"], came.networks["D"]["spectral"])
    np.testing.assert_allclose(theirs["block_1"]["conv_1"]["kernel"], ours["block_1"]["conv_1"]["kernel"], rtol=1e-5)


def test_pytorch_files_are_read_and_written(folder, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is an extra")
    came = studiogan_files.read(epath(folder))
    state = imported.to_state(came)
    studiogan_files.write(state, came.config, came.extras, epath(tmp_path / "there"))
    again = studiogan_files.read(epath(tmp_path / "there"))
    assert_identical(imported.to_state(again), state)
    stored = torch.load(tmp_path / "there" / "model=D-current-weights-step=42.pth", weights_only=True)
    assert {
        "state_dict",
        "optimizer",
        "seed",
        "run_name",
        "step",
        "epoch",
        "topk",
        "aa_p",
        "lecam_emas",
    } <= stored.keys()
    assert stored["state_dict"]["linear1.weight_orig"].dtype == torch.float32
