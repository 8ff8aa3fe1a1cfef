"""Draw samples: `python -m biggan_jax.sample --checkpoint=DIR [--classes=0,1,7] [--num=64] --out=grid.png`.

A .png is a grid, one row per class. A .tif has a page for each sample, with any number of channels. An .npz holds the samples
as `arr_0` (uint8 or uint16 [N, H, W, C], or float32 in [-1, 1] with --float), z and y.
"""

import logging

import numpy as np
from absl import flags

from biggan_jax.checkpoint import TrainedGenerator
from biggan_jax.runtime import cli
from biggan_jax.runtime.files import writing
from biggan_jax.sampling import flags as sampling_flags
from biggan_jax.sampling import latent_files, pictures, training_data
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.types import UserError

logger = logging.getLogger("biggan_jax.sample")

CLASSES = flags.DEFINE_list("classes", None, "Class ids, such as 0,1,7. Default: all, or ten spread over all.")
NUM = flags.DEFINE_integer("num", None, "Number of samples, divided over the classes. Default: 8 per class.", 1)
OUT = cli.define_path("out", None, "A .png, .tif or .npz file.")
FLOAT = flags.DEFINE_bool("float", False, "In an .npz: float32 images in [-1, 1] instead of uint8.")
BITS = flags.DEFINE_enum("bits", None, ("8", "16"), "Bits of images. Default: those of the training data.")
CONDITIONS = cli.define_path(
    "conditions",
    None,
    "For a model of real numbers: an .npz or .csv of conditions [N, k]. Default: the training data's.",
)
LATENTS = cli.define_path("latents", None, "An .npz with arrays z and y to draw from, instead of random latents.")


def main() -> None:
    if not sampling_flags.CHECKPOINT.value or not OUT.value:
        raise UserError("--checkpoint and --out are needed, such as --checkpoint=runs/demo --out=grid.png")
    out = sampling_flags.check_out(OUT.value, (".png", ".tif", ".npz"))
    if LATENTS.value and (NUM.value or CLASSES.value or CONDITIONS.value):
        raise UserError("--latents determines the samples; --num, --classes and --conditions have no meaning with it")
    if FLOAT.value and out.suffix != ".npz":
        raise UserError(f"--float has no effect on a {out.suffix}; write an .npz")
    if FLOAT.value and BITS.value:
        raise UserError("--float and --bits are two types of arr_0; give one of them")

    trained = sampling_flags.load()
    if out.suffix == ".png":
        pictures.check_drawable(trained.gan.image_shape)
    if out.suffix == ".tif" and len(trained.gan.image_shape) != 3:
        raise UserError(f"samples {list(trained.gan.image_shape)} are vectors; write them as .npz")
    if BITS.value and len(trained.gan.image_shape) != 3:
        raise UserError("--bits has no meaning: samples of this model are vectors, which are written as float32")
    bits = int(BITS.value) if BITS.value else training_data.bits_of(trained)
    if CONDITIONS.value and trained.gan.condition.kind != "vector":
        raise UserError("--conditions has no meaning: this model is not conditioned on real numbers")
    if CLASSES.value and trained.gan.condition.kind == "vector":
        raise UserError("--classes has no meaning: this model is conditioned on real numbers; give --conditions=FILE")
    if LATENTS.value:
        z, y, stored = latent_files.read_latents(LATENTS.value, trained.gan)
        sampler = sampling_flags.make_sampler(trained, sampling_flags.truncation_of(trained, stored=stored))
    elif trained.gan.condition.kind == "vector":
        sampler = sampling_flags.make_sampler(trained, sampling_flags.truncation_of(trained))
        y = conditions(trained)
        z = sampler.latents(len(y), sampling_flags.SEED.value)
    else:
        classes = sampling_flags.chosen_classes(CLASSES.value, trained.gan.num_classes)
        sampler = sampling_flags.make_sampler(trained, sampling_flags.truncation_of(trained))
        num = NUM.value or 8 * len(classes)
        z = sampler.latents(num, sampling_flags.SEED.value)
        # Sorted by class, in the order in which the classes were given.
        y = classes[np.sort(np.resize(np.arange(len(classes)), num))]
    with writing(f"--out={out}"):
        if out.suffix == ".npz":
            latent_files.write_samples(out, sampler, z, y, floats=FLOAT.value, bits=bits)
        elif out.suffix == ".tif":
            out.write_bytes(pictures.tiff(images_of(sampler, z, y, bits)))
        else:
            columns = columns_of(y, repeated=trained.gan.condition.kind == "vector")
            pictures.save_png(out, pictures.grid(images_of(sampler, z, y, bits), columns))
    print(f"{len(z)} images of step {trained.step} in {out}")


def images_of(sampler: Sampler, z: np.ndarray, y: np.ndarray, bits: int) -> np.ndarray:
    """Generate images, uint8 or uint16 [N, H, W, C]."""
    return pictures.to_uint16(sampler.floats(z, y)) if bits == 16 else sampler.images(z, y)


def columns_of(y: np.ndarray, *, repeated: bool) -> int:
    """Return the columns of a grid: one row per class if all classes have the same count; otherwise roughly square.

    repeated: a class (or condition) with a single image has no row.
    """
    _, counts = np.unique(y, return_counts=True, axis=0)
    by_class = len(set(counts)) == 1 and counts[0] <= 32 and not (repeated and counts[0] == 1)
    return int(counts[0]) if by_class else int(np.ceil(np.sqrt(len(y))))


def conditions(trained: TrainedGenerator) -> np.ndarray:
    """Return the conditions of the samples, float32 [N, k]: of --conditions, repeated for --num, or of the training data."""
    if not CONDITIONS.value:
        logger.info("conditions are drawn from the training data; give others by --conditions=FILE")
        return training_data.draw_conditions(trained, NUM.value or 64, sampling_flags.SEED.value)
    given = training_data.read_conditions(CONDITIONS.value, trained.gan.condition.size)
    return given[np.sort(np.resize(np.arange(len(given)), NUM.value or len(given)))]


run = cli.command(main)

if __name__ == "__main__":
    run()
