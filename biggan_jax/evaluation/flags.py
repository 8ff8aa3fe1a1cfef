"""Flags of evaluation: feature network, real images, metrics; and the evaluator that they describe."""

import contextlib
import functools
import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from etils import epath
from jax.sharding import Mesh

from biggan_jax import config as configs
from biggan_jax import data
from biggan_jax.data.dataset import Images, Source
from biggan_jax.evaluation import conditions, lpips, metrics, networks, sets
from biggan_jax.evaluation.baseline import Baseline, of_halves
from biggan_jax.evaluation.conditions import classes_of, has_conditions
from biggan_jax.evaluation.evaluator import Evaluator
from biggan_jax.evaluation.folders import Pictures
from biggan_jax.evaluation.formulas import Moments
from biggan_jax.evaluation.networks import (
    DIMENSIONS,
    FITTED,
    WITHOUT_CLASSES,
    FeatureNetwork,
    check_network,
    open_network,
)
from biggan_jax.evaluation.reference import KEPT, Reference, of_statistics, reference_of
from biggan_jax.evaluation.sets import pixels
from biggan_jax.flags.evaluation import (
    BATCH_SIZE,
    DATA_DIR,
    INCEPTION,
    JPEG,
    LABELS,
    LPIPS,
    LPIPS_HEADS,
    MAX_BROKEN,
    NETWORK,
    NETWORK_WEIGHTS,
    NUM,
    REFERENCE,
    REFERENCE_COUNT,
    RESIZER,
    SCORES,
)
from biggan_jax.sampling import flags as sampling_flags
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)


class Real(NamedTuple):
    """What samples are compared with, and its name: images, statistics of images (mu, sigma), or both."""

    images: Source | None
    statistics: Moments | None
    name: str

    @property
    def used(self) -> int:
        """The number of images that are used; 0 without."""
        there = len(self.images) if self.images is not None else 0
        return min(REFERENCE_COUNT.value or there, there)


def make_evaluator(
    config, image_shape: tuple[int, ...], mesh: Mesh, images: Source | None = None, names: tuple[str, ...] = ()
) -> Evaluator:
    """Make the evaluator that the flags describe, with its reference computed or read from the cache.

    config: of the model, or None with --samples alone. image_shape: of the samples. images: those of --samples. names:
    metrics; default: those of the flags. Raises UserError if flags do not fit each other, the model or the data.
    """
    if len(image_shape) != 3 or image_shape[2] not in (1, 3):
        raise UserError(f"feature networks take grey or RGB images, but these samples have shape {list(image_shape)}")
    if config is not None and data.has_clips(config) and NETWORK.value != "classifier":
        raise UserError(
            f"--network={NETWORK.value} takes single pictures, but these samples are clips; use --network=classifier, which is "
            "fitted to the training data's classes"
        )
    conditioned = conditions.named_by(config) if images is None else ""
    if conditioned and LABELS.present:
        what = f"this model is conditioned on {conditioned}, and its samples are of those of the real images"
        raise UserError(f"--labels={LABELS.value} has no meaning: {what}")
    if config is not None and DATA_DIR.value:
        with config.unlocked():
            config.data.dir = DATA_DIR.value
    networks.check_resizer(NETWORK.value, RESIZER.value or "", JPEG.value or 0)
    if NETWORK.value in FITTED and config is None:
        raise UserError(
            f"--network={NETWORK.value} is fitted to training data; with --samples, give their --config too"
        )
    real = open_reference(REFERENCE.value, config, image_shape)
    if conditioned and (real.images is None or not has_conditions(real.images)):
        what = (
            f"samples of this model are of {conditioned} of the real images, and --reference={REFERENCE.value} has none"
        )
        raise UserError(f"{what}; give train, test or a prepared set that has some")
    training = real.images if REFERENCE.value == "train" else None
    if NETWORK.value in FITTED:
        check_sizes(config, image_shape, real.images, images)
        training = training or data.make_source(config, "train")
    wanted = names or tuple(SCORES.value or default_names(real))
    check_statistics(real, wanted)
    if "lpips" in wanted:
        lpips.check_lpips("vgg", LPIPS.value, LPIPS_HEADS.value)
    check_network(NETWORK.value, inception=weights_path(), training=training)
    samples = NUM.value if images is None else len(images)
    # Statistics are of enough images.
    metrics.check_counts(wanted, samples, real.used or metrics.NEIGHBOURS)
    warn_of_few(wanted, {"samples": samples, "real images": real.used if real.statistics is None else 0})
    network = network_of_flags(training)
    names = names or metric_names(network, config, images, real)
    batch_size = BATCH_SIZE.value * mesh.size
    reference = make_reference(real, network, mesh, batch_size)
    num, seed, labels = NUM.value, sampling_flags.SEED.value, LABELS.value
    labels = conditions.words(conditioned) if conditioned else labels
    bits = 16 if getattr(real.images, "dtype", None) == np.uint16 else 8
    make_baseline = functools.cache(lambda: baseline_of(real, reference, network, config, mesh, batch_size))
    drawn = num, seed, labels, batch_size
    opened = functools.cache(lambda: lpips.open_lpips("vgg", LPIPS.value, LPIPS_HEADS.value))
    return Evaluator(network, reference, names, *drawn, mesh, image_shape[2], bits, make_baseline, opened)


