"""Draw a grid of samples: `python -m biggan_jax.tools.grids --checkpoint=DIR --sheet=NAME --out=FILE`.

NAME: classes, fixed_z, interpolation, truncation, neighbours or chunks. FILE: a .png; for interpolation also a .gif or .mp4.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from absl import flags

from biggan_jax.checkpoint import TrainedGenerator
from biggan_jax.config import choose
from biggan_jax.data import make_source
from biggan_jax.evaluation.networks import NETWORKS, open_network
from biggan_jax.runtime import cli
from biggan_jax.sampling import flags as sampling_flags
from biggan_jax.sampling import pictures
from biggan_jax.sampling.sampler import resolve
from biggan_jax.tools import layout
from biggan_jax.tools.classes import labels_of
from biggan_jax.tools.grids import animation, draws, neighbours
from biggan_jax.tools.grids.interpolation import BETWEEN, interpolation, pairs
from biggan_jax.tools.layout import Grid
from biggan_jax.types import UserError

MAX_IMAGES = 1000
"""Images in a grid at most."""

PAPER_THRESHOLDS, SCALED_THRESHOLDS = (2.0, 1.0, 0.5, 0.04), (1.0, 0.5, 0.2, 0.04)
"""Thresholds of Brock et al. 2019, fig. 2a, for resampled z; and those for the kinds that scale z."""

SHEET = flags.DEFINE_string("sheet", None, "classes, fixed_z, interpolation, truncation, neighbours or chunks.")
OUT = flags.DEFINE_string("out", None, "A .png file; for interpolation also a .gif or .mp4.")
CLASSES = flags.DEFINE_list("classes", None, "Class ids, such as 0,1,7. Default: some, spread over all.")
COLUMNS = flags.DEFINE_integer(
    "columns",
    None,
    "Images in a row; for interpolation, its steps, both ends included; for neighbours, those in each space.",
    lower_bound=1,
)
ROWS = flags.DEFINE_integer("rows", None, "Pairs of interpolation (6), or samples of neighbours (8).", lower_bound=1)
BETWEEN_ = flags.DEFINE_enum(
    "between",
    None,
    list(BETWEEN),
    "Interpolate between two z of one class, two classes with one z, or both. Default: both; without classes, z.",
)
SPHERICAL = flags.DEFINE_bool(
    "spherical", False, "Interpolate z along the sphere, which keeps its norm but may exceed its truncation."
)
THRESHOLDS = flags.DEFINE_list(
    "thresholds", None, "Thresholds of truncation. Default: 2,1,0.5,0.04 (the paper's); for other kinds 1,0.5,0.2,0.04."
)
NETWORK = flags.DEFINE_enum(
    "network",
    "classifier",
    [*NETWORKS, "none"],
    "Network whose features neighbours are compared in, besides pixels; the classifier is fitted to the training data.",
)
INCEPTION = flags.DEFINE_string("inception", None, 'Weights of inception-2015, or "download".')
DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of the training data, for neighbours and class names. Default: as in training."
)


class GridType(NamedTuple):
    """How a grid is drawn, the flags it understands, and its default and least number of columns."""

    draw: Callable[[TrainedGenerator, int], Grid]
    flags: tuple[str, ...]
    columns: int
    min_columns: int = 1


def main() -> None:
    if not (sampling_flags.CHECKPOINT.value and SHEET.value and OUT.value):
        raise UserError(
            "--checkpoint, --sheet and --out are needed, such as --checkpoint=runs/demo --sheet=classes --out=classes.png"
        )
    grid_type = choose(GRIDS, "--sheet", SHEET.value)
    suffixes = (".png", *animation.SUFFIXES) if SHEET.value == "interpolation" else (".png",)
    out = sampling_flags.check_out(OUT.value, suffixes, f" for --sheet={SHEET.value}")
    animation.check(out)
    check_flags(grid_type)
    animated = out.suffix in animation.SUFFIXES
    columns = COLUMNS.value or (30 if animated else grid_type.columns)
    if columns < grid_type.min_columns:
        raise UserError(
            f"--columns={columns} is too few for --sheet={SHEET.value}; give {grid_type.min_columns} or more"
        )
    trained = sampling_flags.load()
    pictures.check_drawable(trained.gan.image_shape)
    grid = grid_type.draw(trained, columns)
    with sampling_flags.writing(out):
        if animated:
            animation.save(out, animation.frames(grid))
        else:
            pictures.save_png(out, layout.draw(grid), min_width=1)
    rows, columns = grid.images.shape[:2]
    print(f"{rows} rows of {columns} images in {out}")


def check_flags(grid_type: GridType) -> None:
    """Refuse flags that have no effect on this type of grid."""
    known = {name for other in GRIDS.values() for name in other.flags}
    sampling_flags.refuse(known - set(grid_type.flags), f"with --sheet={SHEET.value}")
    if SHEET.value == "truncation" and sampling_flags.TRUNCATION.value is not None:
        raise UserError(
            "--sheet=truncation draws several thresholds; give them by --thresholds instead of --truncation"
        )


def by_class(draw: Callable[..., Grid], most: int, *, unconditional: bool = False) -> Callable[..., Grid]:
    """Return how a grid is drawn that needs only a sampler and classes, by default up to `most`."""

    def drawn(trained: TrainedGenerator, columns: int) -> Grid:
        if not (trained.gan.num_classes or unconditional):
            raise UserError(
                f"--sheet={SHEET.value} needs classes, but this model is unconditional; use biggan-sample, or "
                "--sheet=interpolation"
            )
        classes = chosen_classes(trained, most)
        rows = len(draws.chunks_of(trained.gan)) + 1 if draw is draws.chunks else 1
        check_count(len(classes) * rows, columns)
        names = labels_of(trained, DATA_DIR.value)
        sampler = sampling_flags.make_sampler(trained, sampling_flags.truncation_of(trained))
        return draw(sampler, classes, columns, sampling_flags.SEED.value, names)

    return drawn


def draw_interpolation(trained: TrainedGenerator, columns: int) -> Grid:
    classes, rows = chosen_classes(trained, 10), ROWS.value or 6
    between = BETWEEN_.value or ("both" if trained.gan.num_classes else "z")
    check_count(rows, columns)
    if between != "z":
        pairs(classes, rows)  # Refuse fewer than two classes before any slow work.
    names = labels_of(trained, DATA_DIR.value)
    sampler = sampling_flags.make_sampler(trained, sampling_flags.truncation_of(trained))
    return interpolation(
        sampler,
        classes,
        rows,
        columns,
        between=between,
        spherical=SPHERICAL.value,
        seed=sampling_flags.SEED.value,
        names=names,
    )


def draw_truncation(trained: TrainedGenerator, columns: int) -> Grid:
    resampled = sampling_flags.truncation_of(trained, 1.0).kind == "resample"
    default = PAPER_THRESHOLDS if resampled else SCALED_THRESHOLDS
    thresholds = [threshold(text) for text in THRESHOLDS.value] if THRESHOLDS.value else default
    classes = chosen_classes(trained, 2)
    check_count(len(classes) * len(thresholds), columns)
    for t in thresholds:  # Refuse a bad one before any slow work.
        resolve(trained, sampling_flags.truncation_of(trained, t), sampling_flags.STATISTICS.value)
    names = labels_of(trained, DATA_DIR.value)
    # A generator: each sampler measures its statistics when its turn comes.
    samplers = (sampling_flags.make_sampler(trained, sampling_flags.truncation_of(trained, t)) for t in thresholds)
    return draws.truncation(samplers, classes, columns, sampling_flags.SEED.value, names)


def threshold(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (value > 0 and math.isfinite(value)):
        raise UserError(f"--thresholds: {text!r} is not a number greater than 0, such as those of 1,0.5,0.2")
    return value


def draw_neighbours(trained: TrainedGenerator, columns: int) -> Grid:
    rows = ROWS.value or 8
    classes = np.sort(np.resize(chosen_classes(trained, rows), rows))
    check_count(rows, 1 + columns * (1 + (NETWORK.value != "none")))
    config = trained.config.copy_and_resolve_references()
    config.data.dir = DATA_DIR.value or config.data.dir
    source = make_source(config, "train")
    names = labels_of(trained, DATA_DIR.value)
    spaces = [neighbours.pixels()]
    if NETWORK.value != "none":
        network = open_network(NETWORK.value, inception=INCEPTION.value, training=source)
        spaces.append(neighbours.features(network))
    sampler = sampling_flags.make_sampler(trained, sampling_flags.truncation_of(trained))
    samples = sampler.images(sampler.latents(rows, sampling_flags.SEED.value), classes)
    return neighbours.neighbours(samples, [names[c] for c in classes], source, spaces, columns, flip=config.data.flip)


def chosen_classes(trained: TrainedGenerator, most: int) -> np.ndarray:
    return sampling_flags.chosen_classes(CLASSES.value, trained.gan.num_classes, most)


def check_count(rows: int, columns: int) -> None:
    if rows * columns > MAX_IMAGES:
        raise UserError(
            f"{rows} rows of {columns} images are more than the limit of {MAX_IMAGES}; lower --classes, --rows or --columns"
        )


GRIDS = {
    "classes": GridType(by_class(draws.classes, 10), ("columns",), 10),
    "fixed_z": GridType(by_class(draws.fixed_z, 10), ("columns",), 10),
    "interpolation": GridType(draw_interpolation, ("columns", "rows", "between", "spherical"), 9, min_columns=2),
    "truncation": GridType(draw_truncation, ("columns", "thresholds"), 10),
    "neighbours": GridType(draw_neighbours, ("columns", "rows", "network", "inception"), 5),
    "chunks": GridType(by_class(draws.chunks, 2, unconditional=True), ("columns",), 8, min_columns=2),
}


def run() -> None:
    cli.run(main)


if __name__ == "__main__":
    run()
