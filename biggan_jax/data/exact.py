"""Read a picture without loss: any number of channels and bits, from PNG, TIFF, .npy, .npz and other formats.

Decoding untrusted bytes returns pixels or raises UnreadableError.
"""

import io
import zipfile
import zlib
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin

from biggan_jax.data import picture
from biggan_jax.data.picture import UnreadableError

MAX_BYTES = 2**29  # Of one picture's pixels; larger ones are refused before decoding.
MAX_PAGES = 4096  # Of a TIFF, each of which is a channel.

PNG, NPY, ZIP, TIFFS = b"\x89PNG\r\n\x1a\n", b"\x93NUMPY", b"PK\x03\x04", (b"II*\0", b"MM\0*")
DEFLATE = (8, 32946)
_NUMBERS = {*(("u", 8), ("u", 16), ("u", 32), ("i", 8), ("i", 16), ("i", 32), ("f", 16), ("f", 32), ("f", 64))}

COMPOSITED = "alpha was composited on white"
REPEATED = "grey was repeated to three channels"
MERGED = "three equal channels became one"
SHORTENED = "16 bits became 8"
LENGTHENED = "8 bits became 16, times 257"
SCALED = "values were scaled from the set's range"
TO_RGB = "other colour spaces became RGB"
"""What a conversion is called in a set's summary."""


class ChannelsError(Exception):
    """A picture has another number of channels than was asked for; the message says which."""


class Pixels(NamedTuple):
    """image: numbers [H, W, C], upright, of which 8 and 16 bits are full scale. alpha: whether its last channel is alpha.

    notes: what was converted.
    """

    image: np.ndarray
    alpha: bool = False
    notes: tuple[str, ...] = ()


def read(encoded: bytes, limits: tuple[float, float] | None = None, bits: int = 16) -> Pixels:
    """Decode a picture with all its channels, to uint8 or uint16 [H, W, C]. Raises UnreadableError.

    limits: the values of black and white of pictures of more than 8 bits, which are scaled to `bits`. Without, unsigned
    numbers of 16 bits are kept, and other types refused.
    """
    found = read_any(encoded)
    if found.image.dtype == np.uint8:
        return found
    if limits is not None:
        return scaled(found, limits, bits)
    if found.image.dtype != np.uint16:
        what = "floats" if found.image.dtype.kind == "f" else "signed, or have 32 bits or more"
        raise UnreadableError(f"its pixels are {what} ({found.image.dtype}); give --range=LOW:HIGH")
    return found


def read_any(encoded: bytes) -> Pixels:
    """Decode a picture with all its channels, to numbers of the type that it has. Raises UnreadableError.

    The pages of a TIFF, if they are grey and of one size, are channels. Palettes and CMYK become RGB. Floats must be finite.
    """
    found = _read_any(encoded)
    if bad := not_finite(found.image):
        raise UnreadableError(f"it has {bad}; set them to numbers, as numpy.nan_to_num does")
    return found


def not_finite(values: np.ndarray) -> str:
    """Count the values that are NaN or infinite, such as "2 NaN and 1 infinite values of 960"; "" if there are none."""
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return ""
    counts = {"NaN": int(np.isnan(values).sum()), "infinite": int(np.isinf(values).sum())}
    return f"{' and '.join(f'{n:,} {what}' for what, n in counts.items() if n)} values of {values.size:,}"


def _read_any(encoded: bytes) -> Pixels:
    if encoded.startswith(NPY) or encoded.startswith(ZIP):
        return Pixels(_as_picture(array(encoded)))
    if encoded[:4] in TIFFS and (found := _tiff(encoded)) is not None:
        return found
    with picture.opened(encoded) as image:
        turn = image.getexif().get(0x0112, 1)
        if encoded.startswith(PNG) and encoded[24:25] == b"\x10":
            return Pixels(upright(_by_opencv(encoded, grey_alpha=encoded[25] == 4), turn), encoded[25] in (4, 6))
        return upright_pixels(_by_pillow(image), turn)


def may_be_deep(head: bytes) -> bool:
    """Whether a file that starts with these 26 bytes or more may have more than 8 bits; TIFFs and arrays may."""
    return head[:4] in TIFFS or head.startswith((NPY, ZIP)) or (head.startswith(PNG) and head[24:25] == b"\x10")


