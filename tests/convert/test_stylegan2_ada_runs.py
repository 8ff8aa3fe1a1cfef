"""Snapshots that StyleGAN2-ADA's own code pickles, and networks of ours in its classes.

STYLEGAN2_ADA names the folder of its PyTorch edition (github.com/NVlabs/stylegan2-ada-pytorch); without it, skipped.
"""

import copy
import json
import os
import pickle
import sys

import numpy as np
import pytest

import biggan_jax
from biggan_jax.sampling import styles
from tests.cli import run

FOLDER = os.environ.get("STYLEGAN2_ADA", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER, reason="STYLEGAN2_ADA does not name a folder of stylegan2-ada-pytorch's code"),
]

SYNTHESIS = {"channel_base": 1024, "channel_max": 64, "num_fp16_res": 0}
SETTINGS = [
    {},
    {"classes": 0},
    {"channels": 1},
    {"mapping_layers": 8, "conv_clamp": 256},
    {"architecture": "resnet"},
    {"use_noise": False},
    {"cmap_dim": 16},
]
"""What differs from a conditional model of RGB pictures with 2 mapping layers."""


@pytest.fixture(scope="module")
def networks():
    sys.path.insert(0, FOLDER)
    return pytest.importorskip("training.networks")


def theirs(networks, classes=3, channels=3, mapping_layers=2, **changes):
    """Return their G and D with random weights, moving average of w and maps of noise."""
    import torch

    torch.manual_seed(0)
    common = {"c_dim": classes, "img_resolution": 32, "img_channels": channels}
    of_g = {key: value for key, value in changes.items() if key in ("use_noise", "conv_clamp", "architecture")}
    of_d = {key: value for key, value in changes.items() if key in ("cmap_dim", "conv_clamp")}
    mapping = {"num_layers": mapping_layers}
    g = networks.Generator(
        z_dim=64, w_dim=64, mapping_kwargs=mapping, synthesis_kwargs=SYNTHESIS | of_g, **common
    ).eval()
    d = networks.Discriminator(**SYNTHESIS, **of_d, epilogue_kwargs={"mbstd_group_size": 4}, **common).eval()
    for network in (g, d):
        network.requires_grad_(False)
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    g.mapping.w_avg.normal_()
    for name, buffer in g.named_buffers():
        if "noise_const" in name:
            buffer.normal_()
    return g, d


@pytest.mark.parametrize("changes", SETTINGS, ids=lambda changes: ",".join(changes) or "conditional")
def test_their_pickle_gives_their_pictures_and_returns(networks, changes, tmp_path):
    import torch

    g, d = theirs(networks, **changes)
    snapshot = {"training_set_kwargs": None, "G": g, "D": d, "G_ema": copy.deepcopy(g), "augment_pipe": None}
    (tmp_path / "snapshot.pkl").write_bytes(pickle.dumps(snapshot))
    for flags in (
        ("--from=stylegan2-ada", f"--in={tmp_path}/snapshot.pkl", f"--out={tmp_path}/run"),
        ("--to=stylegan2-ada", f"--in={tmp_path}/run", f"--out={tmp_path}/back"),
    ):
        done = run("convert", *flags)
        assert done.returncode == 0, done.stderr

    z, label = torch.randn(4, 64), np.array([0, 1, 2, 0])
    c = torch.nn.functional.one_hot(torch.tensor(label), 3).float() if g.c_dim else None
    told = json.loads((tmp_path / "back" / "networks.json").read_text())
    arrays = {name: np.load(tmp_path / "back" / f"{name}.npz") for name in ("G_ema", "D")}
    again = {"G_ema": networks.Generator(**told["G"]).eval(), "D": networks.Discriminator(**told["D"]).eval()}
    for name, network in again.items():
        network.load_state_dict({key: torch.tensor(value) for key, value in arrays[name].items()}, strict=True)
    with torch.no_grad():
        for psi in (1.0, 0.5):
            draw = {"truncation_psi": psi, "noise_mode": "const", "force_fp32": True}
            wanted = g(z, c, **draw)
            sampler = styles.with_fixed_noise(biggan_jax.load(str(tmp_path / "run"), truncation=psi))
            ours = np.asarray(sampler.images(z.numpy(), label)).astype(int).transpose(0, 3, 1, 2)
            pixels = np.clip(np.rint((wanted.numpy() + 1) * 127.5), 0, 255)
            assert (
                np.abs(ours - pixels).max() <= 1 and (ours != pixels).mean() < 0.01
            )  # A tie may be rounded otherwise.
            assert torch.equal(again["G_ema"](z, c, **draw), wanted)
            assert torch.equal(again["D"](wanted, c, force_fp32=True), d(wanted, c, force_fp32=True))
