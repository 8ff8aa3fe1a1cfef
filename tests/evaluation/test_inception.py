import jax
import numpy as np
import pytest

from biggan_jax.convert import feature_networks
from biggan_jax.evaluation.inception import Inception
from biggan_jax.evaluation.networks import shapes_of
from tests.evaluation import oracle

NETWORK = Inception()
apply = jax.jit(NETWORK.apply)


@pytest.fixture(scope="module")
def shapes():
    return shapes_of(NETWORK)


@pytest.fixture(scope="module")
def weights(shapes):
    arrays = oracle.drawn(shapes, feature_networks.inception_entry)
    return feature_networks.inception(arrays, shapes, "drawn")


def test_it_has_the_original_parameters_without_the_last_bias(shapes):
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == 23_850_960 - 1008


def test_features_and_logits_are_those_recorded_of_torch_fidelity(weights):
    features, logits = apply(weights, oracle.images(32))
    with np.load(oracle.RECORDED) as recorded:
        # Sums are in another order: the measured error is 5e-7.
        assert oracle.distance(features, recorded["inception/features"]) < 1e-5
        assert oracle.distance(logits, recorded["inception/logits"]) < 1e-5


@pytest.fixture(scope="module")
def peers():
    """(torch-fidelity's network, pytorch-fid's) with the weights drawn."""
    arrays = oracle.draw(oracle.shapes_of(oracle.inception()))
    return oracle.inception(arrays), oracle.inception_of_pytorch_fid(arrays)


@oracle.needs("torch", "torch_fidelity", "pytorch_fid")
@pytest.mark.parametrize("size", [32, 128, 299, 320])
def test_features_and_logits_equal_the_peers_at_any_size(weights, peers, size):
    images = oracle.images(size, seed=size)
    features, logits = apply(weights, images)
    their_features, their_logits = oracle.outputs(peers[0], images)
    x = (oracle.tf1_resize(images.astype(np.float32), 299) - 128) / 128
    # The required accuracy; the measured error is 1e-6, from another order of sums.
    assert oracle.distance(features, their_features) < 1e-4
    assert oracle.distance(logits, their_logits) < 1e-4
    assert oracle.distance(features, oracle.pytorch_fid_features(peers[1], x)) < 1e-4
