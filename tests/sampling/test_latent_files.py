import dataclasses

import numpy as np
import pytest

from biggan_jax.latents import Truncation
from biggan_jax.sampling import latent_files
from biggan_jax.types import UserError


def test_samples_are_read_back_with_their_truncation(tmp_path, sampler):
    z, y = sampler.latents(2), np.array([0, 7], np.int32)
    for truncation in (("scale", 0), ("w", 3)):
        truncated = dataclasses.replace(sampler, truncation=Truncation(0.5, *truncation))
        latent_files.write_samples(tmp_path / "a.npz", truncated, z, y)
        read_z, read_y, found = latent_files.read_latents(str(tmp_path / "a.npz"), sampler.gan)
        np.testing.assert_array_equal(read_z, z)
        np.testing.assert_array_equal(read_y, y)
        assert found == (0.5, *truncation)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"z": np.zeros((2, 12))}, "has the arrays z; z and y are needed"),
        ({"z": np.zeros((2, 5)), "y": np.zeros(2, int)}, r"this model takes z \[N, 12\]"),
        ({"z": np.full((1, 12), np.nan), "y": np.zeros(1, int)}, "not finite"),
        ({"z": np.zeros((1, 12)), "y": np.array([10])}, "y must be classes 0 to 9"),
        ({"z": np.zeros((1, 12)), "y": np.zeros((1, 4))}, "y must be classes 0 to 9"),
        (
            {"z": np.zeros((1, 12)), "y": np.zeros(1, int), "truncation": np.array([0.5, 1])},
            "its truncation is not a finite number",
        ),
        ({"z": np.zeros((1, 12)), "y": np.zeros(1, int), "truncation": -1.0}, "its truncation is not a finite number"),
        (
            {"z": np.zeros((1, 12)), "y": np.zeros(1, int), "truncation": 0.5, "truncation_kind": "resampled"},
            "did you mean resample",
        ),
        ({"z": np.zeros((1, 12)), "y": np.full((1, 10), np.nan)}, "y must be classes 0 to 9"),
        ({"z": np.array([{}]), "y": np.zeros(1, int)}, "is not an .npz"),
    ],
)
def test_latents_of_another_model_are_refused(tmp_path, sampler, arrays, sentence):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError, match=sentence):
        latent_files.read_latents(str(tmp_path / "a.npz"), sampler.gan)
