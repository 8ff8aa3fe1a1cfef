"""The command that reads all of a prepared set and says what is in it, which training then need not:

python -m biggan_jax.data.validate --in=DIR [--dataset=imagenet2012] [--split=train]

Exit status 0 if nothing is wrong, 1 if something is. What it finds is kept in the set's folder, unless what `prepare` saw is.
"""

from absl import flags
from etils import epath

from biggan_jax.config import base
from biggan_jax.data import stats, tfds
from biggan_jax.runtime import cli
from biggan_jax.types import UserError

IN = flags.DEFINE_string("in", None, "The folder of a prepared set, or with --dataset that of TFDS.")
DATASET = flags.DEFINE_string("dataset", "", "The builder's name.")
SPLIT = flags.DEFINE_enum("split", "train", ("train", "test"), "Which part.")


def main() -> int:
    if not IN.value:
        raise UserError("--in is needed, such as --in=data/pictures")
    config = base()
    config.data.dir, config.data.dataset = IN.value, DATASET.value
    where = epath.Path(tfds.find(DATASET.value, IN.value).data_path)
    known = tfds.checked_of(where)
    config.data.resize = known.get("form", {}).get("resize", config.data.resize)
    source = tfds.open_tfds(config, SPLIT.value)
    found = stats.look(source, sample=None)
    print("\n".join(stats.lines(found)))
    if source.split not in known:
        try:
            stats.store(where, known | {source.split: found})
        except OSError as error:
            raise UserError(f"{where / stats.FILE} cannot be written: {error}") from error
    return (
        cli.DIFFERENT if any(found[key] for key in ("unreadable", "in_two_classes", "empty_classes")) else cli.SUCCESS
    )


def run() -> None:
    cli.run(main)


if __name__ == "__main__":
    run()
