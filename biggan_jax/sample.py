"""The sampling command: `python -m biggan_jax.sample --checkpoint=DIR [--classes=0,1,7] [--num=64] --out=grid.png`.

An .npz holds images (uint8, or float32 in [-1, 1] with --float), z and y; a .png is a grid, a row a class.
"""

import zipfile

import jax
import numpy as np
from absl import flags
from etils import epath

from biggan_jax import cli, sampling
from biggan_jax.checkpoint import TrainedGenerator, load_generator
from biggan_jax.types import Params, UserError

CHECKPOINT = flags.DEFINE_string("checkpoint", None, "A workdir (its latest step), a checkpoints folder, or one step.")
CLASSES = flags.DEFINE_list("classes", None, "Class ids, such as 0,1,7. Default: all, or ten spread over all.")
NUM = flags.DEFINE_integer(
    "num", None, "Images in all, shared out over the classes. Default: 8 a class.", lower_bound=1
)
TRUNCATION = flags.DEFINE_float(
    "truncation",
    None,
    "Entries of z beyond it are drawn again. With binned statistics: z is truncated at 2 and multiplied by it.",
)
SEED = flags.DEFINE_integer("seed", 0, "Of the latents.", lower_bound=0, upper_bound=2**31 - 1)
OUT = flags.DEFINE_string("out", None, "A .png or .npz file.")
FLOAT = flags.DEFINE_bool("float", False, "In an .npz: float32 images in [-1, 1] instead of uint8.")
LATENTS = flags.DEFINE_string("latents", None, "An .npz with arrays z and y to sample, instead of drawing them.")
STATISTICS = flags.DEFINE_enum(
    "statistics",
    None,
    ["standing", "running", "binned", "binned_as_hf"],
    "Batch-norm moments: averaged over fresh batches; training's; or those for the truncation that came with the weights, "
    "interpolated, or weighed as Hugging Face does. Default: binned where there are such, else standing.",
)
PASSES = flags.DEFINE_integer("passes", 100, "Batches that standing statistics average.", lower_bound=1)


def main() -> None:
    if not CHECKPOINT.value or not OUT.value:
        raise UserError("--checkpoint and --out are needed, such as --checkpoint=runs/demo --out=grid.png")
    out = epath.Path(OUT.value)
    if out.suffix not in (".png", ".npz"):
        raise UserError(f"--out={out} must end in .png or .npz")
    if not out.parent.exists():
        raise UserError(f"--out={out}: the folder {out.parent} does not exist")
    if LATENTS.value and (NUM.value or CLASSES.value):
        raise UserError("--latents says which images to make; --num and --classes go without it")
    if TRUNCATION.value is not None and not TRUNCATION.value > 0:
        raise UserError(f"--truncation={TRUNCATION.value} must be greater than 0")

    trained = load_generator(CHECKPOINT.value)
    gan = trained.gan
    z, y, truncation = read_latents(LATENTS.value, trained) if LATENTS.value else draw_latents(trained)
    check_statistics(trained, truncation)
    weights = sampling.evaluation_weights(gan, trained.ema_params, trained.stats["spectral"])
    moments = batch_norm_moments(trained, weights, truncation)
    images = sampling.generate(gan, weights, moments, z, y)

    try:
        write(out, images, z, y, truncation)
    except OSError as error:
        raise UserError(f"--out={out} cannot be written: {error}") from error
    print(f"{len(images)} images of step {trained.step} in {out}")


def statistics_of(trained: TrainedGenerator) -> str:
    return STATISTICS.value or ("binned" if trained.binned else "standing")


def check_statistics(trained: TrainedGenerator, truncation: float | None) -> None:
    if not statistics_of(trained).startswith("binned"):
        return
    if trained.binned is None:
        raise UserError(
            f"--statistics={STATISTICS.value}: this checkpoint carries no statistics by truncation; use standing"
        )
    if (truncation or 0) > 1:
        raise UserError(f"--truncation={truncation}: binned statistics reach from 0 to 1; or use --statistics=standing")


def batch_norm_moments(trained: TrainedGenerator, weights: Params, truncation: float | None) -> Params:
    kind = statistics_of(trained)
    if kind == "running":
        return trained.stats["batch_stats"]
    if kind == "standing":
        return sampling.standing_statistics(
            trained.gan, weights, SEED.value, truncation=truncation, passes=PASSES.value
        )
    at = 1.0 if truncation is None else truncation
    return sampling.binned_statistics(trained.binned, at, swapped=kind == "binned_as_hf")


def draw_latents(trained: TrainedGenerator) -> tuple[np.ndarray, np.ndarray, float | None]:
    """z [num, dim_z] as the flags say, y [num], as many of each class as fit, class by class, and the truncation of z."""
    num_classes = trained.gan.num_classes
    classes = sampling.rows_of_classes(num_classes)
    if CLASSES.value is not None:
        try:
            classes = np.array([int(c) for c in CLASSES.value], np.int32)
        except ValueError:
            raise UserError(f"--classes={','.join(CLASSES.value)} is not a list of class ids, such as 0,1,7") from None
        check_classes(classes, num_classes)
    num = NUM.value or 8 * len(classes)
    at, scaled = TRUNCATION.value, statistics_of(trained).startswith("binned")
    if scaled and at is None:
        at = 1.0
    z = sampling.draw_latents(trained.gan, jax.random.key(SEED.value), num, at, scaled=scaled)
    return np.asarray(z), np.sort(np.resize(classes, num)), TRUNCATION.value


def read_latents(path: str, trained: TrainedGenerator) -> tuple[np.ndarray, np.ndarray, float | None]:
    """z and y of an .npz, checked against the model, and their truncation: the flag's, else the file's, if it says one."""
    try:
        with epath.Path(path).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            z, y = arrays["z"].astype(np.float32), arrays["y"]
            truncation = float(arrays["truncation"]) if "truncation" in arrays else None
    except (OSError, EOFError, KeyError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(f"--latents={path} is not an .npz with arrays z and y: {error}") from error
    truncation = truncation if TRUNCATION.value is None else TRUNCATION.value
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
    check_classes(y, gan.num_classes)
    return z, y.astype(np.int32), truncation


def check_classes(classes: np.ndarray, num_classes: int) -> None:
    wrong = [int(c) for c in classes if not 0 <= c < max(num_classes, 1)]
    if wrong:
        raise UserError(f"class {wrong[0]} is out of range: this model has classes 0 to {max(num_classes, 1) - 1}")


def write(out: epath.Path, images: np.ndarray, z: np.ndarray, y: np.ndarray, truncation: float | None) -> None:
    if out.suffix == ".npz":
        with out.open("wb") as file:
            also = {} if truncation is None else {"truncation": truncation}
            np.savez(file, images=images if FLOAT.value else sampling.to_uint8(images), z=z, y=y, **also)
        return
    _, counts = np.unique(y, return_counts=True, axis=0)
    # A row a class where all classes have equally many; otherwise about a square.
    columns = int(counts[0]) if len(set(counts)) == 1 and counts[0] <= 32 else int(np.ceil(np.sqrt(len(y))))
    sampling.save_png(out, sampling.grid(sampling.to_uint8(images), columns))


def run() -> None:
    cli.run(main)


if __name__ == "__main__":
    run()
