"""The judging command:

python -m biggan_jax.evaluate --checkpoint=DIR [--all | --watch] --network=classifier [--num=1000]
python -m biggan_jax.evaluate --checkpoint=DIR --truncation-sweep=0.05:1.0:20 --inception=PATH
python -m biggan_jax.evaluate --npz=A.npz --reference=B.npz|FOLDER --inception=PATH

Scores go to scores.jsonl and scores.md, each with its protocol; a judgement that is there already is not made again.
"""

import dataclasses
import logging
import time

import jax
import numpy as np
from absl import flags
from etils import epath

from biggan_jax import config as configs
from biggan_jax import sharding
from biggan_jax.checkpoint import FOLDER, TrainedGenerator, checkpoint_steps, find
from biggan_jax.evaluation import features, fingerprint, metrics, results, sweep
from biggan_jax.evaluation import flags as evaluation_flags
from biggan_jax.evaluation.evaluator import Evaluator
from biggan_jax.evaluation.protocol import Protocol
from biggan_jax.runtime import cli, distributed, files
from biggan_jax.runtime import flags as cluster_flags
from biggan_jax.sampling import flags as sampling_flags
from biggan_jax.sampling import sampler
from biggan_jax.types import UserError

logger = logging.getLogger("biggan_jax.evaluate")

ALL = flags.DEFINE_bool("all", False, "Every checkpoint of the run, not the latest alone.")
WATCH = flags.DEFINE_bool("watch", False, "Every checkpoint, and new ones as they appear, until the run is at its end.")
EVERY = flags.DEFINE_float("watch_every", 30, "Seconds between looks for new ones.", lower_bound=0.1)
SWEEP = flags.DEFINE_string("truncation-sweep", None, "LOW:HIGH:COUNT: the curve of scores over so many truncations.")
NPZ = flags.DEFINE_string("npz", None, "Instead of a checkpoint: images of any model, arr_0 uint8 [N, H, W, 3].")
CONFIG = cli.define_config("With --npz: whose data it is judged against.")
OUT = flags.DEFINE_string("out", None, "Folder of the scores. Default: the run's; with --npz, the file's.")

MOST_STEPS = 4096
"""Checkpoints of a run that are looked at, the newest."""


def main() -> int:
    if bool(sampling_flags.CHECKPOINT.value) == bool(NPZ.value):
        raise UserError(
            "one of --checkpoint and --npz is needed, not both, such as --checkpoint=runs/demo --network=classifier"
        )
    if SWEEP.value:
        sweep.thresholds(SWEEP.value)
    for name in evaluation_flags.SCORES.value or ():
        configs.choose(metrics.SCORES, "--scores", name)
    refuse_idle_flags()
    return cluster_flags.run(evaluate)


def refuse_idle_flags() -> None:
    """A flag that would change nothing was meant to change something."""
    of_checkpoints = (
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
    )
    idle = {
        **dict.fromkeys(of_checkpoints, bool(NPZ.value)),
        "config": not NPZ.value,
        "data_dir": bool(NPZ.value and CONFIG.value is None),
        "inception": evaluation_flags.NETWORK.value != "inception-2015",
        "truncation_kind": sampling_flags.TRUNCATION.value is None and not SWEEP.value,
        "watch_every": not WATCH.value,
    }
    if SWEEP.value:
        idle |= dict.fromkeys(("all", "watch", "truncation", "scores"), True)
    # An unset config counts as present, since it is parsed by itself.
    given = lambda name: CONFIG.value is not None if name == "config" else flags.FLAGS[name].present
    for name in (name for name, is_idle in idle.items() if is_idle and given(name)):
        raise UserError(f"--{name} has no meaning here; see --help for what it goes with")


def evaluate() -> int:
    if NPZ.value:
        judge_npz()
    elif SWEEP.value:
        judge_truncations()
    elif ALL.value or WATCH.value:
        judge_run()
    else:
        judge_latest()
    return cli.SUCCESS


