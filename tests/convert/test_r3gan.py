"""Conversion of R3GAN's networks."""

import logging
import pickle

import jax
import numpy as np
import pytest

from biggan_jax.config import base
from biggan_jax.convert import imported, r3gan, tables
from biggan_jax.models import build_gan
from biggan_jax.types import UserError
from tests.cli import refused, run
from tests.conftest import assert_identical
from tests.convert import parity, recordings
from tests.convert.parity import epath
from tests.convert.test_snapshot import PyTorch, name  # noqa: F401

RECORDED = parity.fixtures("r3gan*.npz")
SMALL = {"model.widths": (8, 4), "model.groups": (4, 2), "model.blocks": (1, 2), "model.dim_z": 6}
SMALL |= {"model.image_shape": (8, 8, 3), "model.num_classes": 5, "model.embed_dim": 3}


def config_of(changes=()):
    c = base("r3gan")
    c.update_from_flattened_dict(SMALL | dict(changes))
    return c


def there(config):
    """Return state dicts of random arrays of a config's networks, by R3GAN's names."""
    rng = np.random.default_rng(0)
    draw = lambda shape: rng.normal(size=shape.shape).astype(np.float32)
    shapes = imported.shapes_of(build_gan(config))
    return {role: r3gan.state_dict(jax.tree.map(draw, shapes[role]), config, role) for role in "GD"}


@pytest.fixture(scope="module")
def states():
    found = there(config_of())
    return found | {"G_ema": {n: a if r3gan.is_foreign(n) else a + np.float32(1) for n, a in found["G"].items()}}


@pytest.fixture(scope="module")
def folder(states, tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    for role, state in states.items():
        np.savez(folder / f"{role}.npz", **state)
    return folder


BAD_ADAM = [
    ({"param_groups": 3}, {}),
    ({"param_groups": [7]}, {}),
    ({"state": None}, {}),
    ({"state": {0: 5}}, {}),
    ({}, {"lr": "1e-4"}),
    ({}, {"lr": float("nan")}),
    ({}, {"betas": 0.9}),
    ({}, {"params": [[1]]}),
    ({}, {"lr": True}),
]


@pytest.mark.parametrize("count", [-1, 0.5, float("nan"), float("inf"), 10**12, True, "9", None, [1]])
def test_a_count_that_no_run_has_is_refused(count):
    with pytest.raises(UserError, match="x is no whole number from 0 to 2,147,483,647"):
        imported.count_of(count, "x")
    assert imported.count_of(np.float32(9.0), "x") == imported.count_of(np.array(9), "x") == 9


def test_a_learning_rate_of_a_run_that_has_ended_is_not_taken(caplog):
    logging.getLogger("biggan_jax").propagate = True
    config = imported.base_config("r3gan")
    before, group = config.optimizer.g_lr, {"lr": 0.0, "betas": (0.0, np.float64(0.9)), "eps": np.float64(1e-8)}
    imported.set_adam(config, {"G": group}, "x.pkl")
    assert config.optimizer.g_lr == before and type(config.optimizer.b2) is float
    assert "x.pkl: the learning rate of G is 0; the config keeps" in caplog.text


@pytest.mark.parametrize(("outer", "inner"), BAD_ADAM)
def test_an_optimizer_of_other_types_is_refused(outer, inner):
    group = {"lr": 1e-4, "betas": (0.0, 0.95), "eps": 1e-8, "params": [0]}
    sound = {"state": {0: {}}, "param_groups": [group]}
    assert imported.adam_group(sound, "x") == group
    with pytest.raises(UserError, match="x is not a state dict of torch.optim.Adam"):
        imported.adam_group(sound | {"param_groups": [group | inner]} | outer, "x")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model.num_classes": 0},
        {
            "model.d_widths": (12, 8),
            "model.d_groups": (6, 4),
            "model.d_blocks": (1, 1),
            "model.d_embed_dim": 3,
            "model.d_expansion": 3,
        },
        {"model.expansion": 3, "model.groups": (2, 3), "model.image_shape": (8, 16, 1), "model.blocks": (2, 1)},
        {"model.widths": (6,), "model.groups": (3,), "model.blocks": (1,), "model.image_shape": (4, 4, 3)},
    ],
)
def test_networks_are_inferred_and_weights_come_back_exactly(changes):
    config = config_of(changes)
    found = there(config)
    inferred = r3gan.config_of(imported.merge({role: r3gan.infer(state) for role, state in found.items()}))
    differing = {key for key in config.model if inferred.model[key] != config.model[key]}
    assert differing <= ({"embed_dim"} if not config.model.num_classes else set())
    shapes = imported.shapes_of(build_gan(inferred))
    for role, state in found.items():
        entry = r3gan.entry_of(inferred.model, role == "G")
        network = tables.to_here(state, shapes[role], entry, role, r3gan.is_foreign)
        back = r3gan.state_dict(network, inferred, role)
        assert list(back) == list(state)
        assert all(back[n].tobytes() == state[n].tobytes() for n in state)


