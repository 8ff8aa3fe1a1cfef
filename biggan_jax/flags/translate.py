"""Translate pictures with a trained CycleGAN, pix2pix or VGAN, by biggan-translate or python -m biggan_jax.translate:

biggan-translate --checkpoint=RUN --in=FOLDER|FILE --out=FOLDER [--direction=BtoA]

Each picture becomes a PNG of its size and of its name in the same folder below --out. Pictures are mirrored at their right and
lower edges up to the next size that the network takes, and cut back. Those that cannot be read are named and left out. With a
VGAN of first frames, pictures are cropped and resized to the size of a frame, and become clips: GIFs.
"""

from absl import flags

from biggan_jax.flags import paths, values
from biggan_jax.runtime import cli

CHECKPOINT = cli.define_path("checkpoint", None, "A workdir (its latest step), or one step of it.")
IN = cli.define_path("in", None, "A folder of pictures, at any depth, or one picture.")
OUT = cli.define_path("out", None, "An empty or new folder.")
DIRECTION = flags.DEFINE_enum("direction", "AtoB", ("AtoB", "BtoA"), "BtoA: a CycleGAN's other direction.")
WEIGHTS = flags.DEFINE_enum(
    "weights", "ema", ["ema", "live"], "Averaged weights, if the run keeps them, or the trained."
)
DROPOUT = flags.DEFINE_bool(
    "dropout",
    False,
    "Translate as in training, with dropout and batch norm of each picture, as pix2pix's authors test.",
)
RANGE = flags.DEFINE_string(
    "range", None, "LOW:HIGH, black and white of pictures of more than 8 bits. Default: found from their values."
)
BATCH = flags.DEFINE_integer("batch_size", 8, "Largest number of pictures of one size at a time.", 1)


def check() -> None:
    cli.require(CHECKPOINT, IN, OUT, example="--checkpoint=runs/cyclegan --in=photos --out=translated")
    if RANGE.value:
        values.limits_of(RANGE.value)
    paths.check_inputs(IN, why="does not exist; give a picture or a folder of them")
    paths.check_checkpoint(CHECKPOINT.value)


parse = cli.flags_parser(__name__, check)
