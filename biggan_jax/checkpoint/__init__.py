"""Owns checkpoints: state and resolved config, written together by Orbax, so that one path is all that sampling needs.

It must not know the training loop. Run as a program it compares two checkpoints:
`python -m biggan_jax.checkpoint compare A B`.
"""

from biggan_jax.checkpoint.diff import compare
from biggan_jax.checkpoint.manager import Checkpoints, store_config
from biggan_jax.checkpoint.metadata import FORMAT
from biggan_jax.checkpoint.paths import FOLDER, checkpoint_steps, find
from biggan_jax.checkpoint.restore import (
    Extras,
    TrainedGenerator,
    load_arrays,
    load_config,
    load_described,
    load_extras,
    load_generator,
    load_state,
)

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
    "load_described",
    "load_extras",
    "load_generator",
    "load_state",
    "store_config",
]