def judge_latest() -> None:
    path = find(sampling_flags.CHECKPOINT.value)
    folder = out_folder(run_of(path))
    mesh = sharding.make_mesh()
    # Before the reference is worked out: meanwhile a run goes on, and its checkpoints go.
    trained = load(path, mesh)
    judge_checkpoint(trained, evaluation_flags.evaluator_for(trained.config, mesh), folder)


def judge_run() -> None:
    """Every checkpoint there is; with --watch also those that come, until the run is at its end."""
    checkpoints = steps_folder(epath.Path(sampling_flags.CHECKPOINT.value))
    folder = out_folder(run_of(checkpoints / "0"))
    mesh, evaluator = sharding.make_mesh(), None
    seen: set[int] = set()
    while True:
        steps = agreed_steps(checkpoints)
        for step in (step for step in steps if step not in seen):
            seen.add(step)
            trained = error = None
            try:
                trained = load(checkpoints / str(step), mesh)
            except UserError as mistake:
                error = mistake
            if not distributed.all_agree(error is None):
                if step in agreed_steps(checkpoints):
                    raise error or UserError(f"another host cannot read {checkpoints / str(step)}")
                logger.info("step %d is gone: newer checkpoints took its place", step)
                continue
            evaluator = evaluator or evaluation_flags.evaluator_for(trained.config, mesh)
            judge_checkpoint(trained, evaluator, folder)
            if WATCH.value and step >= trained.config.num_steps:
                return
        if not WATCH.value:
            return
        time.sleep(EVERY.value)


def steps_folder(path: epath.Path) -> epath.Path:
    """The folder of a run's checkpoints, by its own or the run's path; with --watch it need not be there yet."""
    folder = path if path.name == FOLDER else path / FOLDER
    if not WATCH.value and not agreed_steps(folder):
        raise UserError(f"no checkpoints in {folder}; give a run's folder with --all")
    return folder


def agreed_steps(folder: epath.Path) -> list[int]:
    """Steps of which there are complete checkpoints, as the first host sees them: hosts look at different moments."""
    found = np.full(MOST_STEPS, -1, np.int32)
    steps = checkpoint_steps(folder.parent)[-MOST_STEPS:]
    found[: len(steps)] = steps
    return [int(step) for step in distributed.broadcast(found) if step >= 0]


def run_of(step_path: epath.Path) -> epath.Path:
    """The run's folder, or, of a step that lies elsewhere, the folder that it lies in."""
    return step_path.parent.parent if step_path.parent.name == FOLDER else step_path.parent


def load(path: epath.Path, mesh) -> TrainedGenerator:
    trained = sampling_flags.load(mesh, str(path))
    truncation = sampling_flags.truncation_of(trained)
    sampler.check_statistics(trained, truncation, sampling_flags.STATISTICS.value)
    return trained


def judge_checkpoint(trained: TrainedGenerator, evaluator: Evaluator, folder: epath.Path) -> None:
    truncation = sampling_flags.truncation_of(trained)
    print_first(results.table([judged(trained, what_of(trained), truncation, evaluator, folder, results.SCORES)]))
    write_table(folder)


def what_of(trained: TrainedGenerator) -> tuple[str, str]:
    """The checkpoint's place, and a hash of the weights that are judged."""
    return str(trained.path), fingerprint.digest_of_tree({"params": trained.params, "stats": trained.stats})


def judged(
    trained, what: tuple[str, str], truncation, evaluator: Evaluator, folder: epath.Path, name: str
) -> results.Record:
    """What is known of the checkpoint by this protocol, once what was missing is judged and kept."""
    statistics, passes = sampling_flags.STATISTICS.value, sampling_flags.PASSES.value
    protocol = evaluator.protocol(*sampler.described(trained, truncation, statistics, passes), live=trained.live)
    work = lambda wanted: evaluator.judge(sampling_flags.ready(trained, truncation), wanted)
    return completed(folder, name, what, trained.step, protocol, evaluator.wanted, work)


