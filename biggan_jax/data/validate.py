"""Read all of a prepared set and summarize it, by biggan-validate or python -m biggan_jax.data.validate:

biggan-validate --in=DIR [--dataset=imagenet2012] [--split=train]

Exit statuses: 0: nothing is wrong. 1: something is. 2: a user error. The summary is stored in the set's folder, unless
biggan-prepare stored one. Training then reads the summary instead of a sample of the set.
"""

from absl import flags
from etils import epath

from biggan_jax.config import base
from biggan_jax.data import features, stats, tfds
from biggan_jax.runtime import cli
from biggan_jax.runtime.files import writing
from biggan_jax.types import UserError

IN = cli.define_path("in", None, "Folder of a prepared set; with --dataset, TFDS's folder of sets.")
DATASET = flags.DEFINE_string("dataset", "", "Name of a TFDS builder.")
IMAGE_KEY = flags.DEFINE_string("image_key", "", "The feature with the picture, as data.image_key.")
LABEL_KEY = flags.DEFINE_string("label_key", "", "The feature with the label, as data.label_key.")
SPLIT = flags.DEFINE_enum("split", "train", ("train", "test"), "The split to read.")


def main() -> int:
    if not IN.value:
        raise UserError("--in is needed, such as --in=data/pictures")
    builder = tfds.find(DATASET.value, IN.value)
    where = epath.Path(builder.data_path)
    config = base("gan")
    config.data.dir, config.data.dataset, config.model.num_classes = IN.value, DATASET.value, 0
    config.data.image_key, config.data.label_key = IMAGE_KEY.value, LABEL_KEY.value
    fields = features.fields_of(builder.info.features, where, features.keys_of(config), labelled=False)
    config.model.image_shape = (128, 128, fields.channels) if fields.channels else fields.shape
    known = tfds.checked_of(where)
    if (frames := known.get("form", {}).get("frames")) and fields.shape:
        data, height = config.data, fields.shape[0] // frames
        config = base("vgan")
        config.data, config.model.frames = data, frames
        config.model.image_shape = (height, *fields.shape[1:])
    config.data.resize = known.get("form", {}).get("resize", config.data.resize)
    source = tfds.open_tfds(config, SPLIT.value)
    found = stats.summarize(source, sample=None)
    print("\n".join(stats.lines(found)))
    if source.split not in known:
        with writing(where / stats.FILE):
            stats.store(where / stats.FILE, known | {source.split: found})
    return cli.DIFFERENT if any(found[key] for key in stats.WRONG) else cli.SUCCESS


run = cli.command(main)

if __name__ == "__main__":
    run()
