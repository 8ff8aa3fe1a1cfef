"""Conversion of StyleGAN2-ADA's networks."""

import logging
import pickle

import jax
import numpy as np
import pytest

from biggan_jax.config import base
from biggan_jax.convert import imported, stylegan2, stylegan2_files, tables
from biggan_jax.convert.stylegan2_settings import to_arguments, to_model
from biggan_jax.models import build_gan
from biggan_jax.types import UserError
from tests.cli import run
from tests.convert import parity, recordings
from tests.convert.parity import epath
from tests.convert.test_snapshot import Call, PyTorch, name  # noqa: F401
from tests.variants import further_slow

SMALL = {"model.image_shape": (16, 16, 3), "model.channel_base": 32, "model.channel_max": 4, "model.dim_z": 6}
SMALL |= {"model.dim_w": 5, "model.mapping_layers": 2, "model.d_mapping_layers": 3, "model.num_classes": 3}
FOUR = {"model.d_channel_base": 64, "model.d_channel_max": 6, "model.d_mapping_dim": 7, "model.d_stddev_maps": 2}
TWO = {"model.mapping_dim": 9, "model.embed_dim": 4, "model.noise": False, "model.image_shape": (8, 8, 1)}


def config_of(changes=()):
    c = base("stylegan2")
    c.update_from_flattened_dict(SMALL | dict(changes))
    return c


def there(config):
    """Return state dicts of random arrays of a config's networks, by the peer's names."""
    rng = np.random.default_rng(0)
    draw = lambda shape: rng.normal(size=shape.shape).astype(np.float32)
    shapes = imported.shapes_of(build_gan(config))
    return {role: stylegan2.state_dict(jax.tree.map(draw, shapes[role]), role == "G") for role in "GD"}


def untold(config):
    """Return keys that shapes do not tell."""
    keys = {"clamp", "d_stddev_group"}
    return keys if config.model.num_classes else keys | {"d_mapping_layers", "d_mapping_dim", "embed_dim"}


@pytest.mark.parametrize("architectures", [("skip", "resnet"), ("resnet", "orig"), ("orig", "skip")])
@pytest.mark.parametrize("changes", further_slow([{}, {"model.num_classes": 0}, FOUR, TWO], quick=(0, 2)))
def test_networks_are_inferred_and_weights_come_back_exactly(architectures, changes):
    names = dict(zip(("model.g_architecture", "model.d_architecture"), architectures, strict=True))
    config = config_of(changes | names)
    found = there(config)
    inferred = stylegan2_files.config_of(imported.merge({role: stylegan2.infer(a) for role, a in found.items()}))
    assert {key for key in config.model if inferred.model[key] != config.model[key]} <= untold(config)
    shapes = imported.shapes_of(build_gan(inferred))
    for role, state in found.items():
        entry = stylegan2.entry_of(role == "G")
        network = tables.to_here(state, shapes[role], entry, role, stylegan2.is_foreign)
        back = stylegan2.state_dict(network, role == "G")
        assert list(back) == list(state)
        assert all(back[n].tobytes() == state[n].tobytes() for n in state)


@pytest.mark.parametrize("changes", [{}, {"model.num_classes": 0, "model.clamp": 256.0}, FOUR, TWO])
def test_arguments_of_the_peers_networks_are_the_config(changes):
    config = config_of(changes | {"model.d_stddev_group": 2, "model.bfloat16_stages": 1})
    found = to_arguments(config)
    model = imported.merge({role: to_model(role, arguments) for role, arguments in found.items()})
    again = stylegan2_files.config_of(model)
    left = {key for key in config.model if again.model[key] != config.model[key]}
    assert left <= (set() if config.model.num_classes else {"d_mapping_dim"})


