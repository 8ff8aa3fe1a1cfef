"""Edit the latents of a trained generator: the work of biggan-edit."""

import textwrap
from typing import Any

import numpy as np
from etils import epath
from flax.traverse_util import flatten_dict

from biggan_jax.checkpoint import TrainedGenerator
from biggan_jax.evaluation import lpips
from biggan_jax.flags.edit import (
    ATTRIBUTE,
    BY,
    CANDIDATES,
    CLASS,
    COLUMNS,
    COMPONENT,
    COMPONENTS,
    DIRECTION,
    DO,
    LABELS,
    LATENTS,
    LAYERS,
    LPIPS,
    LPIPS_HEADS,
    MASK,
    NOISE_WEIGHT,
    NUM,
    OUT,
    PICTURE,
    PRIOR,
    RESCALE,
    RESTARTS,
    SPACE,
    STEPS,
    Y,
    Z,
)
from biggan_jax.runtime import cli
from biggan_jax.runtime.files import writing
from biggan_jax.sampling import flags as sampling_flags
from biggan_jax.sampling import pictures, styles
from biggan_jax.sampling.latent_files import NOISE, read_latents, read_noise, sample_arrays, write_arrays
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.tools import classes, layout
from biggan_jax.tools.edit import directions, factorize, inversion, projection
from biggan_jax.tools.edit.directions import ATTRIBUTES, Stored
from biggan_jax.tools.layout import Grid, in_rows
from biggan_jax.types import UserError

SHOWN = 6  # Samples in a picture by default.

Edited = tuple[Grid, dict[str, Any]]  # The picture, and the arrays of the .npz.


def main() -> None:
    out = epath.Path(OUT.value)
    out = out.with_suffix("") if out.suffix in (".png", ".npz") else out
    trained = sampling_flags.load()
    sampling_flags.check_shown(trained)
    if DO.value == "invert" and trained.gan.frames:
        raise UserError("--do=invert needs a model that draws single pictures, but this one draws clips")
    with writing(f"--out={out}"):
        grid, arrays = EDITS[DO.value](trained)
        grid = grid._replace(images=pictures.film(grid.images, trained.gan.frames, most=4))
        pictures.save_png(f"{out}.png", layout.draw(grid, smallest=96), min_width=1)
        write_arrays(epath.Path(f"{out}.npz"), **arrays)
    print(f"in {out}.png and {out}.npz")


def mix(trained: TrainedGenerator) -> Edited:
    """Draw one row per class of --y, and one for the sum, from the same z; or the sum of --z."""
    if not Y.value:
        return mix_latents(trained, None)
    factors, names = zip(*classes.terms(Y.value), strict=True)
    ids = [class_id(trained, name) for name in names]
    weights = classes.class_weights(zip(factors, ids, strict=True), trained.gan.num_classes)
    if Z.value:
        return mix_latents(trained, weights)
    sampler = sampling_flags.make_sampler(trained, sampling_flags.truncation_of(trained))
    z = sampler.latents(NUM.value or SHOWN, sampling_flags.SEED.value)
    y = np.repeat(weights[None], len(z), axis=0)
    rows = [sampler.images(z, np.full(len(z), label, np.int32)) for label in ids] + [sampler.images(z, y)]
    wrapped = "\n".join(textwrap.wrap(Y.value, layout.MAX_LETTERS))
    return Grid(np.stack(rows), [*names, wrapped]), sample_arrays(sampler, rows[-1], z, y)


def mix_latents(trained: TrainedGenerator, weights: np.ndarray | None) -> Edited:
    """Draw the latents and their sum in a row, with the class weights given, else with the sum of their own."""
    gan = trained.gan
    factors, names = zip(*classes.terms(Z.value), strict=True)
    places = [classes.row_of(name) for name in names]
    files = {path: read_latents(path, gan) for path, _ in places}
    for name, (path, row) in zip(names, places, strict=True):
        if row >= len(files[path][0]):
            raise UserError(f"--z: {name}: {path} has rows 0 to {len(files[path][0]) - 1}")
    z = np.stack([files[path][0][row] for path, row in places])
    y = np.stack([classes.as_weights(files[path][1], gan.num_classes)[row] for path, row in places])
    sum_of_z, sum_of_y = (np.asarray(factors, np.float32) @ rows for rows in (z, y))
    norm, mean = np.linalg.norm(sum_of_z), np.linalg.norm(z, axis=1).mean()
    rescaled = ", rescaled to 1" if RESCALE.value else ""
    print(f"the norm of the sum is {norm / mean:.2f} times that of its terms{rescaled}")
    if RESCALE.value and norm:
        sum_of_z *= mean / norm
    z, y = np.concatenate([z, [sum_of_z]]), np.concatenate([y, [sum_of_y]])
    if weights is not None:
        y[:] = weights
    stored = {files[path][2] for path, _ in places}
    if len(stored) > 1 and sampling_flags.TRUNCATION.value is None:
        raise UserError("--z: these latents have different truncations; choose one for the sum by --truncation")
    sampler = sampling_flags.make_sampler(trained, sampling_flags.truncation_of(trained, stored=stored.pop()))
    grid = Grid(sampler.images(z, y)[None], columns=[*names, "sum"])
    return grid, sample_arrays(sampler, sampler.images(z[-1:], y[-1:]), z[-1:], y[-1:])


