"""Train BigGAN at 32 pixels here and in BigGAN-PyTorch, on the same digits, and compare: results/biggan32_against_peer.json.

    python benchmarks/against_biggan_pytorch.py --peer=DIR --peer-python=PYTHON [--seeds=0,1,2] [--out=runs/against]

DIR is a checkout of ajbrock/BigGAN-PyTorch, PYTHON one with torch and numpy. Runs of both take turns, seed by seed; those of other
initial biases come last. What is done already is kept, so the same command continues. All write samples at the checkpoints to
OUT/SIDE-chCH-STEPS-SEED/STEP.npz, and the same classifier judges them.
"""

import argparse
import functools
import itertools
import json
import math
import pathlib
import subprocess
import sys
from unittest import mock

import jax
import ml_collections
import numpy as np
import scipy.stats
from matplotlib.figure import Figure
from measure import environment

from biggan_jax import config as configs
from biggan_jax import data
from biggan_jax.checkpoint import load_generator, resume
from biggan_jax.data.dataset import Images
from biggan_jax.evaluation import features
from biggan_jax.evaluation.cache import hash_of_file
from biggan_jax.evaluation.evaluator import Evaluator
from biggan_jax.evaluation.networks import open_network
from biggan_jax.evaluation.reference import reference_of
from biggan_jax.sampling import pictures
from biggan_jax.sampling.sampler import Sampler
from biggan_jax.train import train

FOLDER = pathlib.Path(__file__).parent
RESULTS = FOLDER / "results" / "biggan32_against_peer.json"
PLOT = FOLDER.parent / "docs" / "images" / "against_biggan_pytorch.png"
DRIVER = FOLDER / "train_biggan_pytorch.py"

SIDES = "ours", "peer"
UNIFORM = "ours_with_uniform_initial_biases"
METRICS = "frechet_distance", "class_agreement"
SAMPLES, PASSES, CHECKPOINTS = 2000, 20, 5  # Samples and batches of standing statistics per checkpoint; checkpoints.

CHANGES = {
    "data.name": "mnist5k", "num_steps": 1500, "batch_size": 32, "d_steps": 1, "model.ch": 8, "model.dim_z": 60,
    "model.shared_dim": 32, "model.bn_group": 0, "model.shared_embedding": True, "model.skip_z": True, "model.init": "orthogonal",
    "optimizer.g_lr": 4e-4, "optimizer.d_lr": 8e-4,
    "optimizer.b2": 0.99, "ema.decay": 0.99, "ema.start": 100, "stability.every": 0, "sample_every": 0,
}  # fmt: skip
"""What differs from configs/peers/ajbrock_cifar.py: a run of minutes, and the paper's G, which uses shared embeddings and skip-z."""

INITS = {"orthogonal": "ortho", "normal": "N02", "xavier": "xavier"}


def config_of(seed: int, steps: int = CHANGES["num_steps"], ch: int = CHANGES["model.ch"]) -> ml_collections.ConfigDict:
    c = configs.load("peers/ajbrock_cifar")
    c.update_from_flattened_dict(CHANGES | {"seed": seed, "num_steps": steps, "model.ch": ch})
    c.checkpoint_every, c.checkpoint_keep = steps // CHECKPOINTS, CHECKPOINTS
    configs.validate(c)
    return c


def checkpoints_of(c: ml_collections.ConfigDict) -> list[int]:
    return list(range(c.checkpoint_every, c.num_steps + 1, c.checkpoint_every))


def peer_flags(c: ml_collections.ConfigDict) -> list[str]:
    """Return BigGAN-PyTorch's flags for the same networks and training."""
    m, o = c.model, c.optimizer
    values = {
        "batch_size": c.batch_size, "num_D_steps": c.d_steps, "seed": c.seed, "G_ch": m.g_ch or m.ch, "D_ch": m.d_ch or m.ch,
        "dim_z": m.dim_z, "shared_dim": m.shared_dim, "G_init": INITS[m.init], "D_init": INITS[m.init], "BN_eps": m.bn_eps,
        "SN_eps": m.spectral_eps, "G_attn": 0, "D_attn": 0,
        "G_lr": o.g_lr, "D_lr": o.d_lr, "G_B1": o.b1, "D_B1": o.b1, "G_B2": o.b2, "D_B2": o.b2, "adam_eps": o.eps,
        "ema_decay": c.ema.decay, "ema_start": c.ema.start, "num_standing_accumulations": PASSES,
    }  # fmt: skip
    switches = (
        ["--G_shared"] * m.shared_embedding
        + ["--hier"] * m.skip_z
        + ["--ema", "--use_ema", "--mybn", "--accumulate_stats"]
    )
    return [f"--{name}={value}" for name, value in values.items()] + switches


def export(c: ml_collections.ConfigDict, path: pathlib.Path) -> None:
    """Write the training images and labels as arrays."""
    source = data.make_source(c, "train")
    reading = source.read(np.arange(len(source)), np.full(len(source), 0.5))
    np.savez(path, arr_0=reading.images, y=reading.labels)


