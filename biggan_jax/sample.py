"""The sampling command: `python -m biggan_jax.sample --checkpoint=DIR [--classes=0,1,7] [--num=64] --out=grid.png`.

An .npz holds images as `arr_0` (uint8 [N, H, W, 3], or float32 in [-1, 1] with --float), z and y; a .png is a grid, a row a class.
"""

import numpy as np
from absl import flags
from etils import epath

from biggan_jax import cli, sampler_flags, sampling
from biggan_jax.checkpoint import TrainedGenerator
from biggan_jax.files import read_npz, whole
from biggan_jax.latents import Truncation
from biggan_jax.sampler import Sampler
from biggan_jax.types import UserError

CLASSES = flags.DEFINE_list("classes", None, "Class ids, such as 0,1,7. Default: all, or ten spread over all.")
NUM = flags.DEFINE_integer(
    "num", None, "Images in all, shared out over the classes. Default: 8 a class.", lower_bound=1
)
OUT = flags.DEFINE_string("out", None, "A .png or .npz file.")
FLOAT = flags.DEFINE_bool("float", False, "In an .npz: float32 images in [-1, 1] instead of uint8.")
LATENTS = flags.DEFINE_string("latents", None, "An .npz with arrays z and y to sample, instead of drawing them.")


def main() -> None:
    if not sampler_flags.CHECKPOINT.value or not OUT.value:
        raise UserError("--checkpoint and --out are needed, such as --checkpoint=runs/demo --out=grid.png")
    out = epath.Path(OUT.value)
    if out.suffix not in (".png", ".npz"):
        raise UserError(f"--out={out} must end in .png or .npz")
    if not out.parent.exists():
        raise UserError(f"--out={out}: the folder {out.parent} does not exist")
    if LATENTS.value and (NUM.value or CLASSES.value):
        raise UserError("--latents says which images to make; --num and --classes go without it")

    trained = sampler_flags.load()
    truncation = sampler_flags.truncation_of(trained)
    if LATENTS.value:
        z, y, truncation = read_latents(LATENTS.value, trained, truncation)
        sampler = sampler_flags.ready(trained, truncation)
    else:
        classes = sampler_flags.chosen_classes(CLASSES.value, trained.gan.num_classes)
        sampler = sampler_flags.ready(trained, truncation)
        num = NUM.value or 8 * len(classes)
        z, y = sampler.latents(num, sampler_flags.SEED.value), np.sort(np.resize(classes, num))
    try:
        write(out, sampler, z, y)
    except OSError as error:
        raise UserError(f"--out={out} cannot be written: {error}") from error
    print(f"{len(z)} images of step {trained.step} in {out}")


def read_latents(
    path: str, trained: TrainedGenerator, truncation: Truncation | None
) -> tuple[np.ndarray, np.ndarray, Truncation | None]:
    """z and y of an .npz, checked against the model, and their truncation: the flags', else the file's, if it says one."""
    arrays = read_npz(path)
    if not arrays.keys() >= {"z", "y"}:
        raise UserError(f"--latents={path} has the arrays {', '.join(arrays)}; z and y are needed")
    z, y = arrays["z"].astype(np.float32), arrays["y"]
    if truncation is None and "truncation" in arrays:
        kind = str(arrays["truncation_kind"]) if "truncation_kind" in arrays else None
        truncation = sampler_flags.truncation_of(trained, float(arrays["truncation"]), kind)
    gan = trained.gan
    if z.ndim != 2 or z.shape[1] != gan.dim_z or not len(z) or y.ndim == 0 or len(y) != len(z):
        raise UserError(
            f"--latents={path}: z {list(z.shape)} and y {list(y.shape)}; this model takes z [N, {gan.dim_z}] and y [N]"
        )
    if not np.isfinite(z).all():
        raise UserError(f"--latents={path}: z holds values that are not finite")
    if y.ndim == 2 and y.shape[1] == gan.num_classes:
        return z, y.astype(np.float32), truncation
    if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
        raise UserError(f"--latents={path}: y must be integers [N], or mixtures [N, {gan.num_classes}]")
    sampler_flags.check_classes(y, gan.num_classes)
    return z, y.astype(np.int32), truncation


def write(out: epath.Path, sampler: Sampler, z: np.ndarray, y: np.ndarray) -> None:
    if out.suffix == ".npz":
        images = sampler.floats(z, y) if FLOAT.value else sampler.images(z, y)
        truncated = sampler.truncation
        also = {"truncation": truncated.threshold, "truncation_kind": truncated.kind} if truncated else {}
        with whole(out) as unfinished, open(unfinished, "wb") as file:
            np.savez(file, arr_0=images, z=z, y=y, **also)
        return
    _, counts = np.unique(y, return_counts=True, axis=0)
    # A row a class where all classes have equally many; otherwise about a square.
    columns = int(counts[0]) if len(set(counts)) == 1 and counts[0] <= 32 else int(np.ceil(np.sqrt(len(y))))
    sampling.save_png(out, sampling.grid(sampler.images(z, y), columns))


def run() -> None:
    cli.run(main)


if __name__ == "__main__":
    run()
