"""Owns the flags by which judging says what sees images, and what they are held against. Must not know what is judged."""

import numpy as np
from absl import flags
from etils import epath
from jax.sharding import Mesh

from biggan_jax import config as configs
from biggan_jax import data
from biggan_jax.data.dataset import Images, Source
from biggan_jax.evaluation import evaluator, fingerprint, metrics
from biggan_jax.evaluation.evaluator import Evaluator
from biggan_jax.evaluation.networks import NETWORKS, FeatureNetwork, Training, open_network
from biggan_jax.evaluation.reference import reference_of
from biggan_jax.runtime import files
from biggan_jax.sampling import flags as sampling_flags
from biggan_jax.types import UserError

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
LABELS = flags.DEFINE_enum("labels", "balanced", list(evaluator.LABELS), "How their classes are drawn.")
SCORES = flags.DEFINE_list(
    "scores", None, f"Of {', '.join(metrics.SCORES)}. Default: all that take no labels, and agreement."
)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images at a time on each device.", lower_bound=1)


def evaluator_for(config, mesh: Mesh, images: Images | None = None, scores: tuple[str, ...] | None = None) -> Evaluator:
    """What judges as the flags say, with its reference worked out or found in the cache.

    images: those of --npz. scores: instead of those that the flags want. Raises UserError for what does not go together.
    """
    if config is not None and DATA_DIR.value:
        with config.unlocked():
            config.data.dir = DATA_DIR.value
    real, words = reference_source(config, images)
    digest = fingerprint.digest_of(real)
    network = network_for(config, None if REFERENCE.value != "train" else Training(real, digest))
    wanted = scores or wanted_scores(network, config, images, real)
    batch_size = BATCH_SIZE.value * mesh.size
    count = REFERENCE_COUNT.value
    reference = reference_of(real, digest, network, mesh, count=count, batch_size=batch_size)
    words = f"{min(count or len(real), len(real)):,} real images of {words}"
    num, seed = NUM.value, sampling_flags.SEED.value
    return Evaluator(network, reference, words, digest, wanted, num, seed, LABELS.value, batch_size, mesh)


def wanted_scores(network: FeatureNetwork, config, images: Images | None, real: Source) -> tuple[str, ...]:
    """The scores that --scores names, or those that make sense here. Raises UserError for one that does not."""
    classes = images.num_classes if images is not None else config.model.num_classes
    if LABELS.value == "data" and real.num_classes != classes:
        raise UserError(f"--labels=data: the real images have {real.num_classes} classes, and the model {classes}")
    agrees = bool(classes) and knows_classes(network, config)
    if not SCORES.value:
        return ("fid", "is", "kid", "prdc", *(("agreement",) if agrees else ()))
    if "agreement" in SCORES.value and not agrees:
        raise UserError(
            f"--scores=agreement: {network.name} does not know the classes of these samples, or they have none"
        )
    if "intra_fid" in SCORES.value and not (classes and real.num_classes):
        raise UserError(
            "--scores=intra_fid needs the classes of samples and of real images, and one of the two has none"
        )
    return tuple(dict.fromkeys(SCORES.value))


def knows_classes(network: FeatureNetwork, config) -> bool:
    """Whether the network's classes are those of the data."""
    if config is None or not config.model.num_classes:
        return False
    imagenet = config.data.dataset.startswith("imagenet") and config.model.num_classes == 1000
    return network.labels == "data" or (network.labels == "imagenet" and imagenet)


def network_for(config, training: Training | None) -> FeatureNetwork:
    if NETWORK.value == "classifier" and training is None:
        if config is None:
            raise UserError("--network=classifier is fitted to a run's training data: with --npz, give --config, too")
        source = data.make_source(config, "train")
        training = Training(source, fingerprint.digest_of(source))
    return open_network(NETWORK.value, inception=INCEPTION.value, training=training)


def reference_source(config, images: Images | None) -> tuple[Source, str]:
    """The real images that --reference names, of the samples' own size where the network does not resize, and their name."""
    size = images.images.shape[1] if images is not None else config.model.resolution
    if config is not None and NETWORK.value == "classifier" and size != config.model.resolution:
        raise UserError(
            f"--network=classifier is fitted at {config.model.resolution} pixels, and the samples have {size}"
        )
    name = REFERENCE.value
    if name in ("train", "test"):
        if config is None:
            raise UserError(f"--npz needs --reference=FILE.npz or FOLDER, or --config for whose {name} split it is")
        source = data.make_source(config, name)
        of_folder = config.data.name == "tfds" and not config.data.dataset
        what = epath.Path(config.data.dir).name if of_folder else config.data.dataset or config.data.name
        return source, f"{what} {name}, {config.model.resolution} px, resized by {config.data.resize}"
    path = epath.Path(name)
    if path.suffix == ".npz":
        real = images_of(path, "--reference")
        if NETWORK.value == "classifier" and real.images.shape[1] != size:
            raise UserError(f"--reference={path}: {real.images.shape[1]} pixels, and the samples have {size}")
        return real, path.name
    folder = configs.base() if config is None else config.copy_and_resolve_references()
    with folder.unlocked():
        folder.data.name, folder.data.dataset, folder.data.dir = "tfds", "", name
        folder.model.resolution = size
    return data.open_tfds(folder, "train"), f"{path.name} train, {size} px, resized by {folder.data.resize}"


def images_of(path: epath.Path, flag: str) -> Images:
    """An .npz of images: arr_0, and labels if it has y or arr_1; as a source, of no classes without. Raises UserError."""
    arrays = files.read_npz(path)
    if "arr_0" not in arrays:
        raise UserError(f"{flag}={path} has the arrays {', '.join(arrays)}; arr_0 is needed")
    images, labels = arrays["arr_0"], arrays.get("y", arrays.get("arr_1", np.zeros(0, np.int32)))
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or not len(images):
        raise UserError(f"{flag}={path}: arr_0 is {images.dtype} {list(images.shape)}; uint8 [N, H, W, 3] is judged")
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu" or labels.min() < 0:
        return Images(images, np.zeros(len(images), np.int32), 0)
    return Images(images, labels.astype(np.int32), int(labels.max()) + 1)
