"""Convolutions in groups equal those of JAX, with all gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax.layers import grouped

GROUPS = 2
RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 3, 4, 6)).astype(np.float32)
KERNEL = RNG.standard_normal((3, 3, 3, 8)).astype(np.float32)
G = RNG.standard_normal((2, 3, 4, 8)).astype(np.float32)


def plain(x, kernel):
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout, feature_group_count=GROUPS)


def ours(x, kernel):
    return grouped.grouped_conv(x, kernel, GROUPS)


@pytest.mark.parametrize("most", [0, GROUPS])
def test_a_grouped_convolution_and_its_gradients_are_jaxs(most, monkeypatch):
    monkeypatch.setattr(grouped, "MOST_SPLIT", most)

    @jax.jit
    def results(x, kernel):
        return [(out, *pull(G)) for out, pull in (jax.vjp(conv, x, kernel) for conv in (plain, ours))]

    for expected, found in zip(*results(X, KERNEL), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("most", [0, GROUPS])
def test_gradient_penalties_of_it_are_jaxs(most, monkeypatch):
    """As in R1: the gradient, by the kernel, of the squared gradient by the images."""

    def penalty(conv):
        slope = lambda x, kernel: jax.grad(lambda x: jnp.sum(jnp.tanh(conv(x, kernel))))(x)
        return lambda kernel: jnp.sum(jnp.square(slope(X, kernel)))

    monkeypatch.setattr(grouped, "MOST_SPLIT", most)
    expected, found = jax.jit(lambda kernel: [jax.grad(penalty(conv))(kernel) for conv in (plain, ours)])(KERNEL)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


FORMS = grouped._split, grouped._together


def test_a_cpu_convolves_few_groups_one_by_one():
    count = lambda groups: jax.jit(grouped.grouped_conv, static_argnums=2).lower(
        jnp.zeros((1, 4, 4, 2 * groups)), jnp.zeros((3, 3, 2, 2 * groups)), groups
    )
    assert count(4).as_text().count("stablehlo.convolution") == 4
    assert count(grouped.MOST_SPLIT + 1).as_text().count("stablehlo.convolution") == 1


@pytest.mark.parametrize("width, channels, pairs", [(4, 16, True), (5, 16, False), (4, 17, False), (2, 1, True)])
def test_a_cpu_convolves_narrow_groups_two_columns_at_a_time(width, channels, pairs):
    x, kernel = RNG.standard_normal((1, 3, width, 2 * channels)), RNG.standard_normal((3, 3, channels, 2 * channels))
    conv = jax.jit(partial(grouped.grouped_conv, groups=2))
    assert ("stride = [1, 2]" in conv.lower(x, kernel).as_text()) == pairs
    expected = plain(x.astype(np.float32), kernel.astype(np.float32))
    np.testing.assert_allclose(conv(x, kernel), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("gradient", [grouped._products, *(partial(grouped._transposed, convolve=f) for f in FORMS)])
def test_gradients_by_the_kernel_are_of_its_type(gradient):
    x, g = jnp.asarray(X, jnp.bfloat16), jnp.asarray(G, jnp.bfloat16)
    found = jax.jit(partial(gradient, groups=GROUPS))(x, g)
    expected = jax.vjp(lambda kernel: plain(X, kernel), KERNEL)[1](G)[0]
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found.astype(np.float32), expected, atol=0.2)
