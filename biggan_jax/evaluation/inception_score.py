"""The Inception Score (Salimans et al. 2016)."""

import numpy as np

from biggan_jax.types import UserError

SPLITS = 10


def inception_score(logits: np.ndarray, splits: int = SPLITS, seed: int = 2020) -> tuple[float, float]:
    """Compute exp of the mean KL(p(y|x), p(y)) for logits float [N, K]: mean and standard deviation over splits, in [1, K].

    As torch-fidelity does, samples are shuffled by `seed` first: splits of samples sorted by class would have few classes
    each. Raises UserError if there are fewer samples than splits.
    """
    if len(logits) < splits:
        raise UserError(
            f"an Inception Score over {splits} splits needs {splits} or more samples; there are {len(logits)}"
        )
    order = np.random.RandomState(seed).permutation(len(logits))
    ends = np.arange(1, splits) * len(logits) // splits
    scores = [_score(part) for part in np.split(logits[order], ends)]
    return float(np.mean(scores)), float(np.std(scores))


def _score(logits: np.ndarray) -> float:
    shifted = logits - logits.max(1, keepdims=True).astype(np.float64)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    p = np.exp(log_p)
    mean = p.mean(0)
    # A class of probability 0 adds nothing, and has no logarithm.
    log_mean = np.log(np.where(mean > 0, mean, 1))
    return np.exp((p * (log_p - log_mean)).sum(1).mean())
