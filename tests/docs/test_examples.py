"""The examples in docstrings are true."""

import doctest
import importlib

import pytest

from tests.conftest import ROOT

FILES = [path for path in sorted((ROOT / "biggan_jax").rglob("*.py")) if "\n    >>> " in path.read_text()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_examples_give_what_they_say(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried and not failed
