"""The command that prepares data for training, once, as shards that are read by number:

python -m biggan_jax.data.prepare --from=folder --in=PICTURES --out=DIR [--size=128] [--held_out=50]
python -m biggan_jax.data.prepare --from=imagenet --in=FOLDER_OF_THE_TWO_TARS --out=DIR
python -m biggan_jax.data.prepare --from=tfds --in=DIR/imagenet2012/5.1.0 --out=NEW [--size=128]
python -m biggan_jax.data.prepare --from=examples --in='CORPUS/train-*' --out=DIR [--classes=FILE --keep_classes=8500]

PICTURES holds a folder of pictures for each class. The same command goes on where it was interrupted. Ends with the
command to train with.
"""

import concurrent.futures
import concurrent.futures.process
import contextlib
import logging
import multiprocessing
import os
import re
import shlex
import signal
import time
from collections.abc import Iterator
from typing import Any

from absl import flags
from etils import epath

from biggan_jax.config import choose, table
from biggan_jax.data import imagenet, raw, shards, stats, tfds, worker
from biggan_jax.runtime import cli
from biggan_jax.types import UserError

logger = logging.getLogger("biggan_jax.prepare")

FROM = flags.DEFINE_string("from", None, "What comes in: folder, imagenet, tfds, examples.")
IN = flags.DEFINE_string("in", None, "A folder; with --from=examples a pattern of TFRecord or ArrayRecord files.")
OUT = flags.DEFINE_string("out", None, "The folder to make, local or gs://.")
SIZE = flags.DEFINE_integer(
    "size", 0, "Keeps central squares of so many pixels, decoded; 0: files as they are.", 0, 4096
)
RESIZE = flags.DEFINE_enum(
    "resize", "area", table("biggan")["data.resize"].one_of, "With --size: how, as config data.resize."
)
WORKERS = flags.DEFINE_integer("workers", 0, "Processes; 0: one a core.", 0, 512)
HELD_OUT = flags.DEFINE_integer(
    "held_out", 0, "--from=folder: the last so many pictures of each class are for test.", 0
)
PER_SHARD = flags.DEFINE_integer("per_shard", 2048, "--from=folder: pictures a shard, at most.", 1)
CLASSES = flags.DEFINE_string("classes", None, "--from=examples: a file with the name of a class a line, in order.")
IMAGE_KEY = flags.DEFINE_string("image_key", "image/encoded", "--from=examples: the feature with the picture.")
LABEL_KEY = flags.DEFINE_string(
    "label_key", "image/class/label", "--from=examples: the feature with the label or labels."
)
PICK = flags.DEFINE_enum("pick", "first", ("first", "frequent"), "--from=examples: which of several labels counts.")
KEEP = flags.DEFINE_integer("keep_classes", 0, "--from=examples: only so many most frequent classes; 0: all.", 0)

OWN = {
    "folder": ("size", "resize", "held_out", "per_shard"),
    "imagenet": (),
    "tfds": ("size", "resize"),
    "examples": ("size", "resize", "classes", "image_key", "label_key", "pick", "keep_classes"),
}
"""The flags that each kind understands."""


def main() -> None:
    if not (FROM.value and IN.value and OUT.value):
        raise UserError("--from, --in and --out are needed, such as --from=folder --in=pictures --out=data/pictures")
    own = choose(OWN, "--from", FROM.value)
    for name in sorted({flag for flags_ in OWN.values() for flag in flags_} - set(own)):
        if flags.FLAGS[name].present:
            raise UserError(f"--{name} means nothing with --from={FROM.value}")
    out = epath.Path(OUT.value)
    try:
        if FROM.value == "imagenet":
            made = imagenet.build(epath.Path(IN.value), out)
            print(f"prepared in {made}; to train: {training(out, 'imagenet2012', 1000)}")
        else:
            prepare(out)
    except OSError as error:
        raise UserError(f"--in={IN.value} or --out={out} failed: {error}") from error
    except concurrent.futures.process.BrokenProcessPool as error:
        raise UserError(
            "a worker was killed, most likely for want of memory; the same command goes on, with fewer --workers if it "
            "happens again"
        ) from error


