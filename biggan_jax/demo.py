"""The demonstration: `python -m biggan_jax.demo [--seed=0] [--out=runs/demo]` trains the quickstart on real digits, draws, and judges.

It must not do anything that the other commands cannot.
"""

import json
import time

import jax
import numpy as np
from absl import flags
from etils import epath
from ml_collections import config_flags

from biggan_jax import cli, data, sampling
from biggan_jax.checkpoint import load_generator
from biggan_jax.config import config_path
from biggan_jax.evaluation import classifier, judge
from biggan_jax.state import init_state
from biggan_jax.train import train

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "A config file, or the name of one in configs/.", lock_config=True
)
SEED = flags.DEFINE_integer("seed", None, "Overrides the config's.", lower_bound=0, upper_bound=2**31 - 1)
OUT = flags.DEFINE_string("out", "runs/demo", "Folder of the run.")


def main() -> int:
    config, out = CONFIG.value, epath.Path(OUT.value)
    if SEED.value is not None:
        config.seed = SEED.value
    began = time.monotonic()
    finished = train(config, out)
    if finished and (report := finished_report(out, config.num_steps)):
        print_report(report, out)
        return cli.SUCCESS
    train_seconds = add_seconds(out, time.monotonic() - began)
    if not finished:
        return cli.RUN_AGAIN

    trained = load_generator(out)
    gan, u = trained.gan, trained.stats["spectral"]
    weights = sampling.evaluation_weights(gan, trained.params, u)
    moments = sampling.standing_statistics(gan, weights, config.seed)
    # A row holds ten different digits; a column one digit, ten times.
    z = sampling.draw_latents(gan, jax.random.key(config.seed), 100)
    y = np.tile(np.arange(10, dtype=np.int32), 10)
    sheet = sampling.grid(sampling.to_uint8(sampling.generate(gan, weights, moments, z, y)), columns=10)
    sampling.save_png(out / "samples.png", sheet)

    real, held_out = data.make_source(config, "train"), data.make_source(config, "test")
    fitted = classifier.fit(real)
    untrained = init_state(gan, config.seed)
    agreement, distance = judge.judge_samples(gan, trained.params, u, fitted, held_out, seed=config.seed)
    untrained_agreement, untrained_distance = judge.judge_samples(
        gan, untrained.generator.params, untrained.generator.stats["spectral"], fitted, held_out, seed=config.seed
    )
    real_agreement, real_distance = judge.judge_real(fitted, real, held_out)
    report = {
        "class_agreement": agreement,
        "frechet_distance": distance,
        "real_class_agreement": real_agreement,
        "real_frechet_distance": real_distance,
        "untrained_class_agreement": untrained_agreement,
        "untrained_frechet_distance": untrained_distance,
        "classifier_heldout_accuracy": real_agreement,
        "train_seconds": round(train_seconds, 1),
        "steps": trained.step,
        "seed": config.seed,
        "protocol": judge.PROTOCOL.format(num=1000),
    }
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    print_report(report, out)
    return cli.SUCCESS


def add_seconds(out: epath.Path, seconds: float) -> float:
    """All seconds of training so far, kept in the run's folder: the pieces of an interrupted run add up."""
    path = out / "train_seconds.json"
    total = seconds + (json.loads(path.read_text()) if path.exists() else 0.0)
    path.write_text(json.dumps(total))
    return total


def finished_report(out: epath.Path, steps: int) -> dict | None:
    """The report of a run that was trained for `steps`, drawn and judged before."""
    path = out / "report.json"
    if not path.exists() or not (out / "samples.png").exists():
        return None
    report = json.loads(path.read_text())
    return report if report["steps"] == steps else None


def print_report(report: dict, out: epath.Path) -> None:
    print(f"\n{'':22}{'class agreement':>16}{'Frechet distance':>18}")
    for who, prefix in (("generated", ""), ("real, held out", "real_"), ("untrained generator", "untrained_")):
        print(f"{who:22}{report[prefix + 'class_agreement']:16.3f}{report[prefix + 'frechet_distance']:18.1f}")
    print(f"\n{report['protocol']}\n")
    print(f"{report['steps']} steps, {report['train_seconds']:.0f} s of training, compilation included")
    for what, path in (("samples", "samples.png"), ("checkpoint", "checkpoints/"), ("report", "report.json")):
        print(f"{what:12}{out / path}{'/' if path.endswith('/') else ''}")


def run() -> None:
    flags.FLAGS.set_default("config", str(config_path("quickstart")))
    cli.run(main)


if __name__ == "__main__":
    run()
