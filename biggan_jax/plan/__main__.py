"""Plan a training run: the work of biggan-plan."""

import json
import logging
import math
import pathlib

import jax

from biggan_jax import config as configs
from biggan_jax import data, sharding
from biggan_jax.flags.plan import ADVISE, BRIEF, COMPILE, CONFIG, DEVICES, JSON, TOPOLOGY
from biggan_jax.partitioning import compiler_options
from biggan_jax.plan import gpu_table, gpus, program, report, slices, target
from biggan_jax.runtime import cli
from biggan_jax.runtime.files import writing

logger = logging.getLogger(__name__)


def main() -> int:
    # The attached devices are not the ones planned for.
    jax.config.update("jax_platforms", "cpu")
    config = CONFIG.value
    name = TOPOLOGY.value or DEVICES.value
    of_gpus = bool(TOPOLOGY.value) and gpu_table.is_gpu(name)
    if TOPOLOGY.value and not of_gpus and ":" not in name:
        name = slices.named(name).topology
    try:
        of = gpus.devices if of_gpus else target.tpu_devices if TOPOLOGY.value else target.cpu_devices
        devices = of(name)
    except target.NoCompilerError as error:
        if not BRIEF.value:
            raise
        chips = math.prod(gpu_table.parse(name)[1:]) if of_gpus else slices.named(name).chips
        print(report.brief_without_compiler(config, name if of_gpus else slices.named(name).topology, chips, error))
        return cli.SUCCESS
    if configs.unresolved(config):
        config, choices = configs.choose_for(config, data.facts_of(config), len(devices), devices[0].platform)
        print("\n".join(f"auto: {choice}" for choice in choices))
        configs.validate(config)
    path = pathlib.Path(JSON.value) if JSON.value else None
    plan = make_plan(config, devices, name)
    print(report.brief(plan) if BRIEF.value else report.text(plan), flush=True)
    write(plan, path)
    if plan["fits"] is False and ADVISE.value and not BRIEF.value:
        plan["advice"] = advice(config, devices, name)
        print("\n".join(plan["advice"]))
        write(plan, path)
    return 1 if plan["fits"] is False else cli.SUCCESS


def make_plan(config, devices, name) -> dict:
    mesh = sharding.make_mesh(devices, data=config.mesh.data, fsdp=config.mesh.fsdp)
    sharding.check_batch_size(config.batch_size, mesh.size, config.microbatches, config.d_chunks)
    compiled = program.NOT_COMPILED
    if COMPILE.value:
        compiled = program.compile(program.lower(config, mesh), name, compiler_options(mesh))
    return report.figures(config, devices, name, program.state_bytes(config, mesh), compiled)


def advice(config, devices, name) -> list[str]:
    """Compile variants until one fits. Returns one sentence per variant."""
    found = []
    for overrides in report.changes(config, len(devices)):
        given = " ".join(f"--config.{key}={value}" for key, value in overrides.items())
        logger.info("trying %s", given)
        try:
            plan = make_plan(report.changed(config, overrides), devices, name)
        except jax.errors.JaxRuntimeError as error:
            found.append(f"{given} cannot be compiled: {str(error).splitlines()[0]}")
            continue
        used = f"{plan['hbm_bytes_per_device'] / report.GB:.2f} GB"
        if plan["fits"]:
            parts = "; batch norm then sees one microbatch at a time" if "microbatches" in overrides else ""
            cycles, seconds = plan["estimated_cycles_per_device"], plan["estimated_step_seconds"]
            time = f"{cycles / 1e6:.0f} million cycles" if cycles else f"at least {1e3 * seconds:.3g} ms"
            return [*found, f"{given} does fit: {used}, {time}{parts}"]
        found.append(f"{given} does not fit: {used}")
    only = "only more devices can help: all activations are recomputed, and a device's batch cannot be split further"
    return found or [only]


def write(plan: dict, path: pathlib.Path | None) -> None:
    if path:
        with writing(f"--json={path}"):
            path.write_text(json.dumps(plan, indent=1) + "\n")


run = cli.command(main)

if __name__ == "__main__":
    run()
