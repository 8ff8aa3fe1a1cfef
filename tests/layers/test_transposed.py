import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax.layers.transposed import ConvTranspose
from tests.variants import further_slow

# Kernel, strides, padding, size of the image, and convolutions that a CPU is to compute; 0: a product, None: those of flax.
CASES = {
    "dcgan": ((4, 4), (2, 2), "SAME", (3, 5), 4),
    "dcgan_paper": ((5, 5), (2, 2), "SAME", (4, 4), 4),
    "first_layer": ((4, 4), (1, 1), "VALID", (1, 1), 0),
    "cogan": ((3, 3), (2, 2), ((1, 1), (1, 1)), (4, 4), 4),
    "cyclegan": ((3, 3), (2, 2), ((1, 2), (1, 2)), (4, 6), 4),
    "wide": ((3, 3), (2, 2), "VALID", (3, 4), 4),
    "thirds": ((5, 4), (3, 2), "SAME", (3, 2), 6),
    "columns": ((3, 2), (1, 2), "SAME", (3, 2), 2),
    "steps_of_one": ((6, 6), (1, 1), ((4, 4), (4, 4)), (5, 5), None),
    "holes": ((2, 2), (3, 3), "SAME", (3, 3), None),
    "cut": ((4, 4), (2, 2), ((0, 1), (1, 0)), (5, 5), None),
}


@pytest.mark.parametrize("case", further_slow(list(CASES), quick=(0, 2, 4, 7, 8, 10)))
def test_transposed_convolution_is_flaxs(case):
    size, strides, padding, pixels, convolutions = CASES[case]
    theirs, ours = (
        layer(5, size, strides, padding, bias_init=nn.initializers.normal())
        for layer in (nn.ConvTranspose, ConvTranspose)
    )
    x = jax.random.normal(jax.random.key(1), (2, *pixels, 3))
    variables = jax.jit(theirs.init)(jax.random.key(0), x)
    jax.tree.map(np.testing.assert_array_equal, jax.jit(ours.init)(jax.random.key(0), x), variables)

    def results(layer):
        value = lambda variables, x: jnp.sum(jnp.sin(layer.apply(variables, x)))
        slope = lambda variables, x: jnp.sum(jax.grad(value, 1)(variables, x) ** 2)
        return layer.apply(variables, x), jax.grad(value, (0, 1))(variables, x), jax.grad(slope, (0, 1))(variables, x)

    found, expected = jax.jit(lambda: [results(layer) for layer in (ours, theirs)])()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), found, expected)
    program = jax.jit(ours.apply).lower(variables, x).as_text()
    if convolutions is None:
        assert program == jax.jit(theirs.apply).lower(variables, x).as_text()
    else:
        assert program.count("stablehlo.convolution") == convolutions and "lhs_dilate = [2" not in program


def test_a_tpu_gets_xlas_own_form():
    x, layer = jnp.zeros((2, 4, 4, 3)), ConvTranspose(5, (4, 4), (2, 2))
    variables = layer.init(jax.random.key(0), x)
    program = jax.export.export(jax.jit(layer.apply), platforms=["tpu"])(variables, x).mlir_module()
    assert program.count("stablehlo.convolution") == 1 and "lhs_dilate = [2, 2]" in program