def is_deep(encoded: bytes) -> bool:
    """Whether a picture has other numbers than unsigned ones of 8 bits, from its header. Raises UnreadableError."""
    if encoded[:4] not in TIFFS:
        return may_be_deep(encoded)
    bits, unsigned = _numbers(encoded)
    return bits > 8 or not unsigned


def needs_range(encoded: bytes) -> bool:
    """Whether a TIFF has floats, signed numbers or more than 16 bits, so that only a range says what is white."""
    bits, unsigned = _numbers(encoded) if encoded[:4] in TIFFS else (8, True)
    return bits > 16 or not unsigned


def _numbers(tiff: bytes) -> tuple[int, bool]:
    """Return the bits of a TIFF's numbers, and whether they are unsigned integers. Raises UnreadableError."""
    try:
        tags = _directories(tiff)[0]
    except Exception as error:  # Damaged input raises many types.
        raise UnreadableError("not a picture") from error
    return max(_all(tags, 258, 1)), set(_all(tags, 339, 1)) <= {1}


def scaled(pixels: Pixels, limits: tuple[float, float], bits: int) -> Pixels:
    """Map limits, the values of black and white, to 0 and the largest number of 8 or 16 bits. Alpha keeps its scale."""
    low, high = limits
    white = 2**bits - 1
    image = np.clip((pixels.image.astype(np.float64) - low) / (high - low), 0, 1) * white
    if pixels.alpha and pixels.image.dtype.kind == "u":
        image[..., -1] = pixels.image[..., -1] * (white / np.iinfo(pixels.image.dtype).max)
    return Pixels(np.rint(image).astype(np.uint16 if bits == 16 else np.uint8), pixels.alpha, (*pixels.notes, SCALED))


def array(encoded: bytes) -> np.ndarray:
    """Read the array of an .npy file, or the only one of an .npz. Raises UnreadableError."""
    try:
        if encoded.startswith(ZIP):
            with zipfile.ZipFile(io.BytesIO(encoded)) as members:
                (member,) = members.infolist()
                if member.file_size > MAX_BYTES:
                    raise ValueError(f"more than {MAX_BYTES:,} bytes")
                encoded = members.read(member)
        file = io.BytesIO(encoded)
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = header(file)
        values = np.frombuffer(encoded, dtype, offset=file.tell()).reshape(shape, order="F" if fortran else "C")
        return np.ascontiguousarray(values, dtype.newbyteorder("="))
    except Exception as error:  # Damaged input raises many types.
        raise UnreadableError(f"not one array: {' '.join(str(error).split())[:100]}") from error


def upright(image: np.ndarray, turn: int) -> np.ndarray:
    """Apply an EXIF orientation, 1 to 8; others mean upright."""
    if turn in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    rows = -1 if turn in (3, 4, 7, 8) else 1
    columns = -1 if turn in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(image[::rows, ::columns])


def upright_pixels(pixels: Pixels, turn: int) -> Pixels:
    """Apply an EXIF orientation to pixels."""
    return pixels._replace(image=upright(pixels.image, turn))


def fitted(pixels: Pixels, channels: int, bits: int) -> Pixels:
    """Convert to `channels` of 8 or 16 bits. Only alpha and lower bits may be lost; the notes name each conversion.

    Raises ChannelsError if the picture has another number of channels.
    """
    image, alpha, notes = pixels
    have = image.shape[2]
    if alpha and have != channels and have - 1 in (1, 3):
        image, notes = _on_white(image), (*notes, COMPOSITED)
    if image.shape[2] == 1 and channels == 3:
        image, notes = np.repeat(image, 3, axis=2), (*notes, REPEATED)
    elif image.shape[2] == 3 and channels == 1 and (image == image[..., :1]).all():
        image, notes = image[..., :1], (*notes, MERGED)
    if image.shape[2] != channels:
        raise ChannelsError(f"has {have} channel{'s' * (have > 1)}, not {channels}")
    if image.dtype == np.uint16 and bits == 8:
        image, notes = picture.to_8_bits(image), (*notes, SHORTENED)
    elif image.dtype == np.uint8 and bits == 16:
        image, notes = image.astype(np.uint16) * 257, (*notes, LENGTHENED)
    return Pixels(image, False, notes)


