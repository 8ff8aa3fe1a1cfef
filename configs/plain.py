"""The config that a JSON file holds, of which nothing is run: --config_json=FILE means --config=plain:FILE.

Paper row: that of FILE: a run's config.json, or only the keys that differ from the defaults.
Hardware:  that of FILE. Expected time: yours to say, with --config.num_steps.
Expected:  not yet measured.
Command:   python -m biggan_jax.main --config_json=runs/other/config.json --workdir=runs/mine --config.seed=1
"""

from biggan_jax.config import of_file


def get_config(path=""):
    return of_file(path)
