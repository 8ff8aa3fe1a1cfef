"""Options of the TPU compiler that leave pictures whole: partitioning.UNCUT."""

import re

import jax
import jax.numpy as jnp
import pytest

from biggan_jax import partitioning, sharding
from biggan_jax.layers.convolution import LAYOUT
from biggan_jax.plan import target
from biggan_jax.state import init_shapes
from tests.conftest import random_batch
from tests.families import minimal
from tests.plan.test_plan import needs_compiler


def batches(mesh, images, options):
    """The batches of the convolutions in a TPU's program for so many images a chip."""
    split, whole = sharding.batch_sharding(mesh), sharding.replicated(mesh)
    x = jax.ShapeDtypeStruct((images * mesh.size, 32, 32, 64), jnp.bfloat16, sharding=split)
    kernel = jax.ShapeDtypeStruct((3, 3, 64, 64), jnp.bfloat16, sharding=whole)
    convolve = lambda x, k: jax.lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=LAYOUT)
    program = jax.jit(convolve, compiler_options=options, out_shardings=split).lower(x, kernel).compile()
    return {int(found) for found in re.findall(r"= bf16\[(\d+),[\d,]+\]\S* convolution\(", program.as_text())}


@needs_compiler
@pytest.mark.plan
def test_pictures_of_few_images_stay_whole():
    mesh = sharding.make_mesh(target.tpu_devices("v5e:2x2"))
    options = partitioning.compiler_options(mesh)
    assert options == partitioning.UNCUT
    assert batches(mesh, 4, options) == {4} and batches(mesh, 4, None) == {32}
    assert batches(mesh, 8, options) == batches(mesh, 8, None) == {8}


@needs_compiler
@pytest.mark.plan
def test_a_compiler_without_the_options_is_not_given_them(monkeypatch, caplog):
    monkeypatch.setattr(partitioning, "UNCUT", {"xla_tpu_no_such_option": False})
    mesh = sharding.make_mesh(target.tpu_devices("v5e:2x2"))
    assert partitioning.compiler_options.__wrapped__(mesh) is None and "no options for space-to-batch" in caplog.text


def test_other_devices_have_no_options():
    assert partitioning.compiler_options(sharding.make_mesh(jax.devices()[:1])) is None


def test_a_step_is_compiled_with_the_options(monkeypatch):
    monkeypatch.setattr(partitioning, "compiler_options", lambda mesh: {"xla_no_such_option": False})
    mesh = sharding.make_mesh(jax.devices()[:1])
    gan = minimal.dense(minimal.dense_config(), mesh)
    state = sharding.with_sharding(init_shapes(gan), partitioning.state_layout(gan))
    lowered = partitioning.compile_step(gan).lower(state, sharding.shard_batch(random_batch(gan), mesh))
    with pytest.raises(jax.errors.JaxRuntimeError, match="No such compile option"):
        lowered.compile()
