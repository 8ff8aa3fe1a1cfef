"""Recorded outputs and updates of BigGAN-PyTorch, Hugging Face, StudioGAN, R3GAN and others against ours, from their weights."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.convert import parity, recordings

BIGGAN = parity.fixtures("biggan*_[GD].npz")
HUGGING_FACE = parity.fixtures("hf_*.npz")
TRAINING = parity.training_runs()
STUDIOGAN = parity.fixtures("studio_*.npz")
PAIRS = parity.fixtures("bgp_*_G.npz")
R3GAN = parity.fixtures("*r3gan*.npz")
PROGAN = parity.fixtures("progan*.npz")
ADA = parity.fixtures("sg2_ada*.npz")
STYLEGAN2 = (
    parity.fixtures("sg2_*_[GD].npz") + parity.fixtures("sg2_*_losses.npz") + parity.fixtures("train_sg2_batches.npz")
)
TRANSLATORS = (
    parity.fixtures("cyc_*.npz") + parity.fixtures("train_cyclegan*.npz") + parity.fixtures("train_pix2pix*.npz")
)


@pytest.mark.parametrize("path", recordings.cases(BIGGAN))
def test_networks_of_biggan_pytorch_are_ours(path):
    errors = parity.model_errors(path)
    training = errors.pop("training")
    assert max(errors.values()) <= 2e-5, errors
    _, meta = parity.load(path)
    # Two images of 4x4 pixels pass forty batch norms: the peer's float32 and float64 differ by 4e-5.
    rounding = (meta["module"], meta["kind"]) == ("BigGANdeep", "generator")
    assert training <= (1e-4 if rounding else 2e-5)


@pytest.mark.parametrize("path", recordings.cases(HUGGING_FACE))
def test_generators_of_hugging_face_are_ours_at_each_truncation(path):
    errors = parity.hugging_face_errors(path)
    assert max(errors.values()) <= 1e-4, errors


@pytest.mark.parametrize("path", recordings.cases(STUDIOGAN + PAIRS + R3GAN + PROGAN + ADA + TRANSLATORS + STYLEGAN2))
def test_outputs_losses_gradients_and_buffers_are_the_peers(path):
    function, _ = parity.kind_of(path)
    found = function(path)
    assert len(found.compared) >= 2
    assert not [row for row in found.rows if row.share > 1]
    assert not found.missing()


@pytest.mark.parametrize("name", recordings.cases(TRAINING, quick=["train_biggan32"]))
def test_recorded_training_is_ours(name):
    shares = parity.training_errors(name).shares
    assert {"D loss", "G loss", "gradients", "G weights, mean", "D u", "G_ema BN statistics"} <= shares.keys()
    assert max(shares.values()) <= 1, {what: share for what, share in shares.items() if share > 1}


def test_a_folder_of_recordings_is_compared_and_a_wrong_one_fails(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(recordings, "FOLDERS", [])
    kept = "d_", "adjust_k", "lecam", "ac/", "mh_"
    with np.load(parity.ROOT / "tests" / "data" / "parity" / "studio_losses.npz") as file:
        arrays = {name: file[name] for name in file.files if "/" not in name or name.startswith(kept)}
    np.savez(tmp_path / "a.npz", **arrays)
    np.savez(tmp_path / "b.npz", meta_json=json.dumps({"peer": "somebody/GAN"}))
    assert not parity.main(tmp_path)
    out = capsys.readouterr().out
    assert "| a | d_hinge |" in out and "b: not compared: of somebody/GAN, which has no comparison" in out
    (tmp_path / "a.npz").unlink()
    np.savez(tmp_path / "c.npz", **arrays | {"d_hinge/value": arrays["d_hinge/value"] * 1.001})
    assert parity.main(tmp_path)
    out = capsys.readouterr().out
    assert "| c | d_hinge |" in out and "exceeded: c" in out


def test_arguments_of_a_recorded_progan_are_read_or_named():
    meta = {"batch": 6, "G_kwargs": {"resolution": 16, "label_size": 3, "latent_size": 5, "use_wscale": True}}
    meta["D_kwargs"] = {"resolution": 16, "label_size": 3, "mbstd_group_size": 2, "structure": "recursive"}
    meta |= {"loss_kwargs_D": {"wgan_target": 3.0}}
    config = parity.parity_progan.config_of(meta)
    model, regularizer = config.model, config.regularizer
    assert tuple(model.image_shape) == (16, 16, 1) and model.stddev_group == 2 and model.dim_z == 5
    assert (model.num_classes, regularizer.gp, regularizer.gp_target, config.condition.d) == (3, 10.0, 3.0, "ac")
    for name, value in (("use_wscale", False), ("activation", "relu")):
        with pytest.raises(AssertionError, match=name):
            parity.parity_progan.config_of(meta | {"D_kwargs": meta["D_kwargs"] | {name: value}})


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