def weights_path() -> str | None:
    """Return the path of the network's weights, or download."""
    return INCEPTION.value or NETWORK_WEIGHTS.value


def network_of_flags(training: Source | None) -> FeatureNetwork:
    """Open the network that the flags describe. training: the split that the classifier is fitted to."""
    resizer, jpeg = RESIZER.value or "", JPEG.value or 0
    return open_network(NETWORK.value, inception=weights_path(), training=training, resizer=resizer, jpeg=jpeg)


def reference_alone(config, mesh: Mesh) -> tuple[Reference, str]:
    """Return the reference that the flags describe, without samples, and the network in words. config: as for make_evaluator."""
    shape: tuple[int, ...] = data.image_shape(config) if config is not None else ()
    name = REFERENCE.value
    if name not in ("train", "test") and not shape:
        opened = sets.open_samples(epath.Path(name), "--reference", MAX_BROKEN.value)
        real = Real(opened, None, epath.Path(name).name)
    else:
        real = open_reference(name, config, shape)
    if real.images is None:
        raise UserError(f"--reference={name} has statistics alone (mu, sigma) already")
    training = data.make_source(config, "train") if NETWORK.value in FITTED and config is not None else None
    network = network_of_flags(training)
    warn_of_few(("fid",), {"images": real.used})
    reference = make_reference(real._replace(statistics=None), network, mesh, BATCH_SIZE.value * mesh.size)
    return reference, f"{network.name}, {network.resizer}"


def check_sizes(config, image_shape: tuple[int, ...], real: Source | None, images: Source | None) -> None:
    """Raise UserError unless all images have the size that the network is fitted at."""
    sizes = {f"--network={NETWORK.value} is fitted at": data.image_shape(config)}
    if isinstance(real, Images | Pictures):
        sizes[f"--reference={REFERENCE.value} has"] = sets.shape_of(real, image_shape)
    for what, shape in sizes.items():
        if shape[:2] != image_shape[:2]:
            raise UserError(f"{what} {pixels(shape)} pixels, but the samples have {pixels(image_shape)}")
    for source in (real, images):
        if isinstance(source, Pictures) and not source.one_shape:
            raise UserError(f"--network={NETWORK.value} takes images of one size, but {source.root} has several")


