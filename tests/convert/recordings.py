"""Recordings of other implementations: reading them, and distances from them with what is allowed."""

import json
import os
import pathlib
from typing import NamedTuple

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent
COMMITTED = ROOT / "tests" / "data" / "parity"
FOLDERS = [
    COMMITTED,
    pathlib.Path(os.environ.get("PARITY_FIXTURES", ROOT.parent / "shared" / "fixtures")),
]

INPUTS = ("state/", "init/", "draw", "noise", "num_batches_tracked")


class Row(NamedTuple):
    """The array of a quantity that is nearest to, or furthest beyond, what is allowed."""

    quantity: str
    distance: float
    allowed: float

    @property
    def share(self):
        return self.distance / self.allowed if self.allowed else float("inf") * (self.distance > 0)


def fixtures(pattern):
    """Return the files that match the name, each once."""
    return sorted({path.name: path for folder in FOLDERS for path in folder.glob(pattern)}.values())


def cases(found, quick=()):
    """Return found as a test's parameters; all but the committed files and the stems in `quick` run in `make test-parity`."""
    if not found:
        reason = "the recorded fixtures are not beside this checkout; tests/data/parity has a few of them"
        return [pytest.param(None, marks=[pytest.mark.parity, pytest.mark.skip(reason=reason)])]
    committed = {path.stem for path in COMMITTED.glob("*.npz")} | set(quick)
    name = lambda each: each if isinstance(each, str) else each.stem
    return [
        pytest.param(each, id=name(each), marks=() if name(each) in committed else pytest.mark.parity) for each in found
    ]


def peer_of(path):
    """Return (the peer that a file records, its `meta_json`); None for a file of another kind."""
    with np.load(path) as file:
        meta = json.loads(str(file["meta_json"])) if "meta_json" in file.files else {}
    return meta.get("peer", "").partition("@")[0] or None, meta


def load(path):
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    return arrays, json.loads(str(arrays.pop("meta_json")))


def under(prefix, arrays, *, keep=False):
    return {(name if keep else name.removeprefix(prefix)): a for name, a in arrays.items() if name.startswith(prefix)}


def to_nhwc(images):
    return np.asarray(images).transpose(0, 2, 3, 1)


def to_nchw(images):
    return np.asarray(images).transpose(0, 3, 1, 2)


def distance(a, b):
    return float(np.max(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)), initial=0.0))


class Comparison:
    """Collects distances from one recording, and which of its results were compared."""

    def __init__(self, arrays: dict, meta: dict):
        self.arrays, self.zero = arrays, set(meta.get("true_gradient_zero", ()))
        self.compared: set[str] = set()
        self._worst: dict[str, Row] = {}

    @property
    def rows(self) -> list[Row]:
        return list(self._worst.values())

    def outputs(self, quantity: str, ours: dict, prefix: str = "") -> None:
        """Compare what a forward pass gives: within 2e-5, and 2e-6 of the array's largest."""
        self._compare(quantity, ours, prefix, lambda theirs: 2e-5 + 2e-6 * np.abs(theirs).max(initial=0.0))

    def losses(self, quantity: str, ours: dict, prefix: str = "", *, terms: float = 0.0) -> None:
        """Compare losses: within 1e-5 of themselves, and 2e-6 of `terms`, the largest of the terms that a loss may cancel."""
        self._compare(quantity, ours, prefix, lambda theirs: 1e-5 * np.abs(theirs).max() + 2e-6 * terms)

    def gradients(self, quantity: str, ours: dict, prefix: str = "") -> None:
        """Compare gradients, but those that are zero in exact arithmetic: within 1e-6, and 1e-4 of the array's largest."""
        for name in self.zero & {prefix + name for name in ours}:
            self.compared.add(name)
        kept = {name: array for name, array in ours.items() if prefix + name not in self.zero}
        self._compare(quantity, kept, prefix, lambda theirs: 1e-6 + 1e-4 * np.abs(theirs).max())

    def weights(self, quantity: str, ours: dict, prefix: str = "", *, furthest: float) -> None:
        """Compare weights after training: on average within 2e-6 and 1e-7 of the largest; each within `furthest`, 2 lr per update."""
        mean = lambda a, b: float(np.mean(np.abs(np.asarray(a, np.float64) - b)))
        self._compare(f"{quantity}, mean", ours, prefix, lambda theirs: 2e-6 + 1e-7 * np.abs(theirs).max(), mean)
        self._compare(f"{quantity}, max", ours, prefix, lambda theirs: furthest)

    def _compare(self, quantity, ours, prefix, allowed, between=distance) -> None:
        for name in (name for name in ours if prefix + name in self.arrays):
            theirs = self.arrays[prefix + name]
            assert np.shape(ours[name]) == theirs.shape, (prefix + name, np.shape(ours[name]), theirs.shape)
            row = Row(quantity, between(ours[name], theirs), float(allowed(theirs)))
            self.compared.add(prefix + name)
            if quantity not in self._worst or row.share > self._worst[quantity].share:
                self._worst[quantity] = row

    def missing(self) -> list[str]:
        """Return the names of recorded results that were not compared: neither inputs, nor weights, nor draws."""
        results = [name for name in self.arrays if "/" in name and not any(word in name for word in INPUTS)]
        return [name for name in results if name not in self.compared]
