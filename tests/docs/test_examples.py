"""The examples in docstrings return what they show."""

import doctest
import importlib

from tests.conftest import ROOT

FILES = [path for path in sorted((ROOT / "biggan_jax").rglob("*.py")) if "\n    >>> " in path.read_text()]


def test_examples_in_docstrings_are_true():
    results = {}
    for path in FILES:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        results[module] = doctest.testmod(importlib.import_module(module))
    assert results
    assert all(tried and not failed for failed, tried in results.values()), results
