"""Measure a probe: `python benchmarks/stability.py --config=NAME [--config.KEY=VALUE] [--topology=v5e:4x4] [--json=PATH]`.

Compares the leading singular values of both networks' weights with a training step: timed in turn on the attached devices,
or, with --topology, as the TPU compiler estimates them. benchmarks/README.md explains the figures.
"""

import json
import pathlib
import statistics
import time

import jax
from absl import flags
from measure import environment, prepare
from ml_collections import config_flags

from biggan_jax import config as configs
from biggan_jax import sharding
from biggan_jax.plan import hlo, program, report, target
from biggan_jax.runtime import cli
from biggan_jax.stability.spectra import top_singular_values
from biggan_jax.types import UserError

CONFIG = cli.define_config("A config file, or the name of a preset; see biggan-config list.")
TOPOLOGY = flags.DEFINE_string("topology", None, "A TPU slice, such as v5e:4x4: estimate instead of measuring.")
PAIRS = flags.DEFINE_integer("pairs", 20, "Pairs of a step and a probe to time.", lower_bound=1)
JSON = flags.DEFINE_string("json", None, "Also write the figures to this file.")


def main() -> None:
    config = CONFIG.value
    if config is None:
        raise UserError("--config is needed, such as --config=quickstart")
    configs.validate(config)
    figures = estimated(config, TOPOLOGY.value) if TOPOLOGY.value else timed(config)
    name = pathlib.Path(config_flags.get_config_filename(flags.FLAGS["config"])).stem
    figures = {"config": name, "batch_size": config.batch_size, **figures}
    print(json.dumps(figures, indent=1))
    if JSON.value:
        pathlib.Path(JSON.value).write_text(json.dumps(figures, indent=1) + "\n")


def make_probe(mesh):
    """Return the jitted function from a state to the leading singular values of its networks."""
    measure = lambda network: top_singular_values(network.params, network.spectral, mesh=mesh)
    networks = lambda state: [measure(network) for network in state.networks.values()]
    return jax.jit(networks, out_shardings=sharding.replicated(mesh))


def timed(config) -> dict:
    mesh = sharding.make_mesh(jax.local_devices(), data=config.mesh.data, fsdp=config.mesh.fsdp)
    step = prepare(config, mesh)
    state, probe, ratios, steps, probes = step.state, make_probe(mesh), [], [], []
    jax.block_until_ready(probe(state))
    for i in range(PAIRS.value + 2):
        began = time.perf_counter()
        state, metrics = step.compiled(state, step.batch)
        jax.block_until_ready((state, metrics))
        middle = time.perf_counter()
        jax.block_until_ready(probe(state))
        if i >= 2:
            steps.append(middle - began)
            probes.append(time.perf_counter() - middle)
            ratios.append(probes[-1] / steps[-1])
    return {
        "step_seconds": statistics.median(steps),
        "probe_seconds": statistics.median(probes),
        "probe_by_step": statistics.median(ratios),
        "probe_by_step_least": min(ratios),
        "probe_by_step_most": max(ratios),
        **environment(),
    }


def estimated(config, topology: str) -> dict:
    jax.config.update("jax_platforms", "cpu")
    devices = target.tpu_devices(topology)
    mesh = sharding.make_mesh(devices, data=config.mesh.data, fsdp=config.mesh.fsdp)
    chip = target.chip_of(devices[0])

    def compiled(lowered):
        text = program.compile(lowered, topology).text
        cycles = hlo.breakdown(text, report.module_of, lambda kernel: report.kernel_cycles(kernel, chip))
        return sum(cycles.values()), hlo.collectives(text)

    probe_cycles, collectives = compiled(make_probe(mesh).lower(program.state_shapes(config, mesh)))
    step_cycles, _ = compiled(program.lower(config, mesh))
    return {
        "topology": topology,
        "step_cycles": step_cycles,
        "probe_cycles": probe_cycles,
        "probe_by_step": probe_cycles / step_cycles,
        "probe_collectives": collectives,
        "estimated": True,
        "versions": program.versions(),
    }


if __name__ == "__main__":
    cli.run(main)