def test_arguments_that_are_not_given_have_the_peers_defaults():
    given = {"z_dim": 8, "c_dim": 0, "w_dim": 8, "img_resolution": 32, "img_channels": 1}
    more = {"synthesis_kwargs": {"block_kwargs": {"layer_kwargs": {"use_noise": False}, "conv_clamp": None}}}
    found = to_model("G", given | more)
    assert (found["noise"], found["clamp"], found["image_shape"]) == (False, 0.0, (32, 32, 1))
    assert (found["mapping_layers"], found["channel_base"], found["g_architecture"]) == (8, 32768, "skip")
    with pytest.raises(UserError, match="its G has activation=relu, which family stylegan2 does not have"):
        to_model("G", given | {"mapping_kwargs": {"activation": "relu"}})
    with pytest.raises(UserError, match="its D has the argument magnitude, which is not known"):
        to_model("D", {"c_dim": 0, "img_resolution": 32, "epilogue_kwargs": {"magnitude": 1}})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"z_dim": "foo"}, "model.dim_z must be a whole number"),
        ({"z_dim": -8}, "model.dim_z is -8; it must be greater than 0"),
        ({"z_dim": True}, "model.dim_z must be a whole number"),
        ({"z_dim": np.ones(3)}, "z_dim is an array, where the peer has a plain value"),
        ({"mapping_kwargs": {"embed_features": np.ones(3)}}, "embed_features is an array"),
        ({"synthesis_kwargs": {"resample_filter": np.ones(4)}}, "resample_filter is an array"),
        ({"w_dim": 10**9}, "model.dim_w is 1000000000; it must be at most 65536"),
        ({"img_resolution": "16"}, "model.image_shape must be a whole number"),
        ({"img_resolution": None}, "model.image_shape must be a whole number"),
        ({"mapping_kwargs": None}, "mapping_kwargs are no arguments by name"),
        ({"mapping_kwargs": [1]}, "mapping_kwargs are no arguments by name"),
        ({"mapping_kwargs": {"num_layers": 10**9}}, "model.mapping_layers is 1000000000; it must be at most 64"),
        ({"synthesis_kwargs": {"architecture": ["skip"]}}, "model.g_architecture must be a string"),
        ({"synthesis_kwargs": {"conv_clamp": "x"}}, "model.clamp must be a finite number"),
        ({"synthesis_kwargs": {"conv_clamp": float("nan")}}, "model.clamp must be a finite number"),
        ({"synthesis_kwargs": {"block_kwargs": []}}, "block_kwargs are no arguments by name"),
    ],
)
def test_arguments_that_no_network_can_have_are_refused(change, sentence):
    given = {"z_dim": 8, "c_dim": 0, "w_dim": 8, "img_resolution": 32, "img_channels": 1}
    with pytest.raises(UserError, match=sentence):
        to_model("G", given | change)


def test_arguments_within_themselves_are_refused():
    inner = {}
    inner["block_kwargs"] = inner
    with pytest.raises(UserError, match="block_kwargs are no arguments by name"):
        to_model("G", {"z_dim": 8, "w_dim": 8, "img_resolution": 32, "synthesis_kwargs": inner})


@pytest.mark.parametrize(("kind", "value"), [(np.int64, 8), (np.float64, 0.5), (np.bool_, False), (np.str_, "orig")])
def test_numbers_of_numpy_are_taken_for_arguments(kind, value):
    argument = {np.int64: "num_layers", np.float64: "w_avg_beta", np.bool_: "use_noise", np.str_: "architecture"}[kind]
    part = "mapping_kwargs" if kind in (np.int64, np.float64) else "synthesis_kwargs"
    given = {"z_dim": 8, "c_dim": 0, "w_dim": 8, "img_resolution": 32, "img_channels": 1, part: {argument: kind(value)}}
    keys = {
        "num_layers": "mapping_layers",
        "w_avg_beta": "w_decay",
        "use_noise": "noise",
        "architecture": "g_architecture",
    }
    found = to_model("G", given)[keys[argument]]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("path", recordings.cases(parity.fixtures("sg2_*_[GD].npz")))
def test_recorded_names_are_in_their_order(path):
    arrays, _ = parity.load(path)
    state = parity.under("state/", arrays)
    assert stylegan2.in_order(sorted(state)) == list(state)


@pytest.fixture(scope="module")
def states():
    found = there(config_of({"model.clamp": 256.0}))
    moved = lambda n, a: a if stylegan2.is_foreign(n) or n.endswith("noise_const") else a + np.float32(1)
    return found | {"G_ema": {n: moved(n, a) for n, a in found["G"].items()}}


def test_a_folder_goes_in_and_out_by_the_command(states, tmp_path):
    for role, state in states.items():
        np.savez(tmp_path / f"{role}.npz", **state)
    result = run("convert", "--from=stylegan2-ada", f"--in={tmp_path}", f"--out={tmp_path / 'run'}")
    assert result.returncode == 0, result.stderr
    assert "stylegan2, 16 pixels, channel_base 32, 3 classes, from G, D, G_ema: step 0" in result.stdout
    assert "the config has model.clamp=0 and model.d_stddev_group=4" in result.stderr
    result = run("convert", "--to=stylegan2-ada", f"--in={tmp_path / 'run'}", f"--out={tmp_path / 'back'}")
    assert result.returncode == 0, result.stderr
    for role, state in states.items():
        with np.load(tmp_path / "back" / f"{role}.npz") as back:
            assert back.files == list(state)
            assert all(back[n].tobytes() == state[n].tobytes() for n in state)


