"""Evaluate checkpoints, or images of any model:

python -m biggan_jax.evaluate --checkpoint=DIR [--all | --watch] --network=classifier [--num=1000]
python -m biggan_jax.evaluate --checkpoint=DIR --truncation-sweep=0.05:1.0:20 --inception=PATH
python -m biggan_jax.evaluate --npz=A.npz --reference=B.npz|FOLDER --inception=PATH

Results go to scores.jsonl and scores.md, each with its protocol; what is stored already is not computed again.
"""

import dataclasses
import logging

import jax
import numpy as np
from absl import flags
from etils import epath

from biggan_jax import config as configs
from biggan_jax import sharding
from biggan_jax.checkpoint import TrainedGenerator, find
from biggan_jax.evaluation import features, fingerprint, metrics, results, sweep, watch
from biggan_jax.evaluation import flags as evaluation_flags
from biggan_jax.evaluation.evaluator import Evaluator
from biggan_jax.evaluation.protocol import Protocol
from biggan_jax.evaluation.real_images import read_images
from biggan_jax.evaluation.results import Subject
from biggan_jax.latents import Truncation
from biggan_jax.runtime import cli, files
from biggan_jax.runtime import flags as cluster_flags
from biggan_jax.sampling import flags as sampling_flags
from biggan_jax.sampling import sampler
from biggan_jax.types import UserError

logger = logging.getLogger("biggan_jax.evaluate")

ALL = flags.DEFINE_bool("all", False, "Evaluate every checkpoint of the run, not only the latest.")
WATCH = flags.DEFINE_bool("watch", False, "Evaluate every checkpoint, and new ones as they appear, until the run ends.")
EVERY = flags.DEFINE_float("watch_every", 30, "Seconds between checks for new checkpoints.", lower_bound=0.1)
SWEEP = flags.DEFINE_string("truncation-sweep", None, "LOW:HIGH:COUNT: draw the curve over COUNT truncations.")
NPZ = flags.DEFINE_string("npz", None, "Images of any model instead of a checkpoint: arr_0 uint8 [N, H, W, 3].")
CONFIG = cli.define_config("With --npz: the config whose data it is compared with.")
OUT = flags.DEFINE_string("out", None, "Folder of the results. Default: the run's; with --npz, the file's.")

CHECKPOINT_ONLY = [
    "all",
    "watch",
    "truncation-sweep",
    "num",
    "labels",
    "seed",
    "truncation",
    "statistics",
    "passes",
    "weights",
]
"""Flags that have no effect on --npz."""


def main() -> int:
    if bool(sampling_flags.CHECKPOINT.value) == bool(NPZ.value):
        raise UserError("give either --checkpoint or --npz, such as --checkpoint=runs/demo --network=classifier")
    if SWEEP.value:
        sweep.thresholds(SWEEP.value)
    for name in evaluation_flags.SCORES.value or ():
        configs.choose(metrics.METRICS, "--scores", name)
    check_flags()
    return cluster_flags.run(evaluate)


def check_flags() -> None:
    """Refuse flags without effect."""
    without_effect = {
        **dict.fromkeys(CHECKPOINT_ONLY, bool(NPZ.value)),
        "config": not NPZ.value,
        "data_dir": bool(NPZ.value and CONFIG.value is None),
        "inception": evaluation_flags.NETWORK.value != "inception-2015",
        "truncation_kind": sampling_flags.TRUNCATION.value is None and not SWEEP.value,
        "watch_every": not WATCH.value,
    }
    if SWEEP.value:
        without_effect |= dict.fromkeys(("all", "watch", "truncation", "scores"), True)
    # `present` is true for a config that was not given, because config_flags parses its default.
    given = lambda name: CONFIG.value is not None if name == "config" else flags.FLAGS[name].present
    for name in without_effect:
        if without_effect[name] and given(name):
            raise UserError(f"--{name} has no meaning here; see --help")


def evaluate() -> int:
    if NPZ.value:
        evaluate_npz()
    elif SWEEP.value:
        evaluate_sweep()
    elif ALL.value or WATCH.value:
        evaluate_run()
    else:
        evaluate_latest()
    return cli.SUCCESS


def evaluate_latest() -> None:
    path = find(sampling_flags.CHECKPOINT.value)
    folder = out_folder(watch.run_folder(path))
    mesh = sharding.make_mesh()
    # Load first: a training run in progress may delete the checkpoint while the reference is computed.
    trained = load(path, mesh)
    evaluate_checkpoint(trained, make_evaluator(trained, mesh), folder)


def evaluate_run() -> None:
    """Evaluate every checkpoint; with --watch also those that appear, until the run ends."""
    checkpoints = watch.checkpoints_folder(epath.Path(sampling_flags.CHECKPOINT.value), may_be_empty=WATCH.value)
    folder = out_folder(watch.run_folder(checkpoints / "0"))
    mesh, evaluator = sharding.make_mesh(), None
    for trained in watch.checkpoints(checkpoints, lambda path: load(path, mesh), EVERY.value if WATCH.value else None):
        evaluator = evaluator or make_evaluator(trained, mesh)
        evaluate_checkpoint(trained, evaluator, folder)