@pytest.mark.parametrize("path", recordings.cases(RECORDED))
def test_recorded_weights_come_back_bit_for_bit_in_their_order(path):
    """The order of names is that in which PyTorch's optimizer numbers parameters."""
    arrays, _ = parity.load(path)
    for role in "GD":
        state = parity.under(f"{role}/state/", arrays)
        config = r3gan.config_of(r3gan.infer(state))
        shapes = imported.shapes_of(build_gan(config))
        entry = r3gan.entry_of(config.model, role == "G")
        back = r3gan.state_dict(tables.to_here(state, shapes[role], entry, role, r3gan.is_foreign), config, role)
        assert list(back) == list(state)
        assert not [n for n in state if back[n].tobytes() != state[n].tobytes()]


def test_a_folder_goes_in_and_out_by_the_command(folder, states, tmp_path):
    result = run("convert", "--from=r3gan", f"--in={folder}", f"--out={tmp_path / 'run'}")
    assert result.returncode == 0, result.stderr
    assert "r3gan, 8 pixels, widths (8, 4), 5 classes, from G, D, G_ema: step 0" in result.stdout
    assert "the files hold neither the batch size nor the strengths of R1 and R2" in result.stderr
    result = run("convert", "--to=r3gan", f"--in={tmp_path / 'run'}", f"--out={tmp_path / 'back'}")
    assert result.returncode == 0, result.stderr
    for role, state in states.items():
        with np.load(tmp_path / "back" / f"{role}.npz") as back:
            assert back.files == list(state)
            assert all(back[n].tobytes() == state[n].tobytes() for n in state)
    settings = (tmp_path / "back" / "networks.json").read_text()
    assert '"ConditionEmbeddingDimension": 8' in settings and '"NoiseDimension": 6' in settings


def snapshot_of(torch, states, **more):
    """A snapshot as R3GAN's training writes it: modules within modules, whose names begin with Model."""

    def module(state, low=()):
        tree = {}
        for key, array in state.items():
            *scopes, last = key.split(".")
            inner = tree
            for scope in scopes:
                inner = inner.setdefault(scope, {})
            inner[last] = array
        return build(tree, low, ())

    def build(tree, low, path):
        arrays = {key: a for key, a in tree.items() if not isinstance(a, dict)}
        inner = {key: build(t, low, (*path, key)) for key, t in tree.items() if isinstance(t, dict)}
        attributes = {"_modules": inner}
        if path[:1] == ("MainLayers",) and len(path) == 2:
            attributes["DataType"] = low if path[1] != "0" else 0
        return torch.module("R3GAN.Networks", "_".join(("Part", *path)), arrays, **attributes)

    bfloat16 = torch.name("torch", "bfloat16", type("bfloat16", (), {}))
    wrap = lambda state: torch.module("training.networks", "Wrapper", {}, _modules={"Model": module(state, bfloat16)})
    return {role: wrap(state) for role, state in states.items()} | more


