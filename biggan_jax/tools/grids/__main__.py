"""Draw a diagnostic grid of samples: the work of biggan-sheets."""

import contextlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from biggan_jax.checkpoint import TrainedGenerator
from biggan_jax.data import captions, make_source
from biggan_jax.evaluation.networks import open_network
from biggan_jax.flags.paths import ANIMATIONS
from biggan_jax.flags.sheets import (
    BETWEEN,
    CLASSES,
    DATA_DIR,
    INCEPTION,
    LAYERS,
    NETWORK,
    OUT,
    ROWS,
    SHEET,
    SPACE,
    SPHERICAL,
    THRESHOLDS,
    columns,
)
from biggan_jax.runtime import cli
from biggan_jax.runtime.files import writing
from biggan_jax.sampling import flags as sampling_flags
from biggan_jax.sampling import pictures, styles, training_data
from biggan_jax.sampling.sampler import Sampler, resolve
from biggan_jax.tools import layout
from biggan_jax.tools.classes import labels_of
from biggan_jax.tools.grids import draws, mixing, neighbours
from biggan_jax.tools.layout import Grid
from biggan_jax.types import UserError

MAX_IMAGES = 1000  # In a grid.
LONGEST = 30  # Characters of a text beside its row.


def main() -> None:
    out = epath.Path(OUT.value)
    trained = sampling_flags.load()
    sampling_flags.check_shown(trained, by_class=SHEET.value != "neighbours")
    grid = GRIDS[SHEET.value](trained, columns(), labels_of(trained, DATA_DIR.value))
    grid = grid._replace(images=pictures.film(grid.images, trained.gan.frames, most=4))
    with writing(f"--out={out}"):
        if out.suffix in ANIMATIONS:
            layout.save_animation(out, layout.frames(grid))
        else:
            pictures.save_png(out, layout.draw(grid), min_width=1)
    rows, each = grid.images.shape[:2]
    print(f"{rows} rows of {each} images in {out}")


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
    rows, networks, condition = ROWS.value or 8, [neighbours.pixels()], trained.gan.condition
    if condition.of_data and CLASSES.value is not None:
        raise UserError("--classes has no meaning: samples of this model have the conditions of training images")
    classes = chosen_classes(trained, rows, 1 + columns * (1 + (NETWORK.value != "none")), rows=rows)
    y = np.sort(np.resize(classes, rows))
    labels = [names[c] for c in y]
    config = trained.config.copy_and_resolve_references()
    config.data.dir = DATA_DIR.value or config.data.dir
    source = make_source(config, "train")
    if condition.of_data:
        y = training_data.draw_conditions(trained, rows, sampling_flags.SEED.value, source)
        labels = [captions.decode(row)[:LONGEST] if condition.kind == "text" else "" for row in y]
    if NETWORK.value != "none":
        networks.append(open_network(NETWORK.value, inception=INCEPTION.value, training=source))
    sampler = make_sampler(trained)
    samples = sampler.images(sampler.latents(rows, sampling_flags.SEED.value), y)
    return neighbours.neighbours(samples, labels, source, networks, columns, flip=config.data.flip)


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
    "classes": draw_by_class,
    "fixed_z": draw_by_class,
    "interpolation": draw_interpolation,
    "truncation": draw_truncation,
    "neighbours": draw_neighbours,
    "chunks": draw_by_class,
    "style_mixing": draw_mixing,
}


run = cli.command(main, compiles=True)

if __name__ == "__main__":
    run()
