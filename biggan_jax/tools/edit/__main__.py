"""Edit the latents of a trained generator:

python -m biggan_jax.tools.edit --do=mix --checkpoint=DIR --y="3 - 5 + 8" [--z="a.npz:0 - b.npz:3 + 0.5*c.npz:1"] --out=mix
python -m biggan_jax.tools.edit --do=find --checkpoint=DIR --attribute=slant|--latents=a.npz --labels=a.csv --out=slant
python -m biggan_jax.tools.edit --do=move --checkpoint=DIR --direction=slant.npz [--latents=a.npz] --out=moved
python -m biggan_jax.tools.edit --do=invert --checkpoint=DIR --picture=cat.jpg [--class=281] --out=cat

Each writes OUT.png, a picture of the result, and OUT.npz, which `sample --latents=OUT.npz` reads; `find` writes a direction.
"""

import math
import textwrap
from typing import Any

import numpy as np
from absl import flags
from etils import epath

from biggan_jax.checkpoint import TrainedGenerator
from biggan_jax.config import choose
from biggan_jax.runtime import cli
from biggan_jax.sampling import flags as sampling_flags
from biggan_jax.sampling import latent_files, pictures
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.tools import classes, layout
from biggan_jax.tools.edit import arithmetic, directions, expressions, inputs, inversion
from biggan_jax.tools.edit.attributes import ATTRIBUTES
from biggan_jax.tools.layout import Grid, in_rows
from biggan_jax.types import UserError

DO = flags.DEFINE_string("do", None, "mix, find, move or invert.")
OUT = flags.DEFINE_string("out", None, "Name of two files, OUT.png and OUT.npz, with or without a suffix.")
Y = flags.DEFINE_string("y", None, "mix: a sum of classes, by id or name, such as '207 - 281 + 0.5*3'.")
Z = flags.DEFINE_string(
    "z", None, "mix: a sum of latents, FILE.npz:ROW. Without --y, their classes are summed as well."
)
RESCALE = flags.DEFINE_bool("rescale", False, "mix: scale the sum of latents to the mean norm of its terms.")
NUM = flags.DEFINE_integer("num", None, "mix, move: samples (6). find: samples to learn from (2000).", 1)
CLASS = flags.DEFINE_string("class", None, "find, move, invert: only this class, by id or name. Default: all.")
LATENTS = flags.DEFINE_string("latents", None, "find, move: an .npz with z and y, instead of random latents.")
ATTRIBUTE = flags.DEFINE_string("attribute", None, f"find: measured on the samples: {', '.join(ATTRIBUTES)}.")
LABELS = flags.DEFINE_string("labels", None, "find: 0 or 1, or a score, for each of --latents: .npz, .csv or .txt.")
DIRECTION = flags.DEFINE_string("direction", None, "move: the .npz that `find` wrote.")
BY = flags.DEFINE_float("by", 3.0, "find, move: distance along the direction, both ways, in standard deviations of z.")
COLUMNS = flags.DEFINE_integer("columns", 7, "find, move: steps from -by to +by.", 2)
PICTURE = flags.DEFINE_string("picture", None, "invert: an image file; it is cropped to the centre.")
CANDIDATES = flags.DEFINE_integer("candidates", 128, "invert: random latents, of which the best are optimised.", 1)
RESTARTS = flags.DEFINE_integer("restarts", 8, "invert: number of latents to optimise.", 1)
STEPS = flags.DEFINE_integer("steps", 300, "invert: steps of Adam.", 1)
PRIOR = flags.DEFINE_float("prior", 0.0, "invert: weight of z's log-likelihood in the loss, such as 0.01.", 0.0)

OWN = {
    "mix": ("y", "z", "num", "rescale"),
    "find": ("num", "class", "latents", "attribute", "labels", "by", "columns"),
    "move": ("num", "class", "latents", "direction", "by", "columns"),
    "invert": ("class", "picture", "candidates", "restarts", "steps", "prior"),
}
"""The flags of each edit, besides those of the sampler."""

SHOWN = 6
"""Samples in a picture by default."""


def main() -> None:
    if not (DO.value and sampling_flags.CHECKPOINT.value and OUT.value):
        raise UserError("--do, --checkpoint and --out are needed, such as --do=mix --checkpoint=runs/demo --out=mix")
    own = choose(OWN, "--do", DO.value)
    sampling_flags.refuse({flag for known in OWN.values() for flag in known} - set(own), f"with --do={DO.value}")
    out = sampling_flags.check_out(OUT.value)
    out = out.with_suffix("") if out.suffix in (".png", ".npz") else out
    check()
    trained = sampling_flags.load()
    pictures.check_drawable(trained.gan.image_shape)
    with sampling_flags.writing(out):
        {"mix": mix, "find": find, "move": move, "invert": invert}[DO.value](trained, out)
    print(f"in {out}.png and {out}.npz")


