"""Owns a small classifier, fitted here and now on a real training split, to judge samples of small data sets with.

It must not see held-out or generated images while it is fitted.
"""

from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from biggan_jax.augment import translate
from biggan_jax.data import shuffle
from biggan_jax.data.dataset import Reading, Source
from biggan_jax.train_step import to_float
from biggan_jax.types import Image, Params

RECIPE = 2
"""Of network and fit: another number whenever either changes, so that what was kept of the former is not taken for it."""


PRECISION = jax.lax.Precision.HIGHEST  # What is kept must not hang on the device that made it.


class Network(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, x: Image) -> tuple[jax.Array, jax.Array]:
        """float32 [B, H, W, 3] to logits [B, num_classes] and features [B, 64]."""
        for channels in (32, 64):
            x = nn.max_pool(nn.relu(nn.Conv(channels, (3, 3), precision=PRECISION)(x)), (2, 2), strides=(2, 2))
        features = nn.relu(nn.Dense(64, precision=PRECISION)(x.reshape(len(x), -1)))
        return nn.Dense(self.num_classes, precision=PRECISION)(features), features


def fit(source: Source, *, seed: int = 0, steps: int = 1500, batch_size: int = 64) -> Params:
    """Fits by Adam with a cosine schedule, on images shifted by up to a sixteenth of their size, cropped in the middle."""
    network = Network(source.num_classes)
    params = cast(Params, network.init(jax.random.key(seed), to_float(_read(source, np.arange(1)).images)))
    optimizer = optax.adam(optax.cosine_decay_schedule(2e-3, steps))
    opt_state = optimizer.init(params)

    @jax.jit
    def step(params, opt_state, images, labels, i):
        x = translate(to_float(images), jax.random.fold_in(jax.random.key(seed), i), ratio=1 / 16)

        def loss(params):
            logits, _ = network.apply(params, x)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state)
        return optax.apply_updates(params, updates), opt_state

    for i in range(steps):
        chosen = shuffle.indices(len(source), seed, 0, i * batch_size + np.arange(batch_size), "feistel")
        images, labels, _ = _read(source, chosen)
        params, opt_state = step(params, opt_state, images, labels, jnp.int32(i))
    return params


def _read(source: Source, numbers: np.ndarray) -> Reading:
    return source.read(numbers, np.full(len(numbers), 0.5))
