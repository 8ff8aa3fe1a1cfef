"""Weights of feature networks from files or checked downloads, converted once and cached by the content of their file."""

import functools
import http.client
import logging
import urllib.request
from collections.abc import Callable

import jax
from etils import epath
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from biggan_jax.checkpoint import safetensors
from biggan_jax.convert import files
from biggan_jax.convert.tables import Arrays, Network
from biggan_jax.evaluation import cache
from biggan_jax.runtime.files import atomic_write, unique_suffix
from biggan_jax.runtime.progress import track
from biggan_jax.types import UserError

logger = logging.getLogger(__name__)

URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
"""TensorFlow's weights, converted by torch-fidelity. The name ends with the first digits of the file's sha256."""

TIMEOUT, MEGABYTE = 30, 2**20  # Seconds without data after which a download fails; bytes that are read at once.


def download(url: str = URL, instead: str = "--inception=PATH", sha256: str = "") -> epath.Path:
    """Download the file at `url` into the cache, unless it is there. Raises UserError if its checksum is wrong.

    sha256: of the file, or the first digits. Default: the end of the file's name. instead: the flag that takes a file, for
    messages.
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
        digest, expected = cache.hash_of_file(epath.Path(unfinished)), sha256 or path.stem.rpartition("-")[2]
        if not digest.startswith(expected):
            raise UserError(
                f"the sha256 of {url} starts with {digest[: len(expected)]} instead of {expected}, so the download is "
                f"incomplete or another file; try again, or give a file with {instead}"
            )
    return path


def existing(path: str) -> epath.Path:
    """Return the path of a file that exists. Raises UserError."""
    file = epath.Path(path)
    if not file.exists():
        raise UserError(
            f"{file} cannot be read (No such file or directory); give a .pth or .npz with the weights, or download"
        )
    return file


def hash_of(file: epath.Path) -> str:
    """Return the sha256 of a file of weights. Raises UserError if it cannot be read."""
    try:
        return cache.hash_of_file(file)
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"{file} cannot be read ({why}); give a .pth or .npz with the weights") from error


def shapes_of(network: nn.Module, size: int = 8) -> Network:
    """Return the shapes of {params, batch_stats} of an image network. size: of an image that it takes."""
    return jax.eval_shape(network.init, jax.random.key(0), jax.ShapeDtypeStruct((1, size, size, 3), "uint8"))


def converted(
    file: epath.Path,
    network: nn.Module,
    convert: Callable[[Arrays, Network, str], Network],
    *,
    size: int = 8,
    read: Callable[[epath.Path], Arrays] | None = None,
) -> Network:
    """Return a network's {params, batch_stats} from a file of PyTorch's arrays. read: how it is read, by default `read_arrays`."""
    shapes, content = shapes_of(network, size), hash_of(file)
    make = lambda: flatten_dict(convert((read or files.read_arrays)(file), shapes, str(file)), sep="/")
    # The tree is part of the key, because other versions of the network have other trees.
    tree = {name: leaf.shape for name, leaf in flatten_dict(shapes, sep="/").items()}
    return unflatten_dict(cache.cached(type(network).__name__.lower(), f"{content} as {tree}", make), sep="/")


def read_arrays(file: epath.Path, published: str = "") -> Arrays:
    """Read arrays from .safetensors, .npz, a file of torch.save, or a TorchScript archive whose sha256 is `published`.

    A TorchScript archive is a program, so that no other one is opened.
    """
    if file.suffix == ".safetensors":
        return safetensors.from_bytes(file.read_bytes(), str(file))[0]
    if published and hash_of(file) == published:
        torch = files.import_torch()
        with file.open("rb") as opened:
            arrays = torch.jit.load(opened, map_location="cpu").state_dict()
        return {name: files.to_numpy(array) for name, array in arrays.items()}
    return files.read_arrays(file)
