"""Train a narrow VGAN on moving digits, and measure how its clips move: benchmarks/results/video.json.

    python benchmarks/video.py [--out=runs/video] [--steps=1500]

A figure is the mean absolute difference of grey levels in [-1, 1] between frames that follow each other: of samples and of
held-out clips, as they are and with the frames of each clip shuffled. A still clip has 0; one whose frames have nothing to do with
each other has as much as when it is shuffled.
"""

import argparse
import json
import pathlib

import figures
import numpy as np

from biggan_jax import config as configs
from biggan_jax import data
from biggan_jax.checkpoint import load_generator
from biggan_jax.config.loading import load
from biggan_jax.sampling import pictures
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.tools import layout
from biggan_jax.train import train

RESULTS = pathlib.Path(__file__).parent / "results" / "video.json"
PRESET, CLIPS, PASSES = "classic/vgan_digits", 512, 16
SHOWN = 8  # Clips of a sheet.


def motion(clips: np.ndarray, frames: int) -> dict[str, float]:
    """Return the figures of clips uint8 [N, frames * H, W, C]."""
    each = pictures.frames_of(clips, frames).astype(np.float32) / 127.5
    order = np.random.default_rng(0).permuted(np.tile(np.arange(frames), (len(each), 1)), axis=1)
    mixed = np.stack([clip[own] for clip, own in zip(each, order, strict=True)])
    found = {name: float(np.abs(np.diff(x, axis=1)).mean()) for name, x in (("l1", each), ("shuffled_l1", mixed))}
    return {name: round(value, 4) for name, value in found.items()} | {
        "share": round(found["l1"] / found["shuffled_l1"], 3)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/video"))
    parser.add_argument("--steps", type=int, help="instead of the preset's")
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS, help="the file of figures that is written")
    arguments = parser.parse_args()
    c = load(PRESET)
    if arguments.steps:
        c.num_steps = arguments.steps
    configs.validate(c)
    done, times = figures.timed(lambda: train(c, arguments.out))
    assert done
    times |= figures.device()
    sampler = Sampler.from_checkpoint(load_generator(arguments.out), passes=PASSES)
    frames, zeros = sampler.gan.frames, np.zeros(CLIPS, np.int32)
    clips = sampler.images(sampler.latents(CLIPS), zeros)
    real = data.make_source(c, "test").read(np.arange(CLIPS), np.full(CLIPS, 0.5)).images
    for name, own in (("samples", clips), ("real", real)):
        pictures.save_png(arguments.out / f"{name}.png", pictures.sheet(own[:SHOWN], SHOWN, frames))
        layout.save_animation(arguments.out / f"{name}.gif", layout.played(own[:16], frames, columns=4))
    about = {"preset": PRESET, "steps": c.num_steps, "batch_size": c.batch_size, "clips": CLIPS}
    found = about | {"samples": motion(clips, frames), "real": motion(real, frames)} | times
    arguments.results.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
