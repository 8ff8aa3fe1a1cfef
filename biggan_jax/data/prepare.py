"""Convert data once to shards with random access: the work of biggan-prepare."""

import concurrent.futures.process
import contextlib
import dataclasses
import logging
import multiprocessing
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from etils import epath

from biggan_jax.config import own_data
from biggan_jax.data import (
    captioned,
    cifar,
    clips,
    features,
    forms,
    label_tables,
    layouts,
    loader,
    pairs,
    ranges,
    raw,
    recommend,
    shards,
    stats,
    tfds,
    trees,
)
from biggan_jax.data.labelled import MOST_LEFT_OUT, Options
from biggan_jax.flags.prepare import (
    BITS,
    CAPTIONS,
    CHANNELS,
    CLASS_ORDER,
    CLASSES,
    CLIP_STEP,
    CROP,
    EMBEDDINGS,
    EVERY,
    FORM,
    FRAMES,
    FROM,
    HELD_OUT,
    HELD_OUT_BY,
    IMAGE_KEY,
    IN,
    KEEP,
    LABEL_KEY,
    LABELS,
    MIN_SIZE,
    MOST_CAPTIONS,
    OTHER,
    OTHER_CHANNELS,
    OUT,
    PER_SHARD,
    PICK,
    RANGE,
    RESIZE,
    SEED,
    SIZE,
    SKIP_NESTED,
    SKIP_OTHERS,
    WORKERS,
)
from biggan_jax.flags.values import limits_of, size_of
from biggan_jax.runtime import cli
from biggan_jax.runtime.progress import track
from biggan_jax.types import UserError

logger = logging.getLogger("biggan_jax.prepare")


def main() -> None:
    out = epath.Path(OUT.value)
    try:
        if FROM.value == "imagenet":
            made = tfds.prepare_imagenet(epath.Path(IN.value), out)
            found = {"images": own_data.LARGE}
            print(f"prepared in {made}; {recommend.training(out, 'imagenet2012', 1000, found, resize=RESIZE.value)}")
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
    form = form_of_flags()
    with workers(WORKERS.value or len(os.sched_getaffinity(0))) as parallel:
        found, form = corpus_of_flags(out, name, form, parallel)
        for note in found.notes:
            logger.info("%s", note)
        logger.info("classes: %s", recommend.named(found.class_names))
        tracked = lambda function, items: track(parallel(function, items), "shards", len(items))
        most = 1 if SKIP_OTHERS.value else MOST_LEFT_OUT
        made = shards.prepare(found, out, name, form, tracked, most_unreadable=most)
    for split, summary in made.items():
        for line in stats.lines(summary):
            logger.info("%s: %s", split, line)
    summary = made.get("train") or next(iter(made.values()))
    how = recommend.training(out, "", len(found.class_names), summary, form, resize=RESIZE.value, kind=FROM.value)
    print(f"prepared in {out}; {how}")


def form_of_flags() -> forms.Form:
    size = cifar.SIDE if FROM.value in cifar.ARCHIVES and not SIZE.present else size_of(SIZE.value)
    limits = limits_of(RANGE.value) if RANGE.value else None
    form = forms.Form(size, RESIZE.value, min_size=MIN_SIZE.value, range=limits)
    if CROP.value != "center":
        if not size:
            raise UserError(f"--crop={CROP.value} needs --size")
        form = dataclasses.replace(form, crop=CROP.value)
    if CHANNELS.value or BITS.value == "16":
        form = dataclasses.replace(form, channels=CHANNELS.value or 3, bits=int(BITS.value or 8))
        if form.channels not in (1, 3) and not size and FROM.value != "arrays":
            raise UserError(f"--channels={form.channels} needs --size: only 1 or 3 channels are stored as whole files")
    return form


