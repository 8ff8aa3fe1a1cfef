"""Convolutions with a further axis, for TPUs: biggan_jax/layers/few_images.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax.layers import few_images
from biggan_jax.layers.convolution import LAYOUT, conv_general_dilated
from biggan_jax.layers.grouped import grouped_conv
from biggan_jax.layers.transposed import conv_transpose

X = np.random.default_rng(0).standard_normal((4, 16, 16, 2), np.float32)
KERNEL = np.random.default_rng(1).standard_normal((3, 3, 2, 4), np.float32)

FORMS = {
    "SAME": lambda x, k: conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=LAYOUT),
    "stride 2": lambda x, k: conv_general_dilated(x, k, (2, 2), [(1, 0), (2, 1)], dimension_numbers=LAYOUT),
    "transposed": lambda x, k: conv_transpose(x, k, (2, 2), ((2, 2), (2, 2))),
    "dilated": lambda x, k: few_images.conv(x, k, (1, 1), "VALID", dimension_numbers=LAYOUT, rhs_dilation=(2, 3)),
    "channels first": lambda x, k: few_images.conv(x.transpose(0, 3, 1, 2), k.transpose(3, 2, 0, 1), (1, 1), "SAME"),
    "groups": lambda x, k: grouped_conv(x, k[:, :, :1], 2),
}


def axes_of(form, x=X, chips=1):
    """The numbers of axes of the form's convolutions, those of a TPU's program."""
    with few_images.whole_on(chips):
        text = jax.jit(lambda *given: form(*given)).trace(x, KERNEL).lower(lowering_platforms=("tpu",)).as_text()
    return {line.rpartition("tensor<")[2].count("x") for line in text.splitlines() if "stablehlo.convolution" in line}


@pytest.mark.parametrize("name", FORMS)
def test_values_and_gradients_are_those_without_the_axis(name):
    form = FORMS[name]
    found = {}
    for chips in (0, 1):
        with few_images.whole_on(chips):
            value, back = jax.vjp(form, X, KERNEL)
            found[chips] = value, *back(jnp.cos(value))
    for plain, further in zip(found[0], found[1], strict=True):
        np.testing.assert_allclose(further, plain, rtol=1e-4, atol=1e-4)
    assert axes_of(form) == {5} and axes_of(form, chips=0) == {4}


@pytest.mark.parametrize(
    ("x", "chips", "axes"),
    [(X, 1, 5), (np.tile(X, (2, 1, 1, 1)), 1, 4), (np.tile(X, (2, 1, 1, 1)), 2, 5), (X[:, :8, :8], 1, 4)],
    ids=["few", "enough", "few on each of two", "small"],
)
def test_the_axis_is_for_few_and_large_images(x, chips, axes):
    assert axes_of(FORMS["SAME"], x, chips) == {axes}


def test_kernels_of_one_pixel_have_no_further_axis():
    assert axes_of(lambda x, k: conv_general_dilated(x, k[:1, :1], (1, 1), "SAME", dimension_numbers=LAYOUT)) == {4}
