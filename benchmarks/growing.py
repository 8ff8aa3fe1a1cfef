"""Grow a small training set by labelled samples of a GAN, and classify held-out digits with and without them.

    python benchmarks/growing.py [--own=20] [--own-steps=400] [--out=runs/growing]

A classifier is fitted to N real digits of each class, to these and samples, and to samples alone, and is tested on the 1,000 digits
that neither the classifier nor a generator has seen. Real and generated digits are half of each batch. Samples are those of
`digits`, whose generator has seen 4,000 digits, which bounds what samples can give; and for N of --own those of a generator that
is trained on the same N alone, which is what a user with few pictures has. Writes benchmarks/results/growing.json.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import time

import jax
import numpy as np

from biggan_jax import config as configs
from biggan_jax import data
from biggan_jax.checkpoint import load_generator
from biggan_jax.config.loading import load
from biggan_jax.data.dataset import Images
from biggan_jax.evaluation import classifier
from biggan_jax.sampling import pictures
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.tools.export import samples
from biggan_jax.train import train

RESULTS = pathlib.Path(__file__).parent / "results" / "growing.json"
PER_CLASS, SAMPLES, SEEDS, STEPS = (5, 20), 100, (0, 1), 400
"""Real digits of each class, samples of each class, seeds of the choice and of the classifier, and steps of its fit."""


def subset(source: Images, per_class: int, seed: int) -> Images:
    """Return per_class images of each class, chosen by the seed. A smaller subset of a seed is part of a larger one."""
    order = np.random.default_rng(seed).permutation(len(source))
    chosen = np.concatenate([order[source.labels[order] == label][:per_class] for label in range(source.num_classes)])
    return Images(source.images[chosen], source.labels[chosen], source.num_classes)


def drawn(checkpoint: str, per_class: int, seed: int, passes: int = 100) -> Images:
    """Return labelled samples, those that `biggan-export --per_class` writes."""
    sampler = Sampler.from_checkpoint(load_generator(checkpoint), passes=passes)
    labels, numbers = samples.rows_of(np.full(sampler.gan.num_classes, per_class))
    return Images(
        np.stack(list(samples.draw_pictures(sampler, seed, labels, numbers))), labels, sampler.gan.num_classes
    )


def joined(real: Images, generated: Images) -> Images:
    """Return both, the smaller one repeated, so that each is half of them."""
    count = max(len(real), len(generated))
    numbers = [np.resize(np.arange(len(one)), count) for one in (real, generated)]
    both = [(one.images[n], one.labels[n]) for one, n in zip((real, generated), numbers, strict=True)]
    images, labels = (np.concatenate(parts) for parts in zip(*both, strict=True))
    return Images(images, labels, real.num_classes)


def accuracy(fitted_to: Images, test: Images, seed: int, steps: int = STEPS) -> float:
    """Return the share of the test images that a classifier fitted to others tells right."""
    params = classifier.fit(fitted_to, seed=seed, steps=steps, batch_size=32)
    apply = jax.jit(classifier.Network(test.num_classes).apply)
    _, logits = apply(params, pictures.to_rgb(test.images))
    return float((np.asarray(logits).argmax(1) == test.labels).mean())


def trained_on(real: Images, steps: int, run: pathlib.Path) -> str:
    """Train a generator on these images alone; return its run. With so few, D overfits without DiffAugment."""
    folder = run.with_name(f"{run.name}-data")
    if not folder.exists():
        run.parent.mkdir(parents=True, exist_ok=True)
        np.savez(run.with_suffix(".npz"), image=real.images, label=real.labels)
        flags = "--from=arrays", f"--in={run.with_suffix('.npz')}", f"--out={folder}", "--workers=1"
        subprocess.run([sys.executable, "-m", "biggan_jax.data.prepare", *flags], check=True)
    c = load("quickstart")
    c.num_steps, c.checkpoint_every, c.sample_every, c.score.every = steps, steps, 0, 0
    c.data.update(name="tfds", dir=str(folder), flip=False)
    c.stability.update(expected="", on_collapse="ignore")
    c.augment.policy = ("translation", "cutout")
    configs.validate(c)
    assert train(c, run)
    return str(run)


def summary(values: list[float]) -> dict[str, float]:
    return {"mean": round(float(np.mean(values)), 4), "least": round(min(values), 4), "greatest": round(max(values), 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--own", type=int, default=20, help="digits of each class that a generator is trained on; 0: none"
    )
    parser.add_argument("--own-steps", type=int, default=400, help="steps of that training")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/growing"))
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS)
    given = parser.parse_args()
    began = time.process_time()
    c = load("quickstart")
    real, test = data.make_source(c, "train"), data.make_source(c, "test")
    assert isinstance(real, Images) and isinstance(test, Images)
    about = {"samples_per_class": SAMPLES, "seeds": len(SEEDS), "classifier_steps": STEPS, "held_out": len(test)}
    found: dict = {"about": about, "accuracy": {}}
    rows = found["accuracy"]
    generated = {seed: drawn("digits", SAMPLES, seed) for seed in SEEDS}
    rows["samples of digits alone"] = summary([accuracy(generated[seed], test, seed) for seed in SEEDS])
    for per_class in PER_CLASS:
        few = {seed: subset(real, per_class, seed) for seed in SEEDS}
        rows[f"{per_class} real"] = summary([accuracy(few[seed], test, seed) for seed in SEEDS])
        both = [accuracy(joined(few[seed], generated[seed]), test, seed) for seed in SEEDS]
        rows[f"{per_class} real and samples of digits"] = summary(both)
        print(json.dumps(rows), flush=True)
    if given.own:
        few = subset(real, given.own, 0)
        own = drawn(trained_on(few, given.own_steps, given.out / f"own-{given.own}"), SAMPLES, 0)
        about |= {"own_steps": given.own_steps}
        one, with_own = f"a generator of {given.own} real", joined(few, own)
        rows[f"samples of {one} alone"] = summary([accuracy(own, test, seed) for seed in SEEDS])
        rows[f"the same {given.own} real alone"] = summary([accuracy(few, test, seed) for seed in SEEDS])
        rows[f"the same {given.own} real and samples of {one}"] = summary(
            [accuracy(with_own, test, seed) for seed in SEEDS]
        )
    rows["all 4,000 real"] = summary([accuracy(real, test, seed) for seed in SEEDS])
    about["cpu_seconds"] = round(time.process_time() - began)
    given.results.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
