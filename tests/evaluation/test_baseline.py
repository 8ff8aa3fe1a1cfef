"""Scores of real images beside those of samples."""

import numpy as np
import pytest

from biggan_jax.evaluation import baseline, formulas, metrics, results
from biggan_jax.evaluation.baseline import Baseline
from biggan_jax.evaluation.features import Features
from biggan_jax.evaluation.metrics import Results
from biggan_jax.evaluation.reference import Reference, of_statistics
from tests.evaluation.test_results import FID, Subject

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BIGGAN_JAX_CACHE", str(tmp_path))


def features_of(count, wrong=0):
    """Features of images, of which the logits of the first `wrong` are of another class."""
    labels = np.arange(count) % 3
    logits = np.eye(3)[(labels + (np.arange(count) < wrong)) % 3]
    return Features(RNG.normal(size=(count, 4)), logits, labels)


def reference_of(features):
    return Reference("real", "content", formulas.moments([features.features]), features)


def test_real_images_are_scored_as_samples_are():
    real, other, labelled = features_of(60), features_of(40), features_of(20, wrong=5)
    reference = reference_of(real)
    found = Baseline("", other, reference, labelled).scores(("fid", "prdc"))
    expected = metrics.compute(other, reference, ("fid", "prdc")).overall
    assert found == pytest.approx(
        {f"real_{name}": value for name, value in expected.items()} | {"real_class_agreement": 0.75}
    )
    assert "real_class_agreement" not in Baseline("", other, reference).scores(("fid",))


def test_a_metric_that_needs_more_real_images_is_left_out():
    assert Baseline("", features_of(3), reference_of(features_of(60))).scores(("fid", "prdc", "is")).keys() == {
        "real_frechet_distance"
    }


def test_scores_of_real_images_are_computed_once(monkeypatch):
    beside = Baseline("", features_of(30), reference_of(features_of(30)))
    first = beside.scores(("fid",))
    monkeypatch.setattr(baseline, "compute", None)
    assert beside.scores(("fid",)) == first


def test_without_other_images_halves_are_compared():
    kept = features_of(61)
    halves = baseline.of_halves(reference_of(kept))
    assert halves.name == "31 of the real images against 30 others"
    first, second = halves.images, halves.reference.kept
    both = np.concatenate([first.features, second.features])
    np.testing.assert_array_equal(np.sort(both, axis=0), np.sort(kept.features, axis=0))
    expected = metrics.compute(first, reference_of(second), ("fid", "kid")).overall
    found = halves.scores(("fid", "kid"))
    assert found == pytest.approx({f"real_{name}": value for name, value in expected.items()})


@pytest.mark.parametrize("classes", [2, 10])
def test_halves_of_classes_in_turn_have_all_classes(classes):
    labels = np.arange(40 * classes) % classes
    halves = baseline.of_halves(
        reference_of(Features(RNG.normal(size=(len(labels), 4)), np.eye(classes)[labels], labels))
    )
    for half in (halves.images, halves.reference.kept):
        assert len(half.labels) == 20 * classes and set(half.labels) == set(range(classes))


def test_statistics_stay_what_real_images_are_compared_with():
    kept, theirs = features_of(40), formulas.moments([features_of(50).features + 3])._replace(count=0)
    halves = baseline.of_halves(of_statistics(theirs, "mu", reference_of(kept)))
    assert halves.name.endswith("20 others, or mu and sigma") and len(halves.reference.kept.labels) == 20
    expected = formulas.frechet_distance(formulas.moments([halves.images.features]), theirs)
    assert halves.scores(("fid",))["real_frechet_distance"] == pytest.approx(expected)
    assert baseline.of_halves(of_statistics(theirs, "mu", None)).scores(("fid",)) == {}


def test_a_table_shows_real_images_beside_samples():
    scores = {"precision": 0.85, "class_agreement": 0.4, "real_precision": 0.7, "real_class_agreement": 0.98}
    record = results.record(Subject("runs/a", "abc", 3), FID, ("prdc",), Results(scores, {}, "500 held-out images"))
    older = results.record(Subject("runs/a", "abd", 4), FID, ("prdc",), Results({"precision": 0.9}, {}))
    text = results.table([record, older])
    assert "real: 500 held-out images; accuracy of inception-2015: 0.98" in text
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert rows[0] == ["step", "precision", "class agreement"]
    assert rows[2:] == [["3", "0.85", "0.4"], ["4", "0.9", ""], ["real", "0.7", "0.98"]]