def conversions(encoded: bytes) -> tuple[str, ...]:
    """Return what `picture.decode` converts to make 8-bit RGB of a picture, from its header. Raises UnreadableError."""
    with picture.opened(encoded) as image:
        bits = getattr(image, "tag_v2", {}).get(258, 8)
        deep = max(bits if isinstance(bits, tuple) else (bits,)) > 8
        deep |= encoded.startswith(PNG) and encoded[24:25] == b"\x10"
        found = {
            REPEATED: image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;16"),
            COMPOSITED: image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info,
            SHORTENED: deep,
            TO_RGB: image.mode in ("CMYK", "LAB", "HSV"),
        }
    return tuple(note for note, done in found.items() if done)


def png(image: np.ndarray) -> bytes:
    """Encode uint8 or uint16 [H, W, 1 or 3] as PNG."""
    ordered = image[..., 0] if image.shape[2] == 1 else image[..., ::-1]
    done, encoded = cv2.imencode(".png", np.ascontiguousarray(ordered))
    assert done
    return encoded.tobytes()


def _as_picture(values: np.ndarray) -> np.ndarray:
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or values.dtype.kind not in "uif" or not 0 < values.nbytes <= MAX_BYTES:
        raise UnreadableError(
            f"its array is {values.dtype} {list(values.shape)}; numbers [H, W] or [H, W, C] are needed"
        )
    return values


def _on_white(image: np.ndarray) -> np.ndarray:
    white = np.iinfo(image.dtype).max
    share = image[..., -1:].astype(np.float32) / white
    return np.rint(image[..., :-1] * share + white * (1 - share)).astype(image.dtype)


def _by_opencv(encoded: bytes, *, grey_alpha: bool = False) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise UnreadableError("it cannot be decoded")
    if image.ndim == 2:
        return image[..., None]
    if image.shape[2] == 4:
        return image[..., [0, 3]] if grey_alpha else image[..., [2, 1, 0, 3]]
    return image[..., ::-1]


def _by_pillow(image: Image.Image) -> Pixels:
    if image.mode.startswith("I;16"):
        return Pixels(np.asarray(image).astype(np.uint16)[..., None])
    if image.mode in ("I", "F"):
        return Pixels(np.asarray(image)[..., None])
    alpha = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
    grey = image.mode in ("1", "L", "LA", "La")
    notes = (TO_RGB,) if image.mode in ("CMYK", "LAB", "HSV") else ()
    mode = {(True, True): "LA", (True, False): "L", (False, True): "RGBA", (False, False): "RGB"}[grey, alpha]
    values = np.asarray(image if image.mode == mode else image.convert(mode))
    return Pixels(values[..., None] if values.ndim == 2 else values, alpha, notes)


