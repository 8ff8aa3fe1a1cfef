"""Plan a training run, by biggan-plan or python -m biggan_jax.plan:

biggan-plan --config=biggan_imagenet128 --topology=v3:8x8 [--config.batch_size=4096]

Compiles the training step for devices that need not be attached, and prints its memory, its time and where the time goes.
Exit statuses: 0: the step fits, or that cannot be known. 1: it does not fit. 2: a user error.
"""

import pathlib

from absl import flags

from biggan_jax import config as configs
from biggan_jax.errors import UserError
from biggan_jax.plan import gpu_table, slices
from biggan_jax.runtime import cli

CONFIG = cli.define_config("A config file, or the name of a preset; see biggan-config list.")
TOPOLOGY = flags.DEFINE_string(
    "topology",
    None,
    "A TPU slice: VERSION:SHAPE in chips, such as v5e:16x16, or its Cloud TPU name: v5litepod-256. Or GPUs: NAME:N or "
    f"NAME:NODESxN, such as {gpu_table.EXAMPLES}; known are {', '.join(gpu_table.table())}.",
)
DEVICES = flags.DEFINE_string("devices", None, "Instead of --topology: cpu:N, N simulated devices.")
JSON = cli.define_path("json", None, "Write the plan's figures to this file.")
ADVISE = flags.DEFINE_bool("advise", True, "If the step does not fit, compile variants that may, until one fits.")
BRIEF = flags.DEFINE_bool("brief", False, "One line: chips, hours, whether it fits; only chips without a TPU compiler.")
COMPILE = flags.DEFINE_bool("compile", True, "--nocompile: only print parameters, bytes of the state and useful FLOPs.")


def check() -> None:
    if CONFIG.value is None or bool(TOPOLOGY.value) == bool(DEVICES.value):
        raise UserError("--config and one of --topology and --devices are needed, not both, such as --topology=v5e:4x4")
    configs.validate(CONFIG.value)
    if TOPOLOGY.value and gpu_table.is_gpu(TOPOLOGY.value):
        gpu_table.parse(TOPOLOGY.value)
    elif TOPOLOGY.value and ":" not in TOPOLOGY.value:
        slices.named(TOPOLOGY.value)
    path = pathlib.Path(JSON.value) if JSON.value else None
    if path and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise UserError(f"--json={path} is not a file in a folder that exists")


parse = cli.flags_parser(__name__, check)
