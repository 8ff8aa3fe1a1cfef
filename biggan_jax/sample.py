"""Draw samples: `python -m biggan_jax.sample --checkpoint=DIR [--classes=0,1,7] [--num=64] --out=grid.png`.

A .png is a grid, one row per class. An .npz holds the samples as `arr_0` (uint8 [N, H, W, C], or float32 in [-1, 1] with
--float), z and y.
"""

import numpy as np
from absl import flags

from biggan_jax.runtime import cli
from biggan_jax.sampling import flags as sampling_flags
from biggan_jax.sampling import latent_files, pictures
from biggan_jax.types import UserError

CLASSES = flags.DEFINE_list("classes", None, "Class ids, such as 0,1,7. Default: all, or ten spread over all.")
NUM = flags.DEFINE_integer("num", None, "Number of samples, divided over the classes. Default: 8 per class.", 1)
OUT = flags.DEFINE_string("out", None, "A .png or .npz file.")
FLOAT = flags.DEFINE_bool("float", False, "In an .npz: float32 images in [-1, 1] instead of uint8.")
LATENTS = flags.DEFINE_string("latents", None, "An .npz with arrays z and y to draw from, instead of random latents.")


def main() -> None:
    if not sampling_flags.CHECKPOINT.value or not OUT.value:
        raise UserError("--checkpoint and --out are needed, such as --checkpoint=runs/demo --out=grid.png")
    out = sampling_flags.check_out(OUT.value, (".png", ".npz"))
    if LATENTS.value and (NUM.value or CLASSES.value):
        raise UserError("--latents determines the samples; --num and --classes have no meaning with it")

    trained = sampling_flags.load()
    if out.suffix == ".png":
        pictures.check_drawable(trained.gan.image_shape)
    if LATENTS.value:
        z, y, stored = latent_files.read_latents(LATENTS.value, trained.gan)
        sampler = sampling_flags.make_sampler(trained, sampling_flags.truncation_of(trained, stored=stored))
    else:
        classes = sampling_flags.chosen_classes(CLASSES.value, trained.gan.num_classes)
        sampler = sampling_flags.make_sampler(trained, sampling_flags.truncation_of(trained))
        num = NUM.value or 8 * len(classes)
        z = sampler.latents(num, sampling_flags.SEED.value)
        # Sorted by class, in the order in which the classes were given.
        y = classes[np.sort(np.resize(np.arange(len(classes)), num))]
    with sampling_flags.writing(out):
        if out.suffix == ".npz":
            latent_files.write_samples(out, sampler, z, y, floats=FLOAT.value)
        else:
            _, counts = np.unique(y, return_counts=True, axis=0)
            # One row per class if all classes have the same count; otherwise roughly square.
            columns = int(counts[0]) if len(set(counts)) == 1 and counts[0] <= 32 else int(np.ceil(np.sqrt(len(y))))
            pictures.save_png(out, pictures.grid(sampler.images(z, y), columns))
    print(f"{len(z)} images of step {trained.step} in {out}")


def run() -> None:
    cli.run(main)


if __name__ == "__main__":
    run()
