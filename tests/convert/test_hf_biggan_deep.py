import json

import jax
import numpy as np
import pytest

from biggan_jax.config import base
from biggan_jax.convert import hf_biggan_deep, imported, tables
from biggan_jax.latents import Truncation
from biggan_jax.models import build_gan
from biggan_jax.sampling import generate
from biggan_jax.state import init_shapes
from biggan_jax.types import UserError
from tests.conftest import assert_identical
from tests.convert import parity, recordings
from tests.convert.parity import epath
from tests.variants import further_slow


def deep(resolution=128, attention=64, **settings):
    c = base()
    c.model.update(family="biggan_deep", resolution=resolution, ch=8, num_classes=5, dim_z=6, shared_dim=6)
    c.model.update(pad_rgb=True, spectral_eval="stored")
    c.model.g_attention, c.model.d_attention = (attention,), (16,)
    c.model.update(settings)
    return c


def filled(shapes, seed=0):
    """Random arrays of those shapes, in [0.8, 1.2] so that variances are positive; a state is compiled more slowly."""
    rng = np.random.default_rng(seed)
    fill = lambda s: (0.8 + 0.4 * rng.random(s.shape)).astype(s.dtype)
    return jax.tree.map(fill, shapes)


def network_of(config, bins=11):
    return filled(hf_biggan_deep._with_bins(imported.shapes_of(build_gan(config))["G"], bins))


@pytest.fixture(scope="module")
def made():
    """(config, network, its state dict there)"""
    config = deep()
    network = network_of(config)
    return config, network, tables.to_there(network, hf_biggan_deep.entry_of(config.model))


@pytest.mark.parametrize(
    ("resolution", "attention"), further_slow([(128, 64), (128, 32), (256, 64), (512, 64)], quick=(1,))
)
def test_the_architecture_is_read_off_the_shapes(resolution, attention):
    c = deep(resolution, attention)
    there = {}
    for path, shape in tables.leaves(hf_biggan_deep._with_bins(imported.shapes_of(build_gan(c))["G"], 51)):
        entry = hf_biggan_deep.entry_of(c.model)(path, shape.shape)
        there[entry.there] = entry.layout.to_there(np.broadcast_to(np.float32(0), shape.shape))
    for key, value in hf_biggan_deep.infer(there).items():
        assert value == (c.model.ch if key == "g_ch" else c.model[key]), key


def test_weights_convert_there_and_back_to_the_same_bits(made):
    config, network, there = made
    assert "generator.layers.8.snconv1x1_theta.weight_orig" in there, "attention after four stages of two blocks"
    assert_identical(hf_biggan_deep.read_network(there, config, "G"), network)


def test_conditions_are_z_then_embedding_there(made):
    _, network, there = made
    here = network["params"]["block_0_0"]["bn_1"]["gain"]["kernel"]
    expected = np.concatenate([here[6:], here[:6]])
    np.testing.assert_array_equal(there["generator.layers.0.bn_0.scale.weight_orig"].T, expected)


@pytest.mark.parametrize("path", recordings.cases(parity.fixtures("hf_*.npz")[:1]))
def test_recorded_weights_convert_back_to_the_same_bits(path):
    state = parity.under("state/", parity.load(path)[0])
    config = base()
    imported.complete(config.model, hf_biggan_deep.infer(state))
    network = hf_biggan_deep.read_network(state, config, "G")
    back = tables.to_there(network, hf_biggan_deep.entry_of(config.model))
    assert back.keys() == state.keys()
    assert not [name for name in state if back[name].tobytes() != state[name].tobytes()]


def test_statistics_are_interpolated_between_truncations():
    rows = {"mean": np.arange(51, dtype=np.float32)[:, None]}
    at = lambda t, **how: float(generate.binned_statistics(rows, t, **how)["mean"][0])
    assert at(0.413) == pytest.approx(20.65, abs=1e-4) and at(0.413, swapped=True) == pytest.approx(20.35, abs=1e-4)
    for i in range(51):
        assert at(i / 50) == pytest.approx(i, abs=1e-4)
    # i / 50 divided by the step may be a rounding away from the grid: the swapped form is then a row off.
    off = {i: round(at(i / 50, swapped=True)) - i for i in range(51)}
    assert {i: row for i, row in off.items() if row} == {7: 1, 14: 1, 28: 1, 29: -1, 47: -1}