def _tiff(encoded: bytes) -> Pixels | None:
    """Decode a TIFF; None if Pillow is to decode it, which reads up to 4 channels of 8 bits."""
    try:
        pages = _directories(encoded)
        first = pages[0]
        size, samples = (_one(first, 256, 0), _one(first, 257, 0)), _one(first, 277, 1)
        if len(pages) > 1 and all(
            _one(page, 277, 1) == 1 and (_one(page, 256, 0), _one(page, 257, 0)) == size for page in pages
        ):
            decoded = [_strips(encoded, page) for page in pages]
            if any(page is None for page in decoded):
                raise UnreadableError(f"its {len(pages)} pages are compressed; save them without compression")
            image = np.concatenate([page for page in decoded if page is not None], axis=2)
            return Pixels(upright(image, _one(first, 274, 1)))
        decoded_page = _strips(encoded, first)
        if decoded_page is None:
            bits, unsigned = max(_all(first, 258, 1)), set(_all(first, 339, 1)) <= {1}
            # Pillow reads bytes, and one channel of other numbers.
            if (samples <= 4 and bits <= 8) or (samples == 1 and (bits == 32 or not unsigned)):
                return None
            known = bits == 16 if unsigned else bits == 32 and set(_all(first, 339, 1)) == {3}
            if samples not in (1, 3) or not known or _one(first, 262, 1) not in (1, 2):
                how = f"{samples} channels of {bits} bits"
                raise UnreadableError(f"{how} in this compression are not read; save it without, or as .npy")
            with_limit(size[0] * size[1] * samples * bits // 8)
            decoded_page = _by_opencv(encoded)
        alpha = samples in (2, 4) and _one(first, 338, 0) in (1, 2)
        return Pixels(upright(decoded_page, _one(first, 274, 1)), alpha)
    except UnreadableError:
        raise
    except Exception as error:  # Damaged input raises many types.
        raise UnreadableError(" ".join(str(error).split())[:120] or type(error).__name__) from error


def with_limit(size: int) -> int:
    """Return the number of bytes. Raises UnreadableError if there are none, or more than MAX_BYTES."""
    if not 0 < size <= MAX_BYTES:
        raise UnreadableError(f"{size:,} bytes of pixels are not 1 to {MAX_BYTES:,}")
    return size


def _directories(encoded: bytes) -> list[dict[int, Any]]:
    """Return the tags of each page."""
    file, seen = io.BytesIO(encoded), set()
    pages: list[dict[int, Any]] = []
    following = TiffImagePlugin.ImageFileDirectory_v2(encoded[:8]).next
    while following and following not in seen and len(pages) < MAX_PAGES:
        seen.add(following)
        directory = TiffImagePlugin.ImageFileDirectory_v2(encoded[:8])
        file.seek(following)
        directory.load(file)
        pages.append(dict(directory))
        following = directory.next
    return pages


def _all(tags: dict[int, Any], tag: int, default: int) -> tuple[int, ...]:
    value = tags.get(tag, default)
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _one(tags: dict[int, Any], tag: int, default: int) -> int:
    return int((_all(tags, tag, default) or (default,))[0])


def _strips(encoded: bytes, tags: dict[int, Any]) -> np.ndarray | None:
    """Decode a page of plain or deflated strips of integers of 8 to 32 bits or floats: [H, W, C]. None for other pages."""
    width, height, samples = _one(tags, 256, 0), _one(tags, 257, 0), _one(tags, 277, 1)
    bits, compression, predictor, colours = (
        set(_all(tags, 258, 1)),
        _one(tags, 259, 1),
        _one(tags, 317, 1),
        _one(tags, 262, 1),
    )
    sample_formats = set(_all(tags, 339, 1))
    kind = {1: "u", 2: "i", 3: "f"}.get(sample_formats.pop()) if len(sample_formats) == 1 else None
    known = (kind, *bits) in _NUMBERS and predictor in (1, 2 if kind != "f" else 1) and colours in (0, 1, 2)
    if not known or compression not in (1, *DEFLATE) or 273 not in tags or 279 not in tags:
        return None
    stored = np.dtype(f"{'<' if encoded[:2] == b'II' else '>'}{kind}{bits.pop() // 8}")
    with_limit(width * height * samples * stored.itemsize)
    planes, each = (1, samples) if _one(tags, 284, 1) == 1 else (samples, 1)
    rows_each = max(1, min(_one(tags, 278, height), height))
    per_plane = -(-height // rows_each)
    offsets, lengths = _all(tags, 273, 0), _all(tags, 279, 0)
    if len(offsets) != planes * per_plane or len(lengths) != len(offsets):
        raise UnreadableError("it lacks strips")
    parts = []
    for i, (offset, length) in enumerate(zip(offsets, lengths, strict=True)):
        rows = min(rows_each, height - i % per_plane * rows_each)
        size = rows * width * each * stored.itemsize
        data = encoded[offset : offset + length]
        data = data if compression == 1 else zlib.decompressobj().decompress(data, size)
        if len(data) < size:
            raise UnreadableError("it is truncated")
        strip = np.frombuffer(data, stored, rows * width * each).reshape(rows, width, each)
        strip = strip.astype(stored.newbyteorder("="))
        parts.append(np.cumsum(strip, axis=1, dtype=strip.dtype) if predictor == 2 else strip)
    whole = [np.concatenate(parts[i * per_plane :][:per_plane]) for i in range(planes)]
    image = np.concatenate(whole, axis=2)
    # White is zero only in pictures of unsigned numbers.
    return np.iinfo(image.dtype).max - image if colours == 0 and kind == "u" else image
