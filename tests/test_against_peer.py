"""benchmarks/against_biggan_pytorch.py without BigGAN-PyTorch: its flags, its comparison, its plot."""

import sys

import numpy as np
import pytest
from PIL import Image

from tests.conftest import benchmark_script

STEPS = "300", "600"


@pytest.fixture(scope="module")
def script():
    return benchmark_script("against_biggan_pytorch")


def curves(ours, peer):
    """Curves whose distance and agreement are these at step 300, and their halves at step 600."""
    run = lambda value: {
        step: dict.fromkeys(("frechet_distance", "class_agreement"), value / 2**i) for i, step in enumerate(STEPS)
    }
    return {side: {str(i): run(v) for i, v in enumerate(values)} for side, values in (("ours", ours), ("peer", peer))}


def test_the_peer_gets_the_flags_of_our_config(script):
    c = script.config_of(seed=7)
    flags = script.peer_flags(c)
    assert {
        "--seed=7",
        "--G_ch=8",
        "--D_ch=8",
        "--dim_z=60",
        "--shared_dim=32",
        "--G_init=ortho",
        "--SN_eps=1e-08",
    } <= {*flags}
    assert {"--G_lr=0.0004", "--D_lr=0.0008", "--D_B1=0.0", "--G_B2=0.99", "--adam_eps=1e-08", "--ema_start=100"} <= {
        *flags
    }
    assert {"--G_shared", "--hier", "--ema", "--accumulate_stats"} <= {*flags}
    c.model.shared_embedding = c.model.skip_z = False
    c.model.d_ch, c.model.init = 2, "normal"
    flags = script.peer_flags(c)
    assert {"--G_ch=8", "--D_ch=2", "--D_init=N02"} <= {*flags} and not {"--G_shared", "--hier"} & {*flags}


def test_five_checkpoints_end_with_the_last_step(script):
    assert script.checkpoints_of(script.config_of(0)) == [300, 600, 900, 1200, 1500]
    assert script.checkpoints_of(script.config_of(0, 20)) == [4, 8, 12, 16, 20]


def test_the_peer_gets_the_images_we_train_on(script, tmp_path):
    c = script.config_of(0)
    c.data.name = "fake"
    script.export(c, tmp_path / "digits.npz")
    arrays, source = np.load(tmp_path / "digits.npz"), script.data.make_source(c)
    assert arrays["arr_0"].shape == (1024, 32, 32, 3) and arrays["arr_0"].dtype == np.uint8
    np.testing.assert_array_equal(arrays["arr_0"], source.images)
    np.testing.assert_array_equal(arrays["y"], source.labels)


@pytest.mark.parametrize(
    ("ours", "within"), [((0.5, 1.5, 1.6), True), ((0.2, 0.3, 0.4), False), ((2.0, 2.1, 3.0), False)]
)
def test_our_mean_is_held_against_the_spread_of_the_peer(script, ours, within):
    rows = script.summary(curves(ours, peer=(1.0, 1.2, 2.0)))
    assert [(row["metric"], row["step"]) for row in rows[:3]] == [
        ("frechet_distance", 300),
        ("frechet_distance", 600),
        ("class_agreement", 300),
    ]
    assert all(row["within"] is within for row in rows)
    assert rows[0]["peer"] == {"mean": 1.4, "least": 1.0, "greatest": 2.0} and rows[1]["peer"]["mean"] == 0.7
    assert (rows[0]["p"] > 0.5) is within
    assert f"| frechet_distance | 300 | {np.mean(ours):.3g} (" in script.table(rows)


def test_uniform_biases_are_bounded_by_the_inputs_of_a_layer(script):
    layer = {"kernel": np.zeros((3, 3, 4, 50)), "bias": np.zeros(50)}
    params = {"conv": layer, "norm": {"scale": np.ones(4), "bias": np.zeros(4)}}
    found = script.uniform_biases(params, np.random.default_rng(0))
    assert 0.12 < np.abs(found["conv"]["bias"]).max() <= 1 / 6 and not found["conv"]["kernel"].any()
    assert not found["norm"]["bias"].any() and not params["conv"]["bias"].any()


def test_the_plot_is_a_picture_of_both_metrics(script, tmp_path):
    found = curves((0.5, 1.5), peer=(1.0, 2.0))
    script.plot(found, script.summary(found), tmp_path / "plot.png")
    assert Image.open(tmp_path / "plot.png").size == (1000, 400)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "has no BigGAN.py"),
        (["--steps=7"], "is not a multiple of 5"),
        (["--seeds=0"], "is one run, which has no spread"),
    ],
)
def test_what_cannot_be_compared_is_refused(script, tmp_path, monkeypatch, capsys, arguments, sentence):
    if arguments:
        (tmp_path / "BigGAN.py").touch()
    monkeypatch.setattr(sys, "argv", ["against", f"--peer={tmp_path}", "--peer-python=python", *arguments])
    with pytest.raises(SystemExit) as stopped:
        script.main()
    assert stopped.value.code == 2 and sentence in capsys.readouterr().err
