"""How one picture of a prepared set is stored: as it is, or cropped, resized and converted."""

import dataclasses
import io
import math
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from biggan_jax.data import exact, picture
from biggan_jax.data.raw import Shapes

CROPS = {"center": None, "pad": 0, "pad_white": 1}
"""Ways to give a picture the shape of the set: keep the central region, or pad with black (0) or white (1)."""

ENLARGED = "smaller ones were enlarged"
REPAIRED = "broken metadata was left out"
ENDED = "the missing end of a PNG was added"


class Stored(NamedTuple):
    """What is stored of a picture: its bytes, original (width, height), which conversions were made, and the value range if stored.

    A vector has the size (0, 0). contrast: the spread of its values, as a share of all levels; 1 for vectors.
    """

    data: bytes
    size: tuple[int, int]
    notes: tuple[str, ...] = ()
    range: tuple[float, float] = (math.inf, -math.inf)
    contrast: float = 1.0


class TooSmallError(Exception):
    """A picture's shorter edge is below `Form.min_size`; the message has its size."""


@dataclasses.dataclass(frozen=True, repr=False)
class Form:
    """How pictures are stored: as they are, or, if `size` is not 0, the central region, resized, as plain numbers.

    size: of a square, or (height, width). channels: 0: RGB of 8 bits. bits: of each channel; with `channels`, 8 or 16.
    vector: the length of vectors, float32; 0: pictures. condition: the length of each picture's condition.
    range: values of black and white of pictures of more than 8 bits; None: all of their bits. crop: a key of CROPS; "": center.
    min_size: pictures with a shorter edge are left out. first: of pairs, how many of `channels` are those of the first picture;
    0: no pairs. frames: of a clip, which is stored with its frames below each other; 0: single pictures. several: conditions of each
    picture, if it has more than one.
    """

    size: int | tuple[int, int] = 0
    resize: str = "area"
    channels: int = 0
    bits: int = 0
    vector: int = 0
    condition: int = 0

    range: tuple[float, float] | None = None
    crop: str = ""
    min_size: int = 0
    first: int = 0
    frames: int = 0
    several: int = 0

    def __call__(self, encoded: bytes, other: bytes = b"") -> Stored:
        """Return what to store. If only metadata is broken, it is left out. A PNG whose end is missing gets it.

        other: the second picture of a pair; without it, a pair is the two halves of one picture.
        Raises picture.UnreadableError, TooSmallError, and exact.ChannelsError for another number of channels.
        """
        whole, other_whole = picture.ended(encoded), picture.ended(other)
        found = self._whole(whole, other_whole)
        if (whole, other_whole) == (encoded, other):
            return found
        return found._replace(notes=(*found.notes, ENDED))

    def _whole(self, encoded: bytes, other: bytes) -> Stored:
        """Return what to store of a picture whose file has an end."""
        if self.first:
            return self._pair(encoded, other)
        if self.frames:
            return self._clip(exact.array(encoded))
        try:
            return self._stored(encoded)
        except picture.UnreadableError as error:
            if (pixels := picture.without_metadata(encoded)) == encoded:
                raise
            try:
                found = self._stored(pixels)
            except picture.UnreadableError:
                raise error from None
            return found._replace(notes=(*found.notes, REPAIRED))

    def _stored(self, encoded: bytes) -> Stored:
        if self.vector:
            values = exact.array(encoded)
            return Stored(values.tobytes(), (0, 0), (), (float(values.min()), float(values.max())))
        if self.channels:
            read = exact.read(encoded, self.range, self.bits)
            found = exact.fitted(read, self.channels, self.bits)
        elif self.range and exact.is_deep(encoded):
            found = exact.fitted(exact.read(encoded, self.range, 8), 3, 8)
        elif exact.needs_range(encoded):
            exact.read_any(encoded)  # Its own fault, such as NaN, is a better reason.
            raise picture.UnreadableError("its pixels are floats, signed or of 32 bits; give --range=LOW:HIGH")
        else:
            found = exact.Pixels(picture.decode(encoded, upright=True), False, exact.conversions(encoded))
            if not self.size and _is_plain(encoded):
                return self._result(encoded, found, found.image)
        kept, notes = found.image, found.notes
        if self.size:
            kept, notes = self._framed(kept, notes)
            data = np.ascontiguousarray(kept).tobytes()
        elif self.channels:
            data = exact.png(kept)
        else:
            lossless = io.BytesIO()
            Image.fromarray(kept).save(lossless, "PNG")
            data = lossless.getvalue()
        return self._result(data, found._replace(notes=notes), kept)

    def _pair(self, encoded: bytes, other: bytes) -> Stored:
        """Return a pair as one picture: the channels of the first, then those of the second."""
        found = [self._read(encoded)]
        if other:
            try:
                found.append(self._read(other))
            except picture.UnreadableError as error:
                raise picture.UnreadableError(f"its partner of B: {error}") from error
            sizes = [f"{pixels.image.shape[1]} x {pixels.image.shape[0]}" for pixels in found]
            if sizes[0] != sizes[1]:
                raise picture.UnreadableError(f"its two pictures have unlike sizes, {sizes[0]} and {sizes[1]} pixels")
        else:
            whole, width = found[0], found[0].image.shape[1]
            if width % 2:
                raise picture.UnreadableError(f"its width of {width} pixels has no two halves")
            halves = whole.image[:, : width // 2], whole.image[:, width // 2 :]
            found = [whole._replace(image=half) for half in halves]
        counts = self.first, self.channels - self.first
        both = [exact.fitted(found[0], counts[0], self.bits)]
        try:
            both.append(exact.fitted(found[1], counts[1], self.bits))
        except exact.ChannelsError as error:
            raise exact.ChannelsError(f"has a B that {error}") from error
        notes = tuple(dict.fromkeys(note for pixels in both for note in pixels.notes))
        framed = [self._framed(pixels.image, notes) for pixels in both]
        kept, notes = np.concatenate([image for image, _ in framed], axis=2), framed[0][1]
        stored = self._result(np.ascontiguousarray(kept).tobytes(), both[0]._replace(notes=notes), kept)
        contrasts = [np.ptp(image) / np.iinfo(image.dtype).max for image, _ in framed]
        return stored._replace(contrast=float(min(contrasts)))

    def _clip(self, clip: np.ndarray) -> Stored:
        """Return a clip uint8 [T, H, W, 3] as one picture, its frames below each other."""
        gray = self.channels == 1
        framed = [self._framed(picture.to_gray(frame) if gray else frame, ()) for frame in clip]
        kept = np.concatenate([frame for frame, _ in framed])
        return self._result(kept.tobytes(), exact.Pixels(clip[0], False, framed[0][1]), kept)

    def _read(self, encoded: bytes) -> exact.Pixels:
        """Decode one picture of a pair. If only metadata is broken, it is left out."""
        try:
            return exact.read(encoded, self.range, self.bits)
        except picture.UnreadableError:
            if (pixels := picture.without_metadata(encoded)) == encoded:
                raise
            found = exact.read(pixels, self.range, self.bits)
            return found._replace(notes=(*found.notes, REPAIRED))

    def _framed(self, image: np.ndarray, notes: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
        """Crop or pad to the aspect ratio of the set, and resize."""
        if (level := CROPS[self.crop or "center"]) is not None:
            framed = picture.pad(image, self._frame, level * np.iinfo(image.dtype).max)
        else:
            framed = picture.crop(image, self._frame)
        more = (ENLARGED,) if framed.shape[0] < self._frame[0] else ()
        return picture.resize(framed, self._frame, self.resize), (*notes, *more)

    def _result(self, data: bytes, found: exact.Pixels, kept: np.ndarray) -> Stored:
        height, width = found.image.shape[:2]
        if min(height, width) < self.min_size:
            raise TooSmallError(f"{width} x {height}")
        low, high = int(kept.min()), int(kept.max())
        limits = (low, high) if self.channels else (math.inf, -math.inf)
        return Stored(data, (width, height), found.notes, limits, (high - low) / np.iinfo(kept.dtype).max)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is stored as plain numbers: (height, width, channels), or (n,) for vectors."""
        if self.vector:
            return (self.vector,)
        height, width = self._frame
        return height * (self.frames or 1), width, self.channels or 3

    @property
    def _frame(self) -> tuple[int, int]:
        """(height, width) of a stored picture, or of each frame of a clip."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @property
    def dtype(self) -> str:
        return "float32" if self.vector else "uint16" if self.bits == 16 else "uint8"

    def described(self) -> dict[str, Any]:
        """Return the fields as JSON, those after the first two only if they are set."""
        fields = dataclasses.asdict(self)
        return {name: value for name, value in fields.items() if name in ("size", "resize") or value}

    def __repr__(self) -> str:  # Part of the fingerprints of sets.
        return f"Form({', '.join(f'{name}={value!r}' for name, value in self.described().items())})"


def _is_plain(encoded: bytes) -> bool:
    """Whether the file as it is gives the intended pixels: JPEG or PNG, opaque, of 8 bits, and upright by its EXIF tag."""
    with picture.opened(encoded) as image:
        opaque = image.mode in ("RGB", "L") and "transparency" not in image.info
        return opaque and image.format in ("JPEG", "PNG") and image.getexif().get(0x0112, 1) == 1


def form_of_arrays(form: Form, shapes: Shapes, channels: bool = False, bits: int = 0) -> Form:
    """Return the form of arrays: `form`, with what it leaves open as the arrays are. channels: whether `form` says them."""
    if len(shapes.image) == 1:
        return Form(vector=shapes.image[0], condition=shapes.condition)
    height, width, _ = shapes.image
    return dataclasses.replace(
        form,
        size=form.size or (height if height == width else (height, width)),
        channels=form.channels if channels else shapes.image[2],
        bits=bits or (16 if shapes.dtype == "uint16" else 8),
        condition=shapes.condition,
    )