def test_weights_of_another_network_are_refused(made):
    for change, sentence in [
        (lambda s: s.pop("embeddings.weight"), "it lacks embeddings.weight"),
        (lambda s: s.pop("generator.bn.running_means"), "it lacks generator.bn.running_means"),
        (lambda s: s.update({"generator.layers.3.conv_0.weight_orig": np.ones(3)}), "unexpected number of axes"),
        (lambda s: s.pop("generator.layers.8.gamma"), "it lacks generator.layers.8.conv_0"),
        (
            lambda s: s.update({"generator.layers.3.conv_0.weight_orig": np.ones((16, 3, 1, 1))}),
            "fit no known architecture",
        ),
    ]:
        arrays = dict(made[2])
        change(arrays)
        with pytest.raises(UserError, match=sentence):
            imported.explained("G.npz is not a state dict", hf_biggan_deep.infer, arrays)


def test_a_config_beside_the_weights_gives_eps_and_must_agree(made, tmp_path):
    np.savez(tmp_path / "G.npz", **made[2])
    read = lambda **flags: hf_biggan_deep.read(epath(tmp_path / "G.npz"), **flags).config.model
    assert read().bn_eps == 1e-4
    (tmp_path / "config.json").write_text(json.dumps({"eps": 1e-3, "output_dim": 128}))
    assert read().bn_eps == 1e-3 and read(bn_eps=1e-5).bn_eps == 1e-5
    (tmp_path / "config.json").write_text(json.dumps({"output_dim": 256}))
    with pytest.raises(UserError, match="has output_dim 256, but the weights have 128"):
        read()
    for text, sentence in (
        ("{", "is not JSON"),
        ("[1]", "is not the config of"),
        ('{"eps": "small"}', "with an eps greater than 0"),
    ):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(UserError, match=sentence):
            read()


@pytest.mark.parametrize("model", ["biggan"], indirect=True)
def test_statistics_of_a_truncation_are_standing_statistics(model):
    gan, state = model
    weights = generate.evaluation_weights(gan, state.averages["G"], state.networks["G"].spectral)
    bins = hf_biggan_deep.measure_bins(gan, weights, bins=3, passes=2)
    half = generate.standing_statistics(gan, weights, 0, truncation=Truncation(0.5, "scale"), passes=2)
    for a, b in zip(jax.tree.leaves(bins), jax.tree.leaves(half), strict=True):
        assert a.shape == (3, *b.shape)
        np.testing.assert_array_equal(a[1], b)


@pytest.mark.parametrize("settings", [{"pad_rgb": False, "spectral_eval": "step"}, {"pad_rgb": True}])
def test_an_exported_g_gives_the_same_images(settings, tmp_path):
    pytest.importorskip("torch", reason="PyTorch is an extra")
    config = deep(**settings)
    gan = build_gan(config)
    state = filled(init_shapes(gan), seed=1)
    network = network_of(deep())
    hf_biggan_deep.write(state, config, {"binned": network["binned"]}, epath(tmp_path))
    came = hf_biggan_deep.read(epath(tmp_path))
    theirs = came.networks["G"]
    z, y = gan.latents(jax.random.key(0), 3)
    moments = generate.binned_statistics(network["binned"], 0.5)

    def images(config, params, vectors):
        gan = build_gan(config)
        weights = generate.evaluation_weights(gan, params, vectors)
        return generate.generate(gan, weights, {"batch_stats": moments}, z, y, batch_size=3)

    ours = images(config, state.averages["G"], state.networks["G"].spectral)
    np.testing.assert_allclose(images(came.config, theirs["params"], theirs["spectral"]), ours, atol=1e-5)


def test_a_model_that_they_do_not_have_is_not_exported(tmp_path):
    for changes, sentence in [
        ({"family": "biggan", "dim_z": 12}, "has only BigGAN-deep"),
        ({"depth": 3}, "of depth 2"),
        ({"resolution": 64, "g_attention": (32,)}, "has .128, 256, 512. pixels"),
        ({"dim_z": 8}, "a z as long as its embedding"),
        ({"bn_out_eps": 1e-5}, "has one eps"),
        ({"g_attention": (128,)}, "no place for attention after the last block"),
    ]:
        with pytest.raises(UserError, match=sentence):
            hf_biggan_deep.write(None, deep(**changes), {}, epath(tmp_path))
