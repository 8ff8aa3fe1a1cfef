"""Convolution of [B, H, W, in] by [h, w, in, out], with gradients that are quick on a CPU.

XLA's own gradient to a kernel takes up to four times as long as the convolution on a CPU, since it takes the image for the window.
Here it is a sum of matrix products, each over a piece of the output that fits the caches: half to a third of the time. A kernel of
the image's own size is one product; XLA's gradient would mostly multiply zeros. In a branch of a program, XLA's gradients take up
to 30 times as long, since it makes the window ready for its quick kernels in the main part alone: there, all have products.
"""

import contextlib
import contextvars
import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

LAYOUT = ("NHWC", "HWIO", "NHWC")
POSITIONS = 256
"""Outputs of one channel in a piece; by measurement."""

_in_pieces = contextvars.ContextVar("in_pieces", default=False)
_in_branch = contextvars.ContextVar("in_branch", default=False)


@contextlib.contextmanager
def in_pieces() -> Iterator[None]:
    """Within, large convolutions have that gradient, and those of one output are products. For programs of one CPU device."""
    token = _in_pieces.set(True)
    try:
        yield
    finally:
        _in_pieces.reset(token)


@contextlib.contextmanager
def in_branch() -> Iterator[None]:
    """Within, what is traced is a branch: of `in_pieces`, all convolutions have that gradient."""
    token = _in_branch.set(True)
    try:
        yield
    finally:
        _in_branch.reset(token)


def conv_general_dilated(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    **settings: Any,
) -> jax.Array:
    """Convolve as jax.lax.conv_general_dilated does. settings: its further arguments, by name."""
    if not _in_pieces.get() or not _plain_settings(x, settings):
        return jax.lax.conv_general_dilated(x, kernel, strides, padding, **settings)
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding)
    if x.shape[1:3] == kernel.shape[:2] and not np.any(padding):
        return jnp.einsum("bhwi,hwio->bo", x, kernel)[:, None, None]
    large = _gains(x.shape, kernel, strides)
    if not large and not _in_branch.get():
        return jax.lax.conv_general_dilated(x, kernel, strides, padding, **settings)
    return _conv(_Form(tuple(strides), _pairs(padding), large), x, kernel)


def conv_of_products(x: jax.Array, kernel: jax.Array, padding: Sequence[tuple[int, int]]) -> jax.Array:
    """Convolve with strides of 1; its gradient to the kernel is one matrix product for each entry of the kernel."""
    return _conv(_Form((1, 1), _pairs(padding), loops=False), x, kernel)


def conv_of_pieces(x: jax.Array, kernel: jax.Array, padding: Sequence[tuple[int, int]]) -> jax.Array:
    """Convolve with strides of 1; its gradient to the kernel is a loop over pieces of the output, which is quicker for large ones."""
    return _conv(_Form((1, 1), _pairs(padding), loops=True), x, kernel)


def has_pieces(shape: Sequence[int], kernel: jax.Array) -> bool:
    """Return whether a convolution of x of `shape` with strides of 1 has, within `in_pieces`, its gradient to the kernel by pieces."""
    return _in_pieces.get() and _gains(shape, kernel, (1, 1))


def rotated(kernel: jax.Array) -> jax.Array:
    """Return the kernel [h, w, in, out] turned by 180 degrees, [h, w, out, in], as gradients to the input have it."""
    return kernel[::-1, ::-1].swapaxes(2, 3)


class _Form(NamedTuple):
    """A convolution's strides and padding, and whether the gradient to its kernel is a loop over pieces."""

    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    loops: bool


