"""Draw a diagnostic grid of samples, by biggan-sheets or python -m biggan_jax.tools.grids:

biggan-sheets --checkpoint=DIR --sheet=NAME --out=FILE

NAME: classes, fixed_z, interpolation, truncation, neighbours, chunks or style_mixing. FILE: a .png; for
interpolation also a .gif or .mp4.
"""

import contextlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from biggan_jax.checkpoint import TrainedGenerator
from biggan_jax.config import choose
from biggan_jax.data import make_source
from biggan_jax.evaluation.networks import NETWORKS, open_network
from biggan_jax.runtime import cli
from biggan_jax.runtime.files import writing
from biggan_jax.sampling import flags as sampling_flags
from biggan_jax.sampling import pictures, styles
from biggan_jax.sampling.sampler import Sampler, resolve
from biggan_jax.tools import layout
from biggan_jax.tools.classes import labels_of
from biggan_jax.tools.grids import draws, mixing, neighbours
from biggan_jax.tools.layout import Grid
from biggan_jax.types import UserError

MAX_IMAGES = 1000  # In a grid.

SHEET = flags.DEFINE_string(
    "sheet", None, "classes, fixed_z, interpolation, truncation, neighbours, chunks or style_mixing."
)
OUT = cli.define_path("out", None, "A .png file; for interpolation also a .gif or .mp4.")
CLASSES = flags.DEFINE_list("classes", None, sampling_flags.CLASSES_HELP + " Default: some, spread over all.")
COLUMNS = flags.DEFINE_integer("columns", None, "Images in a row; interpolation's steps; neighbours in each space.", 1)
ROWS = flags.DEFINE_integer(
    "rows", None, "Pairs of interpolation (6), samples of neighbours (8), or of style_mixing (5).", 1
)
BETWEEN = flags.DEFINE_enum(
    "between", None, ["z", "class", "both"], "Ends differ in z, class, or both. Default: both; without classes, z."
)
SPHERICAL = flags.DEFINE_bool("spherical", False, "Interpolate z along the sphere: keeps its norm, not its truncation.")
SPACE = flags.DEFINE_enum("space", "z", ["z", "w"], "Interpolate z, or w (StyleGANs).")
LAYERS = flags.DEFINE_list(
    "layers",
    None,
    "style_mixing: layers of the columns' w, such as 0-6, from the smallest images on. Default: 7 of 18.",
)
THRESHOLDS = flags.DEFINE_list(
    "thresholds",
    None,
    "Thresholds of truncation. Default: 2,1,0.5,0.04 (the paper's); for other kinds 1,0.5,0.2,0.04; psi of w 1,0.7,0.5,0.2,0.",
)
NETWORK = flags.DEFINE_enum(
    "network", "classifier", [*NETWORKS, "none"], "Network whose features compare neighbours, besides pixels."
)
INCEPTION = cli.define_path("inception", None, 'Weights of inception-2015, or "download".')
DATA_DIR = cli.define_path("data_dir", None, "Folder of the training data. Default: as in training.")


def main() -> None:
    sheet = SHEET.value
    if not (sampling_flags.CHECKPOINT.value and sheet and OUT.value):
        raise UserError("give --checkpoint, --sheet and --out, such as --checkpoint=DIR --sheet=classes --out=a.png")
    draw, default, least, own = choose(GRIDS, "--sheet", sheet)
    suffixes = (".png", *layout.ANIMATIONS) if sheet == "interpolation" else (".png",)
    out = sampling_flags.check_out(OUT.value, suffixes, f" for --sheet={sheet}")
    layout.check_animation(out)
    known = {name for *_, names in GRIDS.values() for name in names}
    cli.refuse(known - {*own}, f"with --sheet={sheet}")
    if sheet == "truncation" and sampling_flags.TRUNCATION.value is not None:
        raise UserError("--sheet=truncation draws several; give them by --thresholds instead of --truncation")
    animated = out.suffix in layout.ANIMATIONS
    columns = COLUMNS.value or (30 if animated else default)
    if columns < least:
        raise UserError(f"--columns={columns} is too few for --sheet={sheet}; give {least} or more")
    trained = sampling_flags.load()
    sampling_flags.check_shown(trained)
    grid = draw(trained, columns, labels_of(trained, DATA_DIR.value))
    grid = grid._replace(images=pictures.film(grid.images, trained.gan.frames, most=4))
    with writing(f"--out={out}"):
        if animated:
            layout.save_animation(out, layout.frames(grid))
        else:
            pictures.save_png(out, layout.draw(grid), min_width=1)
    rows, columns = grid.images.shape[:2]
    print(f"{rows} rows of {columns} images in {out}")


def draw_by_class(trained: TrainedGenerator, columns: int, names: Sequence[str]) -> Grid:
    """Draw a grid that needs only a sampler and classes: classes, fixed_z or chunks."""
    sheet = SHEET.value
    if sheet == "chunks":
        classes = chosen_classes(trained, 2, columns, len(draws.chunks_of(trained.gan)) + 1)
    elif trained.gan.num_classes:
        classes = chosen_classes(trained, 10, columns)
    else:
        raise UserError(f"--sheet={sheet} needs classes, but this model has none; use biggan-sample or interpolation")
    draw = {"classes": draws.classes, "fixed_z": draws.fixed_z, "chunks": draws.chunks}[sheet]
    return draw(make_sampler(trained), classes, columns, sampling_flags.SEED.value, names)


