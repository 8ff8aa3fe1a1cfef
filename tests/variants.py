"""Mark further cases of a test as slow, so that the quick suite runs those that show the behaviour, and `make test-slow` all."""

from collections.abc import Sequence

import pytest


def further_slow(cases: Sequence, quick: Sequence[int] = (0,)) -> list:
    """Return a parametrization's cases, all slow but those of the numbers `quick`."""
    assert set(quick) < set(range(len(cases))), f"{quick} of {len(cases)} cases"
    values = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [pytest.param(*v, marks=() if i in quick else pytest.mark.slow) for i, v in enumerate(values)]
