"""Convolution of [B, H, W, in] by [h, w, in, out], whose gradient to the kernel is computed in pieces on a CPU.

XLA's own gradient to a kernel takes up to four times as long as the convolution on a CPU, since it takes the image for the window.
Here it is a sum of matrix products, each over a piece of the output that fits the caches: half to a third of the time.
"""

import contextlib
import contextvars
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

LAYOUT = ("NHWC", "HWIO", "NHWC")
POSITIONS = 256
"""Outputs of one channel in a piece; by measurement."""

_in_pieces = contextvars.ContextVar("in_pieces", default=False)


@contextlib.contextmanager
def in_pieces() -> Iterator[None]:
    """Within, convolutions are traced with that gradient. For programs of one CPU device; others have XLA's own."""
    token = _in_pieces.set(True)
    try:
        yield
    finally:
        _in_pieces.reset(token)


def conv_general_dilated(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    **settings: Any,
) -> jax.Array:
    """Convolve as jax.lax.conv_general_dilated does. settings: its further arguments, by name."""
    if not _in_pieces.get() or not _plain_settings(x, settings) or not _gains(x, kernel, strides):
        return jax.lax.conv_general_dilated(x, kernel, strides, padding, **settings)
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding)
    return _conv(tuple(strides), tuple(map(tuple, padding)), x, kernel)


def _plain_settings(x: jax.Array, settings: dict[str, Any]) -> bool:
    """Return whether a convolution is of pictures in LAYOUT, and neither dilated nor grouped nor of another precision."""
    numbers = settings.get("dimension_numbers")
    if x.ndim != 4 or numbers is None:
        return False
    spec = jax.lax.conv_dimension_numbers(x.shape, (1,) * 4, numbers)
    of_layout = spec == jax.lax.conv_dimension_numbers(x.shape, (1,) * 4, LAYOUT)
    dilated = any(set(settings.get(name) or (1,)) != {1} for name in ("lhs_dilation", "rhs_dilation"))
    grouped = settings.get("feature_group_count", 1) != 1 or settings.get("batch_group_count", 1) != 1
    unusual = settings.get("precision") is not None or settings.get("preferred_element_type") is not None
    return of_layout and not (dilated or grouped or unusual)


def _plain(strides, padding, x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=LAYOUT)


def _gains(x: jax.Array, kernel: jax.Array, strides: Sequence[int]) -> bool:
    """Return whether pieces are faster than XLA's own gradient, by measurement, and by enough to compile a loop for it."""
    outputs = x.shape[1] * x.shape[2] // (strides[0] * strides[1])
    products = x.shape[0] * outputs * kernel.size
    if kernel.shape[:2] == (1, 1):
        return products >= 2**22
    return outputs >= 256 and kernel.shape[3] >= 64 and products >= 2**26


# A convolution and its two gradients are linear in both arguments, and the gradients of each are the two others. So a penalty on
# gradients, which differentiates twice, has the fast form as well.
@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _conv(strides, padding, x, kernel):
    return _plain(strides, padding, x, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _to_input(strides, padding, shape, g, kernel):
    """Return the gradient to x of `shape`, for the gradient g to the output."""
    x = jax.ShapeDtypeStruct(shape, g.dtype)
    (gradient,) = jax.linear_transpose(lambda x: _plain(strides, padding, x, kernel), x)(g)
    return gradient


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _to_kernel(strides, padding, shape, x, g):
    """Return the gradient to a kernel of `shape`, for the gradient g [B, h, w, out] to the output."""
    b, rows, columns, _ = g.shape
    product = lambda a, b: jax.lax.dot_general(a, b, (((0,), (0,)), ((), ())), preferred_element_type=jnp.float32)
    if shape[:2] == (1, 1) and strides == (1, 1) and padding == ((0, 0), (0, 0)):
        return product(x.reshape(-1, shape[2]), g.reshape(-1, shape[3])).reshape(shape).astype(x.dtype)
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    # A piece is some rows of one image, or some images.
    taken = _divisor(rows, POSITIONS // columns)
    images = 1 if taken < rows else _divisor(b, POSITIONS // (rows * columns))
    parts = rows // taken
    of_x = images, (taken - 1) * strides[0] + shape[0], x.shape[2], x.shape[3]
    of_g = images, taken, columns, g.shape[3]
    ends = (taken - 1) * strides[0] + 1, (columns - 1) * strides[1] + 1

    def add(i, total):
        image, row = i // parts * images, i % parts * taken
        xs = jax.lax.dynamic_slice(x, (image, row * strides[0], 0, 0), of_x)
        gs = jax.lax.dynamic_slice(g, (image, row, 0, 0), of_g).reshape(-1, g.shape[3])
        shifted = [
            xs[:, m : m + ends[0] : strides[0], n : n + ends[1] : strides[1]].reshape(-1, x.shape[3])
            for m in range(shape[0])
            for n in range(shape[1])
        ]
        return total + jnp.concatenate([product(a, gs) for a in shifted])

    start = jnp.zeros((shape[0] * shape[1] * shape[2], shape[3]), jnp.float32)
    return jax.lax.fori_loop(0, b // images * parts, add, start).reshape(shape).astype(x.dtype)


def _divisor(number: int, most: int) -> int:
    """Return the largest divisor of the number that is at most `most`, and at least 1."""
    return max(n for n in range(1, number + 1) if number % n == 0 and n <= max(most, 1))


_conv.defvjp(
    lambda strides, padding, x, kernel: (_conv(strides, padding, x, kernel), (x, kernel)),
    lambda strides, padding, kept, g: (
        _to_input(strides, padding, kept[0].shape, g, kept[1]),
        _to_kernel(strides, padding, kept[1].shape, kept[0], g),
    ),
)
_to_input.defvjp(
    lambda strides, padding, shape, g, kernel: (_to_input(strides, padding, shape, g, kernel), (g, kernel)),
    lambda strides, padding, shape, kept, u: (
        _conv(strides, padding, u, kept[1]),
        _to_kernel(strides, padding, kept[1].shape, u, kept[0]),
    ),
)
_to_kernel.defvjp(
    lambda strides, padding, shape, x, g: (_to_kernel(strides, padding, shape, x, g), (x, g)),
    lambda strides, padding, shape, kept, v: (
        _to_input(strides, padding, kept[0].shape, kept[1], v),
        _conv(strides, padding, kept[0], v),
    ),
)
