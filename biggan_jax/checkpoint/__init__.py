# ruff: noqa: F401
"""Checkpoints: the training state and its resolved config, saved together by Orbax."""

from biggan_jax.checkpoint.layout import FOLDER, check_name, checkpoint_steps, find
from biggan_jax.checkpoint.manager import Checkpoints
from biggan_jax.checkpoint.metadata import FORMAT
from biggan_jax.checkpoint.names import locate
from biggan_jax.checkpoint.restore import (
    Extras,
    compare,
    load_arrays,
    load_config,
    load_extras,
    load_generator,
    load_metadata,
    load_state,
)
from biggan_jax.checkpoint.resume import store_config
from biggan_jax.checkpoint.trained import TrainedGenerator
