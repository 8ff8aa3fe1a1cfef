"""Recorded outputs and training steps of BigGAN-PyTorch and Hugging Face against ours, from their weights."""

import json
import os
import subprocess
import sys

import pytest

from tests.convert import parity

BIGGAN = parity.fixtures("biggan*_[GD].npz")
HUGGING_FACE = parity.fixtures("hf_*.npz")
TRAINING = parity.training_runs()
absent = pytest.mark.skip(
    reason="the recorded fixtures are not beside this checkout; tests/data/parity has a few of them"
)


def cases(found):
    return found or [pytest.param(None, marks=absent)]


@pytest.mark.parametrize("path", cases(BIGGAN), ids=lambda path: getattr(path, "stem", ""))
def test_networks_of_biggan_pytorch_are_ours(path):
    errors = parity.model_errors(path)
    training = errors.pop("training")
    assert max(errors.values()) <= 2e-5, errors
    _, meta = parity.load(path)
    # Two images of 4x4 pixels pass forty batch norms: the peer's float32 and float64 differ by 4e-5.
    rounding = (meta["module"], meta["kind"]) == ("BigGANdeep", "generator")
    assert training <= (1e-4 if rounding else 2e-5)


@pytest.mark.parametrize("path", cases(HUGGING_FACE), ids=lambda path: getattr(path, "stem", ""))
def test_generators_of_hugging_face_are_ours_at_each_truncation(path):
    errors = parity.hugging_face_errors(path)
    assert max(errors.values()) <= 1e-4, errors


@pytest.mark.parametrize("name", cases(TRAINING))
def test_recorded_training_is_ours(name):
    shares = parity.training_errors(name).shares
    assert {"D loss", "G loss", "gradients", "G weights, mean", "D u", "G_ema BN statistics"} <= shares.keys()
    assert max(shares.values()) <= 1, {what: share for what, share in shares.items() if share > 1}


@pytest.mark.skipif(not TRAINING, reason="the recorded fixtures are not beside this checkout")
@pytest.mark.slow
def test_in_float64_recorded_training_is_ours_exactly():
    """The distance of the float32 recording from our float64 run equals that from the peer's float64 run."""
    command = [sys.executable, "-m", "tests.convert.float64"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=500, env=os.environ, cwd=parity.ROOT)
    assert result.returncode == 0, result.stderr
    for name, distances in json.loads(result.stdout).items():
        assert len(distances) >= 4, name
        for what, (theirs, array, ours) in distances.items():
            if array.endswith("sv0"):  # A log of sigma, which is not imported.
                assert ours <= theirs, (name, what)
            else:
                assert ours == pytest.approx(theirs, rel=1e-4), (name, what, array)