def corpus_of_flags(out: epath.Path, name: str, form: forms.Form, parallel: Any) -> tuple[raw.Corpus, forms.Form]:
    """List what --in has; return it and the form, with what it leaves open as the input is. parallel: see `workers`."""
    root, kind, label = epath.Path(IN.value), FROM.value, LABEL_KEY.value or ""
    if kind in ("folder", "zip", "hf"):
        if kind != "zip":
            check_outside(out, root, "become a class")
        found = pictures(root, form, rules())
        if begun := _as_begun(out, name, form, found, lambda rules: pictures(root, form, rules)):
            return begun, form
        parts = [part for split in found.splits.values() for part in split]
        return found, with_range(form, ranges.added(parallel(ranges.scan, parts)))
    if kind in recommend.DOMAINS:
        return domains(out, root, form, parallel)
    if kind == "clips":
        return clips_of(out, root, form, parallel)
    if kind == "captions":
        return captions(out, root, form, parallel)
    if kind == "arrays":
        found, shapes = raw.arrays(root, rules())
        if len(shapes.image) == 1:
            cli.refuse(FORM, "on vectors, which are stored as they are")
        form = forms.form_of_arrays(form, shapes, bool(CHANNELS.value), int(BITS.value or 0))
        if begun := _as_begun(out, name, form, found, lambda rules: raw.arrays(root, rules)[0]):
            return begun, form
        return found, with_range(form, shapes.values) if form.channels else form
    if kind in cifar.ARCHIVES:
        return cifar.corpus(kind, root, label), form
    if kind == "tfds":
        found, length = tfds.corpus_of(root, features.Keys(IMAGE_KEY.value or "", label))
        return found, dataclasses.replace(form, condition=length)
    logger.info("counting labels: this reads all files once")
    keys = {"image": IMAGE_KEY.value or "image/encoded", "label": label or "image/class/label"}
    found = raw.examples(IN.value, **keys, classes=CLASSES.value, parallel=parallel, pick=PICK.value, keep=KEEP.value)
    return found, form


def pictures(root: epath.Path, form: forms.Form, rules: raw.Rules) -> raw.Corpus:
    """List the pictures of --in, a folder or a zip; with --from=hf they may be in tables."""
    suffixes = label_tables.PICTURES + (layouts.ARRAYS if form.channels else ())
    skip = {"skip_nested": SKIP_NESTED.value, "skip_others": SKIP_OTHERS.value}
    options = Options(suffixes, LABELS.value, LABEL_KEY.value or "", **skip)
    if FROM.value == "hf":
        from biggan_jax.data import hugging_face  # pyarrow is imported for these sets only.

        tree = trees.of_folder(root)
        if hugging_face.files_of(tree):
            if LABELS.value not in ("auto", "none"):
                raise UserError(f"--labels={LABELS.value} has no effect on tables; give none or --label_key=COLUMN")
            keys = IMAGE_KEY.value or "", LABEL_KEY.value or ""
            return hugging_face.corpus(tree, rules, *keys, labelled=LABELS.value != "none")
    return (raw.archive if FROM.value == "zip" else raw.folder)(root, rules, options)


def domains(out: epath.Path, root: epath.Path, form: forms.Form, parallel: Any) -> tuple[raw.Corpus, forms.Form]:
    """List pictures of two domains; return them and their form."""
    other = epath.Path(OTHER.value) if OTHER.value else None
    for flag, folder in (("in", root), ("other", other)):
        if folder:
            check_outside(out, folder, flag=flag)
    if other and (shared := _shared(root, other)):
        raise UserError(f"--in={root} and --other={other} {shared}; A and B need folders of their own")
    if FROM.value != "unpaired" and not form.size:
        raise UserError(f"--from={FROM.value} needs --size, such as --size=256: a pair is stored as plain pixels")
    if FROM.value == "edges":
        form = dataclasses.replace(form, channels=4, bits=8, first=1)
        return pairs.drawn(root, min(form.shape[:2]), rules()), form
    if FROM.value == "pairs":
        first = form.channels or 3
        channels = first + (OTHER_CHANNELS.value or first)
        form = dataclasses.replace(form, channels=channels, bits=form.bits or 8, first=first)
        found = pairs.paired(root, other, rules(), skip_others=SKIP_OTHERS.value)
    else:
        suffixes = label_tables.PICTURES + (layouts.ARRAYS if form.channels else ())
        skip = {"skip_nested": SKIP_NESTED.value, "skip_others": SKIP_OTHERS.value}
        options = Options(suffixes, LABELS.value, LABEL_KEY.value or "", **skip)
        found = pairs.unpaired(root, other, rules(), options)
    parts = [part for split in found.splits.values() for part in split]
    return found, with_range(form, ranges.added(parallel(ranges.scan, parts)))


