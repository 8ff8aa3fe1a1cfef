"""Draw samples from a checkpoint, by biggan-sample or python -m biggan_jax.sample:

biggan-sample --checkpoint=DIR [--classes=0,1,7] [--num=64] --out=grid.png
biggan-sample --checkpoint=DIR --text="a red flag" [--text="a blue one"] --out=grid.png

A .png is a grid, one row per class. A .tif has a page for each sample, with any number of channels. An .npz holds the samples
as `arr_0` (uint8 or uint16 [N, H, W, C], or float32 in [-1, 1] with --float), z and y. A folder gets a .png for each sample.
All but the grid take the classes in turn, as biggan-evaluate does.

Clips have a row of frames each in a .png, and play in a .gif or .mp4; a folder gets a .gif for each. Their arr_0 is
[N, T, H, W, C], and a page of a .tif is a frame.
"""

from absl import flags
from etils import epath

from biggan_jax.errors import UserError
from biggan_jax.flags import drawing, paths
from biggan_jax.runtime import cli
from biggan_jax.sampling.labels import LABELINGS
from biggan_jax.sampling.ranges import parse_seeds

CLASSES = flags.DEFINE_list(
    "classes", None, drawing.CLASSES_HELP + " Default: all; in a .png up to ten, spread over all."
)
NUM = flags.DEFINE_integer("num", None, "Number of samples, divided over the classes. Default: 8 per class.", 1)
LABELS = flags.DEFINE_enum(
    "labels", "balanced", list(LABELINGS), "How classes are drawn; data: with the frequencies of the training data."
)
SEEDS = flags.DEFINE_list("seeds", None, "One image per seed (and class), such as 0-35 or 3,8,20-29, instead of --num.")
OUT = cli.define_path(
    "out", None, "A .png, .tif or .npz file, or a folder for one .png per image; of clips also a .gif or .mp4."
)
FLOAT = flags.DEFINE_bool("float", False, "In an .npz: float32 images in [-1, 1] instead of uint8.")
BITS = flags.DEFINE_enum("bits", None, ("8", "16"), "Bits of images. Default: those of the training data.")
CONDITIONS = cli.define_path(
    "conditions",
    None,
    "For a model conditioned on real numbers: an .npz or .csv of conditions [N, k]. Default: the training data's.",
)
TEXT = flags.DEFINE_multi_string(
    "text",
    None,
    "For a model of captions: a text to draw; give the flag again for several. Default: the training data's.",
)
TEXTS = cli.define_path("texts", None, "For a model of captions: a file of texts, one a line.")
LATENTS = cli.define_path(
    "latents", None, "An .npz with arrays z (or w) and y to draw from, instead of random latents."
)


def check() -> None:
    """Refuse flags that do not go together, and files that are not there."""
    cli.require(drawing.CHECKPOINT, OUT, example="--checkpoint=runs/demo --out=grid.png")
    out = paths.check_out(OUT.value, (".png", ".tif", ".npz", *paths.ANIMATIONS, ""))
    paths.check_animation(out)
    if LATENTS.value:
        own = "num", "classes", "conditions", "text", "texts", "labels", "seeds"
        cli.refuse(own, "with --latents, which determines the samples")
    if sum(map(bool, (TEXT.value, TEXTS.value, CONDITIONS.value))) > 1:
        raise UserError("--text, --texts and --conditions are three ways to say what is drawn; give one of them")
    if SEEDS.value is not None:
        cli.refuse(("num", "seed", "labels"), "with --seeds, which gives one image per seed")
        parse_seeds(SEEDS.value)
    if FLOAT.value and (is_folder(out) or out.suffix != ".npz"):
        raise UserError(f"--float has no effect on a {'folder' if is_folder(out) else out.suffix}; write an .npz")
    if FLOAT.value and BITS.value:
        raise UserError("--float and --bits are two types of arr_0; give one of them")
    paths.check_inputs(LATENTS, CONDITIONS)
    paths.check_inputs(TEXTS, why="cannot be read as UTF-8 text: No such file or directory")
    drawing.check()


def is_folder(out: epath.Path) -> bool:
    return not out.suffix or out.is_dir()


parse = cli.flags_parser(__name__, check)
