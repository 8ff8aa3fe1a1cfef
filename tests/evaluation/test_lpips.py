"""LPIPS equals its formula in float64, and its files are read or refused."""

import jax
import numpy as np
import pytest

from biggan_jax.evaluation import lpips
from biggan_jax.evaluation.lpips import Layer, Stage, Trunk
from biggan_jax.types import UserError
from tests.evaluation import oracle

SMALL = Trunk((Stage(0, (Layer(0, 4, 5, 2, 2), Layer(2, 3))), Stage(3, (Layer(5, 6),))), lpips.TRUNKS["vgg"].url, 1, 6)
HEADS = {"lin0.model.1.weight": (1, 3, 1, 1), "lin1.model.1.weight": (1, 6, 1, 1)}
SHAPES = {"features.0": (4, 3, 5, 5), "features.2": (3, 4, 3, 3), "features.5": (6, 3, 3, 3)}


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch):
    monkeypatch.setenv("BIGGAN_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(lpips.TRUNKS, "vgg", SMALL)


@pytest.fixture
def arrays(tmp_path):
    """Arrays of both files, which are in the folder."""
    trunk = oracle.draw({f"{name}.weight": shape for name, shape in SHAPES.items()})
    trunk |= oracle.draw({f"{name}.bias": shape[:1] for name, shape in SHAPES.items()})
    heads = {name: np.abs(array) for name, array in oracle.draw(HEADS).items()}
    np.savez(tmp_path / "vgg16.npz", **trunk, **{"classifier.0.weight": np.zeros((2, 2), np.float32)})
    np.savez(tmp_path / "heads.npz", **heads)
    return trunk | heads


def opened(folder):
    return lpips.open_lpips("vgg", str(folder / "vgg16.npz"), str(folder / "heads.npz"))


def convolved(x, weight, bias, stride, padding):
    """Convolve x [H, W, C], by the definition."""
    x = np.pad(x, ((padding, padding), (padding, padding), (0, 0)))
    out, _, k, _ = weight.shape
    rows, columns = ((size - k) // stride + 1 for size in x.shape[:2])
    y = np.empty((rows, columns, out))
    for i in range(rows):
        for j in range(columns):
            patch = x[i * stride : i * stride + k, j * stride : j * stride + k]
            y[i, j] = np.einsum("hwc,ochw->o", patch, weight) + bias
    return np.maximum(y, 0)


def written_out(arrays, a, b):
    """LPIPS of two images in [-1, 1], in float64."""
    layer = lambda x, n, stride, padding: convolved(
        x, arrays[f"features.{n}.weight"].astype(float), arrays[f"features.{n}.bias"].astype(float), stride, padding
    )
    unit = lambda x: x / (np.sqrt(np.sum(x**2, -1, keepdims=True)) + 1e-10)
    stages = []
    for x in (a, b):
        x = (np.broadcast_to(x, (*x.shape[:2], 3)) - [-0.030, -0.088, -0.188]) / [0.458, 0.448, 0.450]
        first = layer(layer(x, 0, 2, 2), 2, 1, 1)
        size = (first.shape[0] - 3) // 2 + 1
        pooled = np.stack(
            [[first[2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max((0, 1)) for j in range(size)] for i in range(size)]
        )
        stages.append((unit(first), unit(layer(pooled, 5, 1, 1))))
    weight = lambda i: arrays[f"lin{i}.model.1.weight"].reshape(-1).astype(float)
    return sum((((x - y) ** 2) @ weight(i)).mean() for i, (x, y) in enumerate(zip(*stages, strict=True)))


@pytest.mark.parametrize("channels", [1, 3])
def test_lpips_is_its_formula_in_float64(arrays, tmp_path, channels):
    network = opened(tmp_path)
    a, b = np.random.default_rng(0).uniform(-1, 1, (2, 2, 12, 12, channels))
    with jax.enable_x64(True):
        found = np.asarray(jax.jit(network.distance)(network.params, a, b))
    assert found.dtype == np.float64
    expected = [written_out(arrays, *pair) for pair in zip(a, b, strict=True)]
    assert min(expected) > 0.01
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    single = jax.jit(network.distance)(network.params, a.astype(np.float32), b.astype(np.float32))
    np.testing.assert_allclose(single, expected, rtol=1e-4)


def test_trunks_have_torchvision_s_weights(monkeypatch):
    """VGG16's features have 14,714,688 weights and biases, AlexNet's 2,469,696; the package's heads 1,472 and 1,152."""
    monkeypatch.undo()
    for trunk, size in (("alex", 2_469_696 + 1_152), ("vgg", 14_714_688 + 1_472)):
        module = lpips.Features(lpips.TRUNKS[trunk].stages)
        params = jax.eval_shape(module.init, jax.random.key(0), np.zeros((1, 31, 31, 3), np.float32))
        assert sum(leaf.size for leaf in jax.tree.leaves(params)) == size


@pytest.mark.parametrize(("name", "least"), [("vgg", 16), ("alex", 31)])
def test_smaller_images_than_a_network_takes_are_refused(monkeypatch, name, least):
    monkeypatch.undo()
    trunk = lpips.TRUNKS[name]
    assert trunk.least == least
    module = lpips.Features(trunk.stages)
    maps = jax.eval_shape(lambda x: module.init_with_output(jax.random.key(0), x)[0], np.zeros((1, least, least, 1)))
    assert len(maps) == 5 and min(m.size for m in maps) > 0
    network = lpips.Lpips(name, "", trunk.least, {}, module.apply)
    network.check_shape((least, least + 1, 1))
    for shape in ((least - 1, 64, 3), (64, 64, 2), (5,)):
        with pytest.raises(UserError, match=f"at least {least} pixels"):
            network.check_shape(shape)


@pytest.mark.parametrize(
    ("weights", "heads", "said"),
    [
        (None, "heads.npz", "--lpips=PATH of torchvision's vgg16-397923af.pth, or --lpips=download"),
        ("none.npz", "heads.npz", "none.npz cannot be read"),
        ("vgg16.npz", "none.npz", "none.npz cannot be read"),
        ("heads.npz", "heads.npz", "heads.npz lacks features.0.bias"),
        ("vgg16.npz", "negative.npz", "negative.npz: lin1.model.1.weight has values below 0"),
        ("vgg16.npz", "folder", "folder cannot be read"),
    ],
)
def test_files_that_do_not_fit_are_named(arrays, tmp_path, weights, heads, said):
    (tmp_path / "folder").mkdir()
    negative = {name: arrays[name] for name in HEADS} | {"lin1.model.1.weight": -arrays["lin1.model.1.weight"]}
    np.savez(tmp_path / "negative.npz", **negative)
    with pytest.raises(UserError, match=said) as error:
        lpips.open_lpips("vgg", weights and str(tmp_path / weights), str(tmp_path / heads))
    assert "\n" not in str(error.value)


def test_without_the_package_of_heads_it_is_said_how_to_get_them(arrays, tmp_path, monkeypatch):
    monkeypatch.setattr(lpips.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install --no-deps lpips .* or --lpips_heads=PATH"):
        lpips.check_lpips("vgg", str(tmp_path / "vgg16.npz"))
