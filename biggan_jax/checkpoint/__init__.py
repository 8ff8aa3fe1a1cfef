"""Checkpoints: the training state and its resolved config, saved together by Orbax.

`python -m biggan_jax.checkpoint compare A B` compares two checkpoints, `check PATH` verifies them.
"""

from biggan_jax.checkpoint.diff import compare
from biggan_jax.checkpoint.manager import Checkpoints
from biggan_jax.checkpoint.metadata import FORMAT
from biggan_jax.checkpoint.paths import FOLDER, checkpoint_steps, find
from biggan_jax.checkpoint.restore import (
    Extras,
    TrainedGenerator,
    load_arrays,
    load_config,
    load_extras,
    load_generator,
    load_metadata,
    load_state,
)
from biggan_jax.checkpoint.workdir import store_config

__all__ = [
    "FOLDER",
    "FORMAT",
    "Checkpoints",
    "Extras",
    "TrainedGenerator",
    "checkpoint_steps",
    "compare",
    "find",
    "load_arrays",
    "load_config",
    "load_extras",
    "load_generator",
    "load_metadata",
    "load_state",
    "store_config",
]
