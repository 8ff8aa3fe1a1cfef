"""Draw samples from a checkpoint: the work of biggan-sample."""

import logging
from typing import Any, NamedTuple

import numpy as np
from absl import flags
from etils import epath

from biggan_jax.checkpoint import TrainedGenerator
from biggan_jax.config import some
from biggan_jax.data import captions
from biggan_jax.data.stats import listed
from biggan_jax.flags.paths import ANIMATIONS
from biggan_jax.flags.sample import (
    BITS,
    CLASSES,
    CONDITIONS,
    FLOAT,
    LABELS,
    LATENTS,
    NUM,
    OUT,
    SEEDS,
    TEXT,
    TEXTS,
    is_folder,
)
from biggan_jax.runtime import cli
from biggan_jax.runtime.files import writing
from biggan_jax.runtime.text import escape
from biggan_jax.sampling import flags as sampling_flags
from biggan_jax.sampling import image_files, latent_files, pictures, training_data
from biggan_jax.sampling import seeds as by_seed
from biggan_jax.sampling.labels import draw_labels
from biggan_jax.sampling.ranges import parse_seeds
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.sampling.styles import with_fixed_noise
from biggan_jax.tools import layout
from biggan_jax.tools.classes import recorded_names
from biggan_jax.types import UserError

logger = logging.getLogger("biggan_jax.sample")


class Drawn(NamedTuple):
    """The inputs of all samples, z [N, dim_z], or w [N, styles, dim_w] in its place, and y [N] or [N, k].

    about: of which classes, in words. seeds: of each sample, or None. columns: of a grid. batch_size: of a program.
    """

    sampler: Sampler
    z: np.ndarray
    y: np.ndarray
    columns: int
    about: str = ""
    seeds: np.ndarray | None = None
    batch_size: int = 64


def main() -> None:
    out = epath.Path(OUT.value)
    seeds = None if SEEDS.value is None else parse_seeds(SEEDS.value)
    if is_folder(out):
        image_files.check_folder(out, seeds)

    trained = sampling_flags.load()
    check_model(trained, out)
    bits = int(BITS.value) if BITS.value else training_data.bits_of(trained)
    if LATENTS.value:
        drawn = of_latents(trained)
    elif seeds is not None:
        drawn = of_seeds(trained, seeds)
    elif trained.gan.condition.of_data:
        drawn = of_conditions(trained)
    else:
        drawn = of_classes(trained, in_rows=is_sheet(out))
    with writing(f"--out={out}"):
        write(out, drawn, bits)
    print(escape(f"{len(drawn.z)} images{drawn.about} of step {trained.step} in {out}"))


def is_sheet(out: epath.Path) -> bool:
    return out.suffix == ".png" and not is_folder(out)


def check_model(trained: TrainedGenerator, out: epath.Path) -> None:
    """Refuse what this model cannot draw."""
    shape, condition = trained.gan.image_shape, trained.gan.condition
    is_vector, is_text = condition.kind == "vector", condition.kind == "text"
    plays = out.suffix in ANIMATIONS and not is_folder(out)
    if plays and not trained.gan.frames:
        raise UserError(f"--out={out}: this model draws single images, and {out.suffix} is for clips; give a .png")
    if is_folder(out) or is_sheet(out) or plays:
        pictures.check_drawable(shape)
    if out.suffix == ".tif" and len(shape) != 3:
        raise UserError(f"samples {list(shape)} are vectors; write them as .npz")
    if BITS.value and len(shape) != 3:
        raise UserError("--bits has no meaning: samples of this model are vectors, which are written as float32")
    if CONDITIONS.value and not is_vector:
        raise UserError("--conditions has no meaning: this model is not conditioned on real numbers")
    if (TEXT.value or TEXTS.value) and not is_text:
        hint = "it takes embeddings; give them as --conditions=FILE" if "captions" in trained.config.model else ""
        raise UserError(
            f"--{'text' if TEXT.value else 'texts'} has no meaning: this model reads no texts{hint and f', {hint}'}"
        )
    if condition.of_data:
        what, ways = ("texts", "--text=TEXT") if is_text else ("real numbers", "--conditions=FILE")
        for name in ("classes", "labels"):
            if flags.FLAGS[name].present:
                raise UserError(f"--{name} has no meaning: this model is conditioned on {what}; give {ways}")
        if SEEDS.value is not None and not (CONDITIONS.value or TEXT.value or TEXTS.value):
            raise UserError(f"--seeds needs {ways}: this model is conditioned on {what}")


