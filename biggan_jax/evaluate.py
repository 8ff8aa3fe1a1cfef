"""Evaluate checkpoints, or images of any model: the work of biggan-evaluate."""

import dataclasses
import functools
import logging
import time
from collections.abc import Iterator

import jax
import numpy as np
from etils import epath

from biggan_jax import config as configs
from biggan_jax import sharding
from biggan_jax.checkpoint import FOLDER, TrainedGenerator, checkpoint_steps, exported, locate
from biggan_jax.evaluation import cache, conditions, curves, lpips, ppl, results, sets, sweep
from biggan_jax.evaluation import flags as evaluation_flags
from biggan_jax.evaluation.baseline import PREFIX
from biggan_jax.evaluation.evaluator import Evaluator
from biggan_jax.evaluation.flags import make_evaluator
from biggan_jax.evaluation.results import Protocol, Subject
from biggan_jax.flags.evaluate import ALL, CONFIG, EVERY, OUT, PPL, SAMPLES, SWEEP, WATCH, WRITE, samples_path
from biggan_jax.flags.values import thresholds_of
from biggan_jax.latents import Truncation
from biggan_jax.runtime import cli, distributed, files
from biggan_jax.runtime import flags as cluster_flags
from biggan_jax.sampling import flags as sampling_flags
from biggan_jax.sampling import sampler, training_data
from biggan_jax.sampling.labels import draw_labels
from biggan_jax.types import UserError

logger = logging.getLogger("biggan_jax.evaluate")


MAX_STEPS = 4096  # Checkpoints of a run that are considered, the newest.


def main() -> int | None:
    if PPL.value:
        lpips.check_lpips("vgg", evaluation_flags.LPIPS.value, evaluation_flags.LPIPS_HEADS.value)
        return cluster_flags.run(evaluate_paths)
    of_files = write_statistics if WRITE.value else evaluate_samples if samples_path() else None
    return cluster_flags.run(of_files or (evaluate_sweep if SWEEP.value else evaluate_checkpoints))


def evaluate_checkpoints() -> None:
    """Evaluate the latest checkpoint; with --all every one; with --watch also those that appear, until the run ends."""
    mesh, evaluator = sharding.make_mesh(), None
    if ALL.value or WATCH.value:
        path = epath.Path(sampling_flags.CHECKPOINT.value)
        if str(path).startswith("hf:") or exported.is_exported(path):
            raise UserError(f"--checkpoint={path} is one model, not a run; leave out --all and --watch")
        checkpoints = path if path.name == FOLDER else path / FOLDER
        if not WATCH.value and not agreed_steps(checkpoints):
            raise UserError(f"no checkpoints in {checkpoints}; give a run's folder with --all")
        folder = out_folder(checkpoints.parent)
        found = load_each(checkpoints, mesh)
    else:
        path = locate(sampling_flags.CHECKPOINT.value)
        folder = out_folder(run_folder(path))
        found = iter([load(path, mesh)])
    # Load first: a training run in progress may delete the checkpoint while the reference is computed.
    refused = []
    for trained in found:
        try:
            sampler.check_finite(trained)
            evaluator = evaluator or make_evaluator(trained.config, trained.gan.image_shape, mesh)
            truncation = sampling_flags.truncation_of(trained)
            record = record_of(trained, subject_of(trained), truncation, evaluator, folder / results.SCORES)
        except sampler.NotFiniteError as error:
            if not (ALL.value or WATCH.value):
                raise
            logger.warning("%s", error)
            refused.append(str(trained.step))
            continue
        report(record, folder)
    if refused:
        raise sampler.NotFiniteError(
            f"no metrics of steps {configs.some(refused)}: their images are not finite, see above"
        )


def load_each(folder: epath.Path, mesh) -> Iterator[TrainedGenerator]:
    """Load each checkpoint in the folder once; with --watch, read the folder again and again until the run ends.

    A checkpoint that the run has deleted meanwhile is skipped. Raises UserError if a checkpoint cannot be read.
    """
    seen: set[int] = set()
    while True:
        for step in (step for step in agreed_steps(folder) if step not in seen):
            seen.add(step)
            try:
                trained, error = load(folder / str(step), mesh), None
            except UserError as e:
                trained, error = None, e
            if distributed.all_agree(error is None):
                yield trained
                if WATCH.value and step >= trained.config.num_steps:
                    return
            elif step in agreed_steps(folder):
                raise error or UserError(f"another host cannot read {folder / str(step)}")
            else:
                logger.info("step %d was replaced by newer checkpoints", step)
        if not WATCH.value:
            return
        time.sleep(EVERY.value)


