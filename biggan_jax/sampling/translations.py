"""Translate images with trained generators: any size, batch by batch; and the sheets of a training run."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, cast

import jax
import jax.numpy as jnp
import numpy as np

from biggan_jax.checkpoint import TrainedGenerator
from biggan_jax.family import Family, Trees
from biggan_jax.models.translation import Translation
from biggan_jax.models.translators import UNet
from biggan_jax.sampling import generate, pictures
from biggan_jax.state import TrainState
from biggan_jax.types import Image, Params, UserError


def network_of(gan: Family, direction: str) -> str:
    """Return the network that translates in a direction. Raises UserError if the model has none."""
    if not gan.translations:
        raise UserError("this model draws images from latents and translates none; use biggan-sample")
    if direction not in gan.translations:
        known = " and ".join(gan.translations)
        raise UserError(
            f"this model translates {known} alone, not {direction}; train one with model.direction, or CycleGAN"
        )
    return gan.translations[direction]


def multiple_of(gan: Family, network: str) -> int:
    """Return the number of which the sides of a network's images must be multiples."""
    module = gan.networks[network].module
    return 1 << module.halvings if isinstance(module, UNet) else 4


@functools.partial(jax.jit, static_argnums=(0, 1), static_argnames=("train",))
def translate(gan: Family, network: str, weights: Params, variables: Trees, images: Image, *, train: bool) -> Image:
    """Translate images, float32 [B, H, W, C] in [-1, 1], whose sides fit the network.

    train: with dropout, and with batch norm of these images.
    """
    module = gan.networks[network].module
    arrays, mode = {"params": weights, **variables}, gan.networks[network].mode(train)
    options: dict[str, Any] = {"rngs": {"params": jax.random.key(0)}, **mode}
    if train and variables:
        return cast(Image, module.apply(arrays, images, mutable=list(variables), **options)[0])
    return cast(Image, module.apply(arrays, images, **options))


@dataclasses.dataclass(frozen=True)
class Translator:
    """A trained generator with what determines its images. weights: as `generate.evaluation_weights` gives them.

    train: translate as in training: with dropout, and with batch norm of each image, as pix2pix's authors test.
    """

    gan: Family
    network: str
    weights: Params
    variables: dict[str, Params]
    train: bool = False

    @classmethod
    def from_checkpoint(cls, trained: TrainedGenerator, *, train: bool = False) -> Self:
        """Prepare the generator of a checkpoint, which `load_generator(..., choose=...)` loads for a direction."""
        weights = generate.evaluation_weights(trained.gan, trained.params, trained.spectral)
        return cls(trained.gan, trained.gan.sampled, weights, trained.variables, train)

    @property
    def channels(self) -> int:
        """Channels of the images that it takes."""
        return self.frame[-1]

    @property
    def frame(self) -> tuple[int, ...]:
        """The shape (height, width, channels) of an image that it takes; of a family of clips no other fits."""
        return self.gan.networks[self.network].example(jax.random.key(0))[0].shape[1:]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Translate uint8 or uint16 [B, H, W, C] to the same type, [B, H, W, C']. The sides may be any.

        The images are mirrored at their right and lower edges up to the next multiple that the network needs. Of a family of
        clips they are of the size of a frame, and become clips.
        """
        white = np.iinfo(images.dtype).max
        floats = images.astype(np.float32) / (white / 2) - 1
        height, width = floats.shape[1:3]
        clips = bool(self.gan.frames)
        padded = floats if clips else mirrored(floats, multiple_of(self.gan, self.network))
        out = np.asarray(translate(self.gan, self.network, self.weights, self.variables, padded, train=self.train))
        out = out if clips else out[:, :height, :width]
        if not np.isfinite(out).all():
            raise UserError("the translated images are not finite numbers; translate with an earlier checkpoint")
        return pictures.to_uint16(out) if images.dtype == np.uint16 else pictures.to_uint8(out)


def mirrored(images: np.ndarray, multiple: int, least: int = 16) -> np.ndarray:
    """Mirror images [B, H, W, C] at their right and lower edges up to sides that are multiples, of at least `least` pixels."""
    height, width = (
        max(-(-side // multiple) * multiple, -(-least // multiple) * multiple) for side in images.shape[1:3]
    )
    spare = (0, 0), (0, height - images.shape[1]), (0, width - images.shape[2]), (0, 0)
    return np.pad(images, spare, mode="reflect" if min(images.shape[1:3]) > 1 else "edge")


def by_size(named: Iterable[tuple[Any, np.ndarray]], most: int) -> Iterator[tuple[list[Any], np.ndarray]]:
    """Yield (names, images [up to `most`, H, W, C]) of images of one size and type that follow each other."""
    names: list[Any] = []
    images: list[np.ndarray] = []
    for name, image in named:
        if images and (len(images) == most or (image.shape, image.dtype) != (images[0].shape, images[0].dtype)):
            yield names, np.stack(images)
            names, images = [], []
        names, images = [*names, name], [*images, image]
    if images:
        yield names, np.stack(images)


def sheets(gan: Translation, state: TrainState, a: Image, b: Image) -> dict[str, np.ndarray]:
    """Return sheets uint8 [H, W, 3], by the name of their weights: a row for each image, the columns of `gan.columns`.

    a, b: images of the two domains, uint8 or uint16 [N, H, W, C].
    """
    found = {}
    for name in ("live", "ema") if set(gan.translations.values()) <= state.averages.keys() else ("live",):
        trees = state.averages if name == "ema" else {key: network.params for key, network in state.networks.items()}
        weights = {
            network: generate.evaluation_weights(gan, trees[network], state.networks[network].spectral)
            for network in gan.translations.values()
        }
        columns = gan.columns(functools.partial(_translated, gan, state, weights), _to_float(a), _to_float(b))
        images = [np.asarray(pictures.to_rgb(pictures.to_uint8(np.asarray(column)))) for column in columns.values()]
        rows = np.stack(images, axis=1)
        found[name] = pictures.grid(rows.reshape(-1, *rows.shape[2:]), len(images))
    return found


def _translated(
    gan: Translation, state: TrainState, weights: Mapping[str, Params], direction: str, images: Image
) -> Image:
    network = gan.translations[direction]
    variables = state.networks[network].variables
    return translate(gan, network, weights[network], variables, images, train=False)


def _to_float(images: Image) -> jax.Array:
    white = np.iinfo(images.dtype).max
    return jnp.asarray(images, jnp.float32) / (white / 2) - 1