def of_latents(trained: TrainedGenerator) -> Drawn:
    """Return the samples of --latents."""
    z, y, stored = latent_files.read_latents(LATENTS.value, trained.gan, takes_w=True)
    sampler = sampling_flags.make_sampler(trained, sampling_flags.truncation_of(trained, stored=stored))
    sampler = latent_files.read_noise(LATENTS.value, sampler)
    is_classes = y.ndim == 1 and trained.gan.num_classes
    return Drawn(sampler, z, y, columns_of(trained, y), about_classes(trained, y) if is_classes else "")


def of_seeds(trained: TrainedGenerator, seeds: np.ndarray) -> Drawn:
    """Return one sample per seed and class, or condition; without --classes, the seed draws the class.

    Each is a batch of its own: rounding depends on the place in a batch, and an image must not depend on other seeds.
    """
    columns = int(np.ceil(np.sqrt(len(seeds))))
    if trained.gan.condition.of_data:
        each = given_conditions(trained)
    elif CLASSES.value is not None:
        each = sampling_flags.chosen_classes(CLASSES.value, trained)
    else:
        each = None
    sampler = with_fixed_noise(sampling_flags.make_sampler(trained, sampling_flags.truncation_of(trained)))
    z = by_seed.latents_of(sampler, seeds)
    if each is None:
        y = by_seed.classes_of(seeds, trained.gan.num_classes)
    else:
        y, z, seeds = each.repeat(len(seeds), axis=0), np.tile(z, (len(each), 1)), np.tile(seeds, len(each))
        columns = columns if len(each) == 1 else len(z) // len(each)
    about = about_classes(trained, y) if trained.gan.num_classes else ""
    return Drawn(sampler, z, y, columns, about, seeds, batch_size=1)


def given_conditions(trained: TrainedGenerator) -> np.ndarray | None:
    """Return the conditions of --conditions, --text or --texts, [N, k]; None without these flags."""
    size = trained.gan.condition.size
    if CONDITIONS.value:
        return training_data.read_conditions(CONDITIONS.value, size)
    if TEXTS.value:
        return captions.encode_given(captions.read_lines(TEXTS.value), size, f"--texts={TEXTS.value}")
    return captions.encode_given(TEXT.value, size, "--text") if TEXT.value else None


def of_conditions(trained: TrainedGenerator) -> Drawn:
    """Return samples of given conditions, repeated for --num, or of conditions of the training data. Texts have 8 each."""
    given, is_text = given_conditions(trained), trained.gan.condition.kind == "text"
    if given is not None:
        count = NUM.value or len(given) * (8 if is_text else 1)
        y = given[np.sort(np.resize(np.arange(len(given)), count))]
    else:
        what, way = ("captions", "--text=TEXT") if is_text else ("conditions", "--conditions=FILE")
        logger.info("%s are drawn from the training data; give others by %s", what, way)
        y = training_data.draw_conditions(trained, NUM.value or 64, sampling_flags.SEED.value)
    sampler = sampling_flags.make_sampler(trained, sampling_flags.truncation_of(trained))
    about = about_texts(y) if is_text else ""
    return Drawn(sampler, sampler.latents(len(y), sampling_flags.SEED.value), y, columns_of(trained, y), about)


def about_texts(y: np.ndarray) -> str:
    """Say of which texts the samples are."""
    texts = list(dict.fromkeys(captions.decode(row) for row in y))
    return f" of {some([repr(text) for text in texts], 4)}"


