"""The config in a JSON file, of which nothing is executed: --config_json=FILE means --config=plain:FILE.

Paper row: that of FILE, which is a run's config.json or has only the keys that differ from the defaults.
Hardware:  that of FILE. Time: set by --config.num_steps.
Expected:  not yet measured.
Command:   biggan-train --config_json=runs/other/config.json --workdir=runs/mine --config.seed=1
"""

from biggan_jax.config import of_file


def get_config(path=""):
    return of_file(path)
