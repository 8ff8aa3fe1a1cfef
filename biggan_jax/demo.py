"""Train on real digits in minutes, draw samples, evaluate them: the work of biggan-demo."""

import dataclasses
import json
import time
from typing import Any

import jax
import numpy as np
from etils import epath

from biggan_jax import data
from biggan_jax.checkpoint import load_generator
from biggan_jax.evaluation.evaluator import Evaluator
from biggan_jax.evaluation.networks import open_network
from biggan_jax.evaluation.reference import reference_of
from biggan_jax.flags.demo import CONFIG, OUT, SEED
from biggan_jax.runtime import cli
from biggan_jax.runtime.files import write_text
from biggan_jax.sampling import pictures
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.state import init_state
from biggan_jax.train import train

SAMPLES = 1000  # Samples that are evaluated.


def main() -> int:
    config, out = CONFIG.value, epath.Path(OUT.value)
    if SEED.value is not None:
        config.seed = SEED.value
    began = time.monotonic()
    finished = train(config, out)
    path, seconds = out / "report.json", out / "train_seconds.json"
    report = stored(path) if (out / "samples.png").exists() else {}
    if not finished or report.get("steps") != config.num_steps:
        # The sum over interrupted runs is stored.
        train_seconds = time.monotonic() - began + (stored(seconds) or 0.0)
        seconds.write_text(json.dumps(train_seconds))
        if not finished:
            return cli.RUN_AGAIN
        report = evaluate(config, out, train_seconds)
        write_text(path, json.dumps(report, indent=2) + "\n")
    print_report(report, out)
    return cli.SUCCESS


def stored(path: epath.Path) -> Any:
    """Return what an earlier run of the demo stored; {} if it is missing or damaged."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}


def evaluate(config, out: epath.Path, train_seconds: float) -> dict:
    """Draw samples.png, and return the report on the trained run in `out`."""
    trained = load_generator(out)
    sampler = Sampler.from_checkpoint(trained, seed=config.seed)
    # Each row has ten different digits, each column one digit.
    y = np.tile(np.arange(10, dtype=np.int32), 10)
    images = sampler.images(sampler.latents(100, config.seed), y)
    pictures.save_png(out / "samples.png", pictures.grid(images, columns=10))

    fresh = jax.jit(lambda seed: init_state(trained.gan, seed).networks["G"])(config.seed)
    untrained = dataclasses.replace(trained, params=fresh.params, stats=fresh.stats)
    real, held_out = data.make_source(config, "train"), data.make_source(config, "test")
    classifier = open_network("classifier", training=real)
    reference = reference_of(held_out, f"all {len(held_out):,} held-out real images", classifier)
    evaluator = Evaluator(classifier, reference, ("agreement", "fid"), SAMPLES, config.seed)
    generated = evaluator.evaluate(sampler).overall
    baseline = evaluator.evaluate(Sampler.from_checkpoint(untrained, seed=config.seed)).overall
    # The distance is that of training images, the agreement that of held-out ones, which the classifier has not seen.
    distance = evaluator.evaluate_source(real, SAMPLES).overall["frechet_distance"]
    agreement = evaluator.evaluate_source(held_out).overall["class_agreement"]
    protocol = evaluator.protocol(sampler.truncation, sampler.statistics)
    return {
        **generated,
        "real_class_agreement": agreement,
        "real_frechet_distance": distance,
        **{f"untrained_{name}": value for name, value in baseline.items()},
        "classifier_heldout_accuracy": agreement,
        "train_seconds": round(train_seconds, 1),
        "steps": trained.step,
        "seed": config.seed,
        "protocol": f"Not Inception FID, and not comparable with it: {protocol.words()}",
    }


def print_report(report: dict, out: epath.Path) -> None:
    print(f"\n{'':22}{'class agreement':>16}{'Frechet distance':>18}")
    for name, prefix in (("generated", ""), ("real, held out", "real_"), ("untrained generator", "untrained_")):
        print(f"{name:22}{report[prefix + 'class_agreement']:16.3f}{report[prefix + 'frechet_distance']:18.1f}")
    print(f"\n{report['protocol']}\n")
    print(f"{report['steps']} steps, {report['train_seconds']:.0f} s of training, compilation included")
    print(f"samples     {out / 'samples.png'}\ncheckpoint  {out / 'checkpoints'}/\nreport      {out / 'report.json'}")


run = cli.command(main, compiles=True)


if __name__ == "__main__":
    run()
