"""Train BigGAN on 500 pictures with and without ADA and LeCam, and plot the distance to held-out pictures over training.

    python benchmarks/small_data.py --pictures=FOLDER [--steps=10000] [--seeds=0,1] [--only=plain,ada] [--out=runs/small]

FOLDER has at least 800 pictures, at any depth: 500 of them, chosen at random, are trained on at 32 pixels, up to 1,000 others are
held out. All variants have the same pictures, and per seed the same first weights. EfficientNet-Lite0 judges each checkpoint by
its distance to the held-out pictures. What is done already is kept, so the same command continues. Writes OUT/results.json,
OUT/distance.png and a grid of samples of each run.
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys

import ml_collections
import numpy as np
from matplotlib.figure import Figure

from biggan_jax import config as configs
from biggan_jax import data
from biggan_jax.checkpoint import checkpoint_steps, load_generator
from biggan_jax.evaluation.evaluator import Evaluator
from biggan_jax.evaluation.networks import open_network
from biggan_jax.evaluation.reference import reference_of
from biggan_jax.runtime import jsonl
from biggan_jax.runtime.metric_writer import PROBES
from biggan_jax.sampling import pictures
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.train import train

TRAINED_ON, HELD_OUT, SIZE = 500, 1000, 32

ADA = {"augment.ada": ("blit", "geometry", "colour"), "augment.target": 0.6, "augment.speed": 100_000.0}
LECAM = {"regularizer.lecam": 0.3, "regularizer.lecam_start": 500}
VARIANTS = {
    "plain": {},
    "ada": ADA,
    "lecam": LECAM,
    "ada_lecam": ADA | LECAM,
    "diffaugment": {"augment.policy": ("colour", "translation", "cutout")},
}
"""Name to changes of the config."""


def config_of(prepared: pathlib.Path, variant: str, seed: int, steps: int, ch: int, checkpoints: int):
    """Return the config of one run: a narrow BigGAN without classes."""
    c = configs.base()
    c.seed, c.num_steps, c.batch_size, c.d_steps = seed, steps, 32, 2
    c.model.update(resolution=SIZE, num_classes=0, ch=ch, dim_z=64, g_attention=(), d_attention=())
    c.optimizer.update(g_lr=2e-4, d_lr=4e-4, b2=0.99)
    c.ema.decay = 0.999
    c.data.update(name="tfds", dir=str(prepared))
    c.log_every, c.sample_every, c.checkpoint_every = 50, 0, max(steps // checkpoints, 1)
    c.checkpoint_keep = checkpoints + 1
    c.stability.update(every=max(steps // 100, 1), on_collapse="ignore")
    c.update_from_flattened_dict(VARIANTS[variant])
    configs.validate(c)
    return c


def prepare(folder: pathlib.Path | None, out: pathlib.Path) -> pathlib.Path:
    """Prepare the pictures once: TRAINED_ON for training, the others, up to HELD_OUT, as the split test."""
    prepared = out / "data"
    if prepared.exists():
        return prepared
    if folder is None:
        raise SystemExit(f"{prepared} does not exist: give --pictures")
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"))
    chosen = random.Random(0).sample(files, min(len(files), TRAINED_ON + HELD_OUT))
    if len(chosen) < TRAINED_ON + 300:
        raise SystemExit(f"{folder} has {len(files)} pictures, which is fewer than {TRAINED_ON + 300}")
    links = out / "pictures" / "all"
    links.mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(chosen):
        link = links / f"{number:05d}{file.suffix.lower()}"
        link.unlink(missing_ok=True)
        link.symlink_to(file.resolve())
    command = [sys.executable, "-m", "biggan_jax.data.prepare", "--from=folder", f"--in={links.parent}"]
    command += [f"--out={prepared}", f"--size={SIZE}", "--crop=pad", f"--held_out={len(chosen) - TRAINED_ON}"]
    subprocess.run(command, check=True)
    return prepared


def judge(prepared: pathlib.Path, samples: int) -> Evaluator:
    """Return the evaluator of that many samples against the held-out pictures."""
    c = configs.base()
    c.data.update(name="tfds", dir=str(prepared))
    c.model.update(resolution=SIZE, num_classes=0)
    network = open_network("efficientnet-lite0")
    reference = reference_of(data.make_source(c, "test"), "held-out pictures", network)
    return Evaluator(network, reference, ("fid",), samples)


def measure(c: ml_collections.ConfigDict, evaluator: Evaluator, run: pathlib.Path) -> list[dict]:
    """Train, and return the distance, the probability of augmentation and D's gap at each checkpoint."""
    if not train(c, run):
        raise SystemExit("stopped; the same command continues")
    rows = []
    for step in checkpoint_steps(run):
        trained = load_generator(run / "checkpoints" / str(step))
        sampler = Sampler.from_checkpoint(trained)
        distance = evaluator.evaluate(sampler).overall["frechet_distance"]
        rows.append({"step": step, "samples": evaluator.num, "distance": round(float(distance), 3)})
    pictures.save_png(
        run / "samples.png", pictures.grid(sampler.images(sampler.latents(64), np.zeros(64, np.int32)), columns=8)
    )
    metrics = jsonl.read(run, "metrics")
    probes = [{"step": record["step"], **record["signals"]} for record in jsonl.read(run, PROBES)]
    for records, name in ((metrics, "augment_p"), (metrics, "d_signs"), (probes, "d_gap")):
        for row in rows:
            past = [record[name] for record in records if record["step"] <= row["step"] and name in record]
            row |= {name: round(past[-1], 4)} if past else {}
    return rows


