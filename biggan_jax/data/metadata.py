"""Metadata of pictures that would take more time and memory than their pixels: refused by number, dropped by size.

Pillow keeps each segment of a JPEG, each chunk of a PNG and each comment of a GIF as a Python object. 2,500,000 empty comments,
10 MB, took 183 MB and 5 s.
"""

MOST = 1000  # Segments of a JPEG or chunks of a PNG beside its pixels, or parts of a GIF's comments. Cameras write below 300.
LARGE = 2**20  # Bytes of a JPEG's metadata above which only what decides its pixels is given to the decoder.


class FloodError(ValueError):
    """There are too many pieces of metadata; the message says of what."""


def lean(encoded: bytes) -> bytes:
    """Return the picture, without metadata that do not decide its pixels if a JPEG has much of it. Raises FloodError."""
    if encoded.startswith(b"\xff\xd8"):
        return _lean_jpeg(encoded)
    if encoded.startswith(b"\x89PNG\r\n\x1a\n"):
        _check_png(encoded)
    elif encoded[:6] in (b"GIF87a", b"GIF89a"):
        _check_gif(encoded)
    return encoded


def _lean_jpeg(jpeg: bytes) -> bytes:
    """Walk to the first scan. What is damaged is left to the decoder."""
    kept, at, count, exif = [jpeg[:2]], 2, 0, False
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF and jpeg[at + 1] != 0xDA:
        if jpeg[at + 1] == 0xFF:  # A fill byte.
            at += 1
            continue
        marker, end = jpeg[at + 1], at + 2 + int.from_bytes(jpeg[at + 2 : at + 4])
        if (count := count + 1) > MOST:
            raise FloodError(f"more than {MOST:,} segments before its pixels")
        first_exif = marker == 0xE1 and not exif and jpeg[at + 4 : at + 10] == b"Exif\0\0"  # It may turn the picture.
        exif = exif or first_exif
        # 0xE0 is JFIF's, 0xEE Adobe's, of the colour space.
        if not (0xE1 <= marker <= 0xEF or marker == 0xFE) or marker == 0xEE or first_exif:
            kept.append(jpeg[at:end])
        at = end
    return jpeg if at - sum(map(len, kept)) <= LARGE else b"".join([*kept, jpeg[at:]])


def _check_png(png: bytes) -> None:
    at, count = 8, 0
    while at + 12 <= len(png):
        count += png[at + 4 : at + 8] != b"IDAT"
        if count > MOST:
            raise FloodError(f"more than {MOST:,} chunks beside its pixels")
        at += 12 + int.from_bytes(png[at : at + 4])


def _check_gif(gif: bytes) -> None:
    """Walk to the first picture."""
    has_table = len(gif) > 10 and gif[10] & 0x80
    at, count = 13 + (3 * 2 ** ((gif[10] & 7) + 1) if has_table else 0), 0
    while at + 3 <= len(gif) and gif[at] == 0x21:
        at += 2
        while at < len(gif) and gif[at]:
            if (count := count + 1) > MOST:
                raise FloodError(f"comments of more than {MOST:,} parts")
            at += 1 + gif[at]
        at += 1
