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
from ml_collections import config_flags

from biggan_jax import cli, cluster_flags, data, files, sampler_flags, sharding
from biggan_jax import config as configs
from biggan_jax.checkpoint import checkpoint_steps, find, load_config
from biggan_jax.data.source import Images, Source
from biggan_jax.evaluation import content, features, judge, ledger, sweep
from biggan_jax.evaluation.evaluator import LABELS, Evaluator
from biggan_jax.evaluation.networks import NETWORKS, FeatureNetwork, Training, open_network
from biggan_jax.evaluation.reference import reference_of
from biggan_jax.sampler import Sampler
from biggan_jax.types import UserError

logger = logging.getLogger("biggan_jax.evaluate")

ALL = flags.DEFINE_bool("all", False, "Every checkpoint of the run, not the latest alone.")
WATCH = flags.DEFINE_bool("watch", False, "Every checkpoint, and new ones as they appear, until the run is at its end.")
EVERY = flags.DEFINE_float("watch_every", 30, "Seconds between looks for new ones.", lower_bound=0.1)
SWEEP = flags.DEFINE_string("truncation-sweep", None, "LOW:HIGH:COUNT: the curve of scores over so many truncations.")
NPZ = flags.DEFINE_string("npz", None, "Instead of a checkpoint: images of any model, arr_0 uint8 [N, H, W, 3].")
CONFIG = config_flags.DEFINE_config_file(
    "config", None, "With --npz: whose data it is judged against.", lock_config=True
)
NETWORK = flags.DEFINE_enum(
    "network", "inception-2015", list(NETWORKS), "What sees the images; see docs/evaluation.md."
)
INCEPTION = flags.DEFINE_string("inception", None, "Inception's weights: a .pth or .npz, or `download`.")
REFERENCE = flags.DEFINE_string(
    "reference",
    "train",
    "Real images: train or test, of the run's data; the folder of a prepared set; or an .npz with arr_0.",
)
REFERENCE_COUNT = flags.DEFINE_integer("reference_count", None, "So many of them, evenly spread.", lower_bound=2)
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where the run's data are now, if not where they were.")
NUM = flags.DEFINE_integer("num", 50_000, "Samples.", lower_bound=2)
LABELS_ = flags.DEFINE_enum("labels", "balanced", list(LABELS), "How their classes are drawn.")
SCORES = flags.DEFINE_list(
    "scores", None, f"Of {', '.join(judge.SCORES)}. Default: all that take no labels, and agreement."
)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images at a time on each device.", lower_bound=1)
OUT = flags.DEFINE_string("out", None, "Folder of the scores. Default: the run's; with --npz, the file's.")


def main() -> int:
    if bool(sampler_flags.CHECKPOINT.value) == bool(NPZ.value):
        raise UserError("one of --checkpoint and --npz is needed, such as --checkpoint=runs/demo --network=classifier")
    if NPZ.value and (ALL.value or WATCH.value or SWEEP.value):
        raise UserError("--all, --watch and --truncation-sweep are about checkpoints, not about --npz")
    if SWEEP.value and (ALL.value or WATCH.value or sampler_flags.TRUNCATION.value is not None):
        raise UserError(
            "--truncation-sweep is of one checkpoint, over all truncations: --all, --watch, --truncation go without"
        )
    if CONFIG.value is not None and not NPZ.value:
        raise UserError("--config goes with --npz; a checkpoint carries its own")
    return cluster_flags.together(evaluate)


def evaluate() -> int:
    if NPZ.value:
        judge_npz()
    elif SWEEP.value:
        judge_truncations()
    else:
        judge_checkpoints()
    return cli.SUCCESS


def judge_checkpoints() -> None:
    """The latest, all, or each as it appears."""
    workdir = epath.Path(sampler_flags.CHECKPOINT.value)
    first = find(workdir)
    folder = out_folder(first.parent.parent)
    mesh = sharding.make_mesh()
    evaluator = evaluator_for(load_config(first), mesh)
    wanted = checkpoint_steps(first.parent.parent) if ALL.value or WATCH.value else [int(first.name)]
    done: set[int] = set()
    while True:
        for step in (step for step in wanted if step not in done):
            judge_step(first.parent / str(step), evaluator, folder)
            done.add(step)
        if not WATCH.value or max(done) >= load_config(first.parent / str(max(done))).num_steps:
            return
        time.sleep(EVERY.value)
        wanted = checkpoint_steps(first.parent.parent)


