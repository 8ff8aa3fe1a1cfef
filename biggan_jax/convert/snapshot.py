"""Read network snapshots (.pkl) of R3GAN and of NVIDIA's GANs, without running any code in them.

Such a file is a plain pickle of PyTorch modules. To open it with pickle is to run whatever its author put in. Here classes of
networks become inert `Module`s, tensors become NumPy arrays, and every other name is refused. PyTorch is not needed.
"""

import io
import math
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from etils import epath

from biggan_jax.convert.tables import Arrays
from biggan_jax.types import UserError

PACKAGES = ("R3GAN", "training", "torch_utils", "torch.nn")
"""Packages whose classes become Modules: those of the projects, and PyTorch's layers."""

DICTS = {("collections", "OrderedDict"), ("dnnlib.util", "EasyDict"), ("dnnlib", "EasyDict")}
"""Classes that become dicts."""

STORAGES = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
"""Types of elements by the name of PyTorch's storage."""

NUMPY = ("f4", "f8", "i4", "i8", "u1", "b1")
DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
DEEPEST, MOST_MODULES = 64, 10_000
"""How deep modules may be in each other, and how many a network may have."""

MAGIC = 0x1950A86A20F9469CFC6C
"""The first number of a storage that torch.save wrote."""


class Dtype(NamedTuple):
    """A type of PyTorch, by name."""

    name: str


