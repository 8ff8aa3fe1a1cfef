"""Deep Dream: exaggerate in a picture what a layer of a network sees in it, by biggan-dream or python -m biggan_jax.tools.dream:

biggan-dream --picture=photo.jpg --out=dream.png [--layer=block_5] [--guide=flowers.jpg]
biggan-dream --picture=photo.jpg --out=dream.gif --zoom=40
biggan-dream --checkpoint=RUN --picture=photo.jpg --out=dream.png
biggan-dream [--checkpoint=RUN] --layer=list

The network is EfficientNet-Lite0, Inception, or the discriminator of a trained run. The picture may be grey, transparent, of 8 or
16 bits and of any size. No file is overwritten.
"""

import logging

import numpy as np
from absl import flags
from etils import epath

from biggan_jax.data import ranges
from biggan_jax.runtime import cli
from biggan_jax.runtime.files import writing
from biggan_jax.sampling import pictures
from biggan_jax.tools import layout
from biggan_jax.tools.dream import layers
from biggan_jax.tools.dream.ascent import Dreamer, Octave, Settings
from biggan_jax.tools.dream.source import fitted, read_picture
from biggan_jax.types import UserError

logger = logging.getLogger("biggan_jax.tools.dream")

DEFAULTS, LONGEST, FRAMES = Settings(), 4096, 2000

PICTURE = cli.define_path("picture", None, "An image file.")
OUT = cli.define_path("out", None, "A new .png file; with --zoom a .gif or .mp4.")
NETWORK = flags.DEFINE_enum(
    "network", "efficientnet-lite0", list(layers.NETWORKS), "The network, without --checkpoint."
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
STEPS = flags.DEFINE_integer("steps", DEFAULTS.steps, "Steps in each octave.", 1)
OCTAVES = flags.DEFINE_integer("octaves", DEFAULTS.octaves, "Sizes of the picture, from small to large.", 1, 20)
SCALE = flags.DEFINE_float("scale", DEFAULTS.scale, "Ratio of the sizes of two octaves.", 1.01, 10.0)
JITTER = flags.DEFINE_integer("jitter", DEFAULTS.jitter, "Largest random shift in each step, in pixels.", 0, LONGEST)
STEP_SIZE = flags.DEFINE_float(
    "step_size", DEFAULTS.step_size, "Mean change of a pixel in a step, of 255.", 1e-3, 255.0
)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the random shifts.", 0, 2**31 - 1)
RANGE = flags.DEFINE_string("range", None, "LOW:HIGH, black and white of pictures of floats or of more than 8 bits.")


def main() -> None:
    if LAYER.value == "list":
        show(open_network())
        return
    cli.require(PICTURE, OUT, example="--picture=photo.jpg --out=dream.png")
    out = check_out()
    limits = ranges.parse(RANGE.value) if RANGE.value else None
    read = lambda flag: read_picture(flag.name, flag.value, limits)
    given, guide = read(PICTURE), read(GUIDE) if GUIDE.value else None
    network = open_network()
    layer = network.check_layer(LAYER.value or "")
    fit = lambda image: fitted(image, network.shape[2], SIZE.value or min(network.long, max(image.shape[:2])))
    settings = Settings(STEPS.value, OCTAVES.value, SCALE.value, JITTER.value, STEP_SIZE.value)
    dreamer = Dreamer(network, layer, settings, None if guide is None else fit(guide), SEED.value)
    frames, image = [], fit(given)
    for dream in dreamer.zoom(image, ZOOM.value or 1):
        frames.append(np.rint(dream.pixels).astype(np.uint8))
        if len(frames) == 1:
            describe(network, layer, dream.octaves)
    check_new(out)  # It may have been made in the meantime.
    with writing(f"--out={out}"):
        if ZOOM.value:
            layout.save_animation(out, [pictures.to_rgb(frame) for frame in frames])
        else:
            pictures.save_png(out, frames[0], min_width=1)
    what = f"{len(frames)} frames" if ZOOM.value else "a picture"
    print(f"{what} of {image.shape[1]} x {image.shape[0]} pixels in {out}")


def open_network() -> layers.Network:
    """Open the network that the flags name. Raises UserError."""
    if CHECKPOINT.value:
        cli.refuse(("network", "inception"), "with --checkpoint, whose discriminator dreams")
        return layers.discriminator(CHECKPOINT.value, DISCRIMINATOR.value)
    cli.refuse(("discriminator",), "without --checkpoint")
    if NETWORK.value != "inception-2015":
        cli.refuse(("inception",), f"with --network={NETWORK.value}")
    return layers.NETWORKS[NETWORK.value](INCEPTION.value)


def show(network: layers.Network) -> None:
    """Print the layers and the shapes of their outputs."""
    height, width, _ = network.shape
    print(f"layers of {network.name}, and the shapes of their outputs for {height} x {width} pixels:")
    for name, shape in network.layers().items():
        size = " x ".join(map(str, shape))
        print(f"  {name:40} {size}{'   (default)' * (name == network.layer)}")


def describe(network: layers.Network, layer: str, octaves: list[Octave]) -> None:
    """Print how the score grew. Warn if it did not."""
    score = "likeness" if GUIDE.value else "norm"
    for number, octave in enumerate(octaves, 1):
        grown = f"{score} of {layer} {octave.before:.4g} to {octave.after:.4g}"
        print(f"octave {number} of {len(octaves)}, {octave.width} x {octave.height}: {grown}")
    if all(octave.after <= octave.before for octave in octaves):
        logger.warning("the layer %s of %s does not grow on this picture; choose another --layer", layer, network.name)


def check_out() -> epath.Path:
    """Return --out. Raises UserError for another suffix, a missing folder, or a file that exists."""
    out, suffixes = epath.Path(OUT.value), layout.ANIMATIONS if ZOOM.value else (".png",)
    if out.suffix not in suffixes:
        with_zoom = f" with --zoom={ZOOM.value}" if ZOOM.value else "; for .gif and .mp4 give --zoom"
        raise UserError(f"--out={out} must end in {' or '.join(suffixes)}{with_zoom}")
    if not out.parent.is_dir():
        raise UserError(f"--out={out}: the folder {out.parent} does not exist")
    layout.check_animation(out)
    check_new(out)
    return out


def check_new(out: epath.Path) -> None:
    if out.exists():
        raise UserError(f"--out={out} exists; give the name of a new file, or delete it")


run = cli.command(main, compiles=True)

if __name__ == "__main__":
    run()
