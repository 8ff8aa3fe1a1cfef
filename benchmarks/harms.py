"""Faults that befall a run in training: of its state, or of its data. `guard.py` asks whether the collapse monitor sees each.

with befalling("labels_shuffled", at=620):
    train(config, workdir)
"""

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from biggan_jax.checkpoint.checksums import named_arrays
from biggan_jax.data.loader import HostBatches
from biggan_jax.state import TrainState

Arrays = dict[str, np.ndarray]


class OfState(NamedTuple):
    """A change of the arrays whose names match `arrays`. lasting: before each step from then on, not before one alone."""

    arrays: str
    change: Callable[[jax.Array], Any]
    lasting: bool = False

    def __call__(self, state: TrainState) -> TrainState:
        named = named_arrays(state)
        assert any(re.search(self.arrays, name) for name in named), f"no array is called {self.arrays}"
        leaves = [self.change(x) if re.search(self.arrays, name) else x for name, x in named.items()]
        return jax.tree.unflatten(jax.tree.structure(state), leaves)


one_nan = lambda x: x.at[(0,) * x.ndim].set(jnp.nan)
times = lambda factor: lambda x: x * factor

STATE = {
    "nan_in_average": OfState(r"^averages\.G\.linear\.kernel", one_nan),
    "average_absurd": OfState(r"^averages\.G\.block_0\.conv_1\.kernel", times(1e4)),
    "nan_in_second_moment": OfState(r"^networks\.D\.opt_state\.0\.nu\.linear\.kernel", one_nan),
    "nan_in_singular_vector": OfState(r"^networks\.D\.spectral\.u\.block_1\.conv_1", one_nan),
    "variance_infinite": OfState(r"batch_stats\.bn_out\.var", lambda x: x.at[0].set(jnp.inf)),
    "moments_absurd": OfState(r"batch_stats\.block_1\.bn_1\.mean", times(1e8)),
    "bias_of_d_blown_up": OfState(r"^networks\.D\.params\.linear\.bias", lambda x: x + 1e4),
    "bias_of_g_blown_up": OfState(r"^networks\.G\.params\.conv_out\.bias", lambda x: x + 1e4),
    "g_weights_times_30": OfState(r"^networks\.G\.params\..*kernel", times(30.0)),
    "d_dead": OfState(r"^networks\.D\.params\.block_2\.conv_2\.bias", lambda x: jnp.full_like(x, -1e3), lasting=True),
    "classes_of_g_zeroed": OfState(r"^networks\.G\.params\.shared", jnp.zeros_like, lasting=True),
    "classes_of_d_alike": OfState(
        r"^networks\.D\.params\.embed", lambda x: jnp.broadcast_to(x[:1], x.shape), lasting=True
    ),
}
"""Names of the arrays are those of the quickstart's BigGAN. A normalised kernel of zeros would be NaN."""


def _shuffled(batch: Arrays, rng: np.random.Generator) -> Arrays:
    return batch | {"label": rng.permuted(batch["label"], axis=1)}


def _repeated(batch: Arrays, rng: np.random.Generator) -> Arrays:
    return batch | {"image": np.broadcast_to(batch["image"][:, :1], batch["image"].shape).copy()}


def _constant(batch: Arrays, rng: np.random.Generator) -> Arrays:
    return batch | {"image": np.full_like(batch["image"], 128)}


def _black(batch: Arrays, rng: np.random.Generator) -> Arrays:
    """All pictures of a step but one are black, as those of a disk that has lost them."""
    return batch | {"image": np.where(np.arange(batch["image"].shape[1])[:, None, None, None] > 0, 0, batch["image"])}


def _noise(batch: Arrays, rng: np.random.Generator) -> Arrays:
    return batch | {"image": rng.integers(0, 256, batch["image"].shape, dtype=np.uint8)}


DATA = {
    "labels_shuffled": _shuffled,
    "one_picture_repeated": _repeated,
    "pictures_constant": _constant,
    "pictures_black": _black,
    "pictures_are_noise": _noise,
}
"""What becomes of a step's pictures, uint8 [minibatches, B, H, W, C], and their labels [minibatches, B]."""


@contextlib.contextmanager
def befalling(name: str, at: int) -> Iterator[None]:
    """Let the harm of that name befall each training within the block at the step `at`."""
    if name in DATA:
        original = HostBatches.__call__

        def read(make: HostBatches, step: int):
            batch, unreadable = original(make, step)
            return (DATA[name](batch, np.random.default_rng(step)) if step >= at else batch), unreadable

        with mock.patch.object(HostBatches, "__call__", read):
            yield
        return
    from biggan_jax import train as module

    compile_step, harm = module.compile_step, STATE[name]

    def compile_harmed(gan):
        step = compile_step(gan)

        def harmed(state, batch):
            now = int(state.step)
            return step(harm(state) if now == at or (harm.lasting and now > at) else state, batch)

        return harmed

    with mock.patch.object(module, "compile_step", compile_harmed):
        yield
