import dataclasses

import jax
import numpy as np
import pytest

from biggan_jax.data import builtin
from biggan_jax.data.dataset import Images
from biggan_jax.evaluation import cache, features, metrics
from biggan_jax.evaluation.evaluator import Evaluator
from biggan_jax.evaluation.networks import NOT_COMPARABLE, open_network
from biggan_jax.evaluation.reference import reference_of
from biggan_jax.latents import Truncation
from biggan_jax.sharding import make_mesh
from biggan_jax.types import UserError


@pytest.fixture(scope="module")
def digits():
    train, held_out = builtin.mnist5k(16, "train"), builtin.mnist5k(16, "test")
    network = open_network("classifier", training=train)
    reference = reference_of(held_out, "all held out", network)
    everything = tuple(metrics.METRICS)
    return train, held_out, Evaluator(network, reference, everything, num=200)


def test_the_classifier_tells_held_out_digits_from_noise(digits):
    train, held_out, evaluator = digits
    of_training = evaluator.evaluate_source(train, 1000).overall
    assert evaluator.evaluate_source(held_out).overall["class_agreement"] >= 0.96
    noise = np.random.default_rng(0).integers(0, 256, held_out.images.shape, dtype=np.uint8)
    of_noise = evaluator.evaluate_source(Images(noise, held_out.labels, 10)).overall
    assert of_noise["frechet_distance"] > 10 * of_training["frechet_distance"]
    assert of_noise["kernel_distance"] > 10 * of_training["kernel_distance"]
    # Without precision: the balls of a few real outliers contain all of the noise, which is why density exists.
    for name in ("recall", "density", "coverage"):
        assert of_noise[name] < 0.3 < 0.6 < of_training[name], name
    assert of_noise["inception_score"] < 3 < 8 < of_training["inception_score"] <= 10


def test_the_reference_has_distance_0_from_itself(digits):
    _, held_out, evaluator = digits
    scores = evaluator.evaluate_source(held_out)
    assert scores.overall["frechet_distance"] == pytest.approx(0, abs=1e-3)
    assert scores.overall["frechet_distance_in_class"] == pytest.approx(0, abs=1e-3)
    assert scores.overall["coverage"] == scores.overall["precision"] == 1
    assert (
        scores.by_class["class_agreement"].keys()
        == scores.by_class["frechet_distance_in_class"].keys()
        == set(range(10))
    )
    assert np.mean(list(scores.by_class["class_agreement"].values())) == pytest.approx(
        scores.overall["class_agreement"]
    )
    assert evaluator.reference.inception_score == pytest.approx(scores.overall["inception_score"], rel=0.05), (
        "other splits"
    )


def test_an_untrained_generator_agrees_by_chance_alone(digits, sampler):
    scores = dataclasses.replace(digits[2], metrics=("agreement", "fid")).evaluate(sampler).overall
    # Chance is 0.1; an untrained G's classes look alike, so it may be twice that, but not half.
    assert scores["class_agreement"] < 0.3
    assert scores["frechet_distance"] > 50


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (8, [8]), (9, [5, 5]), (20, [7, 7, 7])])
def test_a_cpu_takes_few_images_at_a_time(count, sizes):
    seen = []

    def apply(params, images):
        seen.append(len(images))
        return images.mean((1, 2)) + params, images.sum((1, 2))

    images = np.random.default_rng(0).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    found = features.in_pieces(apply)(1, images)
    assert seen == sizes
    jax.tree.map(np.testing.assert_array_equal, found, apply(1, images))


def test_a_protocol_changes_with_everything_results_depend_on(digits):
    evaluator = digits[2]
    protocol = evaluator.protocol(None, "running")
    others = dataclasses.replace(evaluator.reference, content="others")
    assert not protocol.comparable and NOT_COMPARABLE in protocol.words()
    for other in (
        dataclasses.replace(evaluator, num=100).protocol(None, "running"),
        dataclasses.replace(evaluator, seed=1).protocol(None, "running"),
        dataclasses.replace(evaluator, labels="uniform").protocol(None, "running"),
        dataclasses.replace(evaluator, reference=others).protocol(None, "running"),
        evaluator.protocol(None, "running", live=True),
        evaluator.protocol(None, "standing, 100 batches of 64"),
        evaluator.protocol(Truncation(0.5), "running"),
        evaluator.protocol(Truncation(0.5, "std"), "running"),
    ):
        assert other != protocol


def test_features_over_a_mesh_equal_those_of_one_device(digits):
    _, held_out, evaluator = digits
    numbers = np.arange(21)
    extracted = lambda mesh: features.concatenate(
        features.extract(evaluator.network, features.of_source(held_out, numbers, 16), mesh)
    )
    one, all_ = extracted(None), extracted(make_mesh())
    assert one.features.shape == (21, 64) and one.labels.tolist() == held_out.labels[:21].tolist()
    np.testing.assert_allclose(one.features, all_.features, rtol=1e-4, atol=1e-4)
    alone = features.concatenate(features.extract(evaluator.network, features.of_source(held_out, numbers[20:], 16)))
    np.testing.assert_allclose(one.features[20:], alone.features, rtol=1e-4, atol=1e-4)


def test_samples_are_rounded_to_the_levels_that_a_file_would_hold(digits, sampler):
    z, y = sampler.latents(5), np.arange(5, dtype=np.int32)
    (images, labels), *_ = features.of_samples(sampler, z, y, 8)
    assert images.dtype == np.uint8 and labels.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(np.asarray(images)[:5], sampler.images(z, y, 8))


def test_a_reference_is_computed_once(digits, tmp_path, monkeypatch):
    monkeypatch.setenv("BIGGAN_JAX_CACHE", str(tmp_path))
    _, held_out, evaluator = digits
    few = lambda: reference_of(held_out, "50 of them", evaluator.network, count=50)
    first = few()
    monkeypatch.setattr(features, "extract", lambda *_: pytest.fail("computed again"))
    again = few()
    assert first.moments.count == again.moments.count == 50
    np.testing.assert_array_equal(first.moments.covariance, again.moments.covariance)
    np.testing.assert_array_equal(first.kept.features, again.kept.features)
    assert len(np.unique(first.kept.labels)) == 10, "spread over the whole set"
    # A truncated file counts as missing.
    monkeypatch.undo()
    monkeypatch.setenv("BIGGAN_JAX_CACHE", str(tmp_path))
    (path,) = (tmp_path / "reference").iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    np.testing.assert_array_equal(few().moments.mean, first.moments.mean)


def test_other_content_has_another_digest():
    images = builtin.mnist5k(16, "test")
    changed = Images(images.images.copy(), images.labels, 10)
    assert cache.hash_of_source(changed) == cache.hash_of_source(images)
    changed.images[500, 3, 3, 0] ^= 1
    assert cache.hash_of_source(changed) != cache.hash_of_source(images)


def test_an_unknown_metric_is_refused(digits, sampler):
    with pytest.raises(UserError, match="the metric 'fdi' is unknown; did you mean fid"):
        dataclasses.replace(digits[2], metrics=("fdi",)).evaluate(sampler)


def test_intra_fid_of_single_samples_is_refused(digits):
    samples = features.Features(np.zeros((2, 64), np.float32), np.zeros((2, 10), np.float32), np.array([0, 1]))
    with pytest.raises(UserError, match="two or more samples"):
        metrics.compute(samples, digits[2].reference, ("intra_fid",))