def judge_step(path: epath.Path, evaluator: Evaluator, folder: epath.Path) -> None:
    try:
        trained = sampler_flags.load(evaluator.mesh, str(path))
    except UserError:
        if WATCH.value and not path.exists():
            logger.info("%s is gone: newer checkpoints took its place", path)
            return
        raise
    drawn = sampler_flags.ready(trained, sampler_flags.truncation_of(trained))
    keep_and_show(folder, str(path), trained.step, evaluator, drawn)


def keep_and_show(folder: epath.Path, of: str, step: int | None, evaluator: Evaluator, drawn: Sampler) -> None:
    protocol = evaluator.protocol(drawn, live=sampler_flags.WEIGHTS.value == "live")
    if not (known := ledger.known(ledger.records(folder), of, step, protocol)):
        known = ledger.record(of, step, protocol, evaluator.judge(drawn))
        keep(folder, known)
    print(ledger.table([known]), flush=True)


def keep(folder: epath.Path, record: ledger.Record) -> None:
    """One host speaks for all."""
    if jax.process_index():
        return
    try:
        ledger.keep(folder, record)
        files.write_text(folder / ledger.TABLE, ledger.table(ledger.records(folder)) + "\n")
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error}") from error


def judge_truncations() -> None:
    """The curve, its marked points, and the run's own folder for both; thresholds that are known are not judged again."""
    thresholds = sweep.thresholds(SWEEP.value)
    path = find(sampler_flags.CHECKPOINT.value)
    folder = out_folder(path.parent.parent)
    mesh = sharding.make_mesh()
    evaluator = evaluator_for(load_config(path), mesh, ("fid", "is"))
    trained = sampler_flags.load(mesh)
    points = []
    for threshold in [*thresholds, None]:
        truncation = None if threshold is None else sampler_flags.truncation_of(trained, threshold)
        drawn = sampler_flags.ready(trained, truncation)
        protocol = evaluator.protocol(drawn, live=trained.live)
        name = "truncation_sweep.jsonl"
        if not (known := ledger.known(ledger.records(folder, name), str(path), trained.step, protocol)):
            known = ledger.record(str(path), trained.step, protocol, evaluator.judge(drawn))
            if not jax.process_index():
                ledger.keep(folder, known, name)
        s = known["scores"]
        points.append(sweep.Point(threshold, s["frechet_distance"], s["inception_score"], s["inception_score_std"]))
        logger.info("truncation %s: distance %.2f, score %.2f", drawn.truncation or "none", *points[-1][1:3])
    if not jax.process_index():
        name = f"truncation_sweep-{trained.step}-{evaluator.network.name}"
        kind = sampler_flags.truncation_of(trained, 1.0).kind
        protocol = dataclasses.replace(protocol, truncation=f"of kind {kind} as marked")
        marks = sweep.store(folder, name, points, protocol, evaluator.reference.inception_score)
        print(f"{protocol.words()}\n\n{sweep.lines(marks, protocol)}\n\ncurve in {folder / name}.png, figures in .csv")


def judge_npz() -> None:
    path = epath.Path(NPZ.value)
    images = read_npz(path, "--npz")
    folder = out_folder(path.parent)
    mesh = sharding.make_mesh()
    evaluator = evaluator_for(CONFIG.value, mesh, resolution=images.images.shape[1])
    labelled = "of the file" if images.num_classes else "none"
    protocol = evaluator.protocol_of_images(len(images), labelled)
    of = f"{path} {content.digest_of(images)[:12]}"
    if not (known := ledger.known(ledger.records(folder), of, None, protocol)):
        batches = features.of_source(images, np.arange(len(images)), evaluator.batch_size)
        known = ledger.record(of, None, protocol, evaluator.judge_images(batches))
        keep(folder, known)
    print(ledger.table([known]))