def completed(
    folder: epath.Path, name: str, what: tuple[str, str], step: int | None, protocol, wanted, work
) -> results.Record:
    """The record of `what` (place, hash of its content), with what was missing of `wanted` worked out and kept.

    The first host's ledger is what counts.
    """
    place, digest = what
    known = results.known(results.records(folder, name), digest, step, protocol)
    has = np.array([known is not None and score in known["judged"] for score in wanted])
    missing = [score for score, there in zip(wanted, distributed.broadcast(has), strict=True) if not there]
    if not missing:
        return known or results.record(place, digest, step, protocol, (), metrics.Scores({}, {}))
    fresh = results.record(place, digest, step, protocol, missing, work(missing))
    if not jax.process_index():
        try:
            results.keep(folder, fresh, name)
        except OSError as error:
            print_first(results.table([fresh]))  # Or the work would be lost.
            raise UserError(f"{folder / name} cannot be written: {error}") from error
    return results.known([known, fresh] if known else [fresh], digest, step, protocol)


def judge_truncations() -> None:
    """The curve and its marked points; thresholds that are known are not judged again."""
    path = find(sampling_flags.CHECKPOINT.value)
    folder = out_folder(run_of(path))
    mesh = sharding.make_mesh()
    trained = sampling_flags.load(mesh, str(path))
    truncations = [sampling_flags.truncation_of(trained, threshold) for threshold in sweep.thresholds(SWEEP.value)]
    for truncation in truncations:
        sampler.check_statistics(trained, truncation, sampling_flags.STATISTICS.value)
    if sampler.described(trained, None, sampling_flags.STATISTICS.value, 1)[0] is None:
        truncations.append(None)  # Binned statistics know no z that is not truncated.
    evaluator = evaluation_flags.evaluator_for(trained.config, mesh, scores=("fid", "is"))
    points, what = [], what_of(trained)
    for truncation in truncations:
        record = judged(trained, what, truncation, evaluator, folder, "truncation_sweep.jsonl")
        if jax.process_index():
            continue
        s = record["scores"]
        threshold = None if truncation is None else truncation.threshold
        points.append(sweep.Point(threshold, s["frechet_distance"], s["inception_score"], s["inception_score_std"]))
        logger.info("truncation %s: distance %.2f, score %.2f", truncation or "none", *points[-1][1:3])
    if jax.process_index():
        return
    protocol = dataclasses.replace(
        Protocol(**record["protocol"]), truncation=f"of kind {truncations[0].kind} as marked"
    )
    real = evaluator.reference.inception_score
    name = f"truncation_sweep-{trained.step}-{evaluator.network.name}-{protocol.key}"
    try:
        marks = sweep.store(folder, name, points, protocol, real)
    except OSError as error:
        raise UserError(f"{folder / name} cannot be written: {error}") from error
    print(
        f"{protocol.words()}\n\n{sweep.lines(marks, protocol, real)}\n\ncurve in {folder / name}.png, figures in .csv"
    )


def judge_npz() -> None:
    path = epath.Path(NPZ.value)
    images = evaluation_flags.images_of(path, "--npz")
    folder = out_folder(path.parent)
    evaluator = evaluation_flags.evaluator_for(CONFIG.value, sharding.make_mesh(), images)
    protocol = evaluator.protocol_of_images(len(images), "of the file" if images.num_classes else "none")

    def work(wanted):
        batches = features.of_source(images, np.arange(len(images)), evaluator.batch_size)
        return evaluator.judge_images(batches, wanted)

    what = str(path), fingerprint.digest_of(images)
    print_first(results.table([completed(folder, results.SCORES, what, None, protocol, evaluator.wanted, work)]))
    write_table(folder)


def print_first(text: str) -> None:
    """One host speaks for all."""
    if not jax.process_index():
        print(text, flush=True)


def write_table(folder: epath.Path) -> None:
    if jax.process_index():
        return
    try:
        text = results.table(results.records(folder)) + "\n"
        files.write_text(folder / results.TABLE, text, suffix=files.unique_suffix())
    except OSError as error:
        raise UserError(f"{folder / results.TABLE} cannot be written: {error}") from error


def out_folder(usual: epath.Path) -> epath.Path:
    """Where scores go. Raises UserError now, not after hours, if nothing can be written there."""
    folder = epath.Path(OUT.value) if OUT.value else usual
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
