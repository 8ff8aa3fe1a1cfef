"""Goes on from another run's weights, or from converted ones, with its networks and settings: --config=finetune:DIR.

Paper row: none.
Hardware:  that of the run in DIR. Expected time: yours to say, with --config.num_steps.
Expected:  not yet measured.
Command:   python -m biggan_jax.main --config=finetune:runs/converted --workdir=runs/tuned --config.data.name=tfds ...
"""

from biggan_jax.config import of_run


def get_config(workdir=""):
    c = of_run(workdir)
    c.init_from = workdir
    c.ema.start = 0  # The average goes on from the one that comes along.
    return c