def find(trained: TrainedGenerator) -> Edited:
    """Find a direction, and draw samples moved along it."""
    scores = None
    if LABELS.value:  # Read before any slow work.
        scores = directions.read_scores(LABELS.value, len(read_latents(LATENTS.value, trained.gan)[0]))
    sampler, z, y = samples(trained, 2000)
    if scores is None:
        scores = ATTRIBUTES[ATTRIBUTE.value](sampler.images(z, y))
    found = directions.find(z, directions.as_labels(scores, y), sampling_flags.SEED.value)
    name = ATTRIBUTE.value or LABELS.value
    print(f"{name}: held-out accuracy {found.accuracy:.3f}, chance {found.chance:.3f}, of {len(z)} samples")
    grid, _ = strip(sampler, z[:SHOWN], y[:SHOWN], Stored(found.vector, ATTRIBUTE.value or ""))
    others = {"attribute": ATTRIBUTE.value or "", "accuracy": found.accuracy, "chance": found.chance}
    return grid, {"direction": found.vector} | others


def move(trained: TrainedGenerator) -> Edited:
    """Draw samples moved along a stored direction, or along a sum of them, one row each."""
    stored = directions.read_sum(DIRECTION.value, trained.gan, COMPONENT.value)
    sampler, z, y = samples(trained, SHOWN, takes_w=stored.layers is not None)
    return strip(sampler, z, y, stored)


def sefa(trained: TrainedGenerator) -> Edited:
    """Draw a sample moved along each direction that the weights give, one row each."""
    found, layers = factorize.factorize(trained, trained.params, LAYERS.value, COMPONENTS.value)
    sampler, z, y = samples(trained, 1)
    of_w, unit = found.space == "w", factorize.deviation(sampler, found.space, sampling_flags.SEED.value)
    print(f"directions in {found.space}, eigenvalues " + " ".join(f"{value:.3g}" for value in found.values))
    rows = [
        strip(sampler, z, y, Stored(vector, "", layers if of_w else None, unit), show=False)[0].images
        for vector in found.vectors
    ]
    names = [f"{i + 1}" for i in range(len(found.vectors)) for _ in z]
    steps = [f"{step:+.1f}" for step in np.linspace(-BY.value, BY.value, COLUMNS.value)]
    arrays = {"direction": found.vectors, "values": found.values, "unit": unit} | ({"layers": layers} if of_w else {})
    return Grid(np.concatenate(rows), names, steps), arrays


def samples(
    trained: TrainedGenerator, default: int, *, takes_w: bool = False
) -> tuple[Sampler, np.ndarray, np.ndarray]:
    """Return the sampler, z and y: those of --latents, else random ones, of --class or of all classes in turn.

    takes_w: --latents may have w's, which are returned in place of z.
    """
    if LATENTS.value:
        z, y, stored = read_latents(LATENTS.value, trained.gan, takes_w=takes_w)
        sampler = sampling_flags.make_sampler(trained, sampling_flags.truncation_of(trained, stored=stored))
        return read_noise(LATENTS.value, sampler), z, y
    label = class_id(trained, CLASS.value)
    sampler = sampling_flags.make_sampler(trained, sampling_flags.truncation_of(trained))
    num = NUM.value or default
    y = np.arange(num) % max(trained.gan.num_classes, 1) if label is None else np.full(num, label)
    return sampler, sampler.latents(num, sampling_flags.SEED.value), y.astype(np.int32)


