"""Prepare data for training, once, as shards with access by number:

python -m biggan_jax.data.prepare --from=folder --in=PICTURES --out=DIR [--size=128] [--held_out=50]
python -m biggan_jax.data.prepare --from=folder --in=PICTURES --out=DIR --size=96x128 --channels=1 --bits=16
python -m biggan_jax.data.prepare --from=arrays --in=FILE.npz --out=DIR
python -m biggan_jax.data.prepare --from=imagenet --in=FOLDER_OF_THE_TWO_TARS --out=DIR
python -m biggan_jax.data.prepare --from=tfds --in=DIR/imagenet2012/5.1.0 --out=NEW [--size=128]
python -m biggan_jax.data.prepare --from=examples --in='CORPUS/train-*' --out=DIR [--classes=FILE --keep_classes=8500]

PICTURES has a folder of pictures for each class. After an interruption, run the same command to resume. The last line of the
output is the command to train with.
"""

import concurrent.futures.process
import contextlib
import dataclasses
import logging
import multiprocessing
import os
import re
import shlex
import signal
from collections.abc import Iterator
from typing import Any

from absl import flags
from etils import epath

from biggan_jax.config import choose
from biggan_jax.data import loader, picture, raw, shards, stats, tfds
from biggan_jax.runtime import cli
from biggan_jax.runtime.progress import track
from biggan_jax.types import UserError

logger = logging.getLogger("biggan_jax.prepare")

FROM = flags.DEFINE_string("from", None, "Kind of the input: folder, arrays, imagenet, tfds, examples.")
IN = cli.define_path(
    "in", None, "Input folder; with --from=examples a pattern of TFRecord or ArrayRecord files, with arrays an .npz."
)
OUT = cli.define_path("out", None, "Output folder, local or gs://.")
SIZE = flags.DEFINE_string(
    "size", "0", "Stores decoded central squares of this many pixels, or HxW, such as 96x128; 0: whole files."
)
CHANNELS = flags.DEFINE_integer(
    "channels", 0, "Channels to keep: 1, 3 or any number; 0: RGB, or all of arrays.", 0, 4096
)
BITS = flags.DEFINE_enum("bits", None, ("8", "16"), "Bits of each channel to keep. Default: 8, or those of arrays.")
RESIZE = flags.DEFINE_enum("resize", "area", ("area", *picture.FILTERS), "With --size: how, as config data.resize.")
WORKERS = flags.DEFINE_integer("workers", 0, "Worker processes; 0: one per core; 1: only the command's own.", 0, 512)
HELD_OUT = flags.DEFINE_integer("held_out", 0, "--from=folder, arrays: the last N of each class are the split test.", 0)
PER_SHARD = flags.DEFINE_integer("per_shard", 2048, "--from=folder, arrays: maximum number of pictures per shard.", 1)
CLASSES = cli.define_path("classes", None, "--from=examples: a file with one class name per line, in order.")
IMAGE_KEY = flags.DEFINE_string("image_key", "image/encoded", "--from=examples: the feature with the picture.")
LABEL_KEY = flags.DEFINE_string("label_key", "image/class/label", "--from=examples: the feature with the labels.")
PICK = flags.DEFINE_enum("pick", "first", ("first", "frequent"), "--from=examples: which of several labels to keep.")
KEEP = flags.DEFINE_integer("keep_classes", 0, "--from=examples: number of most frequent classes to keep; 0: all.", 0)

OWN = {
    "folder": ("size", "resize", "channels", "bits", "held_out", "per_shard"),
    "arrays": ("size", "resize", "channels", "bits", "held_out", "per_shard"),
    "imagenet": (),
    "tfds": ("size", "resize"),
    "examples": ("size", "resize", "classes", "image_key", "label_key", "pick", "keep_classes"),
}
"""The flags of each kind of input."""


def main() -> None:
    if not (FROM.value and IN.value and OUT.value):
        raise UserError("--from, --in and --out are needed, such as --from=folder --in=pictures --out=data/pictures")
    own = choose(OWN, "--from", FROM.value)
    for name in sorted({flag for flags_ in OWN.values() for flag in flags_} - set(own)):
        if flags.FLAGS[name].present:
            raise UserError(f"--{name} has no effect with --from={FROM.value}")
    out = epath.Path(OUT.value)
    try:
        if FROM.value == "imagenet":
            made = tfds.prepare_imagenet(epath.Path(IN.value), out)
            print(f"prepared in {made}; to train: {training(out, 'imagenet2012', 1000)}")
        else:
            prepare(out)
    except OSError as error:
        raise UserError(f"--in={IN.value} or --out={out} failed: {error}") from error
    except concurrent.futures.process.BrokenProcessPool as error:
        hint = "run the command again to resume, with fewer --workers if it recurs"
        raise UserError(f"a worker was killed, probably for lack of memory; {hint}") from error


