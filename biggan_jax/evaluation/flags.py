"""Flags of evaluation: feature network, real images, metrics; and the evaluator that they describe."""

from absl import flags
from jax.sharding import Mesh

from biggan_jax import data
from biggan_jax.data.dataset import Images, Source
from biggan_jax.evaluation import evaluator, metrics
from biggan_jax.evaluation.evaluator import Evaluator
from biggan_jax.evaluation.networks import NETWORKS, FeatureNetwork, open_network
from biggan_jax.evaluation.real_images import open_reference
from biggan_jax.evaluation.reference import reference_of
from biggan_jax.sampling import flags as sampling_flags
from biggan_jax.types import UserError

NETWORK = flags.DEFINE_enum("network", "inception-2015", list(NETWORKS), "Feature network; see docs/evaluation.md.")
INCEPTION = flags.DEFINE_string("inception", None, "Inception's weights: a .pth or .npz, or `download`.")
REFERENCE = flags.DEFINE_string(
    "reference",
    "train",
    "Real images: train or test, of the run's data; the folder of a prepared set; or an .npz with arr_0.",
)
REFERENCE_COUNT = flags.DEFINE_integer("reference_count", None, "Use this many, evenly spread.", lower_bound=2)
DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of the run's data, if they have moved.")
NUM = flags.DEFINE_integer("num", 50_000, "Number of samples.", lower_bound=2)
LABELS = flags.DEFINE_enum("labels", "balanced", list(evaluator.LABELS), "How the samples' classes are drawn.")
SCORES = flags.DEFINE_list(
    "scores",
    None,
    f"Metrics, of {', '.join(metrics.METRICS)}. Default: all that need no labels, and agreement if possible.",
)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images per batch on each device.", lower_bound=1)


def make_evaluator(
    config, image_shape: tuple[int, ...], mesh: Mesh, images: Images | None = None, names: tuple[str, ...] | None = None
) -> Evaluator:
    """Make the evaluator that the flags describe, with its reference computed or read from the cache.

    Args:
        config: of the model, or None with --npz alone.
        image_shape: of the samples.
        images: those of --npz.
        names: metrics; default: those of the flags.

    Raises:
        UserError: flags do not fit each other, the model or the data.
    """
    if len(image_shape) != 3 or image_shape[2] not in (1, 3):
        raise UserError(
            f"feature networks take grey or RGB images, but these samples have the shape {list(image_shape)}"
        )
    if config is not None and DATA_DIR.value:
        with config.unlocked():
            config.data.dir = DATA_DIR.value
    if config is not None and NETWORK.value == "classifier" and image_shape[0] != config.model.resolution:
        raise UserError(
            f"--network=classifier is fitted at {config.model.resolution} pixels, but the samples have {image_shape[0]}"
        )
    real, name = open_reference(REFERENCE.value, config, image_shape[0])
    if NETWORK.value == "classifier" and isinstance(real, Images) and real.images.shape[1] != image_shape[0]:
        raise UserError(
            f"--reference={REFERENCE.value} has {real.images.shape[1]} pixels, but the samples have {image_shape[0]}"
        )
    training = real if REFERENCE.value == "train" else None
    if NETWORK.value == "classifier" and training is None:
        if config is None:
            raise UserError("--network=classifier is fitted to training data; with --npz, give their --config too")
        training = data.make_source(config, "train")
    network = open_network(NETWORK.value, inception=INCEPTION.value, training=training)
    names = names or metric_names(network, config, images, real)
    count = min(REFERENCE_COUNT.value or len(real), len(real))
    batch_size = BATCH_SIZE.value * mesh.size
    reference = reference_of(real, f"{count:,} real images of {name}", network, mesh, count, batch_size)
    num, seed, labels = NUM.value, sampling_flags.SEED.value, LABELS.value
    return Evaluator(network, reference, names, num, seed, labels, batch_size, mesh, image_shape[2])


def metric_names(network: FeatureNetwork, config, images: Images | None, real: Source) -> tuple[str, ...]:
    """Return the metrics of --scores, or the default ones. Raises UserError for one that is not defined here."""
    classes = images.num_classes if images is not None else config.model.num_classes
    if LABELS.value == "data" and real.num_classes != classes:
        raise UserError(f"--labels=data: the real images have {real.num_classes} classes, but the model has {classes}")
    agreement = bool(classes) and knows_classes(network, config)
    if not SCORES.value:
        return ("fid", "is", "kid", "prdc", *(("agreement",) if agreement else ()))
    if "agreement" in SCORES.value and not agreement:
        raise UserError(
            f"--scores=agreement: {network.name} does not know the classes of these samples, or they have none"
        )
    if "intra_fid" in SCORES.value and not (classes and real.num_classes):
        raise UserError("--scores=intra_fid needs classes of both samples and real images; one of the two has none")
    return tuple(dict.fromkeys(SCORES.value))


def knows_classes(network: FeatureNetwork, config) -> bool:
    """Return whether the network's logits are for the classes of the data."""
    if config is None or not config.model.num_classes:
        return False
    imagenet = config.data.dataset.startswith("imagenet") and config.model.num_classes == 1000
    return network.labels == "data" or (network.labels == "imagenet" and imagenet)
