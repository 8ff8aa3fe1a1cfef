"""Owns every setting: its default, meaning, unit and source, and which values make sense. Must not build anything from them."""

from biggan_jax.config.defaults import SAFE_TO_CHANGE, base
from biggan_jax.config.loading import config_path, load, of_file, of_run
from biggan_jax.config.text import differences, flatten, from_json, from_plain, to_json
from biggan_jax.config.validation import ONE_OF, choose, expected_scores, profile_range, validate

__all__ = [
    "ONE_OF",
    "SAFE_TO_CHANGE",
    "base",
    "choose",
    "config_path",
    "differences",
    "expected_scores",
    "flatten",
    "from_json",
    "from_plain",
    "load",
    "of_file",
    "of_run",
    "profile_range",
    "to_json",
    "validate",
]