def prepare(out: epath.Path) -> None:
    # A name that TFDS accepts: letters, digits and _, starting with a letter.
    name = re.sub(r"\W+", "_", out.name, flags=re.ASCII).strip("_").lower()
    name = name if name[:1].isalpha() else f"set_{name}".rstrip("_")
    root = epath.Path(IN.value)
    form = shards.Form(shards.size_of(SIZE.value), RESIZE.value)
    if CHANNELS.value or BITS.value == "16":
        form = dataclasses.replace(form, channels=CHANNELS.value or 3, bits=int(BITS.value or 8))
        if form.channels not in (1, 3) and not form.size and FROM.value == "folder":
            raise UserError(f"--channels={form.channels} needs --size: only 1 or 3 channels are stored as whole files")
    with workers(WORKERS.value or len(os.sched_getaffinity(0))) as parallel:
        if FROM.value == "folder":
            if out.resolve().is_relative_to(root.resolve()):
                raise UserError(f"--out={out} is inside --in={root}, where it would become a class; give another --out")
            suffixes = raw.PICTURES + (raw.ARRAYS if form.channels else ())
            found = raw.folder(root, held_out=HELD_OUT.value, per_part=PER_SHARD.value, suffixes=suffixes)
        elif FROM.value == "arrays":
            found, shapes = raw.arrays(root, held_out=HELD_OUT.value, per_part=PER_SHARD.value)
            for name in ("size", "resize", "channels", "bits") if len(shapes.image) == 1 else ():
                if flags.FLAGS[name].present:
                    raise UserError(f"--{name} has no effect on vectors, which are stored as they are")
            form = shards.form_of_arrays(form, shapes, bool(CHANNELS.value), int(BITS.value or 0))
        elif FROM.value == "tfds":
            found = tfds.corpus_of(root)
        else:
            logger.info("counting labels: this reads all files once")
            keys = {"image": IMAGE_KEY.value, "label": LABEL_KEY.value, "classes": CLASSES.value}
            found = raw.examples(IN.value, **keys, parallel=parallel, pick=PICK.value, keep=KEEP.value)
        for note in found.notes:
            logger.info("%s", note)
        tracked = lambda function, items: track(parallel(function, items), "shards", len(items))
        made = shards.prepare(found, out, name, form, tracked)
    for split, summary in made.items():
        for line in stats.lines(summary):
            logger.info("%s: %s", split, line)
    print(f"prepared in {out}; to train: {training(out, '', len(found.class_names), form)}")


PRESETS = {32: "cifar10", 64: "imagenet64", 128: "small128", 256: "imagenet256", 512: "imagenet512"}
"""The preset of BigGAN to train with, by resolution."""


def training(out: epath.Path, dataset: str, classes: int, form: shards.Form = shards.Form()) -> str:  # noqa: B008  Frozen.
    """Return the command that trains on the prepared set, without labels if there is one class."""
    changes = {"data.name": "tfds", "data.dataset": dataset, "data.dir": str(out)}
    changes |= {"model.num_classes": str(classes if classes > 1 else 0), "data.resize": RESIZE.value}
    if form.channels not in (0, 3) or form.vector or form.condition or not isinstance(form.size, int):
        shape = form.shape if form.size or form.vector else (128, 128, form.channels)
        changes |= {"model.image_shape": str(shape).replace(" ", "")}
        if form.condition:
            changes["model.condition_dim"] = str(form.condition)
        preset = _preset_for(shape, labelled=changes["model.num_classes"] != "0" or bool(form.condition))
        if not preset:
            also = "for others give heights of 32, 64, 128, 256 or 512, and widths that are multiples of 32"
            return f"no preset has convolutions for {shape[0]} x {shape[1]} pixels; {also}, or use classic/gan_mnist"
        if preset.startswith("classic/sngan"):
            changes |= {"g_batch": "1", "data.dequantize": "False"}
    else:
        preset = "biggan_imagenet128" if dataset else f"biggan_{PRESETS.get(form.size or 128, '')}"
        if preset == "biggan_":
            return f"no preset has {form.size} pixels; presets have {', '.join(map(str, PRESETS))}"
    command = ["python", "-m", "biggan_jax.main", f"--config={preset}", f"--workdir=runs/{out.name}"]
    return shlex.join([*command, *(f"--config.{key}={value}" for key, value in changes.items())])


def _preset_for(shape: tuple[int, ...], *, labelled: bool) -> str:
    """Return a preset for images of this shape, or vectors; "" if none has convolutions for it."""
    if len(shape) == 1 or max(shape[:2]) < 32:
        return f"classic/{'cgan' if labelled else 'gan'}_mnist"  # Dense networks.
    return "classic/sngan_cifar10" if shape[0] in (32, 64, 128, 256, 512) and shape[1] % 32 == 0 else ""


@contextlib.contextmanager
def workers(count: int) -> Iterator[Any]:
    """Yield a function like map that runs in `count` processes; results come in any order."""
    if count == 1:
        yield map
        return
    pool = concurrent.futures.ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), loader.init_worker)

    def parallel(function, items):
        # Workers inherit ignored signals when they start, before `init_worker` runs in them.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            futures = [pool.submit(function, item) for item in items]
        finally:
            signal.signal(signal.SIGINT, before)
        return (future.result() for future in concurrent.futures.as_completed(futures))

    try:
        yield parallel
    finally:
        pool.shutdown(cancel_futures=True)  # After an error, only running jobs are finished.


run = cli.command(main)

if __name__ == "__main__":
    run()
