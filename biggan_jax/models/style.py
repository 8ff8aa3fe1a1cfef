"""The updates of StyleGANs: style mixing, and the penalty of path lengths (Karras et al. 2020, sections 3.1 and 3.2)."""

import dataclasses
import math
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from biggan_jax import sharding
from biggan_jax.family import Nets, Trees, Update
from biggan_jax.gan import GAN
from biggan_jax.latents import Truncation
from biggan_jax.types import Batch, Image, Label, Latent, Metrics, Params, UserError


class PathLength(NamedTuple):
    """The penalty E (||J^T y|| - a)^2 of G's Jacobian J by w, with random images y and a moving mean a of the lengths.

    every: it has an update of its own in each so many steps, in which its strength is multiplied by that. decay: share of a new
    mean in a. shrink: its batch is smaller by this factor.
    """

    strength: float
    every: int
    decay: float
    shrink: int

    def loss(self, lengths: jax.Array, mean: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the penalty of lengths [B], before its strength, and the new moving mean."""
        mean = mean + self.decay * (lengths.mean() - mean)
        return jnp.mean(jnp.square(lengths - mean)), jax.lax.stop_gradient(mean)


STATE = "path_length"
"""The name of the moving mean of path lengths in the family's extra state."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StyleGAN(GAN):
    """A GAN whose G has the methods `map` and `synthesize`. A step updates G, then D; lazy penalties follow each.

    styles, dim_w: w's of an image, and the length of each. style_mixing: share of images that have two w's. path: penalty of
    path lengths, if any.

    Difference: StyleGAN2-ADA draws one cutoff of style mixing for all images of a device, not one for each.
    """

    styles: int
    dim_w: int
    style_mixing: float = 0.0
    path: PathLength | None = None

    def initial_extra(self) -> dict[str, Any]:
        return super().initial_extra() | ({STATE: jnp.zeros(())} if self.path else {})

    def updates(self) -> tuple[Update, ...]:
        """Return the updates of a step, in StyleGAN2-ADA's order."""
        *of_d, of_g = super().updates()
        path = (
            [Update(("G",), self.path_loss, "g_path", self.draw_for_path, every=self.path.every)] if self.path else []
        )
        return of_g, *path, *of_d

    def draw(self, key: jax.Array, batch_size: int) -> Batch:
        """Draw latents and labels, and with style mixing the latents z2 of the layers from `cutoff` on."""
        found = super().draw(key, batch_size)
        if not self.style_mixing:
            return found
        z_key, cutoff_key, coin_key = jax.random.split(jax.random.fold_in(key, 1), 3)
        mixed = jax.random.uniform(coin_key, (batch_size,)) < self.style_mixing
        cutoff = self.draw_cutoff(cutoff_key, mixed)
        more = {"z2": self.latents(z_key, batch_size)[0], "cutoff": sharding.constrain_batch(cutoff, self.mesh)}
        return found | more

    def draw_cutoff(self, key: jax.Array, mixed: jax.Array) -> jax.Array:
        """Draw the first layer [B] of the second w: any but the first layer, or none where `mixed` is False."""
        return jnp.where(mixed, jax.random.randint(key, mixed.shape, 1, self.styles), self.styles)

    def mixing(self, nets: Nets, batch: Batch) -> dict[str, Any]:
        """Return what G's method `map` takes for style mixing: z2 and cutoff, if they were drawn."""
        return {name: batch[name] for name in ("z2", "cutoff") if name in batch}

    def draw_for_path(self, key: jax.Array, batch_size: int) -> Batch:
        """Draw the latents of path lengths, and the images y."""
        assert self.path
        noise_key, key = jax.random.split(key)
        count = batch_size // self.path.shrink
        y = jax.random.normal(noise_key, (count, *self.image_shape))
        return self.draw(key, count) | {"path_noise": sharding.constrain_batch(y, self.mesh)}

    def fake_images(self, nets: Nets, batch: Batch, z: Latent, y: Label, *, keep: bool = True) -> Image:
        return nets("G", z, y, keep=keep, **self.mixing(nets, batch))

    def path_loss(self, nets: Nets, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """Return the penalty of path lengths times its strength and the steps that it stands for."""
        assert self.path
        part = batch | {"label": batch["label"][:: self.path.shrink]}
        z, y, _ = self._latents_of(nets, part, key)
        ws = nets("G", z, y, method="map", **self.mixing(nets, batch))
        directions = batch["path_noise"] / math.sqrt(math.prod(self.image_shape[:2]))
        along = lambda ws: jnp.sum(nets("G", ws, method="synthesize", keep=False) * directions)
        squares = jnp.sum(jnp.square(jax.grad(along)(ws)), axis=-1)
        lengths = jnp.sqrt(squares.mean(1))
        penalty, nets.extra[STATE] = self.path.loss(lengths, nets.extra[STATE])
        metrics = {"g_path_penalty": penalty, "g_path_length": lengths.mean()}
        return self.path.every * self.path.strength * penalty, metrics

    default_truncation = "w"

    def truncated(self, variables: Trees, truncation: Truncation | None) -> Trees:
        """Return variables["sampling"] with the factor `psi` [styles] of truncation of kind w; see Generator.map."""
        if truncation is None or truncation.kind != "w":
            return variables
        if truncation.cutoff > self.styles:
            raise UserError(f"--truncation_cutoff={truncation.cutoff}: this model has {self.styles} layers with a w")
        layers = np.arange(self.styles) < (truncation.cutoff or self.styles)
        psi = np.where(layers, truncation.threshold, 1).astype(np.float32)
        return variables | {"sampling": {**variables.get("sampling", {}), "psi": psi}}

    def sample(self, weights: Params, variables: Trees, z: Latent, y: Label) -> Image:
        """Images in evaluation mode of z [B, dim_z], or of w's [B, styles, dim_w] in its place.

        variables["sampling"], if any, has `psi` [styles] and `mix` [2]; see Generator.map, Noise.
        """
        options = {**variables.get("sampling", {})}
        if z.ndim == 2:
            return cast(Image, self._apply(weights, variables, z, y, **options))
        psi, ws = options.pop("psi", None), z
        if psi is not None:
            mean = variables["moving"]["w"]
            ws = mean + psi[:, None] * (ws - mean)
        return cast(Image, self._apply(weights, variables, ws, method="synthesize", **options))

    def ws(self, weights: Params, variables: Trees, z: Latent, y: Label) -> jax.Array:
        """Return the w's of z [B, dim_z] and labels in evaluation mode, [B, styles, dim_w], before any truncation."""
        return self._apply(weights, variables, z, y, method="map")

    def _apply(self, weights: Params, variables: Trees, *args: Any, **options: Any) -> jax.Array:
        own = {name: tree for name, tree in variables.items() if name != "sampling"}
        rngs = {"params": jax.random.key(0)}  # Noise is the same for every batch.
        module = self.networks[self.sampled].module
        return cast(jax.Array, module.apply({"params": weights, **own}, *args, rngs=rngs, train=False, **options))
