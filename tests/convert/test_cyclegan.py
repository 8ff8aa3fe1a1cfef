"""Conversion of checkpoints of pytorch-CycleGAN-and-pix2pix."""

import jax
import numpy as np
import pytest

from biggan_jax.checkpoint import load_state
from biggan_jax.config.loading import load
from biggan_jax.convert import cyclegan, cyclegan_files, files, imported
from biggan_jax.models import build_gan
from biggan_jax.types import UserError
from tests.cli import refused, run
from tests.convert import parity, parity_cyclegan
from tests.convert.parity import epath
from tests.variants import further_slow

SMALL = {"model.ch": 4, "model.d_ch": 3, "model.d_layers": 2}
VARIANTS = {
    "cyclegan": {"model.blocks": 2},
    "cyclegan of two channels": {"model.input_channels": 1, "model.identity": 0.0, "model.blocks": 1},
    "cyclegan with dropout": {
        "model.blocks": 1,
        "model.g_dropout": 0.5,
        "model.g_norm": "batch",
        "model.d_norm": "batch",
    },
    "cyclegan of U-Nets": {"model.generator": "unet", "model.halvings": 3},
    "pix2pix": {"model.halvings": 3},
    "pix2pix of residual networks": {"model.generator": "resnet", "model.blocks": 1, "model.input_channels": 1},
    "pix2pix with instance norm": {
        "model.halvings": 4,
        "model.g_norm": "instance",
        "model.d_norm": "instance",
        "model.d_layers": 3,
    },
}


def config_of(variant, **changes):
    family = variant.partition(" ")[0]
    c = load(f"classic/{family}")
    c.update_from_flattened_dict(SMALL | VARIANTS.get(variant, {}) | changes)
    return c


def arrays_of(config):
    """State dicts of random arrays of a config's networks, by the authors' names."""
    rng, gan = np.random.default_rng(0), build_gan(config)
    found = {}
    for name, shapes in imported.shapes_of(gan).items():
        arrays = cyclegan.named(gan.networks[name].module, drawn(shapes, rng))
        means = [there for there in arrays if there.endswith("running_mean")]
        counters = {f"{there.rpartition('.')[0]}.{cyclegan.COUNTER}": np.array(7) for there in means}
        found[name] = arrays | counters
    return found


def drawn(shapes, rng):
    if isinstance(shapes, dict):
        return {key: drawn(value, rng) for key, value in shapes.items() if key != "spectral"}
    return rng.normal(size=shapes.shape).astype(np.float32)


def written(folder, arrays, label="latest"):
    folder.mkdir(parents=True, exist_ok=True)
    for name, own in arrays.items():
        np.savez(folder / f"{label}_net_{name}.npz", **own)
    return epath(folder)


def equal(a, b):
    return a.keys() == b.keys() and all(
        a[key].dtype == b[key].dtype and a[key].tobytes() == b[key].tobytes() for key in a
    )


@pytest.mark.parametrize("variant", further_slow(list(VARIANTS), quick=(0, 4)))
def test_networks_are_inferred_and_come_back_bit_for_bit(variant, tmp_path):
    config = config_of(variant)
    arrays = arrays_of(config)
    found = cyclegan_files.read(written(tmp_path, arrays))
    ours, theirs = found.config.model.to_dict(), config.model.to_dict()
    unknown = {"load_size", "pool", "direction"} | ({"g_dropout"} if theirs["generator"] == "unet" else set())
    unknown |= {"blocks"} if theirs["generator"] == "unet" else {"halvings"}
    differ = {key for key in theirs if key not in unknown and ours[key] != theirs[key]}
    assert not differ
    # On the other hand, cyclegan_files.write needs PyTorch; the arrays that it writes do not.
    back = cyclegan_files.state_dicts(state_of(found), found.config, found.extras)
    assert back.keys() == arrays.keys() and all(equal(back[name], arrays[name]) for name in arrays)


def state_of(found):
    class State:
        averages: dict = {}  # noqa: RUF012
        networks = {name: Network(tree) for name, tree in found.networks.items()}  # noqa: RUF012

    return State


class Network:
    def __init__(self, tree):
        self.params, self.variables = tree["params"], {key: tree[key] for key in ("batch_stats",) if key in tree}


@pytest.mark.parametrize("path", parity.fixtures("cyc_*.npz"), ids=lambda path: path.stem)
def test_recorded_networks_are_inferred(path):
    arrays, meta = parity.load(path)
    state, kwargs = parity.under("state/", arrays), meta["kwargs"]
    found = cyclegan_files.infer(state)
    assert found["seen"] == kwargs["input_nc"] and found.get("made", kwargs.get("output_nc")) == kwargs.get("output_nc")
    assert found.get("blocks", kwargs.get("n_blocks")) == kwargs.get("n_blocks")
    assert found.get("halvings", kwargs.get("num_downs")) == kwargs.get("num_downs")
    assert found.get("d_layers", kwargs.get("n_layers")) == kwargs.get("n_layers")
    assert {found.get("g_norm"), found.get("d_norm")} & {kwargs["norm"]}


