"""Distances of our augmentations from recordings of StyleGAN2-ADA's pipeline: images, and gradients by images."""

import re

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import erfinv

from biggan_jax.augment import ada
from tests.convert.recordings import Comparison, load, to_nchw, to_nhwc, under

PEER = "NVlabs/stylegan2-ada-pytorch"
MODEL = "AugmentPipe"

NAMES = {
    "flip": "xflip", "quarter_turns": "rotate90", "shift": "xint",
    "scale": "scale", "turn_before": "rotate", "stretch": "aniso", "turn_after": "rotate", "fractional_shift": "xfrac",
    "brightness": "brightness", "contrast": "contrast", "luma_flip": "lumaflip", "hue": "hue", "saturation": "saturation",
    "band_0": "imgfilter", "band_1": "imgfilter", "band_2": "imgfilter", "band_3": "imgfilter",
    "noise": "noise", "cutout": "cutout",
}  # fmt: skip
"""The peer's argument for each transformation."""


def comparison(path):
    """Compare each run of a file: with recorded draws (p0.8), or with all draws at one percentile (dp0.3)."""
    arrays, meta = load(path)
    x, cotangent = to_nhwc(arrays["x"]), to_nhwc(arrays["cotangent"])
    found = Comparison(arrays, meta)
    for run in sorted({name.rpartition("/")[0] for name in arrays if name.endswith("/y")}):
        kind, number = re.fullmatch(r"(?:full_)?(d?p)([\d.]+)", run).groups()
        pipe = pipeline(meta["full_kwargs" if run.startswith("full_") else "kwargs"])
        draws = under(f"{run}/draw/", arrays)
        values = at_percentile(pipe, float(number)) if kind == "dp" else drawn(pipe, draws, float(number), x.shape[3])
        values = {name: jnp.broadcast_to(value, (len(x), value.shape[1])) for name, value in values.items()}
        noise = to_nhwc(draws["noise_n"]) if "noise_n" in draws else None
        y, pull_back = jax.vjp(lambda x, v=values, n=noise: ada.transform(x, v, n), jnp.asarray(x))
        found.outputs(f"{run}, images", {f"{run}/y": to_nchw(y)})
        found.gradients(f"{run}, gradients", {f"{run}/grad_x": to_nchw(pull_back(jnp.asarray(cotangent))[0])})
    return found


def pipeline(arguments):
    """Return the pipeline of the peer's arguments, whose strengths must be those of whole groups."""
    strengths = {}
    for name, own in ada.TRANSFORMS.items():
        strengths.setdefault(own.group, set()).add(float(arguments.get(NAMES[name], 0)))
    assert all(len(found) == 1 for found in strengths.values()), strengths
    return ada.Ada(tuple((group, *found) for group, found in strengths.items() if found != {0.0}))


def drawn(pipe, draws, p, channels):
    """Return the values of recorded draws. The peer draws neither hue nor saturation of grey images."""
    found = {}
    for name, own in ada.TRANSFORMS.items():
        if own.group in dict(pipe.strengths):
            theirs = {"turn_before": "rotate_pre", "turn_after": "rotate_post"}.get(name, NAMES[name])
            if channels == 1 and name in ("hue", "saturation"):
                found[name] = jnp.ones(1), jnp.zeros((1, own.numbers))  # A coin that no probability exceeds.
                continue
            (numbers,) = (draws[f"{theirs}_{kind}"] for kind in ("i", "t", "theta", "n") if f"{theirs}_{kind}" in draws)
            coin = draws[f"{theirs}_u"]
            found[name] = jnp.asarray(coin.reshape(len(coin))), jnp.asarray(numbers.reshape(len(numbers), -1))
    return pipe.values(found, p)


def at_percentile(pipe, share):
    """Return each transformation's value at a percentile, as the peer's debugging does: without the second rotation."""
    found = {}
    for name, own in ada.TRANSFORMS.items():
        if own.group in dict(pipe.strengths):
            # The peer takes erfinv for the inverse of the normal distribution.
            number = erfinv(share) if name == "noise" else erfinv(2 * share - 1) if own.normal else share
            found[name] = own.value(jnp.full((1, own.numbers), np.float32(number)))
    if "turn_after" in found:
        found["turn_after"] = jnp.zeros((1, 1))
    return found