class NumpyDtype:
    """A type of NumPy, by its code, such as f8. What a pickle sets of it, the order of bytes, is not read."""

    def __init__(self, code: str):
        if code not in NUMPY:
            raise pickle.UnpicklingError(f"{code!r} is no type of numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        pass


class Module:
    """An object of a class that was not imported. kind: the name of the class. state: its attributes, as they were pickled."""

    kind = ""
    state: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any):
        module = super().__new__(cls)
        module.state = {}
        return module

    def __init__(self, *args: Any, **kwargs: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError(f"the state of {self.kind} is no dict")
        self.state = state


class Function:
    """A function that a pickle may call. It has no attributes that a pickle could change."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable):
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a function has no state")


class Restricted(pickle.Unpickler):
    """An unpickler that imports nothing."""

    def __init__(self, file: io.BufferedIOBase):
        super().__init__(file)
        self._classes: dict[tuple[str, str], type] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in of a name. Raises UserError for one that a network has no need of."""
        if function := FUNCTIONS.get((module, name)):
            return Function(function)
        if module == "torch" and name in DTYPES:
            return Dtype(name)
        if (module, name) in DICTS:
            return self._class(module, name, dict)
        if any(module == package or module.startswith(f"{package}.") for package in PACKAGES):
            return self._class(module, name, Module)
        raise UserError(f"it names {module}.{name}, which is neither a network nor a tensor; it was not loaded")

    def _class(self, module: str, name: str, base: type) -> type:
        # Classes of this unpickler alone, since a pickle can set attributes of a class.
        known = self._classes
        if (module, name) not in known:
            known[module, name] = type(name.rpartition(".")[2], (base,), {"kind": f"{module}.{name}"})
        return known[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise UserError("it refers to data outside of the file")


class _Storages(pickle.Unpickler):
    """Reads what torch.save wrote of one storage."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in STORAGES:
            return Dtype(name)
        raise UserError(f"a tensor of it names {module}.{name}, which is no type of numbers; it was not loaded")

    def persistent_load(self, pid: Any) -> Any:
        return pid


def read(path: epath.Path) -> dict[str, Any]:
    """Return the dict that a snapshot holds, with networks as Modules. Raises UserError if it has more than networks."""
    try:
        with path.open("rb") as file:
            # The projects write protocol 2 and newer; other files give other faults at random.
            if file.read(1) != pickle.PROTO:
                raise pickle.UnpicklingError("no pickle of protocol 2 or newer")
            file.seek(0)
            found = Restricted(file).load()
        for network in found.values() if isinstance(found, dict) else ():
            if isinstance(network, Module):
                arrays(network)  # Here, where the file can be named.
    except UserError as error:
        raise UserError(f"{path} is refused: {error}") from error
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except Exception as error:  # Corrupted pickles raise any type: IndexError, TypeError, UnpicklingError, ...
        raise UserError(f"{path} is not a snapshot of networks, or is corrupted") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} is not a snapshot of networks: it does not map names to them")
    return found


def arrays(module: Module) -> Arrays:
    """Return the parameters and persistent buffers of a module and its submodules, by the names of PyTorch's state dict."""
    found = {}
    for prefix, inner in _named(module):
        transient = inner.state.get("_non_persistent_buffers_set", ())
        if not isinstance(transient, set | list | tuple):
            raise UserError(f"the names of transient buffers of its {inner.kind} are no set")
        for kind in ("_parameters", "_buffers"):
            for name, array in _dict(inner, kind).items():
                if isinstance(array, np.ndarray) and name not in transient:
                    found[prefix + name] = array
    return found


def modules(module: Module) -> list[Module]:
    """Return a module and all that are in it."""
    return [inner for _, inner in _named(module)]


def _named(module: Module) -> list[tuple[str, Module]]:
    """Return a module and all that are in it, each with the prefix of its names. Raises UserError if they are no tree."""
    found, waiting = [], [("", module, 0)]
    while waiting:
        prefix, one, depth = waiting.pop()
        found.append((prefix, one))
        if depth > DEEPEST or len(found) > MOST_MODULES:
            raise UserError(f"its modules hold each other, or are more than {MOST_MODULES:,}")
        inner = [(name, each) for name, each in _dict(one, "_modules").items() if isinstance(each, Module)]
        waiting += [(f"{prefix}{name}.", each, depth + 1) for name, each in reversed(inner)]
    return found


def _dict(module: Module, key: str) -> dict[str, Any]:
    found = module.state.get(key, {})
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise UserError(f"{key} of its {module.kind} is no dict of names")
    return found


def _persistent(meta: dict) -> Module:
    """Return the Module of torch_utils.persistence: a class with its source, which is not run, and its state."""
    found = Module()
    found.kind, found.state = str(meta["class_name"]), dict(meta["state"])
    return found


def _storage(data: bytes) -> np.ndarray:
    """Read one storage, as torch.save writes it in a pickle: its magic number, description, and numbers."""
    file = io.BytesIO(data)
    magic, _, _, pid, keys = (_Storages(file).load() for _ in range(5))
    _, dtype, key, _, size, *_ = pid
    if magic != MAGIC or keys != [key] or int.from_bytes(file.read(8), "little") != size:
        raise pickle.UnpicklingError("no storage of PyTorch")
    dtype = np.dtype(STORAGES[dtype.name])
    return np.frombuffer(file.read(size * dtype.itemsize), dtype, size)


def _tensor(storage: np.ndarray, offset: int, shape: tuple, strides: tuple, *_: Any) -> np.ndarray:
    """Return the tensor with these strides in its storage. Half precision becomes float32."""
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    empty = 0 in shape
    sound = offset >= 0 and all(n >= 0 for n in (*shape, *strides)) and (empty or last < len(storage))
    if not sound or math.prod(shape) > len(storage):
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    steps = [stride * storage.itemsize for stride in strides]
    array = np.array(np.lib.stride_tricks.as_strided(storage[offset:], shape, steps), order="C")
    return array.astype(np.float32) if array.dtype in (np.float16, ml_dtypes.bfloat16) else array


def _scalar(kind: NumpyDtype, data: bytes) -> Any:
    return np.frombuffer(data, kind.dtype, 1)[0]


FUNCTIONS: dict[tuple[str, str], Callable] = {
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
    ("torch", "Size"): tuple,
    ("builtins", "set"): set,
    ("numpy", "dtype"): lambda code, *_: NumpyDtype(code),
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy.core.multiarray", "scalar"): _scalar,  # Before NumPy 2.
}
"""The functions that such files call, by their names, and what is called instead."""
