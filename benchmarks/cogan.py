"""Train CoGAN on digits and their edges, and measure whether its pairs are pairs: benchmarks/results/cogan.json.

    python benchmarks/cogan.py [--config=classic/cogan_narrow] [--out=runs/cogan]

Figures are means over 1,000 samples (Liu & Tuzel 2016 learn the edge without pairs), of edge(A) and B, both above half of white:
the share of pixels that agree, which is their measure; the intersection over union, pixel by pixel; and the share of white pixels
that have one of the other's within a pixel. Beside them stand real pairs, and samples whose B is that of another sample. Of 300
samples of each checkpoint there is B's shift, rows and columns, with which the intersection over union is largest: 0, 0 if B lies
on A's edge. Seconds are those of this process: of a resumed run, a part.
"""

import argparse
import functools
import itertools
import json
import pathlib

import figures
import numpy as np
from scipy import ndimage

from biggan_jax import config as configs
from biggan_jax import data
from biggan_jax.checkpoint import checkpoint_steps, load_generator
from biggan_jax.config.loading import load
from biggan_jax.data import builtin
from biggan_jax.sampling import pictures
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.train import train

RESULTS = pathlib.Path(__file__).parent / "results" / "cogan.json"
SAMPLES, SHOWN = 1000, 40
HALF, QUARTER = 127, 63  # Of white.


def white(a: np.ndarray, b: np.ndarray, threshold: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the white pixels of edge(a) and of b, uint8 [N, H, W]."""
    return builtin.edges(a) > threshold, b > threshold


def overlap(a: np.ndarray, b: np.ndarray, threshold: int = HALF) -> float:
    """Return the mean intersection over union of edge(a) and b; pairs without a white pixel are left out."""
    edge, other = white(a, b, threshold)
    union = (edge | other).sum((1, 2))
    return float(np.mean((edge & other).sum((1, 2))[union > 0] / union[union > 0]))


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Return the share of pixels that are white, or are not, in both edge(a) and b."""
    edge, other = white(a, b, HALF)
    return float(np.mean(edge == other))


def nearby(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mean share of white pixels of edge(a) and b that have a white pixel of the other within one pixel."""
    edge, other = white(a, b, HALF)
    wide = lambda pixels: ndimage.binary_dilation(pixels, np.ones((1, 3, 3), bool))
    found = (edge & wide(other)).sum((1, 2)) + (other & wide(edge)).sum((1, 2))
    count = edge.sum((1, 2)) + other.sum((1, 2))
    return float(np.mean(found[count > 0] / count[count > 0]))


def best_shift(a: np.ndarray, b: np.ndarray) -> tuple[int, int]:
    """Return the rows and columns, up to 2, by which b is moved where it overlaps edge(a) most."""
    return max(itertools.product(range(-2, 3), repeat=2), key=lambda shift: overlap(a, np.roll(b, shift, (1, 2))))


MEASURES = {
    "agreement": agreement,
    "iou": overlap,
    "iou_above_a_quarter": functools.partial(overlap, threshold=QUARTER),
    "nearby": nearby,
}


def samples(checkpoint: pathlib.Path, count: int) -> np.ndarray:
    """Draw pairs, A on the left of B: uint8 [count, 28, 56]."""
    sampler = Sampler.from_checkpoint(load_generator(checkpoint))
    return np.asarray(sampler.images(sampler.latents(count), np.zeros(count, np.int32)))[..., 0]


def over_steps(run: pathlib.Path) -> list[dict]:
    """Return the overlap and the best shift at each checkpoint of a run."""
    rows = []
    for step in checkpoint_steps(run):
        a, b = np.split(samples(run / "checkpoints" / str(step), 300), 2, axis=2)
        rows.append({"step": step, "iou": round(overlap(a, b), 4), "shift": best_shift(a, b)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", default="classic/cogan_narrow")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/cogan"))
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS, help="the file of figures")
    arguments = parser.parse_args()
    c = load(arguments.config)
    c.checkpoint_keep = 100
    configs.validate(c)
    done, seconds = figures.timed(lambda: train(c, arguments.out))
    assert done
    pairs = samples(arguments.out, SAMPLES)
    a, b = np.split(pairs, 2, axis=2)
    source = data.make_source(c, "test")
    real = source.read(np.arange(len(source)), np.full(len(source), 0.5)).images
    halves = [real[..., 0], real[..., 1]] if real.shape[-1] == 2 else np.split(real[..., 0], 2, axis=2)
    pairs_of = {"": (a, b), "_of_real_pairs": halves, "_of_shuffled_pairs": (a, np.roll(b, 1, axis=0))}
    found = {"config": arguments.config, "steps": c.num_steps}
    for measure, of in MEASURES.items():
        found |= {f"{measure}{name}": round(of(*pair), 4) for name, pair in pairs_of.items()}
    found |= {"over_steps": over_steps(arguments.out)}
    found |= seconds
    arguments.results.write_text(json.dumps(found, indent=2) + "\n")
    pictures.save_png(arguments.out / "pairs.png", pictures.grid(pairs[:SHOWN, ..., None], columns=8))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
