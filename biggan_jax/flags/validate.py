"""Read all of a prepared set and summarize it, by biggan-validate or python -m biggan_jax.data.validate:

biggan-validate --in=DIR [--dataset=imagenet2012] [--split=train]

Exit statuses: 0: nothing is wrong. 1: something is. 2: a user error. The summary is stored in the set's folder, unless
biggan-prepare stored one. Training then reads the summary instead of a sample of the set.
"""

from absl import flags

from biggan_jax.errors import UserError
from biggan_jax.flags import paths
from biggan_jax.runtime import cli

IN = cli.define_path("in", None, "Folder of a prepared set; with --dataset, TFDS's folder of sets.")
DATASET = flags.DEFINE_string("dataset", "", "Name of a TFDS builder.")
IMAGE_KEY = flags.DEFINE_string("image_key", "", "The feature with the picture, as data.image_key.")
LABEL_KEY = flags.DEFINE_string("label_key", "", "The feature with the label, as data.label_key.")
SPLIT = flags.DEFINE_enum("split", "train", ("train", "test"), "The split to read.")


def check() -> None:
    if not IN.value:
        raise UserError("--in is needed, such as --in=data/pictures")
    paths.check_inputs(IN, why="does not exist; give the folder of a prepared set")


parse = cli.flags_parser(__name__, check)
