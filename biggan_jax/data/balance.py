"""Draw the classes of a data set evenly: the image at each position, for data.balance."""

import dataclasses

import numpy as np

from biggan_jax.data import shuffle
from biggan_jax.data.dataset import Source
from biggan_jax.types import UserError


@dataclasses.dataclass(frozen=True)
class ByClass:
    """The images of a set, sorted by class: those of class c are numbers[starts[c] : starts[c + 1]].

    numbers: int64 [images]. starts: int64 [classes + 1].
    """

    numbers: np.ndarray
    starts: np.ndarray

    def indices(self, seed: int, attempt: int, positions: np.ndarray, order: str) -> np.ndarray:
        """Return the image at each position of the endless stream, int64 [N], as `shuffle.indices` does without classes.

        As many consecutive positions as there are classes, counted from 0, hold each class once, in a random order. The
        images of a class follow each other in one permutation after another. order: as config data.order.
        """
        count = len(self.starts) - 1
        blocks, places = np.divmod(positions, count)
        found, row = np.unique(blocks, return_inverse=True)
        inside = found[:, None] * count + np.arange(count)
        hashes = shuffle.hashes((seed, attempt, 3), inside.ravel()).reshape(inside.shape)
        classes = np.argsort(hashes, axis=1, kind="stable")[row, places]
        chosen = np.empty(len(positions), np.int64)
        for label in np.unique(classes).tolist():
            now, (first, end) = classes == label, self.starts[label : label + 2].tolist()
            # The block's number counts the draws of each class.
            within = shuffle.indices(end - first, seed, attempt, blocks[now], order, stream=(4, label))
            chosen[now] = self.numbers[first + within]
        return chosen


def by_class(source: Source, where: str) -> ByClass:
    """Sort a source's images by class, without unreadable records. Raises UserError, which names `where`, for an empty class."""
    labels = source.all_labels
    counts = np.bincount(labels[labels >= 0], minlength=source.num_classes)
    if not counts.all():
        empty = np.flatnonzero(counts == 0).tolist()
        named = ", ".join(map(str, empty[:5])) + (" ..." if len(empty) > 5 else "")
        raise UserError(f"data.balance=True: {where} has no readable image of {len(empty)} classes, by id {named}")
    numbers = np.argsort(labels, kind="stable")[np.count_nonzero(labels < 0) :]
    return ByClass(numbers, np.concatenate([[0], np.cumsum(counts)]))
