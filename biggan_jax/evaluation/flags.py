"""Flags of evaluation: feature network, real images, metrics; and the evaluator that they describe."""

import numpy as np
from absl import flags
from etils import epath
from jax.sharding import Mesh

from biggan_jax import config as configs
from biggan_jax import data
from biggan_jax.data.dataset import Images, Source
from biggan_jax.evaluation import metrics
from biggan_jax.evaluation.evaluator import Evaluator
from biggan_jax.evaluation.networks import NETWORKS, FeatureNetwork, check_network, open_network
from biggan_jax.evaluation.reference import reference_of
from biggan_jax.runtime import cli, files
from biggan_jax.sampling import flags as sampling_flags
from biggan_jax.sampling.labels import LABELINGS
from biggan_jax.types import UserError

NETWORK = flags.DEFINE_enum("network", "inception-2015", list(NETWORKS), "Feature network; see docs/evaluation.md.")
INCEPTION = cli.define_path("inception", None, "Inception's weights: a .pth or .npz, or `download`.")
REAL = "Real images: train or test, of the run's data; a prepared set's folder; or an .npz with arr_0."
REFERENCE = cli.define_path("reference", "train", REAL)
REFERENCE_COUNT = flags.DEFINE_integer("reference_count", None, "Use this many, evenly spread.", lower_bound=2)
DATA_DIR = cli.define_path("data_dir", None, "Folder of the run's data, if they have moved.")
NUM = flags.DEFINE_integer("num", 50_000, "Number of samples.", lower_bound=2)
LABELS = flags.DEFINE_enum("labels", "balanced", list(LABELINGS), "How the samples' classes are drawn.")
SCORES = flags.DEFINE_list("scores", None, f"Of {', '.join(metrics.METRICS)}. Default: all but intra_fid, if possible.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images per batch on each device.", lower_bound=1)


def make_evaluator(
    config, image_shape: tuple[int, ...], mesh: Mesh, images: Images | None = None, names: tuple[str, ...] = ()
) -> Evaluator:
    """Make the evaluator that the flags describe, with its reference computed or read from the cache.

    config: of the model, or None with --npz alone. image_shape: of the samples. images: those of --npz. names: metrics;
    default: those of the flags. Raises UserError if flags do not fit each other, the model or the data.
    """
    if len(image_shape) != 3 or image_shape[2] not in (1, 3):
        raise UserError(f"feature networks take grey or RGB images, but these samples have shape {list(image_shape)}")
    if config is not None and config.model.get("condition_dim", 0):
        raise UserError(
            "metrics need classes or none, but this model is conditioned on real numbers; evaluate with --npz"
        )
    if config is not None and DATA_DIR.value:
        with config.unlocked():
            config.data.dir = DATA_DIR.value
    real, name = open_reference(REFERENCE.value, config, image_shape)
    training = real if REFERENCE.value == "train" else None
    if NETWORK.value == "classifier":
        if config is None:
            raise UserError("--network=classifier is fitted to training data; with --npz, give their --config too")
        sizes = {"--network=classifier is fitted at": data.image_shape(config)}
        if isinstance(real, Images):
            sizes[f"--reference={REFERENCE.value} has"] = real.images.shape[1:]
        for what, shape in sizes.items():
            if shape[:2] != image_shape[:2]:
                raise UserError(f"{what} {pixels(shape)} pixels, but the samples have {pixels(image_shape)}")
        training = training or data.make_source(config, "train")
    count = min(REFERENCE_COUNT.value or len(real), len(real))
    labels_known = training.num_classes if training else 0
    check_network(NETWORK.value, inception=INCEPTION.value, num_classes=labels_known)
    metrics.check_counts(names or SCORES.value or metrics.BASIC, NUM.value if images is None else len(images), count)
    network = open_network(NETWORK.value, inception=INCEPTION.value, training=training)
    names = names or metric_names(network, config, images, real)
    batch_size = BATCH_SIZE.value * mesh.size
    reference = reference_of(real, f"{count:,} real images of {name}", network, mesh, count, batch_size)
    num, seed, labels = NUM.value, sampling_flags.SEED.value, LABELS.value
    bits = 16 if getattr(real, "dtype", None) == np.uint16 else 8
    return Evaluator(network, reference, names, num, seed, labels, batch_size, mesh, image_shape[2], bits)