def draw_interpolation(trained: TrainedGenerator, columns: int, names: Sequence[str]) -> Grid:
    rows, between = ROWS.value or 6, BETWEEN.value or ("both" if trained.gan.num_classes else "z")
    classes = chosen_classes(trained, 10, columns, rows=rows)
    if between != "z":
        draws.pairs(classes, rows)  # Refuse fewer than two classes before any slow work.
    options: dict[str, Any] = {"between": between, "spherical": SPHERICAL.value, "seed": sampling_flags.SEED.value}
    if SPACE.value == "w":
        styles.check(trained.gan, "--space=w")
        if SPHERICAL.value:
            raise UserError("--spherical has no meaning with --space=w, whose w are no directions; leave it out")
    sampler = styles.with_fixed_noise(make_sampler(trained))
    return draws.interpolation(sampler, classes, rows, columns, names=names, space=SPACE.value, **options)


def draw_mixing(trained: TrainedGenerator, columns: int, names: Sequence[str]) -> Grid:
    gan, rows = styles.check(trained.gan, "--sheet=style_mixing"), ROWS.value or 5
    chosen = styles.parse_layers(LAYERS.value, gan.styles, max(1, round(mixing.SHARE * gan.styles)))
    classes = chosen_classes(trained, rows + columns, columns + 1, rows=rows + 1)
    sampler = styles.with_fixed_noise(make_sampler(trained))
    numbers = np.flatnonzero(chosen)
    print(f"columns give the w of {len(numbers)} of {gan.styles} layers, {numbers[0]} to {numbers[-1]}")
    return mixing.style_mixing(sampler, classes, rows, columns, chosen, sampling_flags.SEED.value, names)


def draw_truncation(trained: TrainedGenerator, columns: int, names: Sequence[str]) -> Grid:
    # Those of Brock et al. 2019, fig. 2a; and those for the kinds that scale z.
    kind = sampling_flags.truncation_of(trained, 1.0).kind
    of_z = ("2", "1", "0.5", "0.04") if kind == "resample" else ("1", "0.5", "0.2", "0.04")
    default = ("1", "0.7", "0.5", "0.2", "0") if kind == "w" else of_z
    truncations = [sampling_flags.truncation_of(trained, threshold(text)) for text in THRESHOLDS.value or default]
    classes = chosen_classes(trained, 2, columns, len(truncations))
    for truncation in truncations:  # Refuse a bad one before any slow work.
        resolve(trained, truncation, sampling_flags.STATISTICS.value)
    # A generator: each sampler measures its statistics when its turn comes.
    made = (sampling_flags.make_sampler(trained, truncation) for truncation in truncations)
    samplers = map(styles.with_fixed_noise, made)
    return draws.truncation(samplers, classes, columns, sampling_flags.SEED.value, names)


def threshold(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) < math.inf:
            return float(text)
    raise UserError(f"--thresholds: {text!r} is not a number of at least 0, such as those of 1,0.5,0.2")


def draw_neighbours(trained: TrainedGenerator, columns: int, names: Sequence[str]) -> Grid:
    rows, networks = ROWS.value or 8, [neighbours.pixels()]
    classes = chosen_classes(trained, rows, 1 + columns * (1 + (NETWORK.value != "none")), rows=rows)
    classes = np.sort(np.resize(classes, rows))
    config = trained.config.copy_and_resolve_references()
    config.data.dir = DATA_DIR.value or config.data.dir
    source = make_source(config, "train")
    if NETWORK.value != "none":
        networks.append(open_network(NETWORK.value, inception=INCEPTION.value, training=source))
    sampler = make_sampler(trained)
    samples = sampler.images(sampler.latents(rows, sampling_flags.SEED.value), classes)
    return neighbours.neighbours(samples, [names[c] for c in classes], source, networks, columns, flip=config.data.flip)


def chosen_classes(trained: TrainedGenerator, most: int, columns: int, per_class: int = 1, rows: int = 0) -> np.ndarray:
    """Return --classes, by default up to `most`. Refuse too many images in `rows`, else in `per_class` rows for each."""
    classes = sampling_flags.chosen_classes(CLASSES.value, trained, most)
    rows = rows or per_class * len(classes)
    if rows * columns > MAX_IMAGES:
        hint = "lower --classes, --rows or --columns"
        raise UserError(f"{rows} rows of {columns} images are more than the limit of {MAX_IMAGES}; {hint}")
    return classes


def make_sampler(trained: TrainedGenerator) -> Sampler:
    return sampling_flags.make_sampler(trained, sampling_flags.truncation_of(trained))


GRIDS = {
    "classes": (draw_by_class, 10, 1, ()),
    "fixed_z": (draw_by_class, 10, 1, ()),
    "interpolation": (draw_interpolation, 9, 2, ("rows", "between", "spherical", "space")),
    "truncation": (draw_truncation, 10, 1, ("thresholds",)),
    "neighbours": (draw_neighbours, 5, 1, ("rows", "network", "inception")),
    "chunks": (draw_by_class, 8, 2, ()),
    "style_mixing": (draw_mixing, 6, 1, ("rows", "layers")),
}
"""How each grid is drawn, its default and least number of columns, and its flags besides --classes and --columns."""


run = cli.command(main, compiles=True)

if __name__ == "__main__":
    run()
