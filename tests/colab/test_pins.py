"""Colab's environment after the notebook has installed what it needs: `make test-colab`. Elsewhere there is nothing to ask."""

import importlib.metadata
import importlib.util
import pathlib
import re
import sys

import pytest

pytestmark = pytest.mark.skipif(not sys.prefix.endswith(".venv-colab"), reason="this is not Colab's environment")

PINS = re.findall(r"^([\w-]+)==(.+)$", (pathlib.Path(__file__).parent / "requirements.txt").read_text(), re.M)


def test_nothing_that_was_there_has_moved():
    assert {"jax", "jaxlib", "numpy", "flax"} <= dict(PINS).keys()
    assert {name: importlib.metadata.version(name) for name, _ in PINS} == dict(PINS)


def test_there_is_no_tensorflow():
    assert importlib.util.find_spec("tensorflow") is None