def open_reference(name: str, config, image_shape: tuple[int, ...]) -> tuple[Source, str]:
    """Open real images and describe them.

    name: train or test, of the config's data; the folder of a prepared set; or an .npz. config: of the model's data, or
    None. image_shape: of the samples; a prepared set is cropped and resized to their height and width.
    """
    if name in ("train", "test"):
        if config is None:
            raise UserError(f"--npz needs --reference=FILE.npz or FOLDER, or --config, of whose data {name} is used")
        source = data.make_source(config, name)
        is_folder = config.data.name == "tfds" and not config.data.dataset
        title = epath.Path(config.data.dir).name if is_folder else config.data.dataset or config.data.name
        return source, f"{title} {name}, {pixels(data.image_shape(config))} px, resized by {config.data.resize}"
    path = epath.Path(name)
    if path.suffix == ".npz":
        return read_images(path, "--reference"), path.name
    config = configs.base() if config is None else config.copy_and_resolve_references()
    with config.unlocked():
        config.data.name, config.data.dataset, config.data.dir = "tfds", "", name
        config.data.image_key = config.data.label_key = config.data.condition_key = ""
        config.model.num_classes = 0  # The reference may have no labels.
        config.model.image_shape = image_shape[:2] + data.image_shape(config)[2:]
    source = data.open_tfds(config, "train")
    return source, f"{path.name} train, {pixels(image_shape)} px, resized by {config.data.resize}"


def read_images(path: epath.Path, flag: str) -> Images:
    """Read arr_0 of an .npz as a source, with labels if it has y or arr_1, else with 0 classes. Raises UserError."""
    arrays = files.read_npz(path)
    if "arr_0" not in arrays:
        raise UserError(f"{flag}={path} has the arrays {', '.join(arrays)}; arr_0 is needed")
    images, labels = arrays["arr_0"], arrays.get("y", arrays.get("arr_1", np.zeros(0, np.int32)))
    if images.ndim != 4 or images.shape[3] not in (1, 3) or images.dtype != np.uint8 or not len(images):
        found = f"{images.dtype} {list(images.shape)}"
        raise UserError(f"{flag}={path}: arr_0 is {found}; give uint8 [N, H, W, 3], or [N, H, W, 1] if grey")
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu" or labels.min() < 0:
        return Images(images, np.zeros(len(images), np.int32), 0)
    return Images(images, labels.astype(np.int32), int(labels.max()) + 1)


def pixels(image_shape: tuple[int, ...]) -> str:
    """Describe the size of an image: 128, or 128 x 96 (height first) if it is not square."""
    return " x ".join(dict.fromkeys(map(str, image_shape[:2])))


def metric_names(network: FeatureNetwork, config, images: Images | None, real: Source) -> tuple[str, ...]:
    """Return the metrics of --scores, or the default ones. Raises UserError for one that is not defined here."""
    classes = images.num_classes if images is not None else config.model.num_classes
    if LABELS.value == "data" and real.num_classes != classes:
        raise UserError(f"--labels=data: the real images have {real.num_classes} classes, but the model has {classes}")
    # Whether the network's logits are for the classes of the data.
    agreement = bool(classes and config is not None and config.model.num_classes)
    imagenet = agreement and config.model.num_classes == 1000 and config.data.dataset.startswith("imagenet")
    agreement &= network.labels == "data" or (network.labels == "imagenet" and imagenet)
    if not SCORES.value:
        return (*metrics.BASIC, *(("agreement",) if agreement else ()))
    if "agreement" in SCORES.value and not agreement:
        raise UserError(
            f"--scores=agreement: {network.name} does not know the classes of these samples, or they have none"
        )
    if "intra_fid" in SCORES.value and not (classes and real.num_classes):
        raise UserError("--scores=intra_fid needs classes of both samples and real images; one of the two has none")
    return tuple(dict.fromkeys(SCORES.value))
