"""The planning command: `python -m biggan_jax.plan --config=biggan_imagenet128 --topology=v3:8x8 [--config.batch_size=4096]`.

Compiles the true step with the true compiler for chips that need not be there, and says whether it fits, how long a step
takes and where that goes. Exits with 0 if it fits or nobody can know, 1 if not, 2 on a mistake of its user.
"""

import json
import logging
import pathlib

import jax
from absl import flags

from biggan_jax import config as configs
from biggan_jax import sharding
from biggan_jax.plan import program, report, slices, target
from biggan_jax.runtime import cli
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

CONFIG = cli.define_config("A config file, or the name of one in configs/.")
TOPOLOGY = flags.DEFINE_string(
    "topology",
    None,
    "A TPU slice, VERSION:SHAPE in chips, such as v5e:16x16, or Cloud TPU's name of it, v5litepod-256.",
)
DEVICES = flags.DEFINE_string("devices", None, "Instead: cpu:N, simulated devices.")
JSON = flags.DEFINE_string("json", None, "Writes the plan's figures to this file.")
ADVISE = flags.DEFINE_bool("advise", True, "Where it does not fit: compiles what may, until something does.")
BRIEF = flags.DEFINE_bool(
    "brief", False, "Only one line: chips, hours, whether it fits; chips alone where no compiler is installed."
)
NO_COMPILE = flags.DEFINE_bool("no-compile", False, "Stops after shapes, counts, the state's bytes and useful FLOPs.")

DOES_NOT_FIT = 1


def main() -> int:
    # Whatever is there, it is not what is planned for.
    jax.config.update("jax_platforms", "cpu")
    config = CONFIG.value
    if config is None or bool(TOPOLOGY.value) == bool(DEVICES.value):
        raise UserError(
            "--config and one of --topology and --devices are needed, not both, such as --topology=v5e:16x16"
        )
    configs.validate(config)
    name = TOPOLOGY.value or DEVICES.value
    if TOPOLOGY.value and ":" not in name:
        name = slices.named(name).topology
    try:
        devices = target.tpu_devices(name) if TOPOLOGY.value else target.cpu_devices(name)
    except target.NoCompilerError as error:
        if not BRIEF.value:
            raise
        print(report.unplanned(config, slices.named(name), error))
        return cli.SUCCESS
    path = pathlib.Path(JSON.value) if JSON.value else None
    if path and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise UserError(f"--json={path} is not a file in a folder that exists")
    plan = planned(config, devices, name)
    print(report.brief(plan) if BRIEF.value else report.text(plan), flush=True)
    keep(plan, path)
    if plan["fits"] is False and ADVISE.value and not BRIEF.value:
        plan["advice"] = advice(config, devices, name)
        print("\n".join(plan["advice"]))
        keep(plan, path)
    return DOES_NOT_FIT if plan["fits"] is False else cli.SUCCESS


def planned(config, devices, name) -> dict:
    mesh = sharding.make_mesh(devices, data=config.mesh.data, fsdp=config.mesh.fsdp)
    sharding.check_batch_size(config.batch_size, mesh.size, config.microbatches, config.d_chunks)
    compiled = program.NOT_COMPILED if NO_COMPILE.value else program.compile(program.lower(config, mesh), name)
    return report.figures(config, devices, name, program.state_bytes(config, mesh), compiled)


def advice(config, devices, name) -> list[str]:
    """Sentences: what was tried to make it fit, up to what does."""
    said = []
    tries = report.changes(config, len(devices))
    if not tries:
        return [
            "nothing is left to try but more devices: all is made anew, and no device's part of the batch can be split"
        ]
    for overrides in tries:
        flags_ = report.as_flags(overrides)
        logger.info("trying %s", flags_)
        other = report.changed(config, overrides)
        try:
            plan = planned(other, devices, name)
        except jax.errors.JaxRuntimeError as error:
            said.append(f"{flags_} cannot be compiled: {str(error).splitlines()[0]}")
            continue
        used = f"{plan['hbm_bytes_per_device'] / report.GB:.2f} GB"
        if plan["fits"]:
            parts = "; batch norm then sees one part at a time" if "microbatches" in overrides else ""
            cycles = plan["estimated_cycles_per_device"] / 1e6
            return [*said, f"{flags_} does fit: {used}, {cycles:.0f} million cycles{parts}"]
        said.append(f"{flags_} does not: {used}")
    return said


def keep(plan: dict, path: pathlib.Path | None) -> None:
    if path:
        try:
            path.write_text(json.dumps(plan, indent=1) + "\n")
        except OSError as error:
            raise UserError(f"--json={path} cannot be written: {error}") from error


def run() -> None:
    cli.run(main)


if __name__ == "__main__":
    run()
