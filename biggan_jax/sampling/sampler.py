"""A trained generator ready to draw from: normalised weights, batch-norm statistics, truncation."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Self, cast

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from biggan_jax.checkpoint import TrainedGenerator, checkpoint_steps, load_generator
from biggan_jax.checkpoint.checksums import named_arrays
from biggan_jax.data import captions
from biggan_jax.family import Family
from biggan_jax.latents import Truncation, allowed
from biggan_jax.runtime.progress import track
from biggan_jax.sampling import generate, kept_statistics, pictures
from biggan_jax.sharding import divisible
from biggan_jax.types import Label, Latent, Params, UserError

STATISTICS = ("standing", "running", "binned", "binned_as_hf")
"""Batch-norm statistics: averaged over fresh batches; those of training; or those for the truncation that come with the
weights, interpolated linearly, or as Hugging Face does."""


class NotFiniteError(UserError):
    """Images, or the arrays of G, have values that are NaN or infinite."""


@dataclasses.dataclass(frozen=True)
class Sampler:
    """A generator with everything that determines its samples besides z and y.

    weights: normalised. variables: the other Flax collections, such as {"batch_stats": ...}. truncation: of z, and the one
    that the statistics were measured with. statistics: describes the batch-norm statistics, for protocols and file headers.
    """

    gan: Family
    weights: Params
    variables: dict[str, Params]
    truncation: Truncation | None
    statistics: str

    @classmethod
    def from_checkpoint(
        cls,
        trained: TrainedGenerator,
        truncation: Truncation | None = None,
        *,
        statistics: str | None = None,
        passes: int = 100,
        seed: int = 0,
    ) -> Self:
        """Prepare a checkpoint's generator for sampling. seed: of the latents for standing statistics; the rest: see `resolve`.

        Raises UserError, among others NotFiniteError.
        """
        require_latents(trained.gan)
        check_finite(trained)
        gan, variables = trained.gan, trained.variables
        statistics, truncation, description = resolve(trained, truncation, statistics, passes)
        weights = generate.evaluation_weights(gan, trained.params, trained.spectral)
        if statistics == "standing":
            measured = kept_statistics.standing_statistics(gan, trained.config, weights, seed, passes=passes)
            variables = {**variables, "batch_stats": measured(truncation)}
        elif statistics != "running":
            assert trained.binned is not None and truncation is not None  # `resolve` guarantees both.
            bins, swapped = trained.binned, statistics == "binned_as_hf"
            variables["batch_stats"] = generate.binned_statistics(bins, truncation.threshold, swapped=swapped)
        return cls(gan, weights, gan.truncated(variables, truncation), truncation, description)

    @classmethod
    def from_pretrained(
        cls,
        path: epath.PathLike,
        *,
        revision: str | None = None,
        truncation: Truncation | float | None = None,
        statistics: str | None = None,
        passes: int = 100,
        seed: int = 0,
        live: bool = False,
    ) -> Self:
        """Load a model, and prepare it for sampling.

        path: a run's workdir or checkpoint, an exported model, the name of a model in the package, or hf://OWNER/NAME.
        revision: a branch, tag or commit of the hub. truncation: a threshold above 0, with w from 0 on, is of kind `scale` with binned
        statistics, else of the family's kind, such as `resample`. live: weights as they are trained, not their average.
        Others: see `from_checkpoint`. Raises UserError.
        """
        if revision is not None and not str(path).startswith("hf://"):
            raise UserError(f"revision={revision!r} has no meaning for {path}; it is for hf://OWNER/NAME")
        if passes < 1:
            raise UserError(f"passes={passes} batches give no statistics; give 1 or more")
        trained = load_generator(path if revision is None else f"{path}@{revision}", live=live)
        if truncation is not None and not isinstance(truncation, Truncation):
            binned = (statistics or default_statistics(trained)).startswith("binned")
            kind = "scale" if binned else trained.gan.default_truncation
            if not allowed(truncation, kind):
                raise UserError(f"truncation={truncation} must be greater than 0, and finite; None is no truncation")
            truncation = Truncation(float(truncation), kind)
        return cls.from_checkpoint(trained, truncation, statistics=statistics, passes=passes, seed=seed)

    def latents(self, num: int, seed: int = 0) -> np.ndarray:
        """Draw z, float32 [num, dim_z], with the sampler's truncation. Raises UserError if num is negative."""
        if num < 0:
            raise UserError(f"num={num} latents cannot be drawn; give 0 or more")
        return np.asarray(generate.draw_latents(self.gan, jax.random.key(seed), num, self.truncation))

    def generate_batch(self, z: Latent, y: Label) -> jax.Array:
        """Generate one batch, float32 [B, *image_shape] in [-1, 1]. Can be differentiated with respect to z and y."""
        return generate.generate_batch(self.gan, self.weights, self.variables, z, y)

    def batches(self, z: Latent, y: Label | Sequence[str], batch_size: int = 64) -> Iterator[tuple[jax.Array, int]]:
        """Generate float32 [B, *image_shape] batch by batch, each with the number of samples that are not padding.

        y may be texts, for a model that draws images of these. Raises UserError for labels that are not those of z, or of no class
        of the model; NotFiniteError at the latest when the next batch
        is asked for: the devices do not wait for the check.
        """
        finite, y = None, self._labels(z, y)
        for *batch, count in track(list(generate.batches_of(self.gan, z, y, batch_size)), "images"):
            images = self.generate_batch(*batch)
            if finite is not None:
                self._require(finite)
            finite = _all_finite(images)
            yield images, count
        if finite is not None:
            self._require(finite)

    def _labels(self, z: Latent, y: Label | Sequence[str]) -> Label:
        """Return y after a check, with the bytes of texts in place of these."""
        if np.ndim(z) < 2 or not len(z):
            raise UserError(f"z is {list(np.shape(z))}; latents are [N, dim_z], at least one")
        if np.ndim(y) == 0 or len(y) != len(z):
            given = len(y) if np.ndim(y) else "one number"
            raise UserError(f"{len(z)} latents need as many labels, but y has {given}; give one for each")
        if isinstance(y[0], str):
            if self.gan.condition.kind != "text":
                raise UserError(f"y is text, such as {y[0]!r:.40}, and this model reads none")
            return captions.encode_given(list(map(str, y)), self.gan.condition.size, "y")
        if classes := self.gan.num_classes:
            labels = np.asarray(y)
            if (
                labels.ndim == 1
                and labels.dtype.kind in "iu"
                and (wrong := labels[(labels < 0) | (labels >= classes)]).size
            ):
                raise UserError(f"class {wrong[0]} is out of range: this model has classes 0 to {classes - 1}")
            if (labels.ndim == 1 and labels.dtype.kind not in "iu") or (
                labels.ndim == 2 and labels.shape[1] != classes
            ):
                what = f"{labels.dtype} {list(labels.shape)}"
                raise UserError(f"y is {what}; labels are integers [N], or weights of {classes} classes [N, {classes}]")
        return cast(Label, y)

    def picture_batch(self, z: Latent, y: Label) -> np.ndarray:
        """Generate one batch of images, uint8 [B, *image_shape]. Raises NotFiniteError."""
        images = self.generate_batch(z, y)
        self._require(_all_finite(images))
        return pictures.to_uint8(np.asarray(images))

    def _require(self, finite: jax.Array) -> None:
        if not finite:
            what = "images of these samples are not finite numbers"
            arrays = not_finite({"weights": self.weights} | self.variables)
            why = (
                f"nor are these arrays of G: {arrays}"
                if arrays
                else "though all arrays of G are: its activations overflow"
            )
            raise NotFiniteError(f"{what}, {why}; draw from an earlier checkpoint")

    def floats(self, z: Latent, y: Label | Sequence[str], batch_size: int = 64) -> np.ndarray:
        """Generate samples, float32 [N, *image_shape] in [-1, 1]."""
        return np.concatenate([np.asarray(images)[:count] for images, count in self.batches(z, y, batch_size)])

    def image_batches(
        self, z: Latent, y: Label | Sequence[str], batch_size: int = 64, bits: int = 8
    ) -> Iterator[np.ndarray]:
        """Generate images batch by batch, uint8, or with `bits` 16 uint16, [up to B, *image_shape].

        Raises NotFiniteError before it yields a batch that is not finite.
        """
        quantize, last = pictures.to_uint16 if bits == 16 else pictures.to_uint8, None
        for images, count in self.batches(z, y, batch_size):  # It checks a batch when the next one is asked for.
            if last is not None:
                yield last
            with np.errstate(invalid="ignore"):
                last = quantize(np.asarray(images)[:count])
        if last is not None:
            yield last

    def images(self, z: Latent, y: Label | Sequence[str], batch_size: int = 64, bits: int = 8) -> np.ndarray:
        """Generate images, uint8, or with `bits` 16 uint16, [N, *image_shape]."""
        return np.concatenate(list(self.image_batches(z, y, batch_size, bits)))


