"""Deep Dream: exaggerate in a picture what a layer of a network sees in it: the work of biggan-dream."""

import logging

import numpy as np
from etils import epath

from biggan_jax.flags.dream import (
    CHECKPOINT,
    DISCRIMINATOR,
    GUIDE,
    INCEPTION,
    JITTER,
    LAYER,
    NETWORK,
    OCTAVES,
    OUT,
    PICTURE,
    RANGE,
    SCALE,
    SEED,
    SIZE,
    STEP_SIZE,
    STEPS,
    ZOOM,
    check_new,
)
from biggan_jax.flags.values import limits_of
from biggan_jax.runtime import cli
from biggan_jax.runtime.files import writing
from biggan_jax.sampling import pictures
from biggan_jax.tools import layout
from biggan_jax.tools.dream import layers
from biggan_jax.tools.dream.ascent import Dreamer, Octave, Settings, without_growth
from biggan_jax.tools.dream.source import fitted, read_picture

logger = logging.getLogger("biggan_jax.tools.dream")


def main() -> None:
    if LAYER.value == "list":
        show(open_network())
        return
    out = epath.Path(OUT.value)
    limits = limits_of(RANGE.value) if RANGE.value else None
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
        return layers.discriminator(CHECKPOINT.value, DISCRIMINATOR.value)
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
    if fallen := without_growth(octaves):
        where = "this picture" if len(fallen) == len(octaves) else f"octave {', '.join(map(str, fallen))}"
        what = "the layer %s of %s does not grow on %s; choose another --layer, or a smaller --step_size"
        logger.warning(what, layer, network.name, where)


run = cli.command(main, compiles=True)

if __name__ == "__main__":
    run()
