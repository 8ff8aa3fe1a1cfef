"""Text to image: a conditional GAN whose condition is a caption's embedding (Reed et al. 2016, GAN-CLS and GAN-INT).

    G                                                   D
    text: dense 128, leaky ReLU 0.2                     image: 4x4 /2 convolutions, 64 to 512; batch norm but in the first,
    with z ~ N(0, 1)^100: 4x4, 8 n, BN                    leaky ReLU in the first two; residual 128, 128, 512 at 4 x 4
    residual 2 n, 2 n, 8 n at 4 x 4                     text: dense 128, BN, leaky ReLU, repeated at 4 x 4
    4x4 /2, 4 n, BN; residual n, n, 4 n at 8 x 8        both: 1x1, 512, BN, leaky ReLU
    4x4 /2, 2 n, n, BN, ReLU; 4x4 /2, tanh              4x4 to 1

    T: bytes of a caption to an embedding               V: image to an embedding

D is taught what does not match, too (CLS): a real image with its caption is real; one with another's caption is not, and neither
is a generated one. G also draws images of embeddings half-way between two captions (INT). Embeddings come with the data, or from
T, which learns with V that a caption and its image belong together, in an update of their own. Neither G nor D changes T.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from jax.sharding import Mesh

from biggan_jax.conditioning import direction
from biggan_jax.config import families
from biggan_jax.config.keys import Key
from biggan_jax.family import Nets, Network, Trees, Update
from biggan_jax.gan import GAN
from biggan_jax.layers import linear
from biggan_jax.layers.transposed import ConvTranspose
from biggan_jax.losses import LOSSES
from biggan_jax.models import adversarial
from biggan_jax.models.dcgan import Norm, doublings, leaky, normal, square
from biggan_jax.models.optimizers import optimizer
from biggan_jax.terms import Shown
from biggan_jax.types import Array, Batch, Condition, Image, Label, Latent, Logit, Metrics, Params, UserError

Conv = functools.partial(linear.Conv, kernel_init=normal)
ConvT = functools.partial(ConvTranspose, kernel_init=normal)
Dense = functools.partial(nn.Dense, kernel_init=normal)

TEMPERATURE = 0.1  # Divides the cosines of captions and images, as in contrastive learning.


class Residual(nn.Module):
    """x + [1x1, 3x3, 3x3 convolutions, each with batch norm], within which there is a quarter of the channels."""

    momentum: float = 0.9
    leak: float = 0.0

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> jax.Array:
        width, h = x.shape[-1], x
        for i, (channels, side) in enumerate(((width // 4, 1), (width // 4, 3), (width, 3))):
            h = nn.leaky_relu(h, self.leak) if i else h
            h = Norm(momentum=self.momentum, name=f"bn_{i}")(
                Conv(channels, (side, side), name=f"conv_{i}")(h), train=train
            )
        return jnp.asarray(x) + h


class Generator(nn.Module):
    """z [B, dim_z] and embeddings [B, E] to images [B, 4 * 2^k, ., channels]; widths halve down to ch."""

    resolution: int
    channels: int = 3
    ch: int = 128
    text_dim: int = 128
    bn_momentum: float = 0.9

    @nn.compact
    def __call__(self, z: Latent, y: Label, *, train: bool = False) -> Image:
        stages = doublings(self.resolution)
        norm = lambda i, x: Norm(momentum=self.bn_momentum, name=f"bn_{i}")(x, train=train)
        text = leaky(Dense(self.text_dim, name="text")(y))
        x = jnp.concatenate([jnp.asarray(z), text], axis=-1)[:, None, None]
        for i in range(stages):
            how = {"strides": (2, 2)} if i else {"padding": "VALID"}
            x = norm(i, ConvT(self.ch << stages - 1 - i, (4, 4), name=f"conv_{i}", **how)(x))
            x = nn.relu(Residual(self.bn_momentum, name=f"residual_{i}")(x, train=train) if i < 2 else x)
        return jnp.tanh(ConvT(self.channels, (4, 4), (2, 2), name="conv_out")(x))


class Discriminator(nn.Module):
    """Images and embeddings [B, E] to logits [B]."""

    resolution: int
    ch: int = 64
    text_dim: int = 128

    @nn.compact
    def __call__(self, x: Image, y: Label, *, train: bool = False) -> Logit:
        stages = doublings(self.resolution)
        for i in range(stages):
            x = Conv(self.ch << i, (4, 4), (2, 2), padding=1, name=f"conv_{i}")(x)
            x = Norm(name=f"bn_{i}")(x, train=train) if i else x
            x = leaky(x) if i < 2 else x
        x = leaky(Residual(leak=0.2, name=f"residual_{stages}")(x, train=train))
        text = leaky(Norm(name="text_bn")(Dense(self.text_dim, name="text")(y), train=train))
        text = jnp.broadcast_to(text[:, None, None], (*x.shape[:3], self.text_dim))
        x = Conv(self.ch << stages - 1, (1, 1), name="conv_text")(jnp.concatenate([x, text], axis=-1))
        x = leaky(Norm(name="bn_text")(x, train=train))
        return Conv(1, (4, 4), padding="VALID", name="linear")(x)[:, 0, 0, 0]


class TextEncoder(nn.Module):
    """Bytes of captions, int [B, L], zeros behind the last, to embeddings [B, embed_dim], whose mean square is 1.

    Three convolutions along the text, two maxima over three places, and the maximum and mean over the text. Capital letters are
    read as small ones. The embedding does not depend on the number of zeros.
    """

    embed_dim: int = 1024
    ch: int = 256

    @nn.compact
    def __call__(self, text: Label) -> jax.Array:
        small = jnp.where((text >= ord("A")) & (text <= ord("Z")), text + 32, text)
        there = (text > 0)[..., None].astype(jnp.float32)
        x = nn.Embed(256, self.ch, embedding_init=nn.initializers.normal(1.0), name="embedding")(small) * there
        for i, size in enumerate((7, 5, 3)):
            x = nn.relu(nn.Conv(self.ch, (size,), kernel_init=nn.initializers.he_normal(), name=f"conv_{i}")(x)) * there
            if i < 2:
                # Values are not negative, so zeros behind the end change no maximum.
                pool = functools.partial(nn.max_pool, window_shape=(3,), strides=(3,), padding="SAME")
                size = (0, -x.shape[1] % 3)
                x, there = (pool(jnp.pad(a, ((0, 0), size, (0, 0)))) for a in (x, there))
        mean = x.sum(1) / jnp.maximum(there.sum(1), 1)
        out = nn.Dense(self.embed_dim, name="dense")(jnp.concatenate([x.max(1), mean], axis=-1))
        return direction(out) * jnp.sqrt(float(self.embed_dim))


class ImageEncoder(nn.Module):
    """Images to directions [B, embed_dim]: 4x4 /2 convolutions, as D's, without batch norm, and a dense layer."""

    resolution: int
    embed_dim: int = 1024
    ch: int = 64

    @nn.compact
    def __call__(self, x: Image) -> jax.Array:
        he = nn.initializers.he_normal()
        for i in range(doublings(self.resolution)):
            x = leaky(linear.Conv(self.ch << i, (4, 4), (2, 2), padding=1, kernel_init=he, name=f"conv_{i}")(x))
        return direction(nn.Dense(self.embed_dim, name="dense")(x.reshape(len(x), -1)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextToImage(GAN):
    """A step updates T and V, if there are captions, then D, then G.

    wrong: share of real images with wrong captions in D's loss of what is not real; G's images have the rest. interpolated: weight
    of G's loss of images of embeddings between two captions. drawn: captions of an image, or embeddings, that are averaged.
    text_steps: steps in which T and V are trained; 0: all.
    """

    wrong: float = 0.5
    interpolated: float = 1.0
    drawn: int = 1
    text_steps: int = 0

    @property
    def lent(self) -> Mapping[str, str]:
        return {"text": "T"} if "T" in self.networks else {}

    @property
    def label_shape(self) -> tuple[int, ...]:
        return self.drawn, self.condition.size

    def updates(self) -> tuple[Update, ...]:
        of_text = Update(("T", "V"), self.joint_loss, "text")
        if self.text_steps:
            of_text = dataclasses.replace(of_text, when=lambda step: step < self.text_steps)
        return *([of_text] if self.lent else []), *super().updates()

    def draw_for_g(self, key: jax.Array, batch_size: int) -> Batch:
        """Also draw z for embeddings between captions."""
        z, _ = self.latents(jax.random.fold_in(key, 0), batch_size)
        return super().draw_for_g(key, batch_size) | {"z_between": z}

    def joint_loss(self, nets: Nets, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """Return the cross entropy of finding each image's caption in the batch, and each caption's image.

        Difference: Reed et al. 2016a have a hinge loss in its place. Another image with the same caption is no wrong answer.
        """
        text = self.embedding(lambda y: nets("T", y), batch["label"])
        loss, accuracy = matching_loss(direction(text), nets("V", batch["image"]), batch["label"])
        return loss, {"text_loss": loss, "text_accuracy": accuracy}

    def embedding(self, encode, y: Label) -> jax.Array:
        """Return embeddings [B, E] of conditions: themselves, float [B, E]; or of captions, int [B, L], by `encode`.

        Several of an image, [B, n, .], are averaged; captions without a byte are left out.
        """
        y = jnp.asarray(y)
        is_text = jnp.issubdtype(y.dtype, jnp.integer)
        if y.ndim == 2:
            return cast(jax.Array, encode(y) if is_text else y)
        if not is_text:
            return y.mean(1)
        each = encode(y.reshape(-1, y.shape[-1])).reshape(*y.shape[:2], -1)
        there = (y > 0).any(-1, keepdims=True).astype(each.dtype)
        return (each * there).sum(1) / jnp.maximum(there.sum(1), 1)

    def conditions(self, weights: Trees, y: Label) -> Label:
        return self.embedding(lambda text: self.networks["T"].module.apply({"params": weights["T"]}, text), y)

    def sample(self, weights: Params, variables: Trees, z: Latent, y: Label) -> Image:
        own = {name: tree for name, tree in variables.items() if name not in self.lent}
        given = {network: self.gather(variables[name]) for name, network in self.lent.items()}
        return super().sample(weights, own, z, self.conditions(given, y))

    def shown_to_d(self, nets: Nets, batch: Batch, key: jax.Array, *, keep: bool = True):
        return super().shown_to_d(nets, self._embedded(nets, batch), key, keep=keep)

    def shown_to_g(self, nets: Nets, batch: Batch, key: jax.Array):
        return super().shown_to_g(nets, self._embedded(nets, batch), key)

    def loss_of_images(self, nets: Nets, shown: Shown, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """Return D's loss; its real images are seen again with the embedding of the next image, which is no match."""
        loss, metrics = super().loss_of_images(nets, shown, key)
        if not self.wrong:
            return loss, metrics
        other = jnp.roll(shown.label, 1, axis=0)
        differs = jnp.any(other != shown.label, axis=-1)
        logits = self.logit_of(self.discriminate(nets, shown.real, other, jax.random.fold_in(key, 1)))
        # A mean over those that differ: of one image, the same caption is right.
        each = jax.vmap(lambda one: self.loss.discriminator(one[None], one[None])[1])(logits)
        count = jnp.maximum(differs.sum(), 1)
        of_wrong, mean = (jnp.where(differs, values, 0).sum() / count for values in (each, logits))
        real, fake = metrics["d_loss_real"], metrics["d_loss_fake"]
        own = real + (1 - self.wrong) * fake + self.wrong * of_wrong
        metrics |= {"d_loss": own, "d_loss_wrong": of_wrong, "d_wrong": mean}
        return loss - (real + fake) + own, metrics

    def generator_loss(self, nets: Nets, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """Return G's loss of captions, and of embeddings half-way between two neighbours in the batch."""
        loss, metrics = super().generator_loss(nets, batch, key)
        if not self.interpolated:
            return loss, metrics
        y = self._embedded(nets, batch)["label"]
        between, z = (y[::2][: len(y) // 2] + y[1::2]) / 2, batch["z_between"][: len(y) // 2 * 2 : 2]
        out = self.discriminate(nets, nets("G", z, between), between, jax.random.fold_in(key, 4))
        own = self.loss.generator(self.logit_of(out))
        return loss + self.interpolated * own, metrics | {"g_loss_between": own}

    def _embedded(self, nets: Nets, batch: Batch) -> Batch:
        """Return the batch with embeddings in place of captions."""
        y = jax.lax.stop_gradient(self.embedding(lambda text: nets("T", text), batch["label"]))
        return {**batch, "label": y}


def matching_loss(texts: Array, images: Array, captions: Label) -> tuple[jax.Array, jax.Array]:
    """Return the cross entropy of matching directions [B, E] of texts and of images, and the share of images that find their text.

    captions: int [B, ...]. Texts of equal captions are no wrong answer.
    """
    label = jnp.asarray(captions)
    alike = (label[:, None] == label[None]).all(tuple(range(2, label.ndim + 1))) & ~jnp.eye(len(label), dtype=bool)
    scores = jnp.matmul(texts, images.T, precision=jax.lax.Precision.HIGHEST)
    scores = jnp.where(alike, -jnp.inf, scores / TEMPERATURE)
    right = jnp.arange(len(label))
    loss = sum(optax.softmax_cross_entropy_with_integer_labels(s, right).mean() for s in (scores, scores.T)) / 2
    return jnp.asarray(loss), jnp.mean(scores.argmax(0) == right)


def without_biases(params: Params) -> Params:
    """Set the biases of convolutions to 0, as the authors do before each step; those of dense layers stay."""

    def one(path, leaf):
        names = [entry.key for entry in path]
        of_convolution = names[-1] == "bias" and names[-2] != "text"
        return jnp.zeros_like(leaf) if of_convolution else leaf

    return cast(Params, jax.tree_util.tree_map_with_path(one, params))


OF_ENCODER = "text_length", "embed_dim", "text_ch", "text_lr", "text_steps"
"""Keys that have no effect if embeddings come with the data."""


def check(config: ml_collections.ConfigDict) -> None:
    """Raise UserError for keys that do not fit each other."""
    model, loss = config.model, LOSSES.get(config.loss)
    defaults = {name: key.default if isinstance(key, Key) else key for name, key in families.text_to_image().items()}
    given = [name for name in OF_ENCODER if model[name] != defaults[name]]
    if model.condition_dim and given:
        what = f"model.{given[0]}={model[given[0]]:g} has no effect: embeddings come with the data"
        raise UserError(f"{what} (model.condition_dim={model.condition_dim}); leave it at {defaults[given[0]]:g}")
    if loss is not None and (loss.relative or loss.of_classes):
        raise UserError(
            f"loss={config.loss} has no term for wrong captions; use non_saturating, hinge or least_squares"
        )
    if model.interpolated and config.batch_size // config.microbatches < 2:
        raise UserError("model.interpolated needs two captions in a batch; use a batch_size of 2 or more, or 0")
    for name, wanted in (("g_batch", 1), ("condition.labels", "uniform")):
        section, _, last = name.rpartition(".")
        if (value := (config[section] if section else config)[last]) != wanted:
            raise UserError(
                f"{name}={value} has no effect: each generated image has a real one's caption; use {wanted}"
            )


def build(config: ml_collections.ConfigDict, mesh: Mesh | None = None) -> GAN:
    """Build the GAN of `config`. Raises UserError for settings that do not fit each other."""
    check(config)
    model, shape = config.model, tuple(config.model.image_shape)
    resolution, channels = square(config)
    size = model.condition_dim or model.embed_dim
    condition = Condition("vector", size) if model.condition_dim else Condition("text", model.text_length)
    G = Generator(resolution, channels, model.ch, model.text_dim)
    D = Discriminator(resolution, model.d_ch, model.text_dim)
    fields = {"wrong": model.wrong, "interpolated": model.interpolated, "drawn": model.captions}
    gan = adversarial.build(
        config,
        mesh,
        G,
        D,
        image_shape=shape,
        family=TextToImage,
        redraw=lambda params, key: params,
        example_label=np.zeros((1, size), np.float32),
        condition=condition,
        text_steps=model.text_steps,
        **fields,
    )
    networks = {
        name: dataclasses.replace(network, constrain=_constrained(network)) for name, network in gan.networks.items()
    }
    if not model.condition_dim:
        rate = optimizer(config, model.text_lr)
        T, V = TextEncoder(size, model.text_ch), ImageEncoder(resolution, size, model.d_ch)
        networks["T"] = Network(T, rate, lambda key: (jnp.ones((1, model.text_length), jnp.int32),))
        networks["V"] = Network(V, rate, lambda key: (jnp.zeros((1, *shape)),))
    return dataclasses.replace(gan, networks=networks)


def _constrained(network: Network):
    clip = network.constrain or (lambda params: params)
    return lambda params: without_biases(clip(params))