def _pairs(padding: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    return tuple((before, after) for before, after in padding)


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


def _plain(form: _Form, x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(x, kernel, form.strides, form.padding, dimension_numbers=LAYOUT)


def _gains(shape: Sequence[int], kernel: jax.Array, strides: Sequence[int]) -> bool:
    """Return whether pieces are faster than XLA's own gradient, by measurement, and by enough to compile a loop for it."""
    outputs = shape[1] * shape[2] // (strides[0] * strides[1])
    products = shape[0] * outputs * kernel.size
    if kernel.shape[:2] == (1, 1):
        return products >= 2**22
    return outputs >= 256 and kernel.shape[3] >= 32 and products >= 2**26


# A convolution and its two gradients are linear in both arguments, and the gradients of each are the two others. So a penalty on
# gradients, which differentiates twice, has the fast form as well.
@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _conv(form, x, kernel):
    return _plain(form, x, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _to_input(form, shape, g, kernel):
    """Return the gradient to x of `shape`, for the gradient g to the output: a transposed convolution."""
    axes = zip(shape[1:3], g.shape[1:3], kernel.shape[:2], form.strides, form.padding, strict=True)
    padding = [(k - 1 - before, n - (m - 1) * s - 1 + before) for n, m, k, s, (before, _) in axes]
    # In LAYOUT, which XLA's own gradient is not.
    return jax.lax.conv_general_dilated(g, rotated(kernel), (1, 1), padding, form.strides, dimension_numbers=LAYOUT)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _to_kernel(form, shape, x, g):
    """Return the gradient to a kernel of `shape`, for the gradient g [B, h, w, out] to the output."""
    if shape[:2] == (1, 1) and form.strides == (1, 1) and form.padding == ((0, 0), (0, 0)):
        return _product(x, g).reshape(shape).astype(x.dtype)
    x = jnp.pad(x, ((0, 0), *form.padding, (0, 0)))
    total = _in_a_loop(form, shape, x, g) if form.loops else _entries(form, shape, x, g)
    return total.reshape(shape).astype(x.dtype)


def _in_a_loop(form, shape, x, g):
    """Return the sum of `_entries` of pieces: some rows of one image, or some images."""
    b, rows, columns, _ = g.shape
    taken = _divisor(rows, POSITIONS // columns)
    images = 1 if taken < rows else _divisor(b, POSITIONS // (rows * columns))
    parts = rows // taken
    of_x = images, (taken - 1) * form.strides[0] + shape[0], *x.shape[2:]
    of_g = images, taken, columns, g.shape[3]

    def add(i, total):
        image, row = i // parts * images, i % parts * taken
        xs = jax.lax.dynamic_slice(x, (image, row * form.strides[0], 0, 0), of_x)
        return total + _entries(form, shape, xs, jax.lax.dynamic_slice(g, (image, row, 0, 0), of_g))

    start = jnp.zeros((shape[0] * shape[1] * shape[2], shape[3]), jnp.float32)
    return jax.lax.fori_loop(0, b // images * parts, add, start)


def _entries(form, shape, x, g):
    """Return the products of the padded x with g, one for each entry of the kernel: [h * w * in, out]."""
    rows, columns = ((n - 1) * s + 1 for n, s in zip(g.shape[1:3], form.strides, strict=True))
    seen = lambda m, n: x[:, m : m + rows : form.strides[0], n : n + columns : form.strides[1]]
    return jnp.concatenate([_product(seen(m, n), g) for m in range(shape[0]) for n in range(shape[1])])


def _product(x: jax.Array, g: jax.Array) -> jax.Array:
    """Return the sum of products over all positions: [in, out], float32."""
    flat = lambda a: a.reshape(-1, a.shape[-1])
    return jax.lax.dot_general(flat(x), flat(g), (((0,), (0,)), ((), ())), preferred_element_type=jnp.float32)


def _divisor(number: int, most: int) -> int:
    """Return the largest divisor of the number that is at most `most`, and at least 1."""
    return max(n for n in range(1, number + 1) if number % n == 0 and n <= max(most, 1))


_conv.defvjp(
    lambda form, x, kernel: (_conv(form, x, kernel), (x, kernel)),
    lambda form, kept, g: (
        _to_input(form, kept[0].shape, g, kept[1]),
        _to_kernel(form, kept[1].shape, kept[0], g),
    ),
)
_to_input.defvjp(
    lambda form, shape, g, kernel: (_to_input(form, shape, g, kernel), (g, kernel)),
    lambda form, shape, kept, u: (_conv(form, u, kept[1]), _to_kernel(form, kept[1].shape, u, kept[0])),
)
_to_kernel.defvjp(
    lambda form, shape, x, g: (_to_kernel(form, shape, x, g), (x, g)),
    lambda form, shape, kept, v: (_to_input(form, kept[0].shape, kept[1], v), _conv(form, kept[0], v)),
)
