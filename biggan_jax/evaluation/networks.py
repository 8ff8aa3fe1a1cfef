"""Owns the one face of all networks by which samples are judged: images to features and logits. Must not know scores."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from biggan_jax.config import choose
from biggan_jax.data.dataset import Source
from biggan_jax.evaluation import cache, classifier, weights
from biggan_jax.evaluation.efficientnet import EfficientNetLite0
from biggan_jax.evaluation.inception import Inception
from biggan_jax.train_step import to_float
from biggan_jax.types import Image, Params, UserError

FIT = {"seed": 0, "steps": 1500, "batch_size": 64}
"""Of the classifier."""

NOT_COMPARABLE = "not comparable with Inception FID or IS"


class Outputs(NamedTuple):
    """float32: features [B, D] and logits [B, K]."""

    features: jax.Array
    logits: jax.Array


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureNetwork:
    """A network with its weights.

    digest: sha256 of the weights. resizer: what becomes of images first, in words. note: what its scores must not be taken
    for, "" where they are the field's own. labels: the classes of its logits are those of the "data", of "imagenet" in its
    usual order, or in none that labels have (""). params: arrays of the host. apply: a pure function of (params, uint8
    images [B, H, W, 3]), to be jitted; it keeps images apart, so that their batch may lie on many devices.
    """

    name: str
    digest: str
    resizer: str
    note: str
    labels: str
    params: Params
    apply: Callable[[Params, Image], Outputs]


class Training(NamedTuple):
    """A data set's training split, and a name for its content, equal for equal content alone."""

    source: Source
    digest: str


def open_network(name: str, *, inception: str | None = None, training: Training | None = None) -> FeatureNetwork:
    """The network of that name in NETWORKS, ready. Raises UserError where what it needs is not there.

    inception: a path to the weights of inception-2015, or "download". training: what the classifier is fitted to.
    """
    return choose(NETWORKS, "the network", name)(inception, training)


def _inception(inception: str | None, _: Training | None) -> FeatureNetwork:
    return _network(
        "inception-2015",
        weights.inception(inception),
        _applied(Inception()),
        resizer="TF1 bilinear to 299",
        note="",
        labels="",
    )


def _efficientnet(_: str | None, __: Training | None) -> FeatureNetwork:
    return _network(
        "efficientnet-lite0",
        weights.efficientnet(),
        _applied(EfficientNetLite0()),
        resizer="antialiased bilinear to 224",
        note=NOT_COMPARABLE,
        labels="imagenet",
    )


def _classifier(_: str | None, training: Training | None) -> FeatureNetwork:
    if training is None or not training.source.num_classes:
        raise UserError("the network classifier is fitted to a data set's labels, of which there are none here")
    source = training.source
    make = lambda: jax.tree.map(np.asarray, flatten_dict(classifier.fit(source, **FIT), sep="/"))
    made_of = f"{training.digest} fitted by recipe {classifier.RECIPE} with {FIT}"
    params = unflatten_dict(cache.cached("classifier", made_of, make), sep="/")
    network = classifier.Network(source.num_classes)

    def apply(params: Params, images: Image) -> Outputs:
        logits, features = network.apply(params, to_float(images))
        return Outputs(cast(jax.Array, features), cast(jax.Array, logits))

    return _network("classifier", params, apply, resizer="none", note=NOT_COMPARABLE, labels="data")


NETWORKS: dict[str, Callable[[str | None, Training | None], FeatureNetwork]] = {
    "inception-2015": _inception,
    "efficientnet-lite0": _efficientnet,
    "classifier": _classifier,
}


def _network(name: str, params: Params, apply: Callable[[Params, Image], Outputs], **described: str) -> FeatureNetwork:
    digest = cache.digest(flatten_dict(params, sep="/"))
    return FeatureNetwork(name=name, digest=digest, params=params, apply=apply, **described)


def _applied(network: nn.Module) -> Callable[[Params, Image], Outputs]:
    return lambda params, images: Outputs(*network.apply(params, images))