def test_a_snapshot_has_networks_moments_and_images_seen(name, states, tmp_path, caplog):  # noqa: F811
    torch = PyTorch(name)
    squares = {}
    optimizer = {}
    for role in "GD":
        numbered = [n for n in states[role] if not r3gan.is_foreign(n)]
        squares[role] = {n: np.abs(states[role][n]) for n in numbered}
        slots = {
            i: {"step": torch.tensor(9.0), "exp_avg": torch.tensor(a), "exp_avg_sq": torch.tensor(a)}
            for i, a in enumerate(squares[role].values())
        }
        group = {"lr": 1e-4, "betas": (0.0, 0.95), "eps": 1e-8, "params": list(slots)}
        optimizer[f"{role}_opt_state"] = {"state": slots, "param_groups": [group]}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(snapshot_of(torch, states, cur_nimg=25_600, **optimizer)))
    with caplog.at_level(logging.INFO):
        came = r3gan.read(epath(tmp_path / "x.pkl"))
    assert "25600 images were seen, in 100 steps if its batch had 256" in caplog.text and came.step == 100
    assert (came.config.optimizer.b2, came.config.optimizer.d_lr, came.config.model.bfloat16_stages) == (0.95, 1e-4, 1)
    assert int(came.moments["D"]["count"]) == 9
    for role, state in states.items():
        back = r3gan.state_dict(came.networks[role], came.config, role)
        assert all(back[n].tobytes() == state[n].tobytes() for n in state)
    for role in "GD":
        entry = r3gan.entry_of(came.config.model, role == "G")
        back = tables.to_there({"params": came.moments[role]["nu"]}, entry)
        assert all(back[n].tobytes() == a.tobytes() for n, a in squares[role].items())
    assert_identical(imported.to_state(came).averages["G"], came.networks["G_ema"]["params"])


def test_a_network_alone_comes_with_a_new_one_that_mirrors_it(folder):
    for role in ("D", "G_ema"):
        came = r3gan.read(epath(folder / f"{role}.npz"))
        assert list(came.networks) == [role]
        assert came.config.model.widths == (8, 4) and came.config.model.blocks == (1, 2)
        assert set(imported.to_state(came).networks) == {"G", "D"}


@pytest.mark.parametrize(
    ("role", "change", "sentence"),
    [
        (
            "G",
            lambda s: s.pop("AggregationLayer.Layer.weight"),
            "it has neither G's AggregationLayer nor D's Extraction",
        ),
        ("G", lambda s: s.pop("MainLayers.0.Layers.0.Basis"), "it lacks MainLayers.0.Layers.0.Basis"),
        ("D", lambda s: s.update(x=np.ones(3)), "has x, which this architecture does not have"),
        (
            "G",
            lambda s: s.update({"MainLayers.1.Layers.0.Resampler.Kernel": np.ones((4, 4)) / 16}),
            "is not the filter",
        ),
        ("D", lambda s: s.update({"MainLayers.0.Layers.0.NonLinearity1.Bias": np.ones(3)}), r"is \[3\], where this"),
        ("G", lambda s: [s.pop(n) for n in list(s) if n.startswith("MainLayers.0.Layers.1.")], "has no residual block"),
    ],
)
def test_arrays_of_another_network_are_refused_by_name(states, tmp_path, role, change, sentence):
    state = dict(states[role])
    change(state)
    np.savez(tmp_path / "x.npz", **state)
    with pytest.raises(UserError, match=sentence):
        r3gan.read(epath(tmp_path / "x.npz"))


def test_mistakes_are_refused_in_one_sentence(folder, tmp_path, states):
    (tmp_path / "empty").mkdir()
    np.savez(tmp_path / "empty" / "D.npz", **states["G"])
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"G": 1}))
    for arguments, sentence in [
        ([f"--in={folder.parent}"], "has neither G, D nor G_ema as .npz or .pth"),
        ([f"--in={tmp_path / 'empty'}"], "D is a generator"),
        ([f"--in={tmp_path / 'x.pkl'}"], "x.pkl has neither G, D nor G_ema"),
        ([f"--in={folder}", "--bn_eps=1e-5"], "--bn_eps has no effect here"),
    ]:
        refused(run("convert", "--from=r3gan", f"--out={tmp_path / 'out'}", *arguments), sentence)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"model.image_shape": (24, 24, 3)},
            r"smallest map of 4 x 4 and make RGB, and this one images of the shape \(24",
        ),
        ({"model.image_shape": (16, 16, 1)}, "smallest map of 4 x 4"),
    ],
)
def test_what_r3gan_has_no_network_for_is_not_written(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        r3gan.settings_of(config_of(changes))
