"""Start from the weights of another run or of a conversion, with its config: --config=finetune:DIR.

Paper row: none.
Hardware:  that of the run in DIR. Time: set by --config.num_steps.
Expected:  With this code: not yet measured.
Command:   biggan-train --config=finetune:runs/converted --workdir=runs/tuned --config.data.name=tfds ...
"""

from biggan_jax.config import of_run


def get_config(workdir=""):
    c = of_run(workdir)
    c.init_from = workdir
    c.ema.start = 0  # The EMA continues from the loaded one.
    c.stability.expected = ""  # Scores by steps of a run from scratch, on the earlier data.
    return c