def agreed_steps(folder: epath.Path) -> list[int]:
    """Return the steps of complete checkpoints, as process 0 sees them: hosts read the folder at different moments."""
    steps = checkpoint_steps(folder.parent)[-MAX_STEPS:]
    found = np.pad(np.array(steps, np.int32), (0, MAX_STEPS - len(steps)), constant_values=-1)
    return [int(step) for step in distributed.broadcast(found) if step >= 0]


def run_folder(step_path: epath.Path) -> epath.Path:
    """Return the run's folder; for a step outside of a run, its parent folder; for an exported model, its own folder."""
    if exported.is_exported(step_path):
        local = epath.Path(sampling_flags.CHECKPOINT.value).exists()
        if not (local or OUT.value):
            raise UserError(
                f"--checkpoint={sampling_flags.CHECKPOINT.value} has no folder for results; give --out=FOLDER"
            )
        return step_path
    return step_path.parent.parent if step_path.parent.name == FOLDER else step_path.parent


def load(path: epath.Path, mesh) -> TrainedGenerator:
    trained = sampling_flags.load(mesh, str(path))
    sampler.resolve(trained, sampling_flags.truncation_of(trained), sampling_flags.STATISTICS.value)
    return trained


def subject_of(trained: TrainedGenerator) -> Subject:
    content = cache.hash_of_tree({"params": trained.params, "stats": trained.stats})
    return Subject(str(trained.path), content, trained.step)


def record_of(
    trained: TrainedGenerator, subject: Subject, truncation: Truncation | None, evaluator: Evaluator, path: epath.Path
) -> results.Record:
    """Return the checkpoint's record by this protocol, from the file `path` or computed."""
    statistics, passes = sampling_flags.STATISTICS.value, sampling_flags.PASSES.value
    _, resolved, description = sampler.resolve(trained, truncation, statistics, passes)
    protocol = evaluator.protocol(resolved, description, live=trained.live)
    make = lambda: sampling_flags.make_sampler(trained, truncation)
    compute = lambda names: evaluator.beside_real(evaluator.evaluate(make(), names), names)
    return results.complete(path, subject, protocol, evaluator.metrics, compute)


def evaluate_sweep() -> None:
    """Draw the truncation curve and its marked points; thresholds with stored results are not evaluated again."""
    path = locate(sampling_flags.CHECKPOINT.value)
    folder = out_folder(run_folder(path))
    mesh, statistics = sharding.make_mesh(), sampling_flags.STATISTICS.value
    trained = sampling_flags.load(mesh, str(path))
    truncations = [sampling_flags.truncation_of(trained, threshold) for threshold in thresholds_of(SWEEP.value)]
    for truncation in truncations:
        sampler.resolve(trained, truncation, statistics)
    sampler.check_finite(trained)
    if sampler.resolve(trained, None, statistics)[1] is None:
        truncations.append(None)  # Binned statistics exist for truncated z only.
    evaluator = make_evaluator(trained.config, trained.gan.image_shape, mesh, names=("fid", "is"))
    subject = subject_of(trained)
    points = []
    for truncation in truncations:
        record = record_of(trained, subject, truncation, evaluator, folder / "truncation_sweep.jsonl")
        s = record["scores"]
        threshold = None if truncation is None else truncation.threshold
        points.append(sweep.Point(threshold, s["frechet_distance"], s["inception_score"], s["inception_score_std"]))
        logger.info("truncation %s: distance %.2f, score %.2f", truncation or "none", *points[-1][1:3])
    if jax.process_index():
        return
    truncated = f"of kind {truncations[0].kind} as marked"
    protocol = dataclasses.replace(Protocol(**record["protocol"]), truncation=truncated)
    real = evaluator.reference.inception_score
    name = f"truncation_sweep-{trained.step}-{evaluator.network.name}-{protocol.key}"
    with files.writing(folder / name):
        marks = sweep.store(folder, name, points, protocol, real)
    beside = [record["scores"].get(f"{PREFIX}{name}") for name in ("frechet_distance", "inception_score")]
    table = sweep.lines(marks, protocol, real, None if None in beside else tuple(beside))
    print(f"{protocol.words()}\n{results.words_of_real(record)}\n\n{table}\n")
    print(f"curve in {folder / name}.png, values in {folder / name}.csv")


