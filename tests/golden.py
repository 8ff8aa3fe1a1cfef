"""Recorded results of two training steps of each family; `python -m tests.golden` records them again.

Record again only after an intended change. Numbers are compared within rounding on any machine, and bit by bit if jax, the
processor and LAPACK are those of the record.
"""

import functools
import hashlib
import json
import pathlib
import platform

from tests.conftest import fresh_state, leaves, random_batch, tiny_config, with_attention  # First: it sets XLA's flags.

import jax
import numpy as np
import scipy.linalg

from biggan_jax.checkpoint.layout import to_tree
from biggan_jax.models import build_gan
from biggan_jax.train_step import train_step

FILE = pathlib.Path(__file__).parent / "data" / "golden.json"
FAMILIES = ("biggan", "biggan_deep")


def compiled(family):
    """Return (fresh state, jitted training step, the batches of two steps)."""
    config = tiny_config(family)
    config.d_steps = 2
    config.regularizer.g_ortho = 1e-4
    gan = build_gan(config)
    state = with_attention(fresh_state(family))
    batches = [random_batch(gan, 8, seed=i) for i in range(2)]
    return state, jax.jit(functools.partial(train_step, gan)), batches


def train(state, step, batches):
    """Return {metrics: of each step, arrays: mean size of each array after the steps, digest: of all their bits}."""
    history = []
    for batch in batches:
        state, metrics = step(state, batch)
        history.append({name: float(value) for name, value in metrics.items() if not name.endswith("_faults")})
    arrays = leaves(to_tree(state))
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + arrays[name].tobytes())
    sizes = {name: float(np.abs(array.astype(np.float64)).mean()) for name, array in sorted(arrays.items())}
    return {"metrics": history, "arrays": sizes, "digest": digest.hexdigest()}


def environment():
    """Return what the bits depend on: jax's version, the processor with its vector instructions, and a factorisation by LAPACK.

    The last makes orthogonal weights. Its bits depend on variables such as OPENBLAS_CORETYPE, too.
    """
    try:
        info = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        cpu = sorted({line for line in info if line.startswith(("model name", "flags"))})
    except OSError:
        cpu = [platform.processor()]
    factor, _ = scipy.linalg.qr(np.random.default_rng(0).normal(size=(256, 64)).astype(np.float32), mode="economic")
    digest = lambda data: hashlib.sha256(data).hexdigest()[:16]
    return {"jax": jax.__version__, "cpu": digest("".join(cpu).encode()), "lapack": digest(factor.tobytes())}


def main():
    FILE.write_text(
        json.dumps({"environment": environment()} | {f: train(*compiled(f)) for f in FAMILIES}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
