"""w of StyleGANs: drawing from it, mixing, directions, projection and files."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax.config import base
from biggan_jax.latents import Truncation
from biggan_jax.models import build_gan
from biggan_jax.sampling import styles
from biggan_jax.sampling.latent_files import NOISE, read_latents, read_noise, sample_arrays, write_arrays
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.state import init_state
from biggan_jax.tools.app.studio import Statistics, Studio
from biggan_jax.tools.app.views import End, View, parse
from biggan_jax.tools.edit import directions, factorize
from biggan_jax.tools.edit.projection import correlation, project
from biggan_jax.tools.grids import draws, mixing
from biggan_jax.types import UserError
from tests.conftest import fresh_state, tiny_config

STYLES, DIM = 4, 5
SMALL = {"model.image_shape": (8, 8, 1), "model.channel_base": 64, "model.channel_max": 8, "model.dim_z": 6}
SMALL |= {
    "model.dim_w": DIM,
    "model.mapping_layers": 2,
    "batch_size": 8,
    "loss": "non_saturating",
    "model.num_classes": 3,
}


@pytest.fixture(scope="module")
def sampler():
    """A small StyleGAN2 of 3 classes, with strong noise and a mean of w that is not 0."""
    c = base("stylegan2")
    c.update_from_flattened_dict(SMALL)
    gan = build_gan(c)
    G = jax.jit(lambda: init_state(gan, 0).networks["G"])()
    strong = lambda path, leaf: leaf + 0.3 if "noise_strength" in jax.tree_util.keystr(path) else leaf
    params = jax.tree_util.tree_map_with_path(strong, G.params)
    plain = Sampler(gan, params, {**G.variables, "moving": {"w": 0.2 * jnp.arange(DIM)}}, None, "none")
    return styles.with_fixed_noise(plain)


def truncated(sampler, psi, cutoff=0):
    truncation = Truncation(psi, "w", cutoff)
    return dataclasses.replace(sampler, variables=sampler.gan.truncated(sampler.variables, truncation))


Z, Y = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32), np.int32([0, 1, 2, 0])


def test_images_of_w_are_those_of_its_z(sampler):
    ws = styles.ws_of(sampler, Z, Y)
    assert ws.shape == (4, STYLES, DIM)
    np.testing.assert_allclose(sampler.floats(ws, Y), sampler.floats(Z, Y), atol=1e-5)
    for psi in (0.0, 0.6):
        low = truncated(sampler, psi, 2)
        np.testing.assert_allclose(low.floats(ws, Y), low.floats(Z, Y), atol=1e-5)
        np.testing.assert_array_equal(styles.ws_of(low, Z, Y), ws)


def test_psi_0_gives_the_image_of_the_mean(sampler):
    images = truncated(sampler, 0.0).floats(Z, Y)
    np.testing.assert_allclose(images, images[:1].repeat(4, 0), atol=1e-6)
    mean = np.broadcast_to(np.float32(sampler.variables["moving"]["w"]), (1, STYLES, DIM))
    np.testing.assert_allclose(images[:1], sampler.floats(mean, Y[:1]), atol=1e-5)


def test_mixed_images_have_the_column_s_w_in_its_layers(sampler):
    layers = np.array([True, False, True, False])
    grid = mixing.style_mixing(sampler, np.arange(3), 2, 2, layers, 1, ["a", "b", "c"])
    y = np.int32([0, 1, 2, 0])
    ws = styles.ws_of(sampler, sampler.latents(4, 1), y)
    assert grid.images.shape == (3, 3, 8, 8, 1) and grid.rows == ["", "a", "b"] and grid.columns == ["", "c", "a"]
    np.testing.assert_array_equal(grid.images[0, 1:], sampler.images(ws[2:], y[2:]))
    np.testing.assert_array_equal(grid.images[1:, 0], sampler.images(ws[:2], y[:2]))
    mixed = ws[1:2].copy()
    mixed[:, layers] = ws[2:3, layers]
    np.testing.assert_array_equal(grid.images[2, 1], sampler.images(mixed, y[:1])[0])
    assert (grid.images[2, 1] != grid.images[2, 0]).any() and (grid.images[0, 0] == 255).all()


def test_interpolation_in_w_is_linear_between_both_ends(sampler):
    t = np.float32([0, 0.25, 1])
    ws = mixing.between(sampler, Z[:1], Z[1:2], Y[:1], Y[1:2], t)
    a, b = styles.ws_of(sampler, Z[:2], Y[:2])
    np.testing.assert_allclose(ws[0], np.stack([a, 0.75 * a + 0.25 * b, b]), atol=1e-6)
    options = {"between": "both", "spherical": False, "seed": 0, "names": ["a", "b", "c"], "space": "w"}
    grid = draws.interpolation(sampler, np.arange(3), 2, 3, **options)
    assert grid.images.shape == (2, 3, 8, 8, 1) and grid.rows == ["a\nto b", "b\nto c"]


def test_the_page_draws_seeds_at_any_psi_from_0(sampler):
    plain = {name: tree for name, tree in sampler.variables.items() if name != "sampling"}
    studio = Studio(sampler.gan, sampler.weights, Statistics(lambda threshold: plain, ""), "running", "w", 1.0)
    view = lambda psi: View(3, psi, End(7, ((1, 1.0),)))
    drawn = lambda psi: np.concatenate(list(studio.draw(view(psi))))
    z = np.concatenate([sampler.latents(1, seed) for seed in (7, 8, 9)])
    y = np.eye(3, dtype=np.float32)[[1, 1, 1]]
    np.testing.assert_array_equal(drawn(None), sampler.images(z, y, 2))
    assert np.ptp(drawn(0.0).astype(int), axis=0).max() <= 1 < np.ptp(drawn(0.5).astype(int), axis=0).max()
    assert parse({"truncation": "0"}, 3, 1.0, zero=True).truncation == 0
    with pytest.raises(UserError, match="truncation '-0.1' is not a number from 0 and up to 1"):
        parse({"truncation": "-0.1"}, 3, 1.0, zero=True)


def test_layers_are_parsed_or_refused():
    assert styles.parse_layers(["0-1", "3"], 4, 1).tolist() == [True, True, False, True]
    assert styles.parse_layers(None, 4, 3).tolist() == [True, True, True, False]
    for given in (["4"], ["0-9"], ["x"]):
        with pytest.raises(UserError, match="no layer or range from 0 to 3"):
            styles.parse_layers(given, 4, 1)


def test_the_penalty_of_noise_is_its_formula():
    n = np.random.default_rng(0).standard_normal((16, 16))
    halved = n.reshape(8, 2, 8, 2).mean((1, 3)) * 2
    expected = sum(np.mean(m * np.roll(m, 1, axis)) ** 2 for m in (n, halved) for axis in (0, 1))
    np.testing.assert_allclose(correlation({"a": n.astype(np.float32)}), expected, rtol=1e-4)


def test_a_projected_sample_is_near_and_its_file_draws_it(sampler, tmp_path):
    target = sampler.images(Z[1:2], Y[1:2])[0]
    found = project(sampler, target, candidates=8, restarts=2, steps=60, label=1, noise_weight=0.1)
    before, db = found.initial
    assert found.loss[0] < before / 2 and found.psnr[0] > db + 4 and (np.diff(found.loss) >= 0).all()
    assert found.w.shape == (2, STYLES, DIM) and np.ptp(found.w, axis=1).max() == 0 and found.y.tolist() == [1, 1]
    noise = jax.tree.leaves(found.noise)
    own = jax.tree.leaves(sampler.variables["noise"])
    np.testing.assert_allclose([np.square(a).mean() for a in noise], 1, rtol=1e-4)
    assert max(np.abs(a[0] - b).max() for a, b in zip(noise, own, strict=True)) > 1e-3
    maps = {f"{NOISE}{'/'.join(path)}": a[0] for path, a in _paths(found.noise)}
    write_arrays(tmp_path / "a.npz", **sample_arrays(sampler, found.images[:1], found.w[:1], found.y[:1]), **maps)
    w, y, truncation = read_latents(tmp_path / "a.npz", sampler.gan, takes_w=True)
    again = read_noise(tmp_path / "a.npz", sampler).images(w, y)
    assert truncation is None and np.abs(again.astype(int) - found.images[:1]).max() <= 1
    with pytest.raises(UserError, match="a.npz has w in place of z, and this command takes z"):
        read_latents(tmp_path / "a.npz", sampler.gan)


def _paths(tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [([key.key for key in path], leaf) for path, leaf in leaves]


def test_layers_may_have_a_w_each_and_noise_may_stay(sampler):
    target = sampler.images(Z[:1], Y[:1])[0]
    found = project(sampler, target, space="w+", candidates=4, restarts=1, steps=3, noise_weight=0)
    assert np.ptp(found.w, axis=1).max() > 0
    for a, b in zip(jax.tree.leaves(found.noise), jax.tree.leaves(sampler.variables["noise"]), strict=True):
        np.testing.assert_array_equal(a[0], b)


def trained_of(sampler, config=None):
    return types.SimpleNamespace(gan=sampler.gan, config=config)


def test_directions_of_styles_are_eigenvectors(sampler):
    found, layers = factorize.factorize(trained_of(sampler), sampler.weights, ["0-1"], 3)
    assert found.space == "w" and layers.tolist() == [True, True, False, False]
    kernels = sampler.weights["synthesis"]
    kernels = [kernels["block_4"]["conv_1"], kernels["block_8"]["conv_0"]]
    a = np.concatenate([np.asarray(k["conv"]["style"]["kernel"], float) for k in kernels], 1)
    a /= np.linalg.norm(a, axis=0)
    for vector, value in zip(found.vectors, found.values, strict=True):
        assert np.linalg.norm(vector) == pytest.approx(1, rel=1e-5)
        np.testing.assert_allclose(a @ (a.T @ vector), value * vector, atol=1e-4)
    assert (np.diff(found.values) < 0).all() and found.values[0] == pytest.approx(np.linalg.norm(a, 2) ** 2)
    stored = directions.Stored(found.vectors[0], "", layers, 2.0)
    ws = styles.ws_of(sampler, Z, Y)
    moved, steps = directions.moved_w(ws, stored, 3, 3)
    assert steps.tolist() == [-3, 0, 3] and moved.shape == (4, 3, STYLES, DIM)
    np.testing.assert_allclose(moved[:, 2, :2] - ws[:, :2], np.broadcast_to(6 * stored.vector, (4, 2, DIM)), atol=1e-5)
    np.testing.assert_array_equal(moved[:, :, 2:], ws[:, None, 2:].repeat(3, 1))


def test_directions_of_gains_move_the_chunk_of_their_block():
    config = tiny_config()
    gan = build_gan(config)
    weights = fresh_state().networks["G"].params
    trained = types.SimpleNamespace(gan=gan, config=config)
    found, layers = factorize.factorize(trained, weights, ["1"], 2)
    chunk = gan.dim_z // (len(layers) + 1)
    assert found.space == "z" and found.vectors.shape == (2, gan.dim_z)
    inside = np.zeros(gan.dim_z, bool)
    inside[2 * chunk : 3 * chunk] = True
    assert np.abs(found.vectors[:, inside]).max() > 0.1 and not found.vectors[:, ~inside].any()
    rows = [np.asarray(weights["block_1"][name]["gain"]["kernel"], float)[-chunk:] for name in ("bn_1", "bn_2")]
    a = np.concatenate(rows, 1)
    a /= np.linalg.norm(a, axis=0)
    assert found.values[0] == pytest.approx(np.linalg.norm(a, 2) ** 2)
    plain = build_gan(base("dcgan"))
    with pytest.raises(UserError, match="--do=sefa needs styles or gains that depend on z"):
        factorize.factorize(types.SimpleNamespace(gan=plain, config=base("dcgan")), {}, None, 2)


def test_models_without_w_are_refused_in_a_sentence():
    gan = build_gan(tiny_config())
    assert not styles.has_w(gan)
    with pytest.raises(UserError, match="--space=w needs w, which families stylegan and stylegan2 have"):
        styles.check(gan, "--space=w")
