import dataclasses
import functools

import flax.linen as nn
import jax
import numpy as np
import pytest
from PIL import Image

from biggan_jax import latents
from biggan_jax.sampling import generate, pictures
from tests.conftest import build, tiny_config
from tests.conftest import generate as in_training


@pytest.fixture(scope="module")
def ready(model):
    gan, state = model
    weights = generate.evaluation_weights(gan, state.averages["G"], state.networks["G"].spectral)
    return gan, weights, generate.standing_statistics(gan, weights, 0, passes=3, batch_size=8)


def test_without_truncation_latents_are_normal():
    z = np.asarray(latents.draw("normal", jax.random.key(0), 1000, 20))
    assert z.std() == pytest.approx(1, abs=0.02) and np.abs(z).max() > 3


def test_standing_statistics_are_the_mean_of_batch_statistics(ready):
    gan, weights, three = ready
    parts = [generate._batch_statistics(gan, weights, np.uint32(0), np.uint32(i), 8, None) for i in range(3)]
    mean = jax.tree.map(lambda *x: sum(x) / 3, *parts)
    for a, b in zip(jax.tree.leaves(three), jax.tree.leaves(mean), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert not np.array_equal(jax.tree.leaves(parts[0])[0], jax.tree.leaves(parts[1])[0])


def test_one_pass_of_standing_statistics_are_its_batchs_own_moments(ready):
    gan, weights, _ = ready
    moments = generate.standing_statistics(gan, weights, 0, passes=1, batch_size=8)
    z_key, y_key = jax.random.split(jax.random.fold_in(jax.random.key(0), 0))
    z, y = jax.random.normal(z_key, (8, gan.dim_z)), jax.random.randint(y_key, (8,), 0, 10)
    by_batch, _ = jax.jit(functools.partial(in_training, gan))(weights, moments, z, y)
    # Running variances are unbiased, batches are normalised by biased ones: 1 / (8 * 4 * 4) apart in the first layers.
    difference = np.abs(generate.generate(gan, weights, {"batch_stats": moments}, z, y, batch_size=8) - by_batch)
    assert difference.mean() < 0.02


class Noisy(nn.Module):
    """A generator with noise before its batch norm."""

    bn_momentum: float = 0.9

    @nn.compact
    def __call__(self, z, y=None, *, train=False):
        z = z + jax.random.normal(self.make_rng("noise"), z.shape)
        return nn.BatchNorm(use_running_average=not train, momentum=self.bn_momentum, name="norm")(z)


def test_standing_statistics_include_noise_inputs():
    gan = build(tiny_config("dense"))
    G = dataclasses.replace(gan.networks["G"], module=Noisy())
    gan = dataclasses.replace(gan, networks={**gan.networks, "G": G})
    weights = G.module.init(jax.random.key(0), *G.example(jax.random.key(0)))["params"]
    moments = generate.standing_statistics(gan, weights, 0, passes=2)
    np.testing.assert_allclose(np.mean(moments["norm"]["var"]), 2, atol=0.2)  # Those of z, and of the noise.


def test_standing_statistics_follow_the_truncation(ready):
    gan, weights, plain = ready
    tight = generate.standing_statistics(gan, weights, 0, truncation=latents.Truncation(0.1), passes=3, batch_size=8)
    var = lambda moments: float(moments["bn_out"]["var"].mean())
    assert var(tight) < var(plain)


def test_an_image_does_not_depend_on_its_batch(ready):
    gan, weights, moments = ready
    z = np.random.default_rng(0).standard_normal((5, gan.dim_z), np.float32)
    y = np.arange(5, dtype=np.int32)
    together = generate.generate(gan, weights, {"batch_stats": moments}, z, y, batch_size=4)
    alone = generate.generate(gan, weights, {"batch_stats": moments}, z[3:4], y[3:4], batch_size=4)
    assert together.shape == (5, 16, 16, 3)
    np.testing.assert_allclose(together[3:4], alone, atol=1e-5)


def test_a_mixture_of_one_class_is_the_class(ready):
    gan, weights, moments = ready
    z = np.random.default_rng(0).standard_normal((3, gan.dim_z), np.float32)
    y = np.array([1, 5, 9], np.int32)
    mixed = generate.generate(gan, weights, {"batch_stats": moments}, z, np.eye(10, dtype=np.float32)[y], batch_size=3)
    np.testing.assert_allclose(
        mixed, generate.generate(gan, weights, {"batch_stats": moments}, z, y, batch_size=3), atol=1e-5
    )


def test_evaluation_takes_one_power_step_from_the_stored_u(ready, model):
    gan, state = model
    expected, _ = jax.jit(gan.normalize)(state.averages["G"], state.networks["G"].spectral)
    for a, b in zip(jax.tree.leaves(ready[1]), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_to_uint8_is_the_inverse_of_to_float():
    from biggan_jax.train_step import to_float

    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(pictures.to_uint8(np.asarray(to_float(levels))), levels)


def test_a_grid_lays_images_out_row_by_row_on_white(tmp_path):
    images = np.stack([np.full((4, 4, 3), i, np.uint8) for i in range(5)])
    sheet = pictures.grid(images, columns=3, margin=1)
    assert sheet.shape == (11, 16, 3)
    assert sheet[1, 1, 0] == 0 and sheet[1, 6, 0] == 1 and sheet[6, 1, 0] == 3
    assert (sheet[6:, 11:] == 255).all()
    pictures.save_png(tmp_path / "sheet.png", sheet)
    assert Image.open(tmp_path / "sheet.png").size == (512, 352)


@pytest.mark.parametrize(
    ("num_classes", "rows"), [(0, [0]), (3, [0, 1, 2]), (1000, [0, 111, 222, 333, 444, 555, 666, 777, 888, 999])]
)
def test_rows_of_a_grid_are_spread_over_the_classes(num_classes, rows):
    assert pictures.rows_of_classes(num_classes).tolist() == rows
