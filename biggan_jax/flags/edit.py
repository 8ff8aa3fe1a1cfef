"""Edit the latents of a trained generator, by biggan-edit or python -m biggan_jax.tools.edit:

biggan-edit --do=mix --checkpoint=DIR --y="3 - 5 + 8" [--z="a.npz:0 - b.npz:3 + 0.5*c.npz:1"] --out=mix
biggan-edit --do=find --checkpoint=DIR --attribute=slant|--latents=a.npz --labels=a.csv --out=slant
biggan-edit --do=sefa --checkpoint=DIR [--layers=0-3] --out=factors
biggan-edit --do=move --checkpoint=DIR --direction=slant.npz [--component=2] [--latents=a.npz] --out=moved
biggan-edit --do=move --checkpoint=DIR --direction="slant.npz - 0.5*factors.npz:2" --out=moved
biggan-edit --do=invert --checkpoint=DIR --picture=cat.jpg [--class=281] [--space=w] [--mask=alpha] --out=cat

Each writes OUT.png, a picture of the result, and OUT.npz. biggan-sample --latents=OUT.npz draws from it; after --do=find and
--do=sefa it holds directions, for --do=move --direction=OUT.npz.
"""

import math

from absl import flags

from biggan_jax.config import choose
from biggan_jax.errors import UserError
from biggan_jax.flags import drawing, paths
from biggan_jax.runtime import cli

ATTRIBUTES = ("brightness", "saturation", "slant")

DO = flags.DEFINE_string("do", None, "mix, find, sefa, move or invert.")
OUT = cli.define_path("out", None, "Name of two files, OUT.png and OUT.npz, with or without a suffix.")
Y = flags.DEFINE_string("y", None, "mix: a sum of classes, by id or name, such as '207 - 281 + 0.5*3'.")
Z = flags.DEFINE_string("z", None, "mix: a sum of latents, FILE.npz:ROW; without --y, also of their classes.")
RESCALE = flags.DEFINE_bool("rescale", False, "mix: scale the sum of latents to the mean norm of its terms.")
NUM = flags.DEFINE_integer("num", None, "mix, move: samples (6); sefa: 1. find: samples to learn from (2000).", 1)
CLASS = flags.DEFINE_string("class", None, "find, sefa, move, invert: only this class, by id or name. Default: all.")
LATENTS = cli.define_path("latents", None, "find, move: an .npz with z and y, instead of random latents.")
ATTRIBUTE = flags.DEFINE_string("attribute", None, f"find: measured on the samples: {', '.join(ATTRIBUTES)}.")
LABELS = cli.define_path("labels", None, "find: 0 or 1, or a score, for each of --latents: .npz, .csv or .txt.")
DIRECTION = cli.define_path(
    "direction", None, "move: the .npz that `find` or `sefa` wrote, or a sum: 'a.npz - 0.5*b.npz:2'."
)
COMPONENT = flags.DEFINE_integer("component", 1, "move: which of the directions of `sefa`, from 1.", 1)
COMPONENTS = flags.DEFINE_integer("components", 5, "sefa: number of directions.", 1, 512)
LAYERS = flags.DEFINE_list(
    "layers", None, "sefa: layers with a w, or blocks with batch norm, such as 0-3. Default: all."
)
BY = flags.DEFINE_float("by", 3.0, "find, sefa, move: distance along it, both ways, in standard deviations of z or w.")
COLUMNS = flags.DEFINE_integer("columns", 7, "find, sefa, move: steps from -by to +by.", 2)
PICTURE = cli.define_path("picture", None, "invert: an image file; it is cropped to the centre.")
MASK = cli.define_path(
    "mask",
    None,
    "invert: only these pixels count: an image file, white where they do; or `alpha`, those not transparent.",
)
CANDIDATES = flags.DEFINE_integer("candidates", 128, "invert: random latents, of which the best are optimised.", 1)
RESTARTS = flags.DEFINE_integer("restarts", 8, "invert: number of latents to optimise.", 1)
STEPS = flags.DEFINE_integer("steps", 300, "invert: steps of Adam.", 1)
PRIOR = flags.DEFINE_float("prior", 0.0, "invert: weight of z's log-likelihood in the loss, such as 0.01.", 0.0)
SPACE = flags.DEFINE_enum(
    "space",
    None,
    ["z", "w", "w+"],
    "invert: optimise z, one w, or one w for each layer. Default: w, if there is one.",
)
NOISE_WEIGHT = flags.DEFINE_float(
    "noise_weight", 1e5, "invert: weight of the correlation of noise in w's loss; 0: noise is not optimised.", 0.0
)
LPIPS = cli.define_path("lpips", None, "invert in w: by LPIPS; torchvision's file of VGG16, or `download`.")
LPIPS_HEADS = cli.define_path("lpips_heads", None, "LPIPS's own weights, vgg.pth. Default: those of the package lpips.")

EDITS = {
    "mix": ("y", "z", "num", "rescale"),
    "find": ("num", "class", "latents", "attribute", "labels", "by", "columns"),
    "sefa": ("num", "class", "components", "layers", "by", "columns"),
    "move": ("num", "class", "latents", "direction", "component", "by", "columns"),
    "invert": (
        "class",
        "picture",
        "mask",
        "candidates",
        "restarts",
        "steps",
        "prior",
        "space",
        "noise_weight",
        "lpips",
        "lpips_heads",
    ),
}
"""The flags of each edit, besides those of the sampler."""


def check() -> None:
    """Refuse flags that do not go together, and files that are not there."""
    if not (DO.value and drawing.CHECKPOINT.value and OUT.value):
        raise UserError("--do, --checkpoint and --out are needed, such as --do=mix --checkpoint=runs/demo --out=mix")
    own = choose(EDITS, "--do", DO.value)
    cli.refuse({flag for known in EDITS.values() for flag in known} - set(own), f"with --do={DO.value}")
    paths.check_out(OUT.value)
    if DO.value == "mix" and not (Y.value or Z.value):
        raise UserError("--do=mix needs --y, --z or both, such as --y='3 - 5 + 8'")
    if Z.value and NUM.value:
        raise UserError("--z gives one latent; --num has no meaning with it")
    if DO.value == "find" and bool(ATTRIBUTE.value) == bool(LABELS.value):
        raise UserError("--do=find needs --attribute or --labels, not both, such as --attribute=brightness")
    if LABELS.value and not LATENTS.value:
        raise UserError("--labels needs the samples' latents: give --latents, an .npz that `sample` wrote")
    if LATENTS.value and (NUM.value or CLASS.value):
        raise UserError("--latents determines the samples; --num and --class have no meaning with it")
    if ATTRIBUTE.value:
        choose(dict.fromkeys(ATTRIBUTES), "--attribute", ATTRIBUTE.value)
    if not math.isfinite(BY.value):
        raise UserError(f"--by={BY.value} must be finite, such as 3")
    if DO.value == "move" and not DIRECTION.value:
        raise UserError("--do=move needs --direction, an .npz that --do=find or --do=sefa wrote")
    if DO.value == "invert" and not PICTURE.value:
        raise UserError("--do=invert needs --picture, an image file")
    if RESTARTS.value > CANDIDATES.value:
        raise UserError(f"--restarts={RESTARTS.value} is more than --candidates={CANDIDATES.value}; lower it")
    paths.check_inputs(PICTURE, LATENTS, LABELS)
    drawing.check()


parse = cli.flags_parser(__name__, check)
