"""The planning command: `python -m biggan_jax.plan --config=biggan_imagenet128 --topology=v3:8x8 [--config.batch_size=4096]`.

Compiles the true step with the true compiler for chips that need not be there, and says whether it fits, how long a step
takes and where that goes. Exits with 0 if it fits or nobody can know, 1 if not, 2 on a mistake of its user.
"""

import json
import logging
import pathlib

import jax
from absl import flags
from ml_collections import config_flags

from biggan_jax import cli, sharding
from biggan_jax import config as configs
from biggan_jax.plan import program, report, target
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "A config file, or the name of one in configs/.", lock_config=True
)
TOPOLOGY = flags.DEFINE_string("topology", None, "A TPU slice, VERSION:SHAPE in chips, such as v5e:16x16.")
DEVICES = flags.DEFINE_string("devices", None, "Instead: cpu:N, simulated devices.")
JSON = flags.DEFINE_string("json", None, "Writes the plan's figures to this file.")
ADVISE = flags.DEFINE_bool("advise", True, "Where it does not fit: compiles what may, until something does.")

DOES_NOT_FIT = 1


def main() -> int:
    # Whatever is there, it is not what is planned for.
    jax.config.update("jax_platforms", "cpu")
    config = CONFIG.value
    if config is None or bool(TOPOLOGY.value) == bool(DEVICES.value):
        raise UserError("--config and either --topology or --devices are needed, such as --topology=v5e:16x16")
    configs.validate(config)
    name = TOPOLOGY.value or DEVICES.value
    devices = target.tpu_devices(name) if TOPOLOGY.value else target.cpu_devices(name)
    plan = report.figures(config, devices, name, compiled(config, devices, name))
    if plan["fits"] is False and ADVISE.value:
        plan["advice"] = advice(config, devices, name)
    print(report.text(plan))
    if JSON.value:
        write(pathlib.Path(JSON.value), plan)
    return DOES_NOT_FIT if plan["fits"] is False else cli.SUCCESS


def compiled(config, devices, name) -> program.Program:
    mesh = sharding.make_mesh(devices, data=config.mesh.data, fsdp=config.mesh.fsdp)
    sharding.check_batch_size(config.batch_size, mesh.size, config.microbatches)
    return program.compile(program.lower(config, mesh), name)


def advice(config, devices, name) -> list[str]:
    """Sentences: what was tried to make it fit, up to what does."""
    said = []
    for overrides in report.changes(config, len(devices)):
        flags_ = report.as_flags(overrides)
        logger.info("trying %s", flags_)
        plan = report.figures(other := report.changed(config, overrides), devices, name, compiled(other, devices, name))
        used = f"{plan['hbm_bytes_per_device'] / report.GB:.2f} GB"
        if plan["fits"]:
            return [*said, f"{flags_} does fit: {used}, {plan['estimated_cycles_per_device'] / 1e6:.0f} million cycles"]
        said.append(f"{flags_} does not: {used}")
    return said


def write(path: pathlib.Path, plan: dict) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(plan, indent=1) + "\n")
    except OSError as error:
        raise UserError(f"--json={path} cannot be written: {error}") from error


def run() -> None:
    cli.run(main)


if __name__ == "__main__":
    run()
