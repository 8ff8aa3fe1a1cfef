"""Owns the Inception Score; must not know which classifier the logits come from."""

import numpy as np

from biggan_jax.types import UserError

SPLITS = 10


def inception_score(logits: np.ndarray, splits: int = SPLITS, seed: int = 2020) -> tuple[float, float]:
    """exp of the mean KL(p(y|x), p(y)) for logits float [N, K]: (mean, standard deviation) over the splits; in [1, K].

    Salimans et al. 2016, with the figures of torch-fidelity: samples are shuffled by `seed` first, since those sorted by
    class make each split poor in classes. Raises UserError if there are fewer samples than splits.
    """
    if len(logits) < splits:
        raise UserError(
            f"an Inception Score over {splits} splits is of {splits} or more samples; there are {len(logits)}"
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
    # A class that no sample may have adds nothing, and its logarithm is no number.
    log_mean = np.log(np.where(mean > 0, mean, 1))
    return np.exp((p * (log_p - log_mean)).sum(1).mean())
