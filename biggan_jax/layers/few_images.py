"""Convolutions that stay whole on a TPU with fewer than 8 images a chip.

With so few, XLA's TPU compiler cuts each picture into 8 strips that overlap and makes them images ("space to batch"): the copies and
overlaps take as many cycles as the rest of the convolution or more. It leaves a convolution with a further axis of one pixel alone.
"""

import contextlib
import contextvars
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

FEW = 8
"""With so many images a chip, the compiler does not cut."""
LEAST_PIXELS = 16
"""Of a row; shorter ones are not cut."""

_chips: contextvars.ContextVar[int] = contextvars.ContextVar("chips", default=0)


@contextlib.contextmanager
def whole_on(chips: int) -> Iterator[None]:
    """Within, convolutions of fewer than FEW images on each of `chips` TPU chips stay whole."""
    token = _chips.set(chips)
    try:
        yield
    finally:
        _chips.reset(token)


def conv(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    **settings: Any,
) -> jax.Array:
    """Convolve as jax.lax.conv_general_dilated does, of which it takes the arguments; a convolution is the same in both forms."""
    numbers = jax.lax.conv_dimension_numbers(x.shape, kernel.shape, settings.pop("dimension_numbers", None))
    sides = (0, 0) if isinstance(padding, str) else padding[-1]
    if not _cut(x, kernel, numbers, lhs_dilation[-1] if lhs_dilation else 1, sides):
        given = {"lhs_dilation": lhs_dilation, "dimension_numbers": numbers, **settings}
        return jax.lax.conv_general_dilated(x, kernel, strides, padding, **given)
    axis = len(x.shape)
    further = jax.lax.ConvDimensionNumbers(*((*spec, axis) for spec in numbers))
    if not isinstance(padding, str):
        padding = [*padding, (0, 0)]
    for name in ("lhs_dilation", "rhs_dilation"):
        if (given := lhs_dilation if name == "lhs_dilation" else settings.get(name)) is not None:
            settings[name] = (*given, 1)
    y = jax.lax.conv_general_dilated(
        x[..., None], kernel[..., None], (*strides, 1), padding, dimension_numbers=further, **settings
    )
    return jnp.squeeze(y, axis)


def _cut(x: jax.Array, kernel: jax.Array, numbers: Any, dilation: int, sides: Sequence[int]) -> bool:
    """Return whether XLA would cut the pictures x. dilation, sides: of a row, and the zeros before and after it."""
    row = (x.shape[numbers.lhs_spec[-1]] - 1) * dilation + 1 + sum(sides)
    few = x.shape[numbers.lhs_spec[0]] < FEW * _chips.get()
    return few and x.ndim == 4 and row >= LEAST_PIXELS and max(kernel.shape[i] for i in numbers.rhs_spec[2:]) > 1
