"""Wavelet filters of ADA: those of resampling, and a bank of octave bands (Karras et al. 2020, App. B)."""

import functools

import numpy as np

SYM6 = np.array(
    [
        0.015404109327027373,
        0.0034907120842174702,
        -0.11799011114819057,
        -0.048311742585633,
        0.4910559419267466,
        0.787641141030194,
        0.3379294217276218,
        -0.07263752278646252,
        -0.021060292512300564,
        0.04472490177066578,
        0.0017677118642428036,
        -0.007800708325034148,
    ]
)
"""The scaling filter of the sym6 wavelet (Daubechies 1992, table 6.3)."""

SYM2 = np.array([-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025])
"""The scaling filter of the sym2 wavelet."""

RESAMPLING = SYM6 / SYM6.sum()
"""The low-pass filter of resampling by 2, with sum 1."""

TAIL = len(RESAMPLING) // 4
"""Pixels by which the filter reaches over each edge, at the lower resolution."""


@functools.cache
def upsampling(size: int, margin: int) -> np.ndarray:
    """Return the matrix [2 (size + 2 margin), size] that continues a line of pixels by reflection and doubles its resolution."""
    reach = margin + TAIL
    line = np.pad(np.eye(size), ((reach, reach), (0, 0)), mode="reflect")
    stuffed = np.zeros((2 * len(line), size))
    stuffed[::2] = 2 * line
    # Pixel i lies at 2 i; the middle of the filter is between its taps 5 and 6.
    doubled = np.apply_along_axis(np.convolve, 0, stuffed, RESAMPLING)[len(RESAMPLING) // 2 - 1 :]
    return doubled[2 * TAIL :][: 2 * (size + 2 * margin)].astype(np.float32)


@functools.cache
def downsampling(size: int) -> np.ndarray:
    """Return the matrix [size, 2 size + 4 TAIL] that halves the resolution, and removes TAIL pixels from both ends."""
    matrix = np.zeros((size, 2 * size + 4 * TAIL))
    for i in range(size):
        matrix[i, 2 * i + 1 : 2 * i + 1 + len(RESAMPLING)] = RESAMPLING
    return matrix.astype(np.float32)


@functools.cache
def octave_bands(count: int = 4) -> np.ndarray:
    """Return the filters [count, taps] of octaves, the lowest first; their sum passes all frequencies unchanged.

    Each octave above is split off by sym2's H(z) H(1/z) / 2, a filter of low frequencies, and its twin of high ones.
    """
    high = SYM2 * (-1) ** np.arange(len(SYM2))
    low_pass, high_pass = (np.convolve(h, h[::-1]) / 2 for h in (SYM2, high))
    bands = [np.ones(1)]
    for _ in range(count - 1):
        stretched = [np.insert(band, range(1, len(band)), 0.0) for band in bands]
        bands = [*(np.convolve(band, low_pass) for band in stretched), high_pass]
    longest = len(bands[0])
    return np.stack([np.pad(band, (longest - len(band)) // 2) for band in bands]).astype(np.float32)
