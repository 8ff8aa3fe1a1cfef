"""CoGAN: one generator of pairs of two domains, learned without pairs (Liu & Tuzel 2016; their form for digits).

    G                                             D
    z ~ N(0, 1)^100                               image of A           image of B
    4x4 transposed convolution, 1024, BN, PReLU   5x5, 20, max-pool    5x5, 20, max-pool
    3x3 to 7, 512, BN, PReLU                      5x5, 50, max-pool    (shared from here on)
    3x3 to 13, 256, BN, PReLU                     4x4, 500, PReLU
    3x3 to 25, 128, BN, PReLU  (shared so far)    1x1, real and fake
    6x6 to 28, sigmoid: A      6x6 to 28: B

A pair is one image, A on the left and B on the right. The layers that are shared are one array each, so both domains give it
gradients; that is what makes the two images of a pair alike. Batch norm has no gains or offsets. Weights are Xavier's, times
sqrt 2, and biases 0.1. D's two outputs, of real and fake, pass a softmax: their difference is the logit.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
from jax.sharding import Mesh

from biggan_jax.gan import GAN
from biggan_jax.layers import linear
from biggan_jax.layers.transposed import ConvTranspose
from biggan_jax.models import adversarial
from biggan_jax.types import Image, Label, Latent, Logit, UserError

SIDE = 28
xavier = nn.initializers.variance_scaling(2.0, "fan_avg", "uniform")
tenth = nn.initializers.constant(0.1)
Conv = functools.partial(linear.Conv, padding="VALID", kernel_init=xavier, bias_init=tenth)
ConvT = functools.partial(ConvTranspose, kernel_init=xavier, bias_init=tenth)


class Generator(nn.Module):
    """z [B, dim_z] to pairs of images, side by side: [B, 28, 56, channels] in [-1, 1]."""

    channels: int = 1
    ch: int = 128
    bn_momentum: float = 0.9

    @nn.compact
    def __call__(self, z: Latent, y: Label | None = None, *, train: bool = False) -> Image:
        x = z[:, None, None]
        for i in range(4):
            size, stride, padding = ((4, 4), (1, 1), "VALID") if i == 0 else ((3, 3), (2, 2), ((1, 1), (1, 1)))
            x = ConvT(self.ch << 3 - i, size, stride, padding=padding, name=f"conv_{i}")(x)
            norm = nn.BatchNorm(not train, momentum=self.bn_momentum, use_scale=False, use_bias=False, name=f"bn_{i}")
            x = nn.PReLU(negative_slope_init=0.25, name=f"prelu_{i}")(norm(x))
        head = lambda name: ConvT(self.channels, (6, 6), padding=((4, 4), (4, 4)), name=name)(x)
        return 2 * nn.sigmoid(jnp.concatenate([head("conv_4_a"), head("conv_4_b")], axis=2)) - 1


class Discriminator(nn.Module):
    """Pairs side by side [B, 28, 56, channels] to logits [B, 2], of A and of B; each image of a pair has its own."""

    ch: int = 1

    @nn.compact
    def __call__(self, x: Image, y: Label | None = None, *, train: bool = False) -> Logit:
        width = x.shape[2] // 2
        conv_1, conv_2 = Conv(50 * self.ch, (5, 5), name="conv_1"), Conv(500 * self.ch, (4, 4), name="conv_2")
        prelu, last = nn.PReLU(negative_slope_init=0.25, name="prelu_2"), Conv(2, (1, 1), name="linear")

        def one(image: Image, domain: str) -> jax.Array:
            h = pool(Conv(20 * self.ch, (5, 5), name=f"conv_0_{domain}")((image + 1) / 2))
            out = last(prelu(conv_2(pool(conv_1(h)))))[:, 0, 0]
            return out[:, 1] - out[:, 0]

        return jnp.stack([one(x[:, :, :width], "a"), one(x[:, :, width:], "b")], axis=1)


def pool(x: jax.Array) -> jax.Array:
    """Return the maxima of 2 x 2 squares: [B, H, W, C] to [B, H / 2, W / 2, C]."""
    b, h, w, c = x.shape
    # The gradient of a window's maximum is a scatter, which takes a CPU a quarter of the step.
    return x.reshape(b, h // 2, 2, w // 2, 2, c).max((2, 4))


def build(config: ml_collections.ConfigDict, mesh: Mesh | None = None) -> GAN:
    """Build the CoGAN of `config`. Raises UserError for images of another size than 28 pixels."""
    height, width, channels = (*config.model.image_shape, 0, 0, 0)[:3]
    if (height, width) != (SIDE, SIDE) or not channels:
        raise UserError(
            f"model.image_shape {tuple(config.model.image_shape)}: cogan makes images of {SIDE} x {SIDE} pixels"
        )
    networks = Generator(channels, config.model.ch), Discriminator()
    keep: Callable = lambda params, key: params
    return adversarial.build(config, mesh, *networks, image_shape=(SIDE, 2 * SIDE, channels), redraw=keep)