def of_classes(trained: TrainedGenerator, *, in_rows: bool) -> Drawn:
    """Return --num samples of the classes: the classes in turn, or, with `in_rows`, all samples of a class in a row."""
    classes = sampling_flags.chosen_classes(CLASSES.value, trained, most=10 if in_rows else None)
    num, seed, real = NUM.value or 8 * len(classes), sampling_flags.SEED.value, None
    if LABELS.value == "data" and trained.gan.num_classes:
        places = {label: i for i, label in enumerate(classes.tolist())}
        labels = training_data.read_labels(trained)
        real = np.array([places[label] for label in labels.tolist() if label in places], np.int32)
        if not len(real):
            raise UserError("--labels=data: the training data have no images of these classes")
    elif LABELS.value != "balanced" and not trained.gan.num_classes:
        raise UserError(f"--labels={LABELS.value} has no meaning: this model has no classes")
    sampler = sampling_flags.make_sampler(trained, sampling_flags.truncation_of(trained))
    chosen = draw_labels(LABELS.value, num, len(classes), seed, real)
    y = classes[np.sort(chosen) if in_rows else chosen]
    about = about_classes(trained, y, len(classes)) if trained.gan.num_classes else ""
    return Drawn(sampler, sampler.latents(num, seed), y, columns_of(trained, y), about)


def about_classes(trained: TrainedGenerator, y: np.ndarray, wanted: int = 0) -> str:
    """Say of which classes the samples are, out of `wanted`, if known."""
    ids = list(dict.fromkeys(y.tolist()))
    out_of = f" of the {wanted}" if len(ids) < wanted else ""
    plural = "class" if len(ids) == 1 and not out_of else "classes"
    return f" of {len(ids):,}{out_of} {plural} ({listed(sorted(ids), recorded_names(trained))})"


def columns_of(trained: TrainedGenerator, y: np.ndarray) -> int:
    """Return the columns of a grid: one row per class if all classes have the same count; otherwise roughly square.

    A condition of real numbers or a text with a single image has no row.
    """
    _, counts = np.unique(y, return_counts=True, axis=0)
    single = trained.gan.condition.of_data and counts[0] == 1
    by_class = len(set(counts)) == 1 and counts[0] <= 32 and not single
    return int(counts[0]) if by_class else int(np.ceil(np.sqrt(len(y))))


def write(out: epath.Path, drawn: Drawn, bits: int) -> None:
    """Generate the samples and write them."""
    inputs, seeds, frames = (drawn.z, drawn.y, drawn.batch_size), drawn.seeds, drawn.sampler.gan.frames
    if is_folder(out):
        names = image_files.names_of(len(drawn.z), seeds, drawn.y)
        if frames:
            write_clips(out, names, drawn)
        else:
            image_files.write_folder(out, names, drawn.sampler.image_batches(*inputs, bits))
    elif out.suffix == ".npz":
        options: dict[str, Any] = {"floats": FLOAT.value, "bits": bits, "batch_size": drawn.batch_size, "seeds": seeds}
        latent_files.write_samples(out, drawn.sampler, drawn.z, drawn.y, **options)
    elif out.suffix == ".tif":
        images = drawn.sampler.images(*inputs, bits)
        if frames:
            images = pictures.frames_of(images, frames)
            images = images.reshape(-1, *images.shape[2:])
        out.write_bytes(pictures.tiff(images))
    elif out.suffix in ANIMATIONS:
        layout.save_animation(out, layout.played(drawn.sampler.images(*inputs), frames, drawn.columns))
    else:
        pictures.save_png(out, pictures.sheet(drawn.sampler.images(*inputs, bits), drawn.columns, frames, most=16))


def write_clips(out: epath.Path, names: list[str], drawn: Drawn) -> None:
    """Write each clip as a .gif under its name."""
    out.mkdir(parents=True, exist_ok=True)
    clips = (clip for batch in drawn.sampler.image_batches(drawn.z, drawn.y, drawn.batch_size) for clip in batch)
    for name, clip in zip(names, clips, strict=True):
        to = (out / name).with_suffix(".gif")
        layout.save_animation(to, layout.played(clip[None], drawn.sampler.gan.frames, columns=1))


run = cli.command(main, compiles=True)

if __name__ == "__main__":
    run()
