"""Each step's images of two domains, A and B: pairs, images of each domain in an order of its own, or first frames and clips."""

import dataclasses
from typing import Any, Protocol, Self

import ml_collections
import numpy as np
from etils import epath

from biggan_jax.data import shuffle, stats
from biggan_jax.data.dataset import Reading, Source, has_clips, joins_domains
from biggan_jax.types import UserError

ORDER_B, FLIP_B, CROP_B, ROWS, COLUMNS = 5, 6, 7, 8, 9
"""First numbers of the streams of random draws that only two domains have; see shuffle."""


class Two(Protocol):
    """How the images of two domains are read from a source."""

    def unchanged(self) -> Self:
        """Return the same without random changes of the images, as probes and sheets read them."""
        ...

    def read(
        self, source: Source, seed: int, attempt: int, positions: np.ndarray
    ) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
        """Return image of A, other of B and label [N], and a sentence for each unreadable record."""
        ...


@dataclasses.dataclass(frozen=True)
class FirstFrames:
    """How a clip and its first frame are read, which are B and A. height: of a frame. order, flip: as of config.data."""

    height: int
    order: str = "grain"
    flip: bool = False

    def unchanged(self) -> Self:
        return dataclasses.replace(self, flip=False)

    def read(
        self, source: Source, seed: int, attempt: int, positions: np.ndarray
    ) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
        """Return image [N, H, W, C], other [N, frames * H, W, C] and label [N], and a sentence for each unreadable record."""
        draw = seed, attempt, positions
        clips, _, unreadable = source.read(
            shuffle.indices(len(source), *draw, self.order), np.full(len(positions), 0.5)
        )
        if self.flip:
            flipped = shuffle.flip(*draw)
            clips[flipped] = clips[flipped][..., ::-1, :]
        first = np.ascontiguousarray(clips[:, : self.height])
        return {"image": first, "other": clips, "label": np.zeros(len(clips), np.int32)}, unreadable


@dataclasses.dataclass(frozen=True)
class Domains:
    """How images of two domains are read from a source.

    first: channels of the first picture of a pair; 0: images are of one domain each. swapped: A is the second picture of a pair.
    matched: the images of a pair come together; else B is read in an order of its own. size: height and width of the images,
    cut out of larger ones. order, crop, flip: as of config.data. at_random: where they are cut; else in the centre. a, b: numbers
    of the images of each domain, int64; None: all. joined: an image of A and one of B are one, side by side.
    """

    first: int
    swapped: bool
    matched: bool
    size: tuple[int, int]
    order: str = "grain"
    crop: str = "center"
    flip: bool = False
    at_random: bool = False
    a: np.ndarray | None = None
    b: np.ndarray | None = None
    joined: bool = False

    def unchanged(self) -> Self:
        return dataclasses.replace(self, crop="center", flip=False, at_random=False)

    def read(
        self, source: Source, seed: int, attempt: int, positions: np.ndarray
    ) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
        """Return image [N, H, W, C] of A, other [N, H, W, C] of B and label [N], and a sentence for each unreadable record.

        If they are `joined`, image is [N, H, 2 W, C].
        """
        a, others, unreadable = self._read(source, self.a, seed, attempt, positions, of_b=False)
        if not self.matched:
            other, rest, more = self._read(source, self.b, seed, attempt, positions, of_b=True)
            others, unreadable = (rest if self.first else other), unreadable + more
        assert others is not None
        labels = np.zeros(len(a), np.int32)
        if self.joined:
            return {"image": np.concatenate([a, others], axis=2), "label": labels}, unreadable
        return {"image": a, "other": others, "label": labels}, unreadable

    def _read(
        self, source: Source, chosen: np.ndarray | None, seed: int, attempt: int, positions: np.ndarray, *, of_b: bool
    ) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
        """Return (A or the only images, B of pairs or None, sentences). of_b: draw as for B alone."""
        source = source.pairs if isinstance(source, SideBySide) else source
        bits = lambda *name: shuffle.hashes((seed, attempt, *name), positions)
        uniform = lambda *name: (bits(*name) >> np.uint64(11)) / 2.0**53
        half, count = np.full(len(positions), 0.5), len(source) if chosen is None else len(chosen)
        stream = (ORDER_B,) if of_b else (0,)
        places = shuffle.indices(count, seed, attempt, positions, self.order, stream=stream)
        offsets = uniform(CROP_B if of_b else 2) if self.crop == "random" else half
        images, _, unreadable = source.read(places if chosen is None else chosen[places], offsets)
        if self.flip:
            flipped = (bits(FLIP_B if of_b else 1) & np.uint64(1)).astype(bool)
            images[flipped] = images[flipped][..., ::-1, :]
        rows, columns = (uniform(name, int(of_b)) if self.at_random else half for name in (ROWS, COLUMNS))
        images = cut(images, self.size, rows, columns)
        if not self.first:
            return images, None, unreadable
        one, two = images[..., : self.first], images[..., self.first :]
        return (two, one, unreadable) if self.swapped else (one, two, unreadable)


