"""Convolutions whose gradient to the kernel is computed in pieces."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax.layers import convolution
from biggan_jax.layers.convolution import LAYOUT, conv_general_dilated, in_branch, in_pieces

SHAPES = [
    # (images, height, width, in, out), kernel, strides, padding
    ((4, 16, 16, 4, 64), 3, (1, 1), "SAME"),
    ((2, 32, 24, 3, 64), 4, (2, 2), ((1, 1), (1, 1))),
    ((6, 16, 16, 4, 64), 3, (1, 1), "VALID"),
    ((1, 18, 40, 5, 64), (3, 1), (1, 2), ((0, 2), (1, 0))),
    ((4, 4, 4, 8, 16), 1, (1, 1), "SAME"),
]


def inputs(shape, size):
    images, height, width, channels, out = shape
    rng, size = np.random.default_rng(0), (size, size) if isinstance(size, int) else size
    x = rng.normal(size=(images, height, width, channels)).astype(np.float32)
    return jnp.asarray(x), jnp.asarray(rng.normal(size=(*size, channels, out)).astype(np.float32))


def loss(x, kernel, *, convolve, strides, padding):
    return jnp.sum(jnp.sin(convolve(x, kernel, strides, padding, dimension_numbers=LAYOUT)))


@pytest.fixture
def any_size(monkeypatch):
    """Pieces for small convolutions as well."""
    monkeypatch.setattr(convolution, "_gains", lambda *_: True)


@pytest.mark.parametrize(("shape", "size", "strides", "padding"), SHAPES)
def test_gradients_and_their_gradients_equal_those_of_xla(shape, size, strides, padding, any_size):
    x, kernel = inputs(shape, size)

    def penalty(x, kernel, convolve):
        value = functools.partial(loss, convolve=convolve, strides=strides, padding=padding)
        gradient, to_kernel = jax.grad(value, argnums=(0, 1))(x, kernel)
        return jnp.mean(gradient**2) + jnp.mean(to_kernel**2), (gradient, to_kernel)

    of = lambda convolve: jax.jit(jax.grad(functools.partial(penalty, convolve=convolve), argnums=(0, 1), has_aux=True))
    expected = of(jax.lax.conv_general_dilated)(x, kernel)
    with in_pieces():
        step = of(conv_general_dilated)
        assert "while" in step.lower(x, kernel).as_text() or size == 1
        found = step(x, kernel)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * float(jnp.abs(b).max()))
    jax.tree.map(close, found, expected)


def test_outside_of_in_pieces_the_program_is_that_of_xla(any_size):
    x, kernel = inputs(*SHAPES[0][:2])
    text = lambda convolve: (
        jax.jit(jax.grad(functools.partial(loss, convolve=convolve, strides=(1, 1), padding="SAME"), argnums=1))
        .lower(x, kernel)
        .as_text()
    )
    assert text(conv_general_dilated) == text(jax.lax.conv_general_dilated)
    with in_pieces():
        assert "while" in text(conv_general_dilated)


def test_small_convolutions_and_other_kinds_are_those_of_xla():
    with in_pieces():
        for settings in ({}, {"feature_group_count": 2}, {"rhs_dilation": (2, 2)}, {"lhs_dilation": (2, 2)}):
            x = jnp.zeros((256, 32, 32, 64))
            kernel = jnp.zeros((3, 3, 64 // settings.get("feature_group_count", 1), 64))
            value = lambda k, x=x, settings=settings: jnp.sum(
                conv_general_dilated(x, k, (1, 1), ((1, 1), (1, 1)), dimension_numbers=LAYOUT, **settings)
            )
            assert ("while" in jax.jit(jax.grad(value)).lower(kernel).as_text()) == (not settings)
        x, kernel = inputs((2, 8, 8, 4, 8), 3)
        small = functools.partial(loss, convolve=conv_general_dilated, strides=(1, 1), padding="SAME")
        assert "while" not in jax.jit(jax.grad(small, argnums=1)).lower(x, kernel).as_text()


def program(x, kernel, padding="SAME"):
    value = functools.partial(loss, convolve=conv_general_dilated, strides=(1, 1), padding=padding)
    return jax.jit(jax.grad(value, argnums=(0, 1))).lower(x, kernel).as_text()


def test_in_a_branch_all_kernels_have_products():
    x, kernel = inputs((2, 8, 8, 4, 8), 3)
    with in_branch():
        assert program(x, kernel).count("dot_general") == 0
        with in_pieces():
            assert program(x, kernel).count("dot_general") == 9
            branch = functools.partial(loss, convolve=conv_general_dilated, strides=(2, 1), padding="SAME")
            found = jax.grad(branch, argnums=(0, 1))(x, kernel)
    plain = functools.partial(loss, convolve=jax.lax.conv_general_dilated, strides=(2, 1), padding="SAME")
    expected = jax.grad(plain, argnums=(0, 1))(x, kernel)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), found, expected)


def test_a_kernel_of_the_images_size_is_one_product():
    x, kernel = inputs((2, 4, 4, 3, 5), 4)
    with in_pieces():
        assert "stablehlo.convolution" not in program(x, kernel, "VALID")
        assert "stablehlo.convolution" in program(x, kernel, "SAME")
        found = conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=LAYOUT)
    expected = jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=LAYOUT)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
