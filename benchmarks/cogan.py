"""Train CoGAN on digits and their edges, and measure whether its pairs are pairs: benchmarks/results/cogan.json.

    python benchmarks/cogan.py [--config=classic/cogan_narrow] [--out=runs/cogan]

The figure is the mean over 1,000 samples of the intersection over union of edge(A) and B, both above half of white (Liu & Tuzel
2016 learn the edge without pairs). Beside it stand real pairs, and samples whose B is that of another sample.
"""

import argparse
import json
import pathlib
import resource
import time

import numpy as np

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", default="classic/cogan_narrow")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/cogan"))
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS, help="the file of figures")
    arguments = parser.parse_args()
    c = load(arguments.config)
    configs.validate(c)
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    assert train(c, arguments.out)
    after = resource.getrusage(resource.RUSAGE_SELF)
    sampler = Sampler.from_checkpoint(load_generator(arguments.out))
    pairs = np.asarray(sampler.images(sampler.latents(SAMPLES), np.zeros(SAMPLES, np.int32)))[..., 0]
    a, b = np.split(pairs, 2, axis=2)
    source = data.make_source(c, "test")
    real = source.read(np.arange(len(source)), np.full(len(source), 0.5)).images
    halves = [real[..., 0], real[..., 1]] if real.shape[-1] == 2 else np.split(real[..., 0], 2, axis=2)
    found = {
        "config": arguments.config,
        "steps": c.num_steps,
        "iou": round(overlap(a, b), 4),
        "iou_of_real_pairs": round(overlap(*halves), 4),
        "iou_of_shuffled_pairs": round(overlap(a, np.roll(b, 1, axis=0)), 4),
        "train_seconds": round(time.monotonic() - began),
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime),
    }
    arguments.results.write_text(json.dumps(found, indent=2) + "\n")
    pictures.save_png(arguments.out / "pairs.png", pictures.grid(pairs[:SHOWN, ..., None], columns=8))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
