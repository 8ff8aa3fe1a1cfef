"""Plan a training run, by biggan-plan or python -m biggan_jax.plan:

biggan-plan --config=biggan_imagenet128 --topology=v3:8x8 [--config.batch_size=4096]

Compiles the training step for devices that need not be attached, and prints its memory, its time and where the time goes.
Exit statuses: 0: the step fits, or that cannot be known. 1: it does not fit. 2: a user error.
"""

import json
import logging
import math
import pathlib

import jax
from absl import flags

from biggan_jax import config as configs
from biggan_jax import data, sharding
from biggan_jax.plan import gpus, program, report, slices, target
from biggan_jax.runtime import cli
from biggan_jax.runtime.files import writing
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

CONFIG = cli.define_config("A config file, or the name of a preset; see biggan-config list.")
TOPOLOGY = flags.DEFINE_string(
    "topology",
    None,
    "A TPU slice: VERSION:SHAPE in chips, such as v5e:16x16, or its Cloud TPU name: v5litepod-256. Or GPUs: NAME:N or "
    f"NAME:NODESxN, such as {gpus.EXAMPLES}; known are {', '.join(gpus.table())}.",
)
DEVICES = flags.DEFINE_string("devices", None, "Instead of --topology: cpu:N, N simulated devices.")
JSON = cli.define_path("json", None, "Write the plan's figures to this file.")
ADVISE = flags.DEFINE_bool("advise", True, "If the step does not fit, compile variants that may, until one fits.")
BRIEF = flags.DEFINE_bool("brief", False, "One line: chips, hours, whether it fits; only chips without a TPU compiler.")
COMPILE = flags.DEFINE_bool("compile", True, "--nocompile: only print parameters, bytes of the state and useful FLOPs.")


def main() -> int:
    # The attached devices are not the ones planned for.
    jax.config.update("jax_platforms", "cpu")
    config = CONFIG.value
    if config is None or bool(TOPOLOGY.value) == bool(DEVICES.value):
        raise UserError("--config and one of --topology and --devices are needed, not both, such as --topology=v5e:4x4")
    configs.validate(config)
    name = TOPOLOGY.value or DEVICES.value
    of_gpus = bool(TOPOLOGY.value) and gpus.is_gpu(name)
    if TOPOLOGY.value and not of_gpus and ":" not in name:
        name = slices.named(name).topology
    try:
        of = gpus.devices if of_gpus else target.tpu_devices if TOPOLOGY.value else target.cpu_devices
        devices = of(name)
    except target.NoCompilerError as error:
        if not BRIEF.value:
            raise
        chips = math.prod(gpus.parse(name)[1:]) if of_gpus else slices.named(name).chips
        print(report.brief_without_compiler(config, name if of_gpus else slices.named(name).topology, chips, error))
        return cli.SUCCESS
    if configs.unresolved(config):
        config, choices = configs.choose_for(config, data.facts_of(config), len(devices), devices[0].platform)
        print("\n".join(f"auto: {choice}" for choice in choices))
        configs.validate(config)
    path = pathlib.Path(JSON.value) if JSON.value else None
    if path and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise UserError(f"--json={path} is not a file in a folder that exists")
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
    compiled = program.compile(program.lower(config, mesh), name) if COMPILE.value else program.NOT_COMPILED
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
