"""Read and write state dicts: PyTorch files and .npz."""

from typing import Any

import numpy as np
from etils import epath

from biggan_jax.convert.tables import Arrays
from biggan_jax.runtime.files import read_npz
from biggan_jax.types import UserError


def read_arrays(path: epath.Path) -> Arrays:
    """Read a state dict from .npz (all arrays, or those named state/...) or from a file of torch.save."""
    if path.suffix == ".npz":
        arrays = read_npz(path)
        prefix = "state/" if any(name.startswith("state/") for name in arrays) else ""
        return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    return to_arrays(read_torch(path), path)


def to_arrays(loaded: Any, path: epath.Path) -> Arrays:
    """Convert a state dict of tensors, read from `path`. Raises UserError for anything else."""
    if not isinstance(loaded, dict) or not all(hasattr(value, "detach") for value in loaded.values()):
        raise UserError(f"{path} is not a state dict: it must map names to tensors")
    return {name: to_numpy(value) for name, value in loaded.items()}


def to_numpy(tensor) -> np.ndarray:
    """Convert a tensor; half precision becomes float32, since numpy lacks some of its types. An array stays as it is."""
    if not hasattr(tensor, "detach"):
        return np.asarray(tensor)
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor).numpy()


def read_torch(path: epath.Path) -> Any:
    """Load a file of torch.save, restricted to tensors, numbers and the activations in BigGAN-PyTorch's configs."""
    torch = import_torch()
    activations = [torch.nn.ReLU, torch.nn.LeakyReLU, torch.nn.ELU, torch.nn.SELU, torch.nn.Sigmoid, torch.nn.Tanh]
    # BigGAN-PyTorch stores its best scores as NumPy numbers.
    scalar = np.float64(0).__reduce__()[0]
    numbers = [scalar, np.dtype, type(np.dtype(np.float32)), type(np.dtype(np.float64)), type(np.dtype(np.int64))]
    old_name = (scalar, "numpy.core.multiarray.scalar")  # Before numpy 2.
    try:
        with path.open("rb") as file, torch.serialization.safe_globals([*activations, *numbers, old_name]):
            return torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except Exception as error:  # Corrupted pickles raise any type: IndexError, TypeError, UnpicklingError, ...
        what = "is not a PyTorch file, is corrupted, or has more than tensors and numbers; only those are loaded"
        raise UserError(f"{path} {what}") from error


def write_torch(path: epath.Path, tree: Any) -> None:
    """Write nested dicts with torch.save; NumPy arrays become tensors."""
    torch = import_torch()

    def tensors(tree: Any) -> Any:
        if isinstance(tree, dict):
            return {key: tensors(value) for key, value in tree.items()}
        return torch.from_numpy(np.array(tree)) if isinstance(tree, np.ndarray) else tree

    with path.open("wb") as file:
        torch.save(tensors(tree), file)


def import_torch():
    try:
        import torch
    except ImportError as error:
        raise UserError("PyTorch files need PyTorch: pip install 'biggan-jax[torch]'") from error
    return torch