def run_ours(c: ml_collections.ConfigDict, out: pathlib.Path) -> None:
    """Train, and write samples of the averaged G at each checkpoint."""
    if not train(c, out / "run"):
        sys.exit("against_biggan_pytorch: stopped; the same command continues")
    y = np.arange(SAMPLES, dtype=np.int32) % c.model.num_classes
    for step in checkpoints_of(c):
        trained = load_generator(out / "run" / "checkpoints" / str(step))
        sampler = Sampler.from_checkpoint(trained, passes=PASSES, seed=c.seed)
        np.savez(out / f"{step}.npz", arr_0=sampler.images(sampler.latents(SAMPLES, c.seed), y), y=y)


def uniform_biases(params: dict, rng: np.random.Generator) -> dict:
    """Return the parameters with PyTorch's initial biases of layers: uniform within 1 / sqrt(inputs)."""
    new = {name: uniform_biases(value, rng) if hasattr(value, "items") else value for name, value in params.items()}
    if {"kernel", "bias"} <= params.keys():
        bound = math.prod(params["kernel"].shape[:-1]) ** -0.5
        new["bias"] = jax.device_put(rng.uniform(-bound, bound, params["bias"].shape).astype(np.float32))
    return new


def run_with_uniform_biases(c: ml_collections.ConfigDict, out: pathlib.Path) -> None:
    """The same as run_ours, from other initial biases, which the config cannot ask for."""
    original, rng = resume.restore_or_init, np.random.default_rng(c.seed)

    def start(*arguments):
        state = original(*arguments)
        if int(state.step):
            return state
        networks = {k: net.replace(params=uniform_biases(net.params, rng)) for k, net in state.networks.items()}
        averages = {name: jax.tree.map(jax.numpy.copy, networks[name].params) for name in state.averages}
        return state.replace(networks=networks, averages=averages)

    with mock.patch.object(resume, "restore_or_init", start):
        run_ours(c, out)


def run_peer(c: ml_collections.ConfigDict, out: pathlib.Path, options: argparse.Namespace) -> None:
    steps = ",".join(map(str, checkpoints_of(c)))
    where = [f"--peer={options.peer}", f"--data={options.out / 'digits.npz'}", f"--out={out}", f"--steps={steps}"]
    subprocess.run([options.peer_python, str(DRIVER), *where, f"--samples={SAMPLES}", *peer_flags(c)], check=True)


def judge(c: ml_collections.ConfigDict) -> Evaluator:
    """Return the evaluator of both sides: a classifier fitted to the training digits, and the held-out digits."""
    network = open_network("classifier", training=data.make_source(c, "train"))
    reference = reference_of(data.make_source(c, "test"), "held-out digits", network)
    return Evaluator(network, reference, ("fid", "agreement"), SAMPLES)


def evaluate(evaluator: Evaluator, path: pathlib.Path) -> dict[str, float]:
    arrays = np.load(path)
    images = Images(arrays["arr_0"], arrays["y"], 10)
    found = evaluator.evaluate_images(features.of_source(images, np.arange(len(images)), 64)).overall
    return {name: round(found[name], 4) for name in METRICS}


def grid(path: pathlib.Path) -> None:
    """Draw the first hundred samples of a file, a digit per column."""
    pictures.save_png(path.with_suffix(".png"), pictures.grid(np.load(path)["arr_0"][:100], columns=10))


def summary(curves: dict) -> list[dict]:
    """Compare both sides per metric and checkpoint. curves: {side: {seed: {step: {metric: value}}}}.

    within: whether our mean lies between the peer's least and greatest seed. p: of equal means, by Welch's test.
    """
    rows = []
    for metric in METRICS:
        for step in next(iter(curves["ours"].values())):
            ours, peer = ([run[step][metric] for run in curves[side].values()] for side in SIDES)
            row = {"metric": metric, "step": int(step)}
            for side, values in (("ours", ours), ("peer", peer)):
                row[side] = {"mean": round(float(np.mean(values)), 4), "least": min(values), "greatest": max(values)}
            row["within"] = row["peer"]["least"] <= row["ours"]["mean"] <= row["peer"]["greatest"]
            row["p"] = round(float(scipy.stats.ttest_ind(ours, peer, equal_var=False).pvalue), 3)
            rows.append(row)
    return rows


