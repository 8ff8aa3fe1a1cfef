"""Read all of a prepared set and summarize it: the work of biggan-validate."""

from etils import epath

from biggan_jax.config import base
from biggan_jax.data import features, stats, tfds
from biggan_jax.flags.validate import DATASET, IMAGE_KEY, IN, LABEL_KEY, SPLIT
from biggan_jax.runtime import cli
from biggan_jax.runtime.files import writing


def main() -> int:
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
