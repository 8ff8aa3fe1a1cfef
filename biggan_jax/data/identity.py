"""By what a data set is known, so that a resumed run can tell another one. Cheap also for a set of terabytes."""

import hashlib
from typing import Any

import numpy as np
from etils import epath

from biggan_jax.data.builtin import MovingDigits, Stacked
from biggan_jax.data.dataset import Images
from biggan_jax.data.records import Records

SAMPLE = 256  # Records that are read of a prepared set.


def digest_of(source: Any) -> str:
    """Return a digest of the set, such as "900 images 1a2b3c4d5e6f7a8b"; "" for a source of another kind.

    Of images in memory, of all of them. Of a prepared set, of the number and size of its records' files, and of SAMPLE records,
    spread over the set, as they are stored: the same wherever the set lies, and however it is read. Raises UserError as `read`.
    """
    total = hashlib.blake2b(digest_size=8)
    if isinstance(source, Stacked):
        return f"{len(source):,} images of {digest_of(source.digits)}"
    if isinstance(source, MovingDigits):
        return f"{len(source):,} clips of {source.frames} x {source.shape} of {digest_of(source.digits)}"
    if isinstance(source, Images):
        for array in (source.images, source.labels):
            total.update(f"{array.dtype} {array.shape}".encode())
            total.update(array.tobytes())
    elif isinstance(source, Records):
        for file in source.files:
            size = epath.Path(file.filename).stat().length
            total.update(f"{epath.Path(file.filename).name} {file.skip} {file.take} {size} ".encode())
        for stored in source.stored(np.unique(np.linspace(0, len(source) - 1, min(SAMPLE, len(source))).astype(int))):
            total.update(stored)
    else:
        return ""
    return f"{len(source):,} images {total.hexdigest()}"
