"""A small classifier to evaluate samples of small data sets, fitted to the training split, never to other images."""

from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from biggan_jax.augment import translate
from biggan_jax.data import shuffle
from biggan_jax.data.dataset import Source
from biggan_jax.sampling.pictures import to_rgb
from biggan_jax.train_step import to_float
from biggan_jax.types import Image, Params

RECIPE = 2  # Version of network and fit in cache keys; increase it whenever either changes.

PRECISION = jax.lax.Precision.HIGHEST  # Cached weights must not depend on the device.


class Network(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, images: Image) -> tuple[jax.Array, jax.Array]:
        """Map uint8, or float32 in [-1, 1], [B, H, W, 3] to features [B, 64] and logits [B, num_classes]."""
        x = to_float(images)
        for channels in (32, 64):
            x = nn.max_pool(nn.relu(nn.Conv(channels, (3, 3), precision=PRECISION)(x)), (2, 2), strides=(2, 2))
        features = nn.relu(nn.Dense(64, precision=PRECISION)(x.reshape(len(x), -1)))
        return features, nn.Dense(self.num_classes, precision=PRECISION)(features)


def fit(source: Source, *, seed: int = 0, steps: int = 1500, batch_size: int = 64) -> Params:
    """Fit by Adam with a cosine schedule, on centre crops shifted by up to a sixteenth of their size."""
    network = Network(source.num_classes)
    params = cast(Params, network.init(jax.random.key(seed), _read(source, np.arange(1))[0]))
    optimizer = optax.adam(optax.cosine_decay_schedule(2e-3, steps))
    opt_state = optimizer.init(params)

    @jax.jit
    def step(params, opt_state, images, labels, i):
        x = translate(to_float(images), jax.random.fold_in(jax.random.key(seed), i), ratio=1 / 16)

        def loss(params):
            _, logits = network.apply(params, x)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state)
        return optax.apply_updates(params, updates), opt_state

    for i in range(steps):
        chosen = shuffle.indices(len(source), seed, 0, i * batch_size + np.arange(batch_size), "feistel")
        images, labels = _read(source, chosen)
        params, opt_state = step(params, opt_state, images, labels, jnp.int32(i))
    return params


def _read(source: Source, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    images, labels, _ = source.read(numbers, np.full(len(numbers), 0.5))
    return to_rgb(images), labels