def prepare(out: epath.Path) -> None:
    with workers(WORKERS.value or len(os.sched_getaffinity(0))) as parallel:
        if FROM.value == "folder":
            if out.resolve().is_relative_to(epath.Path(IN.value).resolve()):
                raise UserError(
                    f"--out={out} lies in --in={IN.value}, where it would be one more class; give another --out"
                )
            found = raw.folder(epath.Path(IN.value), held_out=HELD_OUT.value, per_part=PER_SHARD.value)
        elif FROM.value == "tfds":
            found = tfds.corpus_of(epath.Path(IN.value))
        else:
            logger.info("counting labels: all files are read once for that")
            keys = {"image": IMAGE_KEY.value, "label": LABEL_KEY.value, "classes": CLASSES.value}
            found = raw.examples(IN.value, **keys, parallel=parallel, pick=PICK.value, keep=KEEP.value)
        for note in found.notes:
            logger.info("%s", note)
        form = shards.Form(SIZE.value, RESIZE.value)
        made = shards.prepare(found, out, name_of(out), form, parallel, Progress())
    for split, summary in made.items():
        for line in stats.lines(summary):
            logger.info("%s: %s", split, line)
    print(f"prepared in {out}; to train: {training(out, '', len(found.class_names))}")


def name_of(out: epath.Path) -> str:
    """The folder's, as TFDS wants names: letters, digits and _, a letter first."""
    name = re.sub(r"\W+", "_", out.name, flags=re.ASCII).strip("_").lower()
    return name if name[:1].isalpha() else f"set_{name}".rstrip("_")


PRESETS = {
    32: "biggan_cifar10",
    64: "biggan_imagenet64",
    128: "biggan_small128",
    256: "biggan_imagenet256",
    512: "biggan_imagenet512",
}
"""By resolution, what to train with."""


def training(out: epath.Path, dataset: str, classes: int) -> str:
    """The command that trains on what was prepared; a set of one class has no use for its labels."""
    size = SIZE.value or 128
    preset = "biggan_imagenet128" if dataset else PRESETS.get(size)
    if not preset:
        return f"no preset has {size} pixels; they have {', '.join(map(str, PRESETS))}"
    changes = {"data.name": "tfds", "data.dataset": dataset, "data.dir": str(out)}
    changes |= {"model.num_classes": str(classes if classes > 1 else 0), "data.resize": RESIZE.value}
    overrides = [f"--config.{key}={value}" for key, value in changes.items()]
    return shlex.join(
        ["python", "-m", "biggan_jax.main", f"--config={preset}", f"--workdir=runs/{out.name}", *overrides]
    )


@contextlib.contextmanager
def workers(count: int) -> Iterator[Any]:
    """Gives a function like map, that runs in so many processes and yields in whatever order they are ready."""
    context = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(count, mp_context=context, initializer=worker.begin)

    def parallel(function, items):
        # Workers inherit what is ignored while they are started; later `worker.begin` says so.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            futures = [pool.submit(function, item) for item in items]
        finally:
            signal.signal(signal.SIGINT, before)
        return (future.result() for future in concurrent.futures.as_completed(futures))

    try:
        yield parallel
    finally:
        pool.shutdown(cancel_futures=True)  # After a mistake, no more than what is under way is finished.


class Progress:
    """A line every ten seconds, and at the end: how far it is, and how long it will take."""

    def __init__(self):
        self._began = self._said = time.monotonic()

    def __call__(self, done: int, of: int) -> None:
        now = time.monotonic()
        if now - self._said > 10 or done == of:
            self._said = now
            left = (now - self._began) / done * (of - done)
            logger.info("%d of %d shards, %s left", done, of, time.strftime("%H:%M:%S", time.gmtime(left)))


def run() -> None:
    cli.run(main)


if __name__ == "__main__":
    run()
