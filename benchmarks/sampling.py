"""Measure samples and scores: `python benchmarks/sampling.py --config=biggan_imagenet128 [--network=inception-2015] [--json=F]`.

Uses fresh weights, since speed does not depend on them. With --topology=v4:2x2x1 nothing runs: the TPU compiler estimates
the times, and that of FID of 50,000 samples, for chips that need not be attached.
"""

import functools
import json
import pathlib
import statistics as stats
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from measure import environment

from biggan_jax import config as configs
from biggan_jax import sharding
from biggan_jax.evaluation.efficientnet import EfficientNetLite0
from biggan_jax.evaluation.inception import Inception
from biggan_jax.evaluation.networks import shapes_of
from biggan_jax.models import build_gan
from biggan_jax.plan import hlo, program, target
from biggan_jax.plan import report as plan_report
from biggan_jax.runtime import cli
from biggan_jax.sampling import generate
from biggan_jax.state import init_state
from biggan_jax.types import UserError

CONFIG = cli.define_config("The config of G.")
NETWORK = flags.DEFINE_enum(
    "network", "inception-2015", ["inception-2015", "efficientnet-lite0"], "Feature network of the scores."
)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Images per batch and device.", lower_bound=1)
BATCHES = flags.DEFINE_integer("batches", 5, "Batches to time, after one for warm-up.", lower_bound=1)
TOPOLOGY = flags.DEFINE_string("topology", None, "A TPU slice, VERSION:SHAPE in chips: estimate instead of measuring.")
SAMPLES = flags.DEFINE_integer("samples", 50_000, "Samples of the estimated FID.", lower_bound=1)
JSON = flags.DEFINE_string("json", None, "Write the figures to this file.")


def main() -> None:
    if CONFIG.value is None:
        raise UserError("--config is needed, such as --config=biggan_imagenet128")
    configs.validate(CONFIG.value)
    report = estimate(CONFIG.value) if TOPOLOGY.value else measure(CONFIG.value)
    print(json.dumps(report, indent=1))
    if JSON.value:
        pathlib.Path(JSON.value).write_text(json.dumps(report, indent=1) + "\n")


def stages(gan, shapes, size: int):
    """Return {stage: (jitted function, shapes of its arguments)}: sample, features and standing pass, one batch each."""
    network = Inception() if NETWORK.value == "inception-2015" else EfficientNetLite0()
    z, y = jax.ShapeDtypeStruct((size, gan.dim_z), jnp.float32), jax.ShapeDtypeStruct((size,), jnp.int32)
    images = jax.ShapeDtypeStruct((size, *gan.image_shape), jnp.uint8)
    draw = functools.partial(generate.generate_batch, gan)

    def features(params, images):
        return network.apply(params, sharding.constrain_batch(images, gan.mesh))

    standing_pass = functools.partial(generate._batch_statistics, gan, batch_size=size, truncation=None)
    weights, variables = shapes
    number = jax.ShapeDtypeStruct((), jnp.uint32)
    return {
        "sample": (jax.jit(draw), (weights, variables, z, y)),
        "features": (jax.jit(features), (shapes_of(network), images)),
        "standing pass": (jax.jit(lambda w, seed, i: standing_pass(w, seed, i)), (weights, number, number)),
    }


def measure(config) -> dict:
    """Time each stage on the attached devices: the median batch, by wall and CPU time."""
    mesh = sharding.make_mesh()
    size = BATCH_SIZE.value * mesh.size
    report = {"config": config.model.to_dict(), "batch": size, "network": NETWORK.value, **environment()}
    for name, (function, shapes) in stages(*gan_and_shapes(config, mesh), size).items():
        rng = np.random.default_rng(0)
        arguments = jax.tree.map(lambda s, rng=rng: values(rng, s), shapes)
        began = time.perf_counter()
        compiled = function.lower(*arguments).compile()
        compile_seconds = time.perf_counter() - began
        seconds, cpu = [], []
        for _ in range(BATCHES.value + 1):
            wall, spent = time.perf_counter(), time.process_time()
            jax.block_until_ready(compiled(*arguments))
            seconds.append(time.perf_counter() - wall)
            cpu.append(time.process_time() - spent)
        median, busy = stats.median(seconds[1:]), stats.median(cpu[1:])
        report[name] = {
            "images_per_second": size / median,
            "images_per_cpu_second": size / busy,
            "compile_seconds": compile_seconds,
        }
    return report


def estimate(config) -> dict:
    """Estimate the cycles of each stage, and the seconds for FID of SAMPLES samples with cached reference statistics."""
    jax.config.update("jax_platforms", "cpu")
    devices = target.tpu_devices(TOPOLOGY.value)
    mesh = sharding.make_mesh(devices)
    size, chip = BATCH_SIZE.value * mesh.size, target.chip_of(devices[0])
    report = {
        "topology": TOPOLOGY.value,
        "batch": size,
        "network": NETWORK.value,
        "estimated": True,
        **program.versions(),
    }
    for name, (function, shapes) in stages(*gan_and_shapes(config, mesh), size).items():
        laid_out = jax.tree.map(
            lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=sharding.replicated(mesh)), shapes
        )
        compiled = program.compile(function.lower(*laid_out), TOPOLOGY.value)
        kernels = functools.partial(plan_report.kernel_cycles, chip=chip)
        cycles = sum(hlo.breakdown(compiled.text, plan_report.module_of, kernels).values())
        report[name] = {"cycles_per_device": cycles, "seconds": cycles / chip.clock, "memory_bytes": compiled.memory}
    batches = -(-SAMPLES.value // size)
    seconds = (
        batches * (report["sample"]["seconds"] + report["features"]["seconds"])
        + 100 * report["standing pass"]["seconds"]
    )
    return report | {"samples": SAMPLES.value, "seconds_on_devices": seconds}


def gan_and_shapes(config, mesh):
    """Return the GAN and the shapes of G's (weights, variables)."""
    gan = build_gan(config, mesh)
    G = jax.eval_shape(functools.partial(init_state, gan), 0).networks["G"]
    return gan, (G.params, G.variables)


def values(rng: np.random.Generator, shape) -> np.ndarray:
    """Draw noise of a shape: small, so that nothing overflows, and positive, since some arrays are variances."""
    if shape.dtype == jnp.float32:
        return rng.uniform(0.01, 0.1, shape.shape).astype(np.float32)
    return rng.integers(0, 2, shape.shape).astype(shape.dtype)


if __name__ == "__main__":
    cli.run(main)
