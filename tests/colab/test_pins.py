"""Colab's environment after the notebook has installed its packages: `make test-colab`. Skipped elsewhere."""

import importlib.metadata
import importlib.util
import pathlib
import re
import sys

import pytest

pytestmark = pytest.mark.skipif(
    not sys.prefix.endswith(".venv-colab"), reason="this is not Colab's environment: make test-colab"
)

PINS = re.findall(r"^([\w-]+)==(.+)$", (pathlib.Path(__file__).parent / "requirements.txt").read_text(), re.M)


def test_installed_packages_keep_their_versions():
    assert {"jax", "jaxlib", "numpy", "flax"} <= dict(PINS).keys()
    assert {name: importlib.metadata.version(name) for name, _ in PINS} == dict(PINS)


def test_there_is_no_tensorflow():
    assert importlib.util.find_spec("tensorflow") is None
