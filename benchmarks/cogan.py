"""Train CoGAN on digits and their edges, and measure whether its pairs are pairs: benchmarks/results/cogan.json.

    python benchmarks/cogan.py [--config=classic/cogan_narrow] [--out=runs/cogan]

Figures are means over 1,000 samples (Liu & Tuzel 2016 learn the edge without pairs), of edge(A) and B, both above half of white:
their intersection over union, pixel by pixel; and the share of their white pixels that have one of the other's within a pixel.
Beside them stand real pairs, and samples whose B is that of another sample.
"""

import argparse
import json
import pathlib

import figures
import numpy as np
from scipy import ndimage

from biggan_jax import config as configs
from biggan_jax import data
from biggan_jax.checkpoint import load_generator
from biggan_jax.config.loading import load
from biggan_jax.data import builtin
from biggan_jax.sampling import pictures
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.train import train

RESULTS = pathlib.Path(__file__).parent / "results" / "cogan.json"
SAMPLES, SHOWN = 1000, 40


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mean intersection over union of edge(a) and b, uint8 [N, H, W]; pairs without a white pixel are left out."""
    edge, other = builtin.edges(a) > 127, b > 127
    union = (edge | other).sum((1, 2))
    return float(np.mean((edge & other).sum((1, 2))[union > 0] / union[union > 0]))


def nearby(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mean share of white pixels of edge(a) and b that have a white pixel of the other within one pixel."""
    edge, other = builtin.edges(a) > 127, b > 127
    wide = lambda white: ndimage.binary_dilation(white, np.ones((1, 3, 3), bool))
    found = (edge & wide(other)).sum((1, 2)) + (other & wide(edge)).sum((1, 2))
    count = edge.sum((1, 2)) + other.sum((1, 2))
    return float(np.mean(found[count > 0] / count[count > 0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", default="classic/cogan_narrow")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/cogan"))
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS, help="the file of figures")
    arguments = parser.parse_args()
    c = load(arguments.config)
    configs.validate(c)
    done, seconds = figures.timed(lambda: train(c, arguments.out))
    assert done
    sampler = Sampler.from_checkpoint(load_generator(arguments.out))
    pairs = np.asarray(sampler.images(sampler.latents(SAMPLES), np.zeros(SAMPLES, np.int32)))[..., 0]
    a, b = np.split(pairs, 2, axis=2)
    source = data.make_source(c, "test")
    real = source.read(np.arange(len(source)), np.full(len(source), 0.5)).images
    halves = [real[..., 0], real[..., 1]] if real.shape[-1] == 2 else np.split(real[..., 0], 2, axis=2)
    pairs_of = {"": (a, b), "_of_real_pairs": halves, "_of_shuffled_pairs": (a, np.roll(b, 1, axis=0))}
    found = {"config": arguments.config, "steps": c.num_steps}
    found |= {f"iou{name}": round(overlap(*pair), 4) for name, pair in pairs_of.items()}
    found |= {f"nearby{name}": round(nearby(*pair), 4) for name, pair in pairs_of.items()}
    found |= seconds
    arguments.results.write_text(json.dumps(found, indent=2) + "\n")
    pictures.save_png(arguments.out / "pairs.png", pictures.grid(pairs[:SHOWN, ..., None], columns=8))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