def persistent(name, torch, state, kind, arguments):  # noqa: F811
    """A network as the peer's training pickles it: its source, which must not run, and its attributes."""

    def module(tree, path):
        arrays = {key: a for key, a in tree.items() if not isinstance(a, dict)}
        inner = {key: module(t, (*path, key)) for key, t in tree.items() if isinstance(t, dict)}
        return torch.module("torch.nn.modules", "_".join(("Part", *path)), arrays, _modules=inner)

    tree: dict = {}
    for key, array in state.items():
        *scopes, last = key.split(".")
        inner = tree
        for scope in scopes:
            inner = inner.setdefault(scope, {})
        inner[last] = array
    attributes = module(tree, (kind,)).__dict__ | {"_init_args": (), "_init_kwargs": arguments}
    meta = {"type": "class", "version": 6, "module_src": "raise SystemExit", "class_name": kind, "state": attributes}
    return Call(torch.reconstruct, meta)


def test_a_snapshot_is_read_without_its_code_and_tells_the_clamp(name, states, tmp_path, caplog):  # noqa: F811
    torch = PyTorch(name)
    torch.reconstruct = name("torch_utils.persistence", "_reconstruct_persistent_obj", lambda meta: None)
    arguments = to_arguments(config_of({"model.clamp": 256.0, "model.d_stddev_group": 2}))
    kinds = {"G": "Generator", "D": "Discriminator", "G_ema": "Generator"}
    content = {role: persistent(name, torch, states[role], kind, arguments[role[0]]) for role, kind in kinds.items()}
    file = tmp_path / "network-snapshot.pkl"
    file.write_bytes(pickle.dumps(content | {"training_set_kwargs": {"path": "x.zip"}, "augment_pipe": None}))
    with caplog.at_level(logging.INFO):
        found = stylegan2_files.read(epath(file))
    assert "the config has batch_size=32" in caplog.text and "arrays do not tell" not in caplog.text
    assert (found.config.model.clamp, found.config.model.d_stddev_group) == (256.0, 2)
    state = imported.to_state(found)
    np.testing.assert_array_equal(state.networks["G"].variables["moving"]["w"], states["G"]["mapping.w_avg"])
    np.testing.assert_array_equal(found.extras["ema_stats"]["moving"]["w"], states["G_ema"]["mapping.w_avg"])
    np.testing.assert_array_equal(
        state.averages["G"]["synthesis"]["block_4"]["constant"],
        states["G_ema"]["synthesis.b4.const"].transpose(1, 2, 0),
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: s.pop("b4.out.weight"), "it has neither G's synthesis.b4.const nor D's b4.out.weight"),
        (lambda s: s.pop("b8.conv0.weight"), "it lacks b8.conv0.weight"),
        (lambda s: s.update({"b8.resample_filter": np.eye(4)}), r"b8.resample_filter is not the filter \[1, 3, 3, 1\]"),
        (lambda s: s.update({"b64.conv0.bias": np.ones(1)}), "its blocks are of 4, 8, 16, 64 pixels"),
        (lambda s: s.update({"b8.conv0.weight": np.ones((3, 4, 3, 3))}), "are not base / size, at most a maximum"),
        (lambda s: s["b4.conv.bias"].fill(np.nan), "D: b4.conv.bias has values that are not finite"),
        (lambda s: s.update({"extra": np.ones(1)}), "has extra, which this architecture does not have"),
    ],
)
def test_state_dicts_of_other_networks_are_refused(states, tmp_path, change, sentence):
    state = {key: array.copy() for key, array in states["D"].items()}
    change(state)
    np.savez(tmp_path / "D.npz", **state)
    with pytest.raises(UserError, match=sentence):
        stylegan2_files.read(epath(tmp_path / "D.npz"))


def test_images_that_are_not_square_are_not_the_peers():
    with pytest.raises(UserError, match="StyleGAN2-ADA's images are square"):
        to_arguments(config_of({"model.image_shape": (16, 32, 3)}))
    with pytest.raises(UserError, match="StyleGAN2-ADA has no network like family r3gan"):
        to_arguments(base("r3gan"))