def load(path: epath.Path, mesh) -> TrainedGenerator:
    trained = sampling_flags.load(mesh, str(path))
    sampler.resolve(trained, sampling_flags.truncation_of(trained), sampling_flags.STATISTICS.value)
    return trained


def make_evaluator(trained: TrainedGenerator, mesh, names: tuple[str, ...] | None = None) -> Evaluator:
    return evaluation_flags.make_evaluator(trained.config, trained.gan.image_shape, mesh, names=names)


def evaluate_checkpoint(trained: TrainedGenerator, evaluator: Evaluator, folder: epath.Path) -> None:
    truncation = sampling_flags.truncation_of(trained)
    report([record_of(trained, subject_of(trained), truncation, evaluator, folder, results.SCORES)], folder)


def subject_of(trained: TrainedGenerator) -> Subject:
    content = fingerprint.of_tree({"params": trained.params, "stats": trained.stats})
    return Subject(str(trained.path), content, trained.step)


def record_of(
    trained: TrainedGenerator,
    subject: Subject,
    truncation: Truncation | None,
    evaluator: Evaluator,
    folder: epath.Path,
    name: str,
) -> results.Record:
    """Return the checkpoint's record by this protocol, from the folder's file `name` or computed."""
    statistics, passes = sampling_flags.STATISTICS.value, sampling_flags.PASSES.value
    _, resolved, description = sampler.resolve(trained, truncation, statistics, passes)
    protocol = evaluator.protocol(resolved, description, live=trained.live)
    compute = lambda names: evaluator.evaluate(sampling_flags.make_sampler(trained, truncation), names)
    return results.complete(folder, subject, protocol, evaluator.metrics, compute, name)


def evaluate_sweep() -> None:
    """Draw the truncation curve and its marked points; thresholds with stored results are not evaluated again."""
    path = find(sampling_flags.CHECKPOINT.value)
    folder = out_folder(watch.run_folder(path))
    mesh, statistics = sharding.make_mesh(), sampling_flags.STATISTICS.value
    trained = sampling_flags.load(mesh, str(path))
    truncations = [sampling_flags.truncation_of(trained, threshold) for threshold in sweep.thresholds(SWEEP.value)]
    for truncation in truncations:
        sampler.resolve(trained, truncation, statistics)
    if sampler.resolve(trained, None, statistics)[1] is None:
        truncations.append(None)  # Binned statistics exist for truncated z only.
    evaluator, subject = make_evaluator(trained, mesh, ("fid", "is")), subject_of(trained)
    points = []
    for truncation in truncations:
        record = record_of(trained, subject, truncation, evaluator, folder, "truncation_sweep.jsonl")
        s = record["scores"]
        threshold = None if truncation is None else truncation.threshold
        points.append(sweep.Point(threshold, s["frechet_distance"], s["inception_score"], s["inception_score_std"]))
        logger.info("truncation %s: distance %.2f, score %.2f", truncation or "none", *points[-1][1:3])
    if jax.process_index():
        return
    protocol = Protocol(**record["protocol"])
    protocol = dataclasses.replace(protocol, truncation=f"of kind {truncations[0].kind} as marked")
    real = evaluator.reference.inception_score
    name = f"truncation_sweep-{trained.step}-{evaluator.network.name}-{protocol.key}"
    try:
        marks = sweep.store(folder, name, points, protocol, real)
    except OSError as error:
        raise UserError(f"{folder / name} cannot be written: {error}") from error
    print(f"{protocol.words()}\n\n{sweep.lines(marks, protocol, real)}\n")
    print(f"curve in {folder / name}.png, values in {folder / name}.csv")


def evaluate_npz() -> None:
    path = epath.Path(NPZ.value)
    images = read_images(path, "--npz")
    folder = out_folder(path.parent)
    evaluator = evaluation_flags.make_evaluator(CONFIG.value, images.images.shape[1:], sharding.make_mesh(), images)
    protocol = evaluator.protocol_of_images(len(images), "of the file" if images.num_classes else "none")

    def compute(names):
        batches = features.of_source(images, np.arange(len(images)), evaluator.batch_size)
        return evaluator.evaluate_images(batches, names)

    subject = Subject(str(path), fingerprint.of_source(images), None)
    report([results.complete(folder, subject, protocol, evaluator.metrics, compute)], folder)


def report(records: list[results.Record], folder: epath.Path) -> None:
    """Print the records, and write the folder's table; process 0 only."""
    if not jax.process_index():
        print(results.table(records), flush=True)
        results.write_table(folder)


def out_folder(default: epath.Path) -> epath.Path:
    """Return the folder of the results. Raises UserError if it is not writable, before any slow work."""
    folder = epath.Path(OUT.value) if OUT.value else default
    if jax.process_index():
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial = folder / f".trial{files.unique_suffix()}"
        trial.write_text("")
        trial.unlink()
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error}); give another folder with --out") from error
    return folder


def run() -> None:
    cli.run(main)


if __name__ == "__main__":
    run()
