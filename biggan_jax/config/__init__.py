# ruff: noqa: F401
"""Every setting: its default, meaning, unit, source and accepted values."""

from biggan_jax.config.automatic import refuse_unresolved, resolve
from biggan_jax.config.defaults import SAFE_TO_CHANGE, base, table
from biggan_jax.config.families import SECTIONS, Section, register
from biggan_jax.config.fine_tuning import drop_data_settings
from biggan_jax.config.keys import (
    AUTO,
    AUTO_OF_TYPE,
    Key,
    choice,
    choose,
    closest,
    flatten,
    fraction,
    is_auto,
    nearest_keys,
    non_negative,
    positive,
    some,
)
from biggan_jax.config.loading import config_path, differences, from_plain, load, normalize, of_file, of_run, to_json
from biggan_jax.config.own_data import Facts, choose_again, choose_for, unresolved
from biggan_jax.config.validation import expected_scores, profile_range, validate
