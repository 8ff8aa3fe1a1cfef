"""Draw a diagnostic grid of samples, by biggan-sheets or python -m biggan_jax.tools.grids:

biggan-sheets --checkpoint=DIR --sheet=NAME --out=FILE

NAME: classes, fixed_z, interpolation, truncation, neighbours, chunks or style_mixing. FILE: a .png; for
interpolation also a .gif or .mp4.
"""

from absl import flags

from biggan_jax.config import choose
from biggan_jax.errors import UserError
from biggan_jax.flags import drawing, paths
from biggan_jax.flags.choices import NETWORKS
from biggan_jax.runtime import cli

SHEET = flags.DEFINE_string(
    "sheet", None, "classes, fixed_z, interpolation, truncation, neighbours, chunks or style_mixing."
)
OUT = cli.define_path("out", None, "A .png file; for interpolation also a .gif or .mp4.")
CLASSES = flags.DEFINE_list("classes", None, drawing.CLASSES_HELP + " Default: some, spread over all.")
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

GRIDS = {
    "classes": (10, 1, ()),
    "fixed_z": (10, 1, ()),
    "interpolation": (9, 2, ("rows", "between", "spherical", "space")),
    "truncation": (10, 1, ("thresholds",)),
    "neighbours": (5, 1, ("rows", "network", "inception")),
    "chunks": (8, 2, ()),
    "style_mixing": (6, 1, ("rows", "layers")),
}
"""Of each grid, the default and the least number of columns, and its flags besides --classes and --columns."""


def check() -> None:
    sheet = SHEET.value
    if not (drawing.CHECKPOINT.value and sheet and OUT.value):
        raise UserError("give --checkpoint, --sheet and --out, such as --checkpoint=DIR --sheet=classes --out=a.png")
    _, least, own = choose(GRIDS, "--sheet", sheet)
    suffixes = (".png", *paths.ANIMATIONS) if sheet == "interpolation" else (".png",)
    paths.check_animation(paths.check_out(OUT.value, suffixes, f" for --sheet={sheet}"))
    known = {name for *_, names in GRIDS.values() for name in names}
    cli.refuse(known - {*own}, f"with --sheet={sheet}")
    if sheet == "truncation" and drawing.TRUNCATION.value is not None:
        raise UserError("--sheet=truncation draws several; give them by --thresholds instead of --truncation")
    if columns() < least:
        raise UserError(f"--columns={columns()} is too few for --sheet={sheet}; give {least} or more")
    drawing.check()


def columns() -> int:
    """Return the number of columns."""
    default, *_ = GRIDS[SHEET.value]
    return COLUMNS.value or (30 if OUT.value.endswith(paths.ANIMATIONS) else default)


parse = cli.flags_parser(__name__, check)