def table(rows: list[dict]) -> str:
    """Return the summary as Markdown: mean (least to greatest) over seeds."""
    lines = [
        "| metric | step | biggan_jax | BigGAN-PyTorch | our mean within their spread | p |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = ["{mean:.3g} ({least:.3g} to {greatest:.3g})".format(**row[side]) for side in SIDES]
        within = "yes" if row["within"] else "no"
        lines.append(f"| {row['metric']} | {row['step']:,} | {cells[0]} | {cells[1]} | {within} | {row['p']:.2f} |")
    return "\n".join(lines)


def plot(curves: dict, rows: list[dict], path: pathlib.Path) -> None:
    """Plot each seed thinly, the means boldly, and the peer's spread as a band."""
    figure = Figure(figsize=(10, 4), dpi=100, layout="constrained")
    styles = {"ours": ("tab:blue", "biggan_jax"), "peer": ("tab:orange", "BigGAN-PyTorch")}
    styles |= {UNIFORM: ("tab:green", "biggan_jax, uniform initial biases")} if UNIFORM in curves else {}
    for axes, metric in zip(figure.subplots(1, 2), METRICS, strict=True):
        found = [row for row in rows if row["metric"] == metric]
        steps, peer = [row["step"] for row in found], [row["peer"] for row in found]
        band = [row["least"] for row in peer], [row["greatest"] for row in peer]
        axes.fill_between(steps, *band, color="tab:orange", alpha=0.2, label="BigGAN-PyTorch, spread of seeds")
        for side, (colour, name) in styles.items():
            for run in curves[side].values():
                axes.plot(steps, [run[str(step)][metric] for step in steps], color=colour, linewidth=0.7)
            means = [np.mean([run[str(step)][metric] for run in curves[side].values()]) for step in steps]
            axes.plot(steps, means, "o-", color=colour, linewidth=2.2, label=f"{name}, mean")
        axes.set(xlabel="step", title=metric.replace("_", " "), xticks=steps)
        axes.grid(alpha=0.2)
    figure.axes[0].set_yscale("log")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.savefig(path)


def versions(peer: pathlib.Path, peer_python: str) -> dict[str, str]:
    """Return the versions of both sides' libraries, and hashes of the peer's files that decide the result."""
    command = [peer_python, "-c", "import torch; print(torch.__version__)"]
    torch = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    hashes = {name: hash_of_file(peer / name)[:12] for name in ("BigGAN.py", "layers.py", "train_fns.py", "utils.py")}
    return environment()["versions"] | {"torch": torch} | hashes


def hyperparameters(c: ml_collections.ConfigDict) -> dict:
    """Return the keys of the config that decide the result, and the peer's flags for the same."""
    keys = {name: c[name] for name in ("loss", "dtype", "num_steps", "batch_size", "d_steps")}
    for section in ("model", "optimizer", "ema"):
        keys |= {f"{section}.{name}": value for name, value in c[section].to_dict().items()}
    both = {"data": "mnist5k, 32 pixels, no augmentation", "standing_statistics": f"{PASSES} batches of 64"}
    return both | {"ours": keys, "peer": peer_flags(c)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peer", type=pathlib.Path, required=True, help="a checkout of ajbrock/BigGAN-PyTorch")
    parser.add_argument("--peer-python", required=True, help="a Python with torch and numpy")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=CHANGES["num_steps"], help="a multiple of the 5 checkpoints")
    parser.add_argument("--ch", type=int, default=CHANGES["model.ch"], help="channels of both networks")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/against"))
    parser.add_argument("--json", type=pathlib.Path, default=RESULTS)
    parser.add_argument("--plot", type=pathlib.Path, default=PLOT)
    options = parser.parse_args()
    if not (options.peer / "BigGAN.py").is_file():
        parser.error(f"--peer={options.peer} has no BigGAN.py; give a checkout of ajbrock/BigGAN-PyTorch")
    if options.steps < CHECKPOINTS or options.steps % CHECKPOINTS:
        parser.error(f"--steps={options.steps} is not a multiple of {CHECKPOINTS}, the number of checkpoints")
    seeds = options.seeds.split(",")
    if len(seeds) < 2:
        parser.error(f"--seeds={options.seeds} is one run, which has no spread; give two or more")
    options.out.mkdir(parents=True, exist_ok=True)

    c = config_of(0, options.steps, options.ch)
    export(c, options.out / "digits.npz")
    evaluator = judge(c)
    report = {
        "hyperparameters": hyperparameters(c),
        "versions": versions(options.peer, options.peer_python),
        "samples": SAMPLES,
    }
    real = evaluator.evaluate_source(data.make_source(c, "train"), SAMPLES).overall
    report["training_digits"] = {metric: round(real[metric], 4) for metric in METRICS}
    runs = {"ours": run_ours, "peer": functools.partial(run_peer, options=options), UNIFORM: run_with_uniform_biases}
    curves = report["curves"] = {side: {} for side in runs}
    for seed, side in [*itertools.product(seeds, SIDES), *((seed, UNIFORM) for seed in seeds)]:
        c = config_of(int(seed), options.steps, options.ch)
        out = options.out / f"{side}-ch{options.ch}-{options.steps}-{seed}"
        files = [out / f"{step}.npz" for step in checkpoints_of(c)]
        if not files[-1].exists():
            runs[side](c, out)
        curves[side][seed] = {file.stem: evaluate(evaluator, file) for file in files}
        grid(files[-1])
        print(side, seed, curves[side][seed], flush=True)
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    report["summary"] = summary(curves)
    options.json.write_text(json.dumps(report, indent=1) + "\n")
    plot(curves, report["summary"], options.plot)
    print(table(report["summary"]))


if __name__ == "__main__":
    main()