def _shared(a: epath.Path, b: epath.Path) -> str:
    """Return how two folders share pictures, or ""."""
    a, b = a.resolve(), b.resolve()
    if a == b:
        return "are one folder"
    return "lie one inside the other" if a.is_relative_to(b) or b.is_relative_to(a) else ""


def check_outside(out: epath.Path, root: epath.Path, what: str = "be data", flag: str = "in") -> None:
    """Raise UserError if --out is in the folder that is read."""
    if out.resolve().is_relative_to(root.resolve()):
        raise UserError(f"--out={out} is inside --{flag}={root}, where it would {what}; give another --out")


def clips_of(out: epath.Path, root: epath.Path, form: forms.Form, parallel: Any) -> tuple[raw.Corpus, forms.Form]:
    """List clips; return them and their form."""
    check_outside(out, root)
    if not form.size:
        raise UserError("--from=clips needs --size, such as --size=64: a clip is stored as plain pixels")
    if form.channels not in (0, 1, 3):
        raise UserError(f"--channels={form.channels}: clips are grey (1) or RGB (3)")
    cut = clips.Cut(FRAMES.value, EVERY.value, CLIP_STEP.value or FRAMES.value * EVERY.value)
    found = clips.corpus(root, cut, rules(), parallel, skip_others=SKIP_OTHERS.value)
    return found, dataclasses.replace(form, frames=cut.frames)


def captions(out: epath.Path, root: epath.Path, form: forms.Form, parallel: Any) -> tuple[raw.Corpus, forms.Form]:
    """List pictures with captions or embeddings; return them and their form."""
    check_outside(out, root)
    given = {"table": CAPTIONS.value or "", "column": LABEL_KEY.value or "", "embeddings": EMBEDDINGS.value or ""}
    suffixes = label_tables.PICTURES + (layouts.ARRAYS if form.channels else ())
    found, shape = captioned.corpus(
        root, rules(), suffixes, **given, most=MOST_CAPTIONS.value, skip_others=SKIP_OTHERS.value
    )
    if shape:
        form = dataclasses.replace(form, condition=shape[-1], several=shape[0] if len(shape) == 2 else 0)
    parts = [part for split in found.splits.values() for part in split]
    return found, with_range(form, ranges.added(parallel(ranges.scan, parts)))


def with_range(form: forms.Form, seen: Mapping[str, ranges.Seen]) -> forms.Form:
    """Return the form with the range of the set's pictures of more than 8 bits, which is given or found."""
    if form.range:
        if not seen:
            raise UserError(f"--range={RANGE.value} has no effect: no picture has more than 8 bits")
        if note := ranges.clipped(seen, form.range):
            logger.info("%s", note)
        # All of 16 bits is what a form without a range means.
        whole = form.range == (0, 65535) and all(kind.plain for kind in seen.values())
        return dataclasses.replace(form, range=None) if whole else form
    found, note = ranges.choose(seen)
    if note:
        logger.info("%s", note)
    return dataclasses.replace(form, range=found)


def rules(**changes: str) -> raw.Rules:
    return raw.Rules(
        HELD_OUT.value,
        PER_SHARD.value,
        changes.get("split", HELD_OUT_BY.value),
        SEED.value,
        changes.get("order", CLASS_ORDER.value),
    )


def _as_begun(
    out: epath.Path, name: str, form: forms.Form, found: raw.Corpus, make: Callable[[raw.Rules], raw.Corpus]
) -> raw.Corpus | None:
    """Return the corpus of the set in `out` if that was begun with it, or by the rules of earlier versions; None otherwise.

    form: without a range that is found, which earlier versions did not have. make: lists the corpus by other rules.
    """
    begun = shards.plan_of(out)
    if begun and begun == shards.fingerprint(found, name, form):
        return found
    before = make(rules(split="last", order="name")) if begun else found
    if not begun or begun != shards.fingerprint(before, name, form):
        return None
    logger.info("%s was begun by an earlier version, whose order of classes and held-out pictures it keeps", out)
    return before


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