@pytest.mark.parametrize("path", parity.fixtures("train_cyclegan*.npz"), ids=lambda path: path.stem)
def test_recorded_steps_have_the_peers_losses(path):
    """Their values take minutes: `make test-parity` compares them."""
    arrays, meta = parity.load(path)
    gan, state = parity_cyclegan.gan_of(meta, arrays)
    metrics = {}
    for step in parity_cyclegan.steps_of(gan):
        (state, found), _ = jax.eval_shape(step, state, parity_cyclegan.batch_of(arrays, 0))
        metrics |= found
    assert parity_cyclegan.losses_of(paired=False).keys() <= metrics.keys()


def test_a_checkpoint_goes_in_by_the_command(tmp_path):
    arrays = arrays_of(config_of("cyclegan"))
    source = written(tmp_path / "in", {name: own for name, own in arrays.items() if name != "D_B"})
    result = run("convert", "--from=cyclegan", f"--in={source}", f"--out={tmp_path / 'out'}")
    assert result.returncode == 0, result.stderr
    assert "cyclegan, 256 pixels, ch 4" in result.stdout and "D_B was missing and is newly initialized" in result.stdout
    state, config, extras = load_state(tmp_path / "out")
    back = cyclegan_files.state_dicts(state, config, extras)
    assert all(equal(back[name], arrays[name]) for name in ("G_A", "G_B", "D_A"))


def test_old_statistics_of_instance_norm_are_kept_for_the_way_back(tmp_path):
    arrays = arrays_of(config_of("cyclegan"))
    own = arrays["G_A"]
    own |= {"model.2.running_mean": np.zeros(4, np.float32), "model.2.running_var": np.ones(4, np.float32)}
    found = cyclegan_files.read(written(tmp_path, arrays))
    back = cyclegan_files.state_dicts(state_of(found), found.config, found.extras)
    assert equal(back["G_A"], own)


def test_a_generator_alone_has_the_family_of_its_kind(tmp_path, caplog):
    residual = written(tmp_path / "a", {"G": arrays_of(config_of("cyclegan"))["G_A"]})
    with caplog.at_level("INFO"):
        found = cyclegan_files.read(residual)
    assert found.config.model.family == "cyclegan" and list(found.networks) == ["G_A"]
    assert "is read as CycleGAN's G_A" in caplog.text
    found = cyclegan_files.read(
        written(tmp_path / "b", {"G": arrays_of(config_of("pix2pix"))["G"]}) / "latest_net_G.npz"
    )
    assert found.config.model.family == "pix2pix" and list(found.networks) == ["G"]


def test_a_label_chooses_among_several(tmp_path):
    arrays = arrays_of(config_of("pix2pix"))
    for label in ("5", "latest", "10"):
        written(tmp_path, arrays, label)
    assert len(cyclegan_files._load(epath(tmp_path), "5")) == 2
    (tmp_path / "latest_net_G.npz").unlink(), (tmp_path / "latest_net_D.npz").unlink()
    with pytest.raises(UserError, match="has no networks of latest; it has 10, 5; give one as --suffix"):
        cyclegan_files.read(epath(tmp_path))


def test_what_does_not_fit_is_refused_by_name(tmp_path):
    arrays = arrays_of(config_of("pix2pix"))
    written(tmp_path / "a", arrays | {"D": {"linear.weight": np.zeros((2, 2), np.float32)}})
    with pytest.raises(UserError, match="D: it is no ResnetGenerator, UnetGenerator or NLayerDiscriminator"):
        cyclegan_files.read(epath(tmp_path / "a"))
    with pytest.raises(UserError, match="D is a generator"):
        cyclegan_files.read(written(tmp_path / "b", {"G": arrays["G"], "D": arrays["G"]}))
    other = arrays_of(config_of("pix2pix", **{"model.input_channels": 1}))
    with pytest.raises(UserError, match="D has images of 4 channels; with the others, 6 fit"):
        cyclegan_files.read(written(tmp_path / "c", {"G": arrays["G"], "D": other["D"]}))
    lacking = {key: array for key, array in arrays["G"].items() if key != "model.model.1.model.2.bias"}
    with pytest.raises(UserError, match="G lacks model.model.1.model.2.bias"):
        cyclegan_files.read(written(tmp_path / "d", {"G": lacking}))
    with pytest.raises(UserError, match="has no file like latest_net_G.pth"):
        cyclegan_files.read(written(tmp_path / "e", {}))


def test_other_families_are_not_written(workdir, tmp_path):
    result = run("convert", "--to=cyclegan", f"--in={workdir}", f"--out={tmp_path / 'out'}")
    refused(result, "pytorch-CycleGAN-and-pix2pix has no network like family biggan")


def test_files_of_pytorch_are_written_and_read(tmp_path):
    pytest.importorskip("torch")
    arrays = arrays_of(config_of("cyclegan"))
    found = cyclegan_files.read(written(tmp_path / "in", arrays))
    cyclegan_files.write(state_of(found), found.config, found.extras, epath(tmp_path / "out"))
    for name, own in arrays.items():
        assert equal(files.read_arrays(epath(tmp_path / f"out/latest_net_{name}.pth")), own)