def strip(sampler: Sampler, z: np.ndarray, y: np.ndarray, stored: Stored, *, show: bool = True) -> Edited:
    """Draw one row per sample, moved from -by to +by; if `show`, print attributes by column. z: or w's, for a direction in w."""
    sampler, attribute = styles.with_fixed_noise(sampler), stored.attribute
    if stored.layers is None:
        z, steps = directions.moved(z, stored.vector, BY.value, COLUMNS.value)
    else:
        ws = z if z.ndim == 3 else styles.ws_of(sampler, z, y)
        z, steps = directions.moved_w(ws, stored, BY.value, COLUMNS.value)
    n, columns, *shape = z.shape
    z, y = z.reshape(-1, *shape), np.repeat(y, columns, axis=0)
    images = sampler.images(z, y)
    labels = [f"{step:+.1f}" for step in steps]
    if not show:
        return Grid(in_rows(images, n), columns=labels), {}
    print("along it:  " + " ".join(f"{step:+8.2f}" for step in steps))
    for name in [attribute] if attribute in ATTRIBUTES else ATTRIBUTES:
        measured = ATTRIBUTES[name](images).reshape(n, columns).mean(0)
        print(f"{name:10} " + " ".join(f"{value:8.3f}" for value in measured))
        if name == attribute:
            labels = [f"{label}: {value:.2f}" for label, value in zip(labels, measured, strict=True)]
    return Grid(in_rows(images, n), columns=labels), sample_arrays(sampler, images, z, y)


def invert(trained: TrainedGenerator) -> Edited:
    """Draw the picture beside the sample that each restart found."""
    shape, mask = trained.gan.image_shape, None
    if MASK.value:
        target, mask = inversion.read_sketch(PICTURE.value, MASK.value, shape)
    else:
        target = inversion.read_picture(PICTURE.value, shape)
    space = SPACE.value or ("w" if styles.has_w(trained.gan) else "z")
    if space != "z":
        return project(trained, target, mask, space)
    cli.refuse(("noise_weight", "lpips", "lpips_heads"), "with --space=z")
    given = CANDIDATES, RESTARTS, STEPS, PRIOR, sampling_flags.SEED
    options: dict[str, Any] = {flag.name: flag.value for flag in given}
    label = class_id(trained, CLASS.value)
    sampler = sampling_flags.make_sampler(trained, sampling_flags.truncation_of(trained))
    found = inversion.invert(sampler, target, label=label, mask=mask, **options)
    loss, db = found.initial
    print(f"loss {loss:.4f} to {found.loss[0]:.4f}, PSNR {db:.1f} to {found.psnr[0]:.1f} dB")
    images = np.stack([shown_target(target, mask), *found.images])
    grid = Grid(images[None], columns=["picture", *(f"{value:.1f} dB" for value in found.psnr)])
    z, y = found.z[:1], found.y[:1]
    return grid, sample_arrays(sampler, sampler.images(z, y), z, y) | {"loss": found.loss[:1], "psnr": found.psnr[:1]}


def project(trained: TrainedGenerator, target: np.ndarray, mask: np.ndarray | None, space: str) -> Edited:
    """Draw the picture beside the image of the w that each restart found."""
    styles.check(trained.gan, f"--space={space}")
    cli.refuse(("prior",), f"with --space={space}, whose w has no known distribution")
    if LPIPS_HEADS.value and not LPIPS.value:
        raise UserError("--lpips_heads has no effect without --lpips")
    given = CANDIDATES, RESTARTS, STEPS, NOISE_WEIGHT, sampling_flags.SEED
    options: dict[str, Any] = {flag.name: flag.value for flag in given}
    if LPIPS.value:
        network = lpips.open_lpips("vgg", LPIPS.value, LPIPS_HEADS.value)
        network.check_shape(trained.gan.image_shape)
        options |= {"distance": network.distance, "weights": network.params}
    label = class_id(trained, CLASS.value)
    sampler = sampling_flags.make_sampler(trained, sampling_flags.truncation_of(trained))
    found = projection.project(sampler, target, space=space, label=label, mask=mask, **options)
    loss, db = found.initial
    print(f"in {space}: loss {loss:.4f} to {found.loss[0]:.4f}, PSNR {db:.1f} to {found.psnr[0]:.1f} dB")
    images = np.stack([shown_target(target, mask), *found.images])
    grid = Grid(images[None], columns=["picture", *(f"{value:.1f} dB" for value in found.psnr)])
    noise = {f"{NOISE}{name}": array[0] for name, array in flatten_dict(found.noise, sep="/").items()}
    arrays = sample_arrays(sampler, found.images[:1], found.w[:1], found.y[:1]) | noise
    return grid, arrays | {"loss": found.loss[:1], "psnr": found.psnr[:1]}


def shown_target(target: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Return the picture with pixels that do not count in grey."""
    if mask is None:
        return target
    return np.rint(128 + mask[..., None] * (target.astype(np.float32) - 128)).astype(np.uint8)


def class_id(trained: TrainedGenerator, name: str | None) -> int | None:
    names = lambda: classes.find_names(trained)
    return classes.id_of(name, trained.gan.num_classes, names) if name else None


EDITS = {"mix": mix, "find": find, "sefa": sefa, "move": move, "invert": invert}


run = cli.command(main, compiles=True)

if __name__ == "__main__":
    run()
