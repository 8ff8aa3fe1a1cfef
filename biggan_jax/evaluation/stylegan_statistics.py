"""Read statistics of features that StyleGAN's and EDM2's code cached as .pkl, without running any code in them."""

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from etils import epath

from biggan_jax.evaluation.formulas import Moments, moments
from biggan_jax.types import UserError

DTYPES = ("f2", "f4", "f8", "i4", "i8", "u1", "b1")
"""Types of numbers, as NumPy writes them."""

METRICS = ("fid", "fd_dinov2")
"""Names in the files of EDM2."""


class _Dtype:
    """A type of numbers; what a pickle sets of it is the order of bytes."""

    def __init__(self, code: str, *_: Any):
        if code not in DTYPES:
            raise pickle.UnpicklingError(f"{code!r} is no type of numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if state[1] in "<>":
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """An array, whose numbers a pickle sets."""

    value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, data = state
        self.value = np.frombuffer(data, kind.dtype).reshape(shape, order="F" if fortran else "C")


def _of_buffer(data: Any, kind: _Dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    return np.frombuffer(data, kind.dtype).reshape(shape, order="F" if order == "F" else "C")


def _bytes(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError("no bytes")
    return text.encode("latin1")


def _scalar(kind: _Dtype, data: bytes) -> Any:
    return np.frombuffer(data, kind.dtype, 1)[0]


_CALLS: dict[str, Callable] = {"_reconstruct": lambda *_: _Array(), "_frombuffer": _of_buffer, "scalar": _scalar}


class _Numbers(pickle.Unpickler):
    """An unpickler that knows arrays and dicts, and imports nothing."""

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "numpy" and name in _CALLS:
            return _CALLS[name]
        if (module, name) == ("_codecs", "encode"):  # How protocol 2 writes bytes.
            return _bytes
        if (module, name) == ("numpy", "dtype"):
            return _Dtype
        if (module, name) == ("numpy", "ndarray"):
            return None  # The first argument of _reconstruct, which is not used.
        if (module, name) == ("collections", "OrderedDict") or name == "EasyDict":
            return type(
                "Dict", (dict,), {}
            )  # A class of this file alone, since a pickle can set attributes of a class.
        raise UserError(f"it names {module}.{name}, which is no array of numbers; it was not loaded")

    def persistent_load(self, pid: Any) -> Any:
        raise UserError("it refers to data outside of the file")


def read(path: epath.Path, flag: str) -> list[Moments]:
    """Return the means and covariances in a .pkl. flag: for messages. Raises UserError.

    StyleGAN2-ADA and later store sums of features (raw_mean, raw_cov) or all features; EDM2 stores mu and sigma by metric; the
    first StyleGAN stored the pair (mu, sigma). StyleGAN divides by N, so its covariance is multiplied by N / (N - 1).
    """
    what = f"{flag}={path}"
    try:
        found = _plain(_Numbers(io.BytesIO(path.read_bytes())).load())
    except UserError as error:
        raise UserError(f"{what} is refused: {error}") from error
    except OSError as error:
        raise UserError(f"{what} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # Corrupted pickles raise any type: IndexError, TypeError, UnpicklingError, ...
        raise UserError(f"{what} holds no statistics of features, or is corrupted") from error
    try:
        kept = _statistics(found)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise UserError(f"{what} holds no statistics of features: {_described(found)}") from error
    if not kept:
        raise UserError(f"{what} holds no statistics of features: {_described(found)}")
    return kept


def _statistics(found: Any) -> list[Moments]:
    if isinstance(found, tuple):
        mean, covariance = found
        return [Moments(0, mean, covariance)]
    if "raw_mean" in found and found["raw_mean"] is not None:
        if (count := int(found["num_items"])) < 2:
            raise ValueError("too few items")
        mean, square = found["raw_mean"] / count, found["raw_cov"] / count
        return [Moments(count, mean, (square - np.outer(mean, mean)) * (count / (count - 1)))]
    if found.get("all_features"):
        return [moments(np.asarray(part, np.float64) for part in found["all_features"])]
    nested = [found[name] for name in METRICS if isinstance(found.get(name), dict)] or [found]
    return [Moments(0, one["mu"], one["sigma"]) for one in nested]


def _plain(value: Any) -> Any:
    """Replace stand-ins of arrays by arrays."""
    if isinstance(value, _Array):
        if value.value is None:
            raise pickle.UnpicklingError("an array without numbers")
        return value.value
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return type(value)(map(_plain, value)) if isinstance(value, list | tuple) else value


def _described(found: Any) -> str:
    if isinstance(found, dict):
        return f"a dict of {', '.join(map(str, list(found)[:8])) or 'nothing'}"
    return f"a {type(found).__name__}"
