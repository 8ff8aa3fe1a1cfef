"""Perceptual path lengths equal their formula in float64, of a linear G and a squared distance."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax.config import base
from biggan_jax.evaluation import ppl
from biggan_jax.evaluation.lpips import Lpips
from biggan_jax.models import build_gan
from biggan_jax.sampling.sampler import NotFiniteError, Sampler
from biggan_jax.types import UserError
from tests.conftest import tiny_config

DIM, STYLES, N = 6, 4, 10
MAP, IMAGE = (np.random.default_rng(i).standard_normal(shape) for i, shape in enumerate([(DIM, 5), (STYLES, 5, 64)]))
SMALL = {"model.image_shape": (8, 8, 1), "model.channel_base": 32, "model.channel_max": 8, "model.dim_z": DIM}
SMALL |= {"model.dim_w": 5, "model.mapping_layers": 2, "batch_size": 8, "loss": "non_saturating"}


class Linear(nn.Module):
    """z [B, 6] to w's [B, 4, 5] to images [B, 8, 8, 1], linearly, with noise that must not matter."""

    scale: float = 1.0

    def setup(self):
        self.noise = self.variable("noise", "fixed", lambda: None)

    def map(self, z, y, *, train=False):
        return jnp.broadcast_to((z @ MAP)[:, None], (len(z), STYLES, 5))

    def synthesize(self, ws, mix=None, *, train=False):
        return (self.scale * jnp.einsum("bls,lsp->bp", ws, IMAGE)).reshape(-1, 8, 8, 1) + self.noise.value

    def __call__(self, z, y, mix=None, *, train=False):
        return self.synthesize(self.map(z, y), mix)


class Exact(Sampler):
    """Draws z in float64."""

    def latents(self, num, seed=0):
        return super().latents(num, seed).astype(float)


def sampler(scale=1.0):
    c = base("stylegan2")
    c.update_from_flattened_dict(SMALL)
    gan = build_gan(c)
    network = dataclasses.replace(gan.networks["G"], module=Linear(scale))
    gan = dataclasses.replace(gan, networks={**gan.networks, "G": network})
    return Exact(gan, {}, {"noise": {"fixed": np.zeros((8, 8, 1))}, "moving": {"w": np.zeros(5)}}, None, "none")


# The features are the image, so that the distance is its squared change.
SQUARED = Lpips("vgg", "", 8, {}, lambda params, x: (x,))
Y = np.zeros(N, np.int32)


def exact(kind, seed):
    """LPIPS / eps^2 of each pair, in float64 NumPy."""
    z = np.asarray(sampler().latents(2 * N, seed), float).reshape(N, 2, DIM)
    t = np.random.default_rng(seed).uniform(size=N).astype(np.float32).astype(float) * kind.endswith("full")
    image = lambda w: np.einsum("bs,lsp->bp", w, IMAGE)
    if kind.startswith("w"):
        return np.square(image((z[:, 1] - z[:, 0]) @ MAP)).sum(1)
    length = np.linalg.norm(z, axis=2)
    a, b = z[:, 0] / length[:, :1], z[:, 1] / length[:, 1:]
    angle = np.arccos(np.sum(a * b, 1))

    def at(t):
        turned = (np.sin((1 - t) * angle)[:, None] * a + np.sin(t * angle)[:, None] * b) / np.sin(angle)[:, None]
        return turned * (length[:, 0] + t * (length[:, 1] - length[:, 0]))[:, None]

    return np.square(image((at(t + 1e-4) - at(t)) @ MAP)).sum(1) / 1e-8


@pytest.mark.parametrize("kind", ppl.KINDS)
def test_distances_of_pairs_are_their_formula_in_float64(kind):
    with jax.enable_x64(True):
        found = ppl.distances(sampler(), SQUARED, kind, Y, seed=3, batch_size=4)
        expected = exact(kind, 3)  # Draws depend on the precision.
    assert found.shape == (N,) and found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_length_leaves_out_the_extremes():
    values = np.arange(1000.0)
    values[-1] = 1e9
    low, high = np.percentile(values, 1, method="lower"), np.percentile(values, 99, method="higher")
    assert (low, high) == (9, 990)
    assert ppl.length_of(values) == np.arange(9.0, 991).mean()
    assert ppl.length_of(np.array([5.0])) == 5


def test_large_images_are_averaged_down_to_256():
    x = np.random.default_rng(0).standard_normal((1, 520, 512, 1)).astype(np.float32)
    assert ppl.factor_of((520, 512, 1)) == 2 and ppl.factor_of((256, 300, 3)) == 1
    found = ppl.reduced(x)
    assert found.shape == (1, 260, 256, 1)
    np.testing.assert_allclose(found[0, 3, 5], x[0, 6:8, 10:12].mean((0, 1)), atol=1e-6)


def test_what_has_no_path_length_is_refused():
    big = build_gan(tiny_config())
    with pytest.raises(UserError, match="the path length w_end needs w"):
        ppl.check_kind("w_end", big, SQUARED)
    ppl.check_kind("z_full", big, SQUARED)
    with pytest.raises(UserError, match="at least 64 pixels"):
        ppl.check_kind("z_full", big, dataclasses.replace(SQUARED, least=64))
    with pytest.raises(NotFiniteError, match="not finite"):
        ppl.measure(sampler(float("nan")), SQUARED, "w_end", Y)
