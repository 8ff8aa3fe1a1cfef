"""Translate pictures with a trained CycleGAN, pix2pix or VGAN: the work of biggan-translate."""

import logging
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from etils import epath

from biggan_jax.checkpoint import load_generator
from biggan_jax.config import some
from biggan_jax.data import exact, picture, ranges, raw, trees
from biggan_jax.data.label_tables import PICTURES
from biggan_jax.flags.translate import BATCH, CHECKPOINT, DIRECTION, DROPOUT, IN, OUT, RANGE, WEIGHTS
from biggan_jax.flags.values import limits_of
from biggan_jax.runtime import cli
from biggan_jax.runtime.files import atomic_write, writing
from biggan_jax.runtime.progress import track
from biggan_jax.runtime.text import escape
from biggan_jax.sampling import image_files, pictures, sampler, training_data, translations
from biggan_jax.tools import layout
from biggan_jax.types import UserError

logger = logging.getLogger("biggan_jax.translate")


class Found(NamedTuple):
    """The pictures of --in. root: their folder. paths: below it."""

    root: epath.Path
    paths: tuple[str, ...]


def main() -> None:
    limits = limits_of(RANGE.value) if RANGE.value else None
    out, found = epath.Path(OUT.value), pictures_of(epath.Path(IN.value))
    if out.resolve().is_relative_to(found.root.resolve()) and epath.Path(IN.value).is_dir():
        raise UserError(f"--out={out} is inside --in={found.root}; give another folder")
    image_files.check_folder(out, None)
    choose = lambda gan: translations.network_of(gan, DIRECTION.value)
    trained = load_generator(CHECKPOINT.value, live=WEIGHTS.value == "live", choose=choose)
    sampler.check_finite(trained)
    bits = training_data.bits_of(trained)
    if limits is None:
        limits, note = ranges.choose(ranges.scan(raw.Files(str(found.root), found.paths, (0,) * len(found.paths))))
        if note:
            logger.info("%s", note)
    unreadable: list[str] = []
    translator = translations.Translator.from_checkpoint(trained, train=DROPOUT.value)
    images = read(found, translator.channels, limits, bits, unreadable)
    if trained.gan.frames:
        size = translator.frame
        images = ((path, picture.resize(picture.crop(image, size), size, "area")) for path, image in images)
    written = write(out, translator, images, found.paths)
    for why in unreadable:
        logger.warning("left out: %s", escape(why))
    if not written:
        raise UserError(f"no picture of --in={IN.value} can be translated: {escape(unreadable[0])}")
    left = f"; {len(unreadable):,} could not be read" if unreadable else ""
    what = f"{written:,} picture{'s' * (written != 1)} translated {DIRECTION.value} by {trained.gan.sampled} of step {trained.step}"
    print(escape(f"{what} in {out}{left}"))


def pictures_of(path: epath.Path) -> Found:
    """List --in. Raises UserError without pictures."""
    if path.exists() and not path.is_dir():
        return Found(path.parent, (path.name,))
    tree = trees.of_folder(path)
    paths = tuple(name for name in tree.sizes if name.lower().endswith(PICTURES))
    if not paths:
        others = f"; it has {some(tree.sizes)}" if tree.sizes else "; it is empty"
        raise UserError(f"--in={path} has no pictures ({', '.join(PICTURES)}){others}")
    if left_out := sorted(tree.sizes.keys() - set(paths)):
        logger.warning("left out: %s, of no kind that is read (%s)", escape(some(left_out)), ", ".join(PICTURES))
    return Found(path, paths)


def read(
    found: Found, channels: int, limits: tuple[float, float] | None, bits: int, unreadable: list[str]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (path, picture uint8 or uint16 [H, W, channels]), of 8 or 16 bits.

    limits: the values of black and white of pictures of more than 8 bits. unreadable: gets a sentence for each that is left out.
    """
    for path in track(found.paths, "pictures", len(found.paths)):
        try:
            pixels = exact.read((found.root / path).read_bytes(), limits, bits)
            if channels == 1 and pixels.image.shape[2] - pixels.alpha == 3:
                pixels = exact.fitted(pixels, 3, bits)
                pixels = pixels._replace(image=picture.to_gray(pixels.image))
            yield path, exact.fitted(pixels, channels, bits).image
        except (picture.UnreadableError, exact.ChannelsError) as error:
            unreadable.append(f"{path}: {error}")
        except OSError as error:
            unreadable.append(f"{path}: {error.strerror or error}")


def write(out: epath.Path, translator: translations.Translator, read: Iterator, paths: tuple[str, ...]) -> int:
    """Translate pictures and write them below the folder; return how many."""
    names, written = names_of(paths), 0
    for given, images in translations.by_size(read, 1 if DROPOUT.value else BATCH.value):
        made = translator(images)
        with writing(f"--out={out}"):
            for path, image in zip(given, made, strict=True):
                plain = image.shape[2] in (1, 3)
                if plain and (frames := translator.gan.frames):
                    to = out / f"{names[path]}.gif"
                    to.parent.mkdir(parents=True, exist_ok=True)
                    layout.save_animation(to, layout.played(picture.to_8_bits(image)[None], frames, columns=1))
                    continue
                to = out / f"{names[path]}{'.png' if plain else '.tif'}"
                to.parent.mkdir(parents=True, exist_ok=True)
                with atomic_write(to) as unfinished, open(unfinished, "wb") as file:
                    file.write(pictures.png(image) if plain else pictures.tiff(image[None]))
        written += len(images)
    return written


def names_of(paths: tuple[str, ...]) -> dict[str, str]:
    """Return {path: path of its translation without suffix}; pictures that differ in their suffix alone keep it."""
    stems: dict[str, int] = {}
    for path in paths:
        stem = path.rpartition(".")[0]
        stems[stem] = stems.get(stem, 0) + 1
    return {path: path if stems[path.rpartition(".")[0]] > 1 else path.rpartition(".")[0] for path in paths}


run = cli.command(main, compiles=True)

if __name__ == "__main__":
    run()