def warn_of_few(names: Sequence[str], counts: dict[str, int]) -> None:
    """Log when a Frechet distance is of fewer images than features, so that it depends on their number most of all."""
    features = DIMENSIONS[NETWORK.value]
    few = {what: count for what, count in counts.items() if 0 < count <= features}
    if "fid" in names and few:
        listed = " and ".join(f"{count:,} {what}" for what, count in few.items())
        logger.warning(
            "%s are too few for the %s features of %s: the Frechet distance is mostly bias; take %s or more, or --scores=kid",
            *(listed, f"{features:,}", NETWORK.value, f"{features + 1:,}"),
        )


def check_statistics(real: Real, names: Sequence[str]) -> None:
    """Raise UserError if statistics are of another network's features, or lack the images that a metric needs."""
    flag = f"--reference={REFERENCE.value}"
    if real.images is None:
        without = f"{flag} has statistics alone (mu, sigma), and no images"
        if needs := [name for name in names if name in metrics.OF_IMAGES]:
            raise UserError(f"--scores={needs[0]} needs real images, but {without}; it allows fid and is")
        if REFERENCE_COUNT.value:
            raise UserError(f"--reference_count has no effect: {without}")
        if LABELS.value == "data":
            raise UserError(f"--labels=data needs the labels of real images, but {without}")
    wanted = DIMENSIONS[NETWORK.value]
    if real.statistics is not None and needs_moments(names) and (there := len(real.statistics.mean)) != wanted:
        hint = "use the network that they are of" + (", or --scores without fid" if real.images is not None else "")
        raise UserError(f"{flag}: mu has {there} values, but {NETWORK.value} has {wanted} features; {hint}")


def make_reference(real: Real, network: FeatureNetwork, mesh: Mesh, batch_size: int) -> Reference:
    """Compute the reference, or read it from the cache: FID by statistics where there are some, the rest by images."""
    images = None
    if real.images is not None:
        if (wanted := REFERENCE_COUNT.value or 0) > real.used:
            logger.warning("--reference_count=%d: there are %d real images, and all are used", wanted, real.used)
        name = f"{real.used:,} real images of {real.name}"
        images = reference_of(real.images, name, network, mesh, real.used, batch_size)
        if real.statistics is None:
            return images
    assert real.statistics is not None  # A reference has one of the two.
    name = f"statistics mu, sigma of {real.name}"
    name += f" (Frechet distance) and {real.used:,} real images of it (other metrics)" if images else ""
    logger.info("--reference=%s: the Frechet distance is to mu and sigma of the file", REFERENCE.value)
    return of_statistics(real.statistics, name, images)


def baseline_of(real: Real, reference: Reference, network: FeatureNetwork, config, mesh: Mesh, size: int) -> Baseline:
    """Return the real images to score beside samples: those of the data's other split, else a half of the reference.

    The network's accuracy is measured on images that it was not fitted to. size: of a batch.
    """
    fitted = network.fitted
    known, by_split = fitted or knows_classes(network, config), REFERENCE.value in ("train", "test")
    other = None
    if by_split or (known and fitted):
        with contextlib.suppress(UserError):  # Not every data set holds images out.
            other = data.make_source(config, "train" if REFERENCE.value == "test" else "test")
    kept = None
    if other is not None:
        kept = reference_of(other, "", network, mesh, min(NUM.value, KEPT, len(other)), size).kept
    if not by_split:
        labelled = kept if fitted else reference.kept if classes_of(real.images) else None
        return of_halves(reference, labelled if known else None)
    if REFERENCE.value == "train":
        labelled = kept if kept is not None or fitted else reference.kept
        name = "held-out images"
    else:
        labelled, name = reference.kept, "training images; the accuracy is that on held-out ones"
    if kept is None:
        return of_halves(reference, labelled if known else None)
    return Baseline(f"{len(kept.labels):,} {name}", kept, reference, labelled if known else None)