@jax.jit
def _all_finite(images: jax.Array) -> jax.Array:
    return jnp.isfinite(images).all()


def require_latents(gan: Family) -> None:
    """Raise UserError for a model that translates images: it draws none from latents."""
    if gan.translations:
        raise UserError("this model translates images and draws none from latents; use biggan-translate")


def check_finite(trained: TrainedGenerator) -> None:
    """Raise NotFiniteError, which names them, if arrays of a checkpoint's generator are not finite."""
    if arrays := not_finite({"params": trained.params} | trained.stats | {"binned": trained.binned or {}}):
        what = f"the checkpoint {trained.path} gives no images: these arrays of G are not finite: {arrays}"
        step = epath.Path(trained.path)
        others = checkpoint_steps(trained.workdir) if step.name.isdecimal() else []
        earlier = [other for other in others if other < int(step.name)]
        how = (
            f"draw from an earlier step, such as {step.parent / str(earlier[-1])}" if earlier else "take other weights"
        )
        raise NotFiniteError(f"{what}; {how}")


def not_finite(tree: Params) -> str:
    """Name up to three arrays with values that are NaN or infinite, and count the others; "" if there are none."""
    names = [name for name, array in named_arrays(tree).items() if not np.isfinite(np.asarray(array)).all()]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def default_statistics(trained: TrainedGenerator) -> str:
    """Return "binned" if the checkpoint has binned statistics; "standing", or "running" where they cannot be measured."""
    if trained.binned:
        return "binned"
    return "standing" if generate.has_standing_statistics(trained.gan, trained.variables) else "running"