def check() -> None:
    """Refuse flags that do not go together."""
    if DO.value == "mix" and not (Y.value or Z.value):
        raise UserError("--do=mix needs --y, --z or both, such as --y='3 - 5 + 8'")
    if DO.value == "mix" and Z.value and NUM.value:
        raise UserError("--z gives one latent; --num has no meaning with it")
    if DO.value == "find" and bool(ATTRIBUTE.value) == bool(LABELS.value):
        raise UserError("--do=find needs --attribute or --labels, not both, such as --attribute=brightness")
    if LABELS.value and not LATENTS.value:
        raise UserError("--labels needs the samples' latents: give --latents, an .npz that `sample` wrote")
    if LATENTS.value and (NUM.value or CLASS.value):
        raise UserError("--latents determines the samples; --num and --class have no meaning with it")
    if ATTRIBUTE.value:
        choose(ATTRIBUTES, "--attribute", ATTRIBUTE.value)
    if not math.isfinite(BY.value):
        raise UserError(f"--by={BY.value} must be finite, such as 3")
    if DO.value == "move" and not DIRECTION.value:
        raise UserError("--do=move needs --direction, an .npz that --do=find wrote")
    if DO.value == "invert" and not PICTURE.value:
        raise UserError("--do=invert needs --picture, an image file")
    if RESTARTS.value > CANDIDATES.value:
        raise UserError(f"--restarts={RESTARTS.value} is more than --candidates={CANDIDATES.value}; lower it")


def mix(trained: TrainedGenerator, out: epath.Path) -> None:
    weights, terms = class_sum(trained) if Y.value else (None, [])
    if Z.value:
        mix_latents(trained, out, weights)
    else:
        mix_classes(trained, out, weights, terms)


def class_sum(trained: TrainedGenerator) -> tuple[np.ndarray, list[tuple[str, int]]]:
    """Parse --y: weights over classes, and the name and id of each term."""
    factors, names = zip(*expressions.terms(Y.value), strict=True)
    ids = [class_id(trained, name) for name in names]
    weights = arithmetic.class_weights(list(zip(factors, ids, strict=True)), trained.gan.num_classes)
    return weights, list(zip(names, ids, strict=True))


def mix_classes(trained: TrainedGenerator, out: epath.Path, weights: np.ndarray, terms: list[tuple[str, int]]) -> None:
    """Draw one row per class, and one for the sum, from the same z."""
    sampler = sampling_flags.make_sampler(trained, sampling_flags.truncation_of(trained))
    z = sampler.latents(NUM.value or SHOWN, sampling_flags.SEED.value)
    y = np.repeat(weights[None], len(z), axis=0)
    rows = [sampler.images(z, np.full(len(z), label, np.int32)) for _, label in terms] + [sampler.images(z, y)]
    wrapped = "\n".join(textwrap.wrap(Y.value, layout.MAX_LETTERS))
    show(out, Grid(np.stack(rows), [*(name for name, _ in terms), wrapped]))
    latent_files.write_samples(npz(out), sampler, z, y)


def mix_latents(trained: TrainedGenerator, out: epath.Path, weights: np.ndarray | None) -> None:
    """Draw the latents and their sum in a row, with the class weights given, else with the sum of their own."""
    gan = trained.gan
    factors, names = zip(*expressions.terms(Z.value), strict=True)
    places = [inputs.row_of(name) for name in names]
    files = {path: latent_files.read_latents(path, gan) for path, _ in places}
    for name, (path, row) in zip(names, places, strict=True):
        if row >= len(files[path][0]):
            raise UserError(f"--z: {name}: {path} has rows 0 to {len(files[path][0]) - 1}")
    z = np.stack([files[path][0][row] for path, row in places])
    y = np.stack([classes.as_weights(files[path][1], gan.num_classes)[row] for path, row in places])
    if weights is not None:
        y[:] = weights
    total = arithmetic.weighted_sum(factors, z)
    ratio = np.linalg.norm(total) / np.linalg.norm(z, axis=1).mean()
    print(f"the norm of the sum is {ratio:.2f} times that of its terms{', rescaled to 1' if RESCALE.value else ''}")
    z = np.concatenate([z, [arithmetic.rescaled(total, z) if RESCALE.value else total]])
    y = np.concatenate([y, [arithmetic.weighted_sum(factors, y) if weights is None else weights]])
    stored = {files[path][2] for path, _ in places}
    if len(stored) > 1 and sampling_flags.TRUNCATION.value is None:
        raise UserError(
            "--z: these latents were drawn with different truncations; choose one for the sum by --truncation"
        )
    sampler = sampling_flags.make_sampler(trained, sampling_flags.truncation_or(stored.pop(), trained))
    show(out, Grid(sampler.images(z, y)[None], columns=[*names, "sum"]))
    latent_files.write_samples(npz(out), sampler, z[-1:], y[-1:])


