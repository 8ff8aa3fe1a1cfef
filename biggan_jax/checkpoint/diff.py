"""Compare the arrays of two checkpoints."""

import numpy as np
from etils import epath

from biggan_jax.checkpoint.restore import load_arrays


def compare(a: epath.PathLike, b: epath.PathLike) -> list[str]:
    """Return one line for each array that differs; an empty list if the checkpoints are bitwise identical."""
    a, b = load_arrays(a), load_arrays(b)
    lines = [f"{name}: only in the {'first' if name in a else 'second'}" for name in sorted(a.keys() ^ b.keys())]
    for name in sorted(a.keys() & b.keys()):
        x, y = a[name], b[name]
        if x.shape != y.shape or x.dtype != y.dtype:
            lines.append(f"{name}: {x.dtype}{list(x.shape)} and {y.dtype}{list(y.shape)}")
        elif x.tobytes() != y.tobytes():
            difference = np.abs(x.astype(np.float64) - y.astype(np.float64))
            count = np.count_nonzero(np.asarray(x != y))
            lines.append(f"{name}: {count} of {x.size} values differ, by at most {difference.max():.3g}")
    return lines
