"""Statistics that StyleGAN's and EDM2's code cached as pickles."""

import os
import pickle

import numpy as np
import pytest
from etils import epath

from biggan_jax.evaluation import formulas, sets, stylegan_statistics
from biggan_jax.types import UserError

X = np.random.default_rng(0).standard_normal((20, 5))
EXPECTED = formulas.moments([X])


def written(tmp_path, content, protocol=None):
    path = epath.Path(tmp_path / "a.pkl")
    path.write_bytes(pickle.dumps(content, protocol))
    return path


SUMS = {
    "capture_all": False,
    "capture_mean_cov": True,
    "max_items": None,
    "num_items": 20,
    "num_features": 5,
    "all_features": None,
    "raw_mean": X.sum(0),
    "raw_cov": X.T @ X,
}


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize(
    "content",
    [
        SUMS,
        SUMS | {"raw_mean": None, "raw_cov": None, "all_features": [X[:12], X[12:]]},
        (EXPECTED.mean, EXPECTED.covariance),
        {"fid": {"mu": EXPECTED.mean, "sigma": EXPECTED.covariance}},
        {"mu": EXPECTED.mean, "sigma": np.asfortranarray(EXPECTED.covariance.astype(">f8"))},
    ],
    ids=["sums", "features", "pair", "of EDM2", "big-endian"],
)
def test_a_cached_pickle_gives_mean_and_covariance(tmp_path, content, protocol):
    (found,) = stylegan_statistics.read(written(tmp_path, content, protocol), "--reference")
    np.testing.assert_allclose(found.mean, EXPECTED.mean, rtol=1e-12)
    np.testing.assert_allclose(found.covariance, EXPECTED.covariance, rtol=1e-9, atol=1e-12)
    again = sets.open_reference(epath.Path(tmp_path / "a.pkl"), "--reference", (8, 8, 3), None, None)
    assert again.statistics[0].covariance.dtype == np.float64


class Runs:
    """Runs a command when it is opened with pickle."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"generator": [1]}, "holds no statistics of features: a dict of generator"),
        ([1.0], "holds no statistics of features: a list"),
        (SUMS | {"raw_cov": np.array([object()])}, "is corrupted"),
        (SUMS | {"num_items": 0}, "holds no statistics"),
    ],
)
def test_a_pickle_without_statistics_is_refused(tmp_path, content, sentence):
    with pytest.raises(UserError, match=sentence):
        stylegan_statistics.read(written(tmp_path, content), "--reference")


def test_a_pickle_runs_nothing(tmp_path):
    with pytest.raises(UserError, match="it names posix.mkdir, which is no array of numbers"):
        stylegan_statistics.read(written(tmp_path, {"mu": Runs(tmp_path / "made")}), "--reference")
    assert not (tmp_path / "made").exists()


def test_a_truncated_pickle_is_one_sentence(tmp_path):
    path = written(tmp_path, SUMS)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="holds no statistics of features, or is corrupted"):
        stylegan_statistics.read(path, "--reference")


def test_statistics_that_are_no_covariance_are_refused(tmp_path):
    path = written(tmp_path, (EXPECTED.mean, EXPECTED.covariance + np.triu(np.ones((5, 5)), 1)))
    with pytest.raises(UserError, match="sigma is no covariance"):
        sets.open_reference(path, "--reference", (8, 8, 3), None, None)