def evaluate_paths() -> None:
    """Measure perceptual path lengths of a checkpoint; stored ones are not measured again."""
    path, mesh = locate(sampling_flags.CHECKPOINT.value), sharding.make_mesh()
    folder = out_folder(run_folder(path))
    trained = load(path, mesh)
    sampler.check_finite(trained)
    network = lpips.open_lpips("vgg", evaluation_flags.LPIPS.value, evaluation_flags.LPIPS_HEADS.value)
    for kind in PPL.value:
        ppl.check_kind(kind, trained.gan, network)
    truncation, num, seed = (
        sampling_flags.truncation_of(trained),
        evaluation_flags.NUM.value,
        sampling_flags.SEED.value,
    )
    statistics, labels = sampling_flags.STATISTICS.value, evaluation_flags.LABELS.value
    _, resolved, description = sampler.resolve(trained, truncation, statistics, sampling_flags.PASSES.value)
    if conditioned := conditions.named_by(trained.config):
        if evaluation_flags.LABELS.present:
            what = f"this model is conditioned on {conditioned}, and paths are of those of the training images"
            raise UserError(f"--labels={labels} has no meaning: {what}")
        y = training_data.draw_conditions(trained, num, seed)
        labels = conditions.words(conditioned, "training images drawn by the seed")
    elif labels == "data":
        raise UserError(
            "--labels=data has no effect on path lengths, which compare with no data; use balanced or uniform"
        )
    else:
        y = draw_labels(labels, num, trained.gan.num_classes, seed, None)
    factor = ppl.factor_of(trained.gan.image_shape)
    resizer = f"averaging {factor} x {factor} pixels" if factor > 1 else "none"
    drawn = num, labels, str(resolved or "none"), description, "live" if trained.live else "ema", seed
    protocol = Protocol(f"lpips-{network.name}", network.digest, resizer, "", "no real images", "", *drawn, ppl.FORMULA)
    made = functools.cache(lambda: sampling_flags.make_sampler(trained, truncation))
    size = evaluation_flags.BATCH_SIZE.value * mesh.size
    measure = lambda kind: ppl.measure(made(), network, kind, y, seed, size)
    compute = lambda kinds: results.Results({kind: measure(kind.removeprefix("ppl_")) for kind in kinds}, {})
    kinds = [f"ppl_{kind}" for kind in PPL.value]
    report(results.complete(folder / results.SCORES, subject_of(trained), protocol, kinds, compute), folder)


def evaluate_samples() -> None:
    """Evaluate a file or folder of images."""
    flag = "--samples" if SAMPLES.value else "--npz"
    path = epath.Path(str(samples_path()))
    images = sets.open_samples(path, flag, evaluation_flags.MAX_BROKEN.value)
    folder = out_folder(path.resolve().parent if path.exists() else path.parent)
    shape = sets.shape_of(images, ())
    evaluator = make_evaluator(CONFIG.value, shape, sharding.make_mesh(), images)
    whose = "of the file" if path.suffix == ".npz" else "of the folders"
    protocol = evaluator.protocol_of_images(len(images), whose if images.num_classes else "none")
    compute = lambda names: evaluator.beside_real(evaluator.evaluate_set(images, metrics=names), names)
    subject = Subject(str(path), cache.hash_of_source(images), None)
    report(results.complete(folder / results.SCORES, subject, protocol, evaluator.metrics, compute), folder)


def write_statistics() -> None:
    """Write mean and covariance of the reference's features."""
    out = epath.Path(WRITE.value)
    if out.suffix != ".npz":
        raise UserError(f"--write_statistics={out} must end in .npz")
    out_folder(out.parent, "--write_statistics")
    if out.exists() and (others := sorted(set(files.read_npz(out)) - {"mu", "sigma"})):
        raise UserError(
            f"--write_statistics={out} exists, and holds other arrays: {', '.join(others)}; give another file"
        )
    reference, words = evaluation_flags.reference_alone(CONFIG.value, sharding.make_mesh())
    if not jax.process_index():
        sets.write_statistics(out, reference.moments)
        print(f"mu and sigma of {reference.name} by {words} in {out}")


def report(record: results.Record, folder: epath.Path) -> None:
    """Print the record, and write the folder's table and curves; process 0 only."""
    if not jax.process_index():
        print(results.table([record]), flush=True)
        results.write_table(folder)
        with files.writing(folder / curves.PICTURE):
            curves.draw(folder)


def out_folder(default: epath.Path, where: str = "folder with --out") -> epath.Path:
    """Return the folder of the results. Raises UserError if it is not writable, before any slow work. where: what to give then."""
    folder = epath.Path(OUT.value) if OUT.value else default
    if jax.process_index():
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial = folder / f".trial{files.unique_suffix()}"
        trial.write_text("")
        trial.unlink()
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error}); give another {where}") from error
    return folder


run = cli.command(main, compiles=True)

if __name__ == "__main__":
    run()
