"""Our scores of images against torch-fidelity's, with the same random Inception weights, within 0.1 %."""

import numpy as np
import pytest
from etils import epath

from biggan_jax.convert import feature_networks
from biggan_jax.data import builtin
from biggan_jax.data.dataset import Images
from biggan_jax.evaluation import networks
from biggan_jax.evaluation.evaluator import Evaluator
from biggan_jax.evaluation.inception import Inception
from biggan_jax.evaluation.networks import open_network
from biggan_jax.evaluation.reference import reference_of
from biggan_jax.sharding import make_mesh
from tests.evaluation import oracle

COUNT = 64


@pytest.fixture(scope="module")
def both():
    """Real digits, and noisy ones that are similar enough for precision and recall between 0 and 1."""
    digits = builtin.mnist5k(32, "train")
    chosen = np.random.default_rng(0).permutation(len(digits))[: 2 * COUNT]
    real, fake = (digits.images[part] for part in np.split(chosen, 2))
    noise = np.random.default_rng(1).normal(0, 12, fake.shape)
    fake = np.clip(fake + noise, 0, 255).astype(np.uint8)
    return tuple(Images(images, np.zeros(COUNT, np.int32), 0) for images in (fake, real))


@oracle.needs("torch", "torch_fidelity")
def test_the_same_images_get_torch_fidelitys_scores(both, tmp_path, monkeypatch):
    monkeypatch.setenv("BIGGAN_JAX_CACHE", str(tmp_path / "cache"))
    fake, real = both
    arrays = oracle.drawn(networks.shapes_of(Inception()), feature_networks.inception_entry)
    path = epath.Path(tmp_path) / "inception.npz"
    np.savez(path, **arrays)
    network, mesh = open_network("inception-2015", inception=str(path)), make_mesh()
    reference = reference_of(real, "digits", network, mesh, batch_size=16)
    ours = Evaluator(network, reference, ("fid", "is", "kid", "prdc"), batch_size=16, mesh=mesh)
    # In the same order: the Inception Score depends on which images share a split.
    found = ours.evaluate_images(
        [(fake.images[i : i + 16], fake.labels[i : i + 16]) for i in range(0, COUNT, 16)]
    ).overall

    theirs = oracle.inception(arrays | oracle.draw({"fc.bias": (1008,)}))
    (fake_features, logits), (real_features, _) = (
        (np.concatenate(x) for x in zip(*(oracle.outputs(theirs, part) for part in np.split(images, 4)), strict=True))
        for images in (fake.images, real.images)
    )
    precision, recall = oracle.precision_and_recall(fake_features, real_features)
    assert 0 < precision < 1 and 0 < recall < 1
    expected = {
        "frechet_distance": oracle.frechet_distance(fake_features, real_features),
        "inception_score": oracle.inception_score(logits)[0],
        "inception_score_std": oracle.inception_score(logits)[1],
        "kernel_distance": oracle.kernel_distance(fake_features, real_features, subsets=2, subset_size=COUNT)[0],
        "precision": precision,
        "recall": recall,
    }
    print({name: (found[name], figure) for name, figure in expected.items()})
    for name, figure in expected.items():
        assert found[name] == pytest.approx(figure, rel=1e-3), name
