"""Deep Dream: exaggerate in a picture what a layer of a network sees in it, by biggan-dream or python -m biggan_jax.tools.dream:

biggan-dream --picture=photo.jpg --out=dream.png [--layer=block_5] [--guide=flowers.jpg]
biggan-dream --picture=photo.jpg --out=dream.gif --zoom=40
biggan-dream --checkpoint=RUN --picture=photo.jpg --out=dream.png
biggan-dream [--checkpoint=RUN] --layer=list

The network is EfficientNet-Lite0, Inception, or the discriminator of a trained run. The picture may be grey, transparent, of 8 or
16 bits and of any size. No file is overwritten.
"""

from absl import flags
from etils import epath

from biggan_jax.errors import UserError
from biggan_jax.flags import paths, values
from biggan_jax.runtime import cli

LONGEST, FRAMES = 4096, 2000

PICTURE = cli.define_path("picture", None, "An image file.")
OUT = cli.define_path("out", None, "A new .png file; with --zoom a .gif or .mp4.")
NETWORK = flags.DEFINE_enum(
    "network", "efficientnet-lite0", ["efficientnet-lite0", "inception-2015"], "The network, without --checkpoint."
)
INCEPTION = cli.define_path("inception", None, "Inception's weights: a .pth or .npz, or `download`.")
CHECKPOINT = cli.define_path(
    "checkpoint", None, "A workdir (its latest step), or one step, whose discriminator dreams."
)
DISCRIMINATOR = flags.DEFINE_string("discriminator", None, "Which of a run's discriminators. Default: the first.")
LAYER = flags.DEFINE_string("layer", None, "A layer by its name; `list` prints all. Default: one in the middle.")
GUIDE = cli.define_path("guide", None, "A picture whose outputs of the layer the picture is moved to.")
ZOOM = flags.DEFINE_integer("zoom", None, "Frames of a video that zooms into the dream.", 1, FRAMES)
SIZE = flags.DEFINE_integer(
    "size", None, "The longer side in pixels. Default: the picture's, but no more than 512, or 256 for small D.", 1, LONGEST
)  # fmt: skip
STEPS = flags.DEFINE_integer("steps", 10, "Steps in each octave.", 1)
OCTAVES = flags.DEFINE_integer("octaves", 4, "Sizes of the picture, from small to large.", 1, 20)
SCALE = flags.DEFINE_float("scale", 1.4, "Ratio of the sizes of two octaves.", 1.01, 10.0)
JITTER = flags.DEFINE_integer("jitter", 32, "Largest random shift in each step, in pixels.", 0, LONGEST)
STEP_SIZE = flags.DEFINE_float("step_size", 1.5, "Mean change of a pixel in a step, of 255.", 1e-3, 255.0)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the random shifts.", 0, 2**31 - 1)
RANGE = flags.DEFINE_string("range", None, "LOW:HIGH, black and white of pictures of floats or of more than 8 bits.")


def check() -> None:
    if CHECKPOINT.value:
        cli.refuse(("network", "inception"), "with --checkpoint, whose discriminator dreams")
        paths.check_checkpoint(CHECKPOINT.value)
    else:
        cli.refuse(("discriminator",), "without --checkpoint")
        if NETWORK.value != "inception-2015":
            cli.refuse(("inception",), f"with --network={NETWORK.value}")
    if LAYER.value != "list":
        cli.require(PICTURE, OUT, example="--picture=photo.jpg --out=dream.png")
        check_out()
        if RANGE.value:
            values.limits_of(RANGE.value)
        paths.check_inputs(PICTURE, GUIDE)


def check_out() -> None:
    """Check --out. Raises UserError for another suffix, a missing folder, or a file that exists."""
    out, suffixes = epath.Path(OUT.value), paths.ANIMATIONS if ZOOM.value else (".png",)
    if out.suffix not in suffixes:
        with_zoom = f" with --zoom={ZOOM.value}" if ZOOM.value else "; for .gif and .mp4 give --zoom"
        raise UserError(f"--out={out} must end in {' or '.join(suffixes)}{with_zoom}")
    if not out.parent.is_dir():
        raise UserError(f"--out={out}: the folder {out.parent} does not exist")
    paths.check_animation(out)
    check_new(out)


def check_new(out: epath.Path) -> None:
    """Raise UserError if --out exists."""
    if out.exists():
        raise UserError(f"--out={out} exists; give the name of a new file, or delete it")


parse = cli.flags_parser(__name__, check)