def resolve(
    trained: TrainedGenerator, truncation: Truncation | None, statistics: str | None, passes: int = 0
) -> tuple[str, Truncation | None, str]:
    """Return the statistics, the truncation and the description of a sampler, without computing anything.

    statistics: one of STATISTICS, or None for the default. Binned ones were measured for truncation of kind `scale`; without a
    truncation, those for 1 are used. passes: batches that standing statistics are averaged over. Raises UserError if the
    checkpoint lacks the statistics, or they do not fit the truncation.
    """
    statistics = statistics or default_statistics(trained)
    if statistics == "running":
        return statistics, truncation, statistics if "batch_stats" in trained.stats else "none"
    if statistics == "standing":
        if not generate.has_standing_statistics(trained.gan, trained.variables):
            why = "no batch norm that can be measured"
            if trained.gan.condition.of_data:
                what = "texts" if trained.gan.condition.kind == "text" else "real numbers"
                why = f"a condition of {what}, which have no distribution to draw from"
            raise UserError(f"statistics standing: this model has {why}; use running")
        size = divisible(generate.STANDING_BATCH, trained.gan.mesh)
        return statistics, truncation, f"standing, {passes} batches of {size}"
    if trained.binned is None:
        raise UserError(f"statistics {statistics}: this checkpoint has no statistics by truncation; use standing")
    truncation = truncation or Truncation(1.0, "scale")
    if truncation.kind != "scale":
        hint = "use --truncation_kind=scale or --statistics=standing"
        raise UserError(f"binned statistics were measured for truncation of kind scale, not {truncation.kind}; {hint}")
    if truncation.threshold > 1:
        t = f"{truncation.threshold:g}"
        raise UserError(f"truncation {t} is outside the range of binned statistics, 0 to 1; use --statistics=standing")
    return statistics, truncation, statistics
