"""Feature networks behind one interface: images to features and logits."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from biggan_jax.config import choose
from biggan_jax.data.dataset import Source
from biggan_jax.evaluation import cache, classifier, weights
from biggan_jax.evaluation.efficientnet import RESIZER, EfficientNetLite0
from biggan_jax.evaluation.inception import Inception
from biggan_jax.sampling.pictures import to_rgb
from biggan_jax.types import Image, Params, UserError

FIT = {"seed": 0, "steps": 1500, "batch_size": 64}
"""How the classifier is fitted."""

NOT_COMPARABLE = "not comparable with Inception FID or IS"

GREY_NOTE = ", grey repeated to three channels"
"""Added to the resizer in protocols of grey images."""


class Outputs(NamedTuple):
    """float32: features [B, D] and logits [B, K]."""

    features: jax.Array
    logits: jax.Array


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureNetwork:
    """A network with its weights.

    digest: sha256 of the weights. resizer: how images are resized first, in words. note: a warning about its results; ""
    for the field's standard network. labels: the classes of its logits: those of the "data", of "imagenet" in its usual
    order, or "" for other ones. params: arrays on the host. apply: a pure function of (params, uint8 images [B, H, W, 1 or
    3]), to be jitted; it treats images independently, so that a batch may be sharded.
    """

    name: str
    digest: str
    resizer: str
    note: str
    labels: str
    params: Params
    apply: Callable[[Params, Image], Outputs]


def open_network(name: str, *, inception: str | None = None, training: Source | None = None) -> FeatureNetwork:
    """Open a network of NETWORKS with its weights. Raises UserError if what it needs is missing.

    inception: a path to the weights of inception-2015, or "download". training: the split that the classifier is fitted to.
    """
    module, params, resizer, note, labels = choose(NETWORKS, "the network", name)(inception, training)
    digest = cache.hash_of_arrays(flatten_dict(params, sep="/"))
    apply = lambda params, images: Outputs(*module.apply(params, to_rgb(images)))
    return FeatureNetwork(name, digest, resizer, note, labels, params, apply)


def _classifier(source: Source | None) -> tuple[nn.Module, Params]:
    if source is None or not source.num_classes:
        raise UserError("the network classifier is fitted to labels, but this data set has none")
    make = lambda: jax.tree.map(np.asarray, flatten_dict(classifier.fit(source, **FIT), sep="/"))
    made_of = f"{cache.hash_of_source(source)} fitted by recipe {classifier.RECIPE} with {FIT}"
    params = unflatten_dict(cache.cached("classifier", made_of, make), sep="/")
    return classifier.Network(source.num_classes), params


NETWORKS: dict[str, Callable[[str | None, Source | None], tuple]] = {
    "inception-2015": lambda path, _: (Inception(), weights.inception(path), "TF1 bilinear to 299", "", ""),
    "efficientnet-lite0": lambda *_: (EfficientNetLite0(), weights.efficientnet(), RESIZER, NOT_COMPARABLE, "imagenet"),
    "classifier": lambda _, source: (*_classifier(source), "none", NOT_COMPARABLE, "data"),
}
"""Functions of `inception` and `training` that return the module, its weights, and the resizer, note and labels."""