@dataclasses.dataclass(frozen=True)
class SideBySide:
    """The pairs of a source as one image each, A on the left: what a model that draws pairs is compared with."""

    pairs: Any
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "pairs":  # Pickle asks for these before there are pairs.
            raise AttributeError(name)
        return getattr(self.pairs, name)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of an image of a pair: (height, width, channels)."""
        return self.size[0], 2 * self.size[1], getattr(self.pairs, "first", 0) or self.pairs.channels

    @property
    def picture_shape(self) -> tuple[int, int, int]:
        """The shape of each picture of a pair."""
        return *self.size, self.shape[2]

    def read(self, numbers: np.ndarray, crop_offset: np.ndarray) -> Reading:
        """Read pairs. Raises UserError if the source has none."""
        first = getattr(self.pairs, "first", 0)
        if not first:
            raise UserError(
                "the training data have no pairs to compare with; prepare some with biggan-prepare --from=pairs"
            )
        found, half = self.pairs.read(numbers, crop_offset), np.full(len(numbers), 0.5)
        images = cut(found.images, self.size, half, half)
        return found._replace(images=np.concatenate([images[..., :first], images[..., first:]], axis=2))


def cut(images: np.ndarray, size: tuple[int, int], rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Cut regions of (height, width) out of images [N, H, W, C]. rows, columns: places, 0 to 1, of their top and left edges."""
    height, width = size
    spare = images.shape[1] - height, images.shape[2] - width
    if spare == (0, 0):
        return images
    top, left = (rows * (spare[0] + 1)).astype(int), (columns * (spare[1] + 1)).astype(int)
    top, left = np.minimum(top, spare[0]), np.minimum(left, spare[1])
    return np.stack([x[i : i + height, j : j + width] for x, i, j in zip(images, top, left, strict=True)])


def has_two(config: ml_collections.ConfigDict) -> bool:
    """Return whether a config's family reads images of two domains."""
    return "load_size" in config.model


def check_takes_pairs(config: ml_collections.ConfigDict, where: epath.PathLike | str) -> None:
    """Raise UserError if the config's family does not read two domains. where: names a set of pairs."""
    if not has_two(config):
        what = "clips" if has_clips(config) else "single pictures"
        has = f"{where} has pairs of pictures, and model.family {config.model.family} learns from {what}"
        raise UserError(f"{has}; use model.family=pix2pix, cyclegan or cogan, or another set")


def source_shape(config: ml_collections.ConfigDict, first: int | None, where: epath.PathLike | str) -> tuple[int, ...]:
    """Return the shape in which a source of two domains is read. Raises UserError if it has other images than the model takes.

    first: channels of the first picture of each pair; 0: images of one domain each; None: what the model takes, as pairs.
    """
    model = config.model
    height, width, channels = model.image_shape
    loaded = model.load_size or 0
    if loaded and loaded < max(height, width):
        raise UserError(f"model.load_size {loaded} is smaller than model.image_shape {(height, width)}")
    size = (loaded, loaded) if loaded else (height, width)
    a, b = model.get("input_channels", channels), channels
    if first is None or first:
        return *size, a + b
    if model.get("direction"):
        hint = "prepare pairs with biggan-prepare --from=pairs, or use a preset of cyclegan"
        raise UserError(f"model.family {model.family} learns from pairs, and {where} has none; {hint}")
    if a != b:
        raise UserError(
            f"{where} has no pairs, so its two domains have the same channels, but model.input_channels is {a} and "
            f"model.image_shape has {b}"
        )
    return *size, b


def of(source: Source, config: ml_collections.ConfigDict) -> Two | None:
    """Return how the config's family reads two domains, or None if it reads one. Raises UserError if the source has not two."""
    if has_clips(config) and config.model.first_frame:
        return FirstFrames(config.model.image_shape[0], config.data.order, config.data.flip)
    if not has_two(config):
        return None
    model, where = config.model, stats.named(config)
    height, width, channels = model.image_shape
    first, direction = getattr(source, "first", 0), model.get("direction", "")
    size, how = (height, width), (config.data.order, config.data.crop, config.data.flip, True)
    joined = joins_domains(config)
    if first:
        swapped = direction == "BtoA"
        own = model.get("input_channels", channels)
        counts = (channels, own) if swapped else (own, channels)
        whole = getattr(source, "channels", first + counts[1])
        if (first, whole - first) != counts:
            keys = "model.input_channels and model.image_shape" if "input_channels" in model else "model.image_shape"
            have = f"{where} has pairs of {first} and {whole - first} channels"
            raise UserError(f"{have}, but the model takes {counts[0]} and {counts[1]}; see {keys}")
        return _enough(Domains(first, swapped, bool(direction), size, *how, joined=joined), source, config)
    if source.num_classes != 2:
        has = f"{source.num_classes} classes" if source.num_classes > 1 else "one class"
        hint = "prepare them with biggan-prepare --from=unpaired, or pairs with --from=pairs"
        raise UserError(f"{where} has {has}, and model.family {model.family} learns from two sets, A and B; {hint}")
    a, b = (np.flatnonzero(source.all_labels == label) for label in (0, 1))
    return _enough(Domains(0, False, False, size, *how, a=a, b=b, joined=joined), source, config)


def _enough(domains: Domains, source: Source, config: ml_collections.ConfigDict) -> Domains:
    for name, numbers in (("A", domains.a), ("B", domains.b)):
        count = len(source) if numbers is None else len(numbers)
        if not count:
            raise UserError(f"{stats.named(config)} has no readable images of domain {name}")
    return domains
