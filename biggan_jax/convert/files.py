"""Owns reading and writing state dicts on disk: PyTorch's files, and .npz. Must not know what the arrays mean."""

from typing import Any

import numpy as np
from etils import epath

from biggan_jax.convert.tables import Arrays
from biggan_jax.runtime.files import read_npz
from biggan_jax.types import UserError


def read_arrays(path: epath.Path) -> Arrays:
    """The state dict in a .npz (all of its arrays, or those named state/...), or in a file that torch.save wrote."""
    if path.suffix == ".npz":
        arrays = read_npz(path)
        prefix = "state/" if any(name.startswith("state/") for name in arrays) else ""
        return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    loaded = read_torch(path)
    if not isinstance(loaded, dict) or not all(hasattr(value, "detach") for value in loaded.values()):
        raise UserError(f"{path} is not a state dict: it must map names to tensors")
    return {name: to_numpy(value) for name, value in loaded.items()}


def to_numpy(tensor) -> np.ndarray:
    """The tensor's values; of half precision, for some of which numpy has no type, as float32."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor).numpy()


def read_torch(path: epath.Path) -> Any:
    """What torch.save wrote, restricted to tensors, numbers and the activations that BigGAN-PyTorch's config holds."""
    torch = import_torch()
    activations = [torch.nn.ReLU, torch.nn.LeakyReLU, torch.nn.ELU, torch.nn.SELU, torch.nn.Sigmoid, torch.nn.Tanh]
    # Its best scores are numpy's numbers.
    scalar = np.float64(0).__reduce__()[0]
    numbers = [scalar, np.dtype, type(np.dtype(np.float32)), type(np.dtype(np.float64)), type(np.dtype(np.int64))]
    old_name = (scalar, "numpy.core.multiarray.scalar")  # Before numpy 2.
    try:
        with path.open("rb") as file, torch.serialization.safe_globals([*activations, *numbers, old_name]):
            return torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except Exception as error:  # Damaged pickles fail in any way: IndexError, TypeError, UnpicklingError, ...
        raise UserError(
            f"{path} is no PyTorch file, is damaged, or holds more than tensors and numbers, which alone are loaded"
        ) from error


def write_torch(path: epath.Path, tree: Any) -> None:
    """torch.save of nested dicts, numpy arrays becoming tensors."""
    torch = import_torch()
    with path.open("wb") as file:
        torch.save(_tensors(torch, tree), file)


def import_torch():
    try:
        import torch
    except ImportError as error:
        raise UserError("PyTorch files need PyTorch: pip install 'biggan-jax[torch]'") from error
    return torch


def _tensors(torch, tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _tensors(torch, value) for key, value in tree.items()}
    return torch.from_numpy(np.array(tree)) if isinstance(tree, np.ndarray) else tree
