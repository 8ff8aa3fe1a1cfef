"""Owns checkpoints: state and resolved config, written together by Orbax, so that one path is all that sampling needs.

It must not know the training loop. Run as a program it compares two checkpoints:
`python -m biggan_jax.checkpoint compare A B`.
"""

from biggan_jax.checkpoint.comparing import compare
from biggan_jax.checkpoint.described import FORMAT
from biggan_jax.checkpoint.places import FOLDER, checkpoint_steps, find
from biggan_jax.checkpoint.reading import (
    Extras,
    TrainedGenerator,
    load_arrays,
    load_config,
    load_described,
    load_extras,
    load_generator,
    load_state,
)
from biggan_jax.checkpoint.saving import Checkpoints, store_config

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