def open_reference(name: str, config, image_shape: tuple[int, ...]) -> Real:
    """Open real images, or their statistics, and describe them.

    name: train or test, of the config's data; or what `sets.open_reference` opens. config: of the model's data, or None.
    image_shape: of the samples; a prepared set is cropped and resized to their height and width.
    """
    if name in ("train", "test"):
        if config is None:
            raise UserError(f"a --reference is needed: {sets.FORMS}; or --config, of whose data {name} is used")
        source = data.make_source(config, name)
        is_folder = config.data.name == "tfds" and not config.data.dataset
        title = epath.Path(config.data.dir).name if is_folder else config.data.dataset or config.data.name
        size = pixels(data.image_shape(config))
        return Real(source, None, f"{title} {name}, {size} px, resized by {config.data.resize}")
    found = sets.open_reference(epath.Path(name), "--reference", image_shape, config, MAX_BROKEN.value)
    shape = sets.shape_of(found.images, image_shape) if found.images else image_shape
    if shape[:2] != image_shape[:2]:
        logger.info(
            "--reference=%s has %s pixels, the samples have %s; both are resized",
            name,
            pixels(shape),
            pixels(image_shape),
        )
    statistics = sets.of_dimension(found.statistics, DIMENSIONS[NETWORK.value])
    return Real(found.images, statistics or next(iter(found.statistics), None), found.name)


def needs_moments(names: Sequence[str]) -> bool:
    """Return whether a metric of these names compares means and covariances."""
    return bool(set(names) & {*metrics.OF_MOMENTS})


def default_names(real: Real) -> tuple[str, ...]:
    """Return the metrics that are defined for all samples and these real images."""
    known = metrics.BASIC if NETWORK.value not in WITHOUT_CLASSES else metrics.WITHOUT_CLASSES
    return tuple(name for name in known if real.images is not None or name not in metrics.OF_IMAGES)


def knows_classes(network: FeatureNetwork, config) -> bool:
    """Return whether the network's logits are for the classes of the config's data."""
    if config is None or not config.model.num_classes:
        return False
    imagenet = config.model.num_classes == 1000 and config.data.dataset.startswith("imagenet")
    return network.labels == "data" or (network.labels == "imagenet" and imagenet)


def class_names_differ(images: Source | None, real: Source | None) -> str:
    """Say how the class names of two sets differ; "" if they agree, or if one of them has no names."""
    ours, theirs = (tuple(getattr(source, "class_names", ())) for source in (images, real))
    if not ours or not theirs or ours == theirs:
        return ""
    return f"samples have {configs.some(ours, 4)}, and real images {configs.some(theirs, 4)}"


def metric_names(network: FeatureNetwork, config, images: Source | None, real: Real) -> tuple[str, ...]:
    """Return the metrics of --scores, or the default ones. Raises UserError for one that is not defined here."""
    classes = images.num_classes if images is not None else config.model.num_classes
    real_classes = classes_of(real.images)
    if LABELS.value == "data" and real_classes != classes:
        raise UserError(f"--labels=data: the real images have {real_classes} classes, but the model has {classes}")
    of_captions = network.texts is not None and images is None
    agreement = of_captions or (bool(classes) and knows_classes(network, config))
    if not SCORES.value:
        return (*default_names(real), *(("agreement",) if agreement else ()))
    if "is" in SCORES.value and network.name in WITHOUT_CLASSES:
        raise UserError(f"--scores=is needs a network with classes, which {network.name} has not")
    if "agreement" in SCORES.value and not agreement:
        raise UserError(
            f"--scores=agreement: {network.name} does not know the classes or captions of these samples, or they have none"
        )
    if (needing := [name for name in SCORES.value if name in metrics.OF_CLASSES]) and not (classes and real_classes):
        raise UserError(f"--scores={needing[0]} needs classes of both samples and real images; one of the two has none")
    if needing and (names := class_names_differ(images, real.images)):
        raise UserError(f"--scores={needing[0]} needs the same classes on both sides, but {names}")
    return tuple(dict.fromkeys(SCORES.value))