def evaluator_for(config, mesh, wanted: tuple[str, ...] | None = None, resolution: int | None = None) -> Evaluator:
    """What judges as the flags say, with its reference worked out or found in the cache."""
    wanted = tuple(SCORES.value) if SCORES.value and not wanted else wanted
    for name in wanted or ():
        configs.choose(judge.SCORES, "--scores", name)
    if config is not None and DATA_DIR.value:
        with config.unlocked():
            config.data.dir = DATA_DIR.value
    real, words = reference_source(config, resolution)
    digest = content.digest_of(real)
    network = network_for(config, None if REFERENCE.value != "train" else Training(real, digest))
    batch_size = BATCH_SIZE.value * mesh.size
    count = REFERENCE_COUNT.value
    reference = reference_of(real, digest, network, mesh, count=count, batch_size=batch_size)
    words = f"{min(count or len(real), len(real)):,} real images of {words}"
    wanted = wanted or ("fid", "is", "kid", "prdc", *(("agreement",) if agrees(network, config) else ()))
    if "agreement" in wanted and not network.labels:
        raise UserError(
            f"the score agreement needs a network that knows the data's classes, which {network.name} does not"
        )
    num, seed = NUM.value, sampler_flags.SEED.value
    return Evaluator(network, reference, words, digest, wanted, num, seed, LABELS_.value, batch_size, mesh)


def network_for(config, training: Training | None) -> FeatureNetwork:
    if NETWORK.value == "classifier" and training is None:
        if config is None:
            raise UserError("--network=classifier is fitted to a run's training data: with --npz, give --config, too")
        source = data.make_source(config, "train")
        training = Training(source, content.digest_of(source))
    return open_network(NETWORK.value, inception=INCEPTION.value, training=training)


def agrees(network: FeatureNetwork, config) -> bool:
    """Whether the network's classes are those of the data."""
    if config is None or not config.model.num_classes:
        return False
    imagenet = config.data.dataset.startswith("imagenet") and config.model.num_classes == 1000
    return network.labels == "data" or (network.labels == "imagenet" and imagenet)


def reference_source(config, resolution: int | None) -> tuple[Source, str]:
    """The real images that --reference names, and what to call them."""
    name = REFERENCE.value
    if name in ("train", "test"):
        if config is None:
            raise UserError(f"--npz needs --reference=FILE.npz or FOLDER, or --config for whose {name} split it is")
        source = data.make_source(config, name)
        what = config.data.dataset or (
            config.data.name if config.data.name != "tfds" else epath.Path(config.data.dir).name
        )
        return source, f"{what} {name}, {config.model.resolution} px, resized by {config.data.resize}"
    path = epath.Path(name)
    if path.suffix == ".npz":
        return read_npz(path, "--reference"), path.name
    folder = configs.base() if config is None else config.copy_and_resolve_references()
    with folder.unlocked():
        folder.data.name, folder.data.dataset, folder.data.dir = "tfds", "", name
        folder.model.resolution = resolution or folder.model.resolution
    words = f"{path.name} train, {folder.model.resolution} px, resized by {folder.data.resize}"
    return data.open_tfds(folder, "train"), words


def read_npz(path: epath.Path, flag: str) -> Images:
    """arr_0, and labels if it has y or arr_1; as a source. Raises UserError."""
    arrays = files.read_npz(path)
    if "arr_0" not in arrays:
        raise UserError(f"{flag}={path} has the arrays {', '.join(arrays)}; arr_0 is needed")
    images, labels = arrays["arr_0"], arrays.get("y", arrays.get("arr_1", np.zeros(0, np.int32)))
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or not len(images):
        raise UserError(f"{flag}={path}: arr_0 is {images.dtype} {list(images.shape)}; uint8 [N, H, W, 3] is judged")
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        return Images(images, np.zeros(len(images), np.int32), 0)
    return Images(images, labels.astype(np.int32), int(labels.max()) + 1)


def out_folder(usual: epath.Path) -> epath.Path:
    folder = epath.Path(OUT.value) if OUT.value else usual
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out={folder} cannot be made: {error}") from error
    return folder


def run() -> None:
    cli.run(main)


if __name__ == "__main__":
    run()
