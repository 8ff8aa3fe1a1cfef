"""The command for sheets of samples: `python -m biggan_jax.tools.grids --checkpoint=DIR --sheet=NAME --out=FILE`.

NAME: classes, fixed_z, interpolation, truncation, neighbours or chunks. FILE: a .png; of an interpolation also a .gif or .mp4, a loop.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from absl import flags
from etils import epath

from biggan_jax.checkpoint import TrainedGenerator
from biggan_jax.config import choose
from biggan_jax.data import make_source
from biggan_jax.data.dataset import Source
from biggan_jax.evaluation.fingerprint import digest_of
from biggan_jax.evaluation.networks import NETWORKS, Training, open_network
from biggan_jax.runtime import cli
from biggan_jax.sampling import flags as sampling_flags
from biggan_jax.sampling import pictures
from biggan_jax.sampling.sampler import check_statistics
from biggan_jax.tools.grids import animation, draws, layout, neighbours
from biggan_jax.tools.grids.interpolation import BETWEEN, interpolation, pairs
from biggan_jax.tools.grids.layout import Sheet
from biggan_jax.types import UserError

MOST = 1000
"""Pictures on a sheet."""

PAPER, OTHERS = (2.0, 1.0, 0.5, 0.04), (1.0, 0.5, 0.2, 0.04)
"""Thresholds where z beyond them is drawn again, as in Brock et al. 2019, fig. 2a; and where z is scaled by them."""

SHEET = flags.DEFINE_string("sheet", None, "classes, fixed_z, interpolation, truncation, neighbours or chunks.")
OUT = flags.DEFINE_string("out", None, "A .png file; of an interpolation also a .gif or .mp4.")
CLASSES = flags.DEFINE_list("classes", None, "Class ids, such as 0,1,7. Default: some spread over all.")
COLUMNS = flags.DEFINE_integer(
    "columns",
    None,
    "Pictures in a row; of an interpolation, its steps, ends included; of neighbours, those in each space.",
    lower_bound=1,
)
ROWS = flags.DEFINE_integer("rows", None, "Of interpolation: pairs (6). Of neighbours: samples (8).", lower_bound=1)
BETWEEN_ = flags.DEFINE_enum(
    "between", "both", list(BETWEEN), "Interpolates between two z of one class, two classes with one z, or both."
)
SPHERICAL = flags.DEFINE_bool(
    "spherical", False, "Interpolates z along the sphere: it keeps its length, but may leave its truncation."
)
THRESHOLDS = flags.DEFINE_list(
    "thresholds", None, "Of truncation. Default: the paper's, 2,1,0.5,0.04; for others 1,0.5,0.2,0.04."
)
NETWORK = flags.DEFINE_enum(
    "network",
    "classifier",
    [*NETWORKS, "none"],
    "Neighbours: in whose features, too; the classifier is fitted to the data.",
)
INCEPTION = flags.DEFINE_string("inception", None, 'Weights of inception-2015, or "download".')
DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where the training data are, for neighbours and classes' names. Default: as in training."
)


class Kind(NamedTuple):
    """How a sheet is drawn, which flags mean something to it, its usual columns, and its fewest."""

    draw: Callable[[TrainedGenerator, int], Sheet]
    flags: tuple[str, ...]
    columns: int
    fewest: int = 1


def main() -> None:
    if not (sampling_flags.CHECKPOINT.value and SHEET.value and OUT.value):
        raise UserError(
            "--checkpoint, --sheet and --out are needed, such as --checkpoint=runs/demo --sheet=classes --out=classes.png"
        )
    kind = choose(SHEETS, "--sheet", SHEET.value)
    out = check_out(epath.Path(OUT.value))
    refuse_idle_flags(kind)
    moves = out.suffix in animation.SUFFIXES
    columns = COLUMNS.value or (30 if moves else kind.columns)
    if columns < kind.fewest:
        raise UserError(f"--columns={columns} are too few for the sheet {SHEET.value}; it needs {kind.fewest} or more")
    sheet = kind.draw(sampling_flags.load(), columns)
    try:
        if moves:
            animation.save(out, animation.frames(sheet))
        else:
            pictures.save_png(out, layout.draw(sheet), least_width=1)
    except OSError as error:
        raise UserError(f"--out={out} cannot be written: {error}") from error
    rows, columns = sheet.images.shape[:2]
    print(f"{rows} rows of {columns} pictures in {out}")


def check_out(out: epath.Path) -> epath.Path:
    suffixes = (".png", *animation.SUFFIXES) if SHEET.value == "interpolation" else (".png",)
    if out.suffix not in suffixes:
        raise UserError(f"--out={out} must end in {' or '.join(suffixes)} for the sheet {SHEET.value}")
    if not out.parent.exists():
        raise UserError(f"--out={out}: the folder {out.parent} does not exist")
    animation.check(out)
    return out


def refuse_idle_flags(kind: Kind) -> None:
    """A flag that would change nothing was meant to change something."""
    some = {name for other in SHEETS.values() for name in other.flags}
    for name in sorted(some - set(kind.flags)):
        if flags.FLAGS[name].present:
            raise UserError(f"--{name} has no meaning for the sheet {SHEET.value}; see --help for what it goes with")
    if SHEET.value == "truncation" and sampling_flags.TRUNCATION.value is not None:
        raise UserError("the sheet truncation shows several; give them by --thresholds instead of --truncation")


def by_class(draw: Callable[..., Sheet], most: int) -> Callable[[TrainedGenerator, int], Sheet]:
    """The sheets that need no more than a sampler and classes, of which there are usually `most`."""

    def drawn(trained: TrainedGenerator, columns: int) -> Sheet:
        classes = chosen_classes(trained, most)
        rows = len(draws.chunks_of(trained.gan)) + 1 if draw is draws.chunks else 1
        check_count(len(classes) * rows, columns)
        names = names_of(trained)
        sampler = sampling_flags.ready(trained, sampling_flags.truncation_of(trained))
        return draw(sampler, classes, columns, sampling_flags.SEED.value, names)

    return drawn


def draw_interpolation(trained: TrainedGenerator, columns: int) -> Sheet:
    classes, rows = chosen_classes(trained, 10), ROWS.value or 6
    check_count(rows, columns)
    if BETWEEN_.value != "z":
        pairs(classes, rows)  # Refuses what cannot be, before what takes long.
    names = names_of(trained)
    sampler = sampling_flags.ready(trained, sampling_flags.truncation_of(trained))
    return interpolation(
        sampler,
        classes,
        rows,
        columns,
        between=BETWEEN_.value,
        spherical=SPHERICAL.value,
        seed=sampling_flags.SEED.value,
        names=names,
    )


def draw_truncation(trained: TrainedGenerator, columns: int) -> Sheet:
    usual = PAPER if sampling_flags.truncation_of(trained, 1.0).kind == "resample" else OTHERS
    thresholds = [threshold(text) for text in THRESHOLDS.value] if THRESHOLDS.value else usual
    classes = chosen_classes(trained, 2)
    check_count(len(classes) * len(thresholds), columns)
    for t in thresholds:  # All of them, before the first takes its time.
        check_statistics(trained, sampling_flags.truncation_of(trained, t), sampling_flags.STATISTICS.value)
    names = names_of(trained)
    # One after the other: of each there are statistics to be made.
    samplers = (sampling_flags.ready(trained, sampling_flags.truncation_of(trained, t)) for t in thresholds)
    return draws.truncation(samplers, classes, columns, sampling_flags.SEED.value, names)


def threshold(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (value > 0 and math.isfinite(value)):
        raise UserError(f"--thresholds: {text!r} is not a number greater than 0, such as those of 1,0.5,0.2")
    return value


def draw_neighbours(trained: TrainedGenerator, columns: int) -> Sheet:
    rows = ROWS.value or 8
    classes = np.sort(np.resize(chosen_classes(trained, rows), rows))
    check_count(rows, 1 + columns * (1 + (NETWORK.value != "none")))
    source = training_data(trained)
    names = names_of(trained)
    spaces = [neighbours.pixels()]
    if NETWORK.value != "none":
        training = Training(source, digest_of(source)) if NETWORK.value == "classifier" else None
        spaces.append(neighbours.features(open_network(NETWORK.value, inception=INCEPTION.value, training=training)))
    sampler = sampling_flags.ready(trained, sampling_flags.truncation_of(trained))
    samples = sampler.images(sampler.latents(rows, sampling_flags.SEED.value), classes)
    mirror = trained.config.data.flip
    return neighbours.neighbours(samples, [names[c] for c in classes], source, spaces, columns, mirror=mirror)


def chosen_classes(trained: TrainedGenerator, most: int) -> np.ndarray:
    return sampling_flags.chosen_classes(CLASSES.value, trained.gan.num_classes, most)


def check_count(rows: int, columns: int) -> None:
    if rows * columns > MOST:
        raise UserError(
            f"{rows} rows of {columns} pictures are more than the {MOST} that a sheet may have; "
            "give fewer --classes, --rows or --columns"
        )


def training_data(trained: TrainedGenerator) -> Source:
    config = trained.config.copy_and_resolve_references()
    config.data.dir = DATA_DIR.value or config.data.dir
    return make_source(config, "train")


def names_of(trained: TrainedGenerator) -> Sequence[str]:
    """The classes' names, if the data are there and say them, else their ids; none if there are no classes."""
    num_classes = trained.gan.num_classes
    if not num_classes:
        return [""]
    try:
        names = getattr(training_data(trained), "class_names", ())
    except UserError:
        if DATA_DIR.value:
            raise
        names = ()
    return names or [f"class {i}" for i in range(num_classes)]


SHEETS = {
    "classes": Kind(by_class(draws.classes, 10), ("columns",), 10),
    "fixed_z": Kind(by_class(draws.fixed_z, 10), ("columns",), 10),
    "interpolation": Kind(draw_interpolation, ("columns", "rows", "between", "spherical"), 9, fewest=2),
    "truncation": Kind(draw_truncation, ("columns", "thresholds"), 10),
    "neighbours": Kind(draw_neighbours, ("columns", "rows", "network", "inception"), 5),
    "chunks": Kind(by_class(draws.chunks, 2), ("columns",), 8, fewest=2),
}


def run() -> None:
    cli.run(main)


if __name__ == "__main__":
    run()
