"""Networks that BigGAN-PyTorch's own code makes and trains, by the options of its parser that change weights.

BIGGAN_PYTORCH names the folder of its code (github.com/ajbrock/BigGAN-PyTorch); without it these tests are skipped.
"""

import importlib
import os
import sys

import jax
import numpy as np
import pytest

from biggan_jax.convert import biggan_pytorch, tables
from biggan_jax.models import build_gan
from biggan_jax.sampling import generate
from biggan_jax.types import UserError
from tests.convert.parity import epath

FOLDER = os.environ.get("BIGGAN_PYTORCH", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER, reason="BIGGAN_PYTORCH does not name a folder of BigGAN-PyTorch's code"),
]

BASE = {
    "resolution": 32,
    "n_classes": 5,
    "G_ch": 8,
    "D_ch": 8,
    "G_attn": "0",
    "D_attn": "0",
    "dim_z": 16,
    "shared_dim": 6,
}
BASE |= {"BN_eps": 1e-5, "SN_eps": 1e-6, "adam_eps": 1e-6, "G_shared": True, "hier": True, "itr": 3}
CONVERTED = [{}, {"hier": False}, {"hier": False, "G_shared": False}, {"mybn": True}, {"cross_replica": True}]
CONVERTED += [
    {"D_wide": False},
    {"G_param": "none"},
    {"G_B1": 0.5, "D_B1": 0.5},
    {"G_B2": 0.99, "D_B2": 0.99},
    {"G_attn": "16"},
]
CONVERTED += [{"norm_style": "in"}]
CONVERTED += [
    {"num_G_SVs": 2, "num_D_SVs": 3},
    {"num_G_SV_itrs": 2, "num_D_SV_itrs": 2},
    {"BN_eps": 1e-4, "SN_eps": 1e-8},
]
CONVERTED += [
    {"model": "BigGANdeep"} | more for more in ({}, {"G_depth": 2, "D_depth": 2}, {"G_param": "none"}, {"num_D_SVs": 2})
]
NAMED = [
    ({"norm_style": "in"}, "norm_style in"),
    ({"split_D": True}, "split_D"),
    ({"batch_size": 4, "G_batch_size": 8}, "G_batch_size"),
    ({"parallel": True}, "parallel without cross_replica"),
    ({"G_fp16": True}, "half precision"),
    ({"augment": True}, "augment"),
    ({"z_var": 2.0}, "z_var 2.0"),
    ({"num_G_SV_itrs": 2, "num_D_SV_itrs": 1}, "num_G_SV_itrs 2"),
]
# Its own code fails for D_param other than SN, and for norm_style gn and ln with classes.
REFUSED = [
    ({"G_nl": "elu"}, "G_nl elu; networks here support only ReLU"),
    ({"model": "BigGANdeep", "G_depth": 2, "D_depth": 1}, "G_depth 2, but D_depth 1"),
    ({"G_B1": 0.5}, "optimizers of G and D have different betas"),
]


def made(folder, options):
    """Train the peer's networks for one update each, and save them as its runs do. Returns (torch, G, D)."""
    torch = pytest.importorskip("torch", reason="PyTorch is an extra")
    options = BASE | options
    sys.path.insert(0, FOLDER)
    try:
        module = importlib.import_module(options.get("model", "BigGAN"))
    finally:
        sys.path.remove(FOLDER)
    torch.manual_seed(0)
    given = {key: value for key, value in options.items() if key not in ("G_nl", "model", "itr")}
    G, D = module.Generator(**given), module.Discriminator(**given)
    z, y = torch.randn(4, G.dim_z), torch.tensor([0, 1, 4, 2])
    for network in (D, G):
        network.optim.zero_grad()
        out = D(G(z, G.shared(y)), y)
        (out.square() + out).mean().backward()
        network.optim.step()
    for name, network in (("G", G), ("D", D)):
        torch.save(network.state_dict(), folder / f"{name}.pth")
        torch.save(network.optim.state_dict(), folder / f"{name}_optim.pth")
    torch.save({"itr": 3, "config": options}, folder / "state_dict.pth")
    return torch, G.eval(), D.eval()


@pytest.mark.parametrize("options", CONVERTED, ids=str)
def test_networks_and_moments_convert_and_are_equal(options, tmp_path):
    torch, G, D = made(tmp_path, options)
    came = biggan_pytorch.read(epath(tmp_path))
    gan, networks = build_gan(came.config), came.networks
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3, 32, 32, 3)).astype(np.float32), np.array([4, 0, 2])
    weights = jax.jit(gan.evaluation_weights)(networks["D"]["params"], networks["D"]["spectral"])
    ours = jax.jit(gan.networks["D"].module.apply)({"params": weights}, x, y)
    theirs = D(torch.from_numpy(x.transpose(0, 3, 1, 2)), torch.from_numpy(y)).detach().numpy()[:, 0]
    np.testing.assert_allclose(ours, theirs, atol=2e-5, rtol=2e-5)
    if not options.get("cross_replica"):  # Its evaluation on one device adds gains: named at conversion.
        z = rng.normal(size=(3, gan.dim_z)).astype(np.float32)
        weights = generate.evaluation_weights(gan, networks["G"]["params"], networks["G"]["spectral"])
        variables = {"batch_stats": networks["G"]["batch_stats"]}
        ours = generate.generate(gan, weights, variables, z, y, batch_size=3)
        theirs = G(torch.from_numpy(z), G.shared(torch.from_numpy(y))).detach().numpy()
        np.testing.assert_allclose(ours, theirs.transpose(0, 2, 3, 1), atol=5e-5)
    for name, network in (("G", G), ("D", D)):
        entry = biggan_pytorch.entry_of(came.config.model, name == "G")
        moments, numbered = came.moments[name], dict(network.named_parameters())
        assert moments["count"] == 1
        for slot, there in (("nu", "exp_avg_sq"), ("mu", "exp_avg")):
            if slot in moments:
                arrays = tables.to_there({"params": moments[slot]}, entry)
                assert arrays.keys() == {key for key in numbered if not biggan_pytorch.is_foreign(key)}
                for key, array in arrays.items():
                    expected = network.optim.state[numbered[key]][there].numpy()
                    np.testing.assert_array_equal(array, expected, err_msg=f"{name} {slot} {key}")
        assert ("mu" in moments) == bool(options.get("G_B1"))


@pytest.mark.parametrize(("options", "reason"), REFUSED, ids=str)
def test_what_has_no_place_here_is_refused_with_the_reason(options, reason, tmp_path):
    made(tmp_path, options)
    with pytest.raises(UserError, match=reason):
        biggan_pytorch.read(epath(tmp_path))


@pytest.mark.parametrize(("options", "sentence"), NAMED, ids=str)
def test_differences_in_training_are_named(options, sentence, tmp_path, caplog):
    made(tmp_path, options)
    biggan_pytorch.read(epath(tmp_path))
    assert sentence in caplog.text


def test_a_run_by_the_launch_scripts_names_no_difference(tmp_path, caplog):
    made(tmp_path, {"num_G_SV_itrs": 1, "num_D_SV_itrs": 1, "num_G_accumulations": 1, "num_D_accumulations": 1})
    biggan_pytorch.read(epath(tmp_path))
    assert not caplog.text