def find(trained: TrainedGenerator, out: epath.Path) -> None:
    """Find a direction, and draw samples moved along it."""
    sampler, z, y = samples(trained, 2000)
    measure = ATTRIBUTES.get(ATTRIBUTE.value)
    scores = measure(sampler.images(z, y)) if measure else inputs.read_scores(LABELS.value, len(z))
    found = directions.find(z, directions.as_labels(scores, y), sampling_flags.SEED.value)
    name = ATTRIBUTE.value or LABELS.value
    print(f"{name}: held-out accuracy {found.accuracy:.3f}, chance {found.chance:.3f}, of {len(z)} samples")
    strip(out, sampler, z[:SHOWN], y[:SHOWN], found.vector, ATTRIBUTE.value)
    others: dict[str, Any] = {"attribute": ATTRIBUTE.value or "", "accuracy": found.accuracy, "chance": found.chance}
    latent_files.write_arrays(npz(out), direction=found.vector, **others)


def move(trained: TrainedGenerator, out: epath.Path) -> None:
    """Draw samples moved along a stored direction, one row each."""
    vector, attribute = inputs.read_direction(DIRECTION.value, trained.gan)
    sampler, z, y = samples(trained, SHOWN)
    z = strip(out, sampler, z, y, vector, attribute)
    latent_files.write_samples(npz(out), sampler, z.reshape(-1, z.shape[-1]), np.repeat(y, z.shape[1], axis=0))


def samples(trained: TrainedGenerator, default: int) -> tuple[Sampler, np.ndarray, np.ndarray]:
    """Return the sampler, z and y: those of --latents, else random ones, of --class or of all classes in turn."""
    if LATENTS.value:
        z, y, stored = latent_files.read_latents(LATENTS.value, trained.gan)
        return sampling_flags.make_sampler(trained, sampling_flags.truncation_or(stored, trained)), z, y
    label = class_id(trained, CLASS.value) if CLASS.value else None
    sampler = sampling_flags.make_sampler(trained, sampling_flags.truncation_of(trained))
    num = NUM.value or default
    y = np.arange(num) % max(trained.gan.num_classes, 1) if label is None else np.full(num, label)
    return sampler, sampler.latents(num, sampling_flags.SEED.value), y.astype(np.int32)


def strip(
    out: epath.Path, sampler: Sampler, z: np.ndarray, y: np.ndarray, vector: np.ndarray, attribute: str | None
) -> np.ndarray:
    """Draw one row per sample, moved from -by to +by; print attributes by column; return z [N, columns, dim_z]."""
    z, steps = directions.moved(z, vector, BY.value, COLUMNS.value)
    n, columns, dim_z = z.shape
    images = sampler.images(z.reshape(-1, dim_z), np.repeat(y, columns, axis=0))
    print("along it:  " + " ".join(f"{step:+8.2f}" for step in steps))
    measured = {}
    for name in [attribute] if attribute in ATTRIBUTES else ATTRIBUTES:
        measured[name] = ATTRIBUTES[name](images).reshape(n, columns).mean(0)
        print(f"{name:10} " + " ".join(f"{value:8.3f}" for value in measured[name]))
    labels = [f"{step:+.1f}" for step in steps]
    if attribute in measured:
        labels = [f"{label}: {value:.2f}" for label, value in zip(labels, measured[attribute], strict=True)]
    show(out, Grid(in_rows(images, n), columns=labels))
    return z


def invert(trained: TrainedGenerator, out: epath.Path) -> None:
    """Draw the picture beside the sample that each restart found."""
    target = inputs.read_picture(PICTURE.value, trained.gan.image_shape)
    label = class_id(trained, CLASS.value) if CLASS.value else None
    sampler = sampling_flags.make_sampler(trained, sampling_flags.truncation_of(trained))
    found = inversion.invert(
        sampler,
        target,
        label=label,
        seed=sampling_flags.SEED.value,
        candidates=CANDIDATES.value,
        restarts=RESTARTS.value,
        steps=STEPS.value,
        prior=PRIOR.value,
    )
    loss, db = found.initial
    print(f"loss {loss:.4f} to {found.loss[0]:.4f}, PSNR {db:.1f} to {found.psnr[0]:.1f} dB")
    images = np.stack([target, *found.images])
    show(out, Grid(images[None], columns=["picture", *(f"{value:.1f} dB" for value in found.psnr)]))
    latent_files.write_samples(npz(out), sampler, found.z[:1], found.y[:1], loss=found.loss[:1], psnr=found.psnr[:1])


def class_id(trained: TrainedGenerator, name: str) -> int:
    return classes.id_of(name, trained.gan.num_classes, lambda: classes.read_names(trained.config))


def show(out: epath.Path, grid: Grid) -> None:
    pictures.save_png(f"{out}.png", layout.draw(grid, smallest=96), min_width=1)


def npz(out: epath.Path) -> epath.Path:
    return epath.Path(f"{out}.npz")


def run() -> None:
    cli.run(main)


if __name__ == "__main__":
    run()