def plot(results: dict[str, list[dict]], file: pathlib.Path) -> None:
    """Plot the distance over steps: a line per run, a colour per variant."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for number, variant in enumerate(VARIANTS):
        runs = [rows for name, rows in results.items() if name.rpartition("-")[0] == variant]
        for i, rows in enumerate(runs):
            points = [row["step"] for row in rows], [row["distance"] for row in rows]
            axes.plot(*points, color=f"C{number}", label=None if i else variant)
    axes.set(xlabel="step", ylabel="distance to held-out pictures (EfficientNet-Lite0)", yscale="log")
    axes.legend()
    figure.savefig(file, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--pictures", type=pathlib.Path, help="a folder of pictures; not needed where OUT/data is prepared"
    )
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--ch", type=int, default=16, help="channel multiplier")
    parser.add_argument("--checkpoints", type=int, default=10, help="how often a run is judged")
    parser.add_argument("--samples", type=int, default=2000, help="samples that are judged each time")
    parser.add_argument("--seeds", default="0,1", help="numbers, separated by commas")
    parser.add_argument("--only", default=",".join(VARIANTS), help="names of variants, separated by commas")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/small"))
    arguments = parser.parse_args()
    prepared, file = prepare(arguments.pictures, arguments.out), arguments.out / "results.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    runs = {
        f"{variant}-{seed}": (variant, int(seed))
        for seed in arguments.seeds.split(",")
        for variant in arguments.only.split(",")
    }
    wanted = {"step": arguments.steps, "samples": arguments.samples}
    missing = [name for name in runs if not (name in known and wanted.items() <= known[name][-1].items())]
    # Before hours of training, since its weights may be missing.
    evaluator = judge(prepared, arguments.samples) if missing else None
    for name, (variant, seed) in runs.items():
        if name in missing:
            c = config_of(prepared, variant, seed, arguments.steps, arguments.ch, arguments.checkpoints)
            known[name] = measure(c, evaluator, arguments.out / name)
            file.write_text(json.dumps(known, indent=2) + "\n")
        print(name, json.dumps(known[name][-1]), flush=True)
    plot(known, arguments.out / "distance.png")


if __name__ == "__main__":
    main()
