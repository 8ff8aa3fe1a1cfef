"""What can be added to the losses of D and G: the interface of a term, and what a term sees of an update."""

import zlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax

from biggan_jax.conditioning import Output
from biggan_jax.types import Image, Label, Latent, Logit, Metrics

Strength = float | Callable[[jax.Array | int], jax.Array]
"""The factor of a term: a number, or a function of the number of steps done."""


class Shown(NamedTuple):
    """The images of an update and their labels: [B, ...].

    real, label: None in G's update, unless its loss compares with real images. z: latents of the fake images; None in chunks of
    a batch.
    """

    real: Any
    label: Any
    fake: Image
    fake_label: Label
    z: Any


class Seen(NamedTuple):
    """What a term sees: the images of an update as in Shown, D's outputs for them, and the networks.

    real_output, fake_output: None in updates of gradient penalties alone; real_output also where `real` is.
    discriminate(x, y), generate(z, y): D, which augments x, and G; what their variables become is discarded.
    penalised(x, y, fake): D as gradient penalties of real or of fake images see it, with or without augmentation.
    step: the number of steps done. extra: the family's arrays; assign to its items to change them.
    """

    real: Any
    label: Any
    fake: Image
    fake_label: Label
    z: Any
    real_output: Any
    fake_output: Any
    discriminate: Callable[[Image, Label], Any]
    penalised: Callable[[Image, Label, bool], Any]
    generate: Callable[[Latent, Label], Image]
    step: jax.Array | int
    extra: dict[str, Any]

    def logit(self, y: Label, *, fake: bool = False) -> Callable[[Image], Logit]:
        """The function from real or fake images to logits for labels y whose gradient is penalised."""
        return lambda x: logit_of(self.penalised(x, y, fake))


Part = Callable[[Seen, jax.Array], tuple[jax.Array, Metrics]]
"""A function of what is seen and a random key: what is added to a loss, and metrics."""


class Term(NamedTuple):
    """One term of the losses, or one change of what they are taken of. A part that a term does not have is None.

    name: by which it draws, and keeps its state.
    d, g: added to D's and to G's loss.
    latents(score, z, key): other latents in place of z, before both updates, and what is added to both losses. score: from z
        to D's logits.
    show(shown, extra, step, key): what D is shown in its update in place of `shown`.
    weigh(logits, step): weights [B] of the images in G's loss.
    state(): the initial arrays that it keeps, in the family's extra state under `name`.
    gradient: `d` penalises D's gradient by images, needs no outputs, and may run in an update of its own.
    whole: why D's loss needs whole batches, if it does; such a term refuses `d_chunks`.
    compares: whether `g` compares with real images.
    stream: number of its random draws; by default from its name.
    """

    name: str
    d: Part | None = None
    g: Part | None = None
    latents: Callable[[Callable[[Latent], Logit], Latent, jax.Array], tuple[Latent, jax.Array]] | None = None
    show: Callable[[Shown, dict[str, Any], jax.Array | int, jax.Array], Shown] | None = None
    weigh: Callable[[Logit, jax.Array | int], jax.Array] | None = None
    state: Callable[[], Any] | None = None
    gradient: bool = False
    whole: str = ""
    compares: bool = False
    stream: int | None = None

    def key(self, key: jax.Array) -> jax.Array:
        """The key of its random draws, which are the same whichever other terms there are."""
        return jax.random.fold_in(key, zlib.crc32(self.name.encode()) if self.stream is None else self.stream)


def add_terms(
    loss: jax.Array, parts: Iterable[tuple[Term, Part]], seen: Seen, key: jax.Array
) -> tuple[jax.Array, Metrics]:
    """Return the loss with these parts of terms added, and their metrics."""
    metrics: Metrics = {}
    for term, part in parts:
        value, more = part(seen, term.key(key))
        loss, metrics = loss + value, metrics | more
    return loss, metrics


def logit_of(output: Any) -> Logit:
    """Return the logit of D's output: of an Output, its own; else the output itself."""
    return output.logit if isinstance(output, Output) else output


def at(strength: Strength, step: jax.Array | int) -> float | jax.Array:
    """Return the strength after `step` steps."""
    return strength(step) if callable(strength) else strength
