"""Scores of features against their definitions in float64, one sample at a time where that is possible."""

import numpy as np
import pytest
import scipy.linalg

from biggan_jax.evaluation import accuracy, extrapolation, formulas, kernels, memorisation, metrics
from biggan_jax.evaluation.features import Features
from biggan_jax.evaluation.reference import Reference
from biggan_jax.types import UserError


@pytest.fixture(scope="module")
def sets():
    """Real and generated features that partly overlap, float32 [90, 6] and [70, 6]."""
    rng = np.random.default_rng(0)
    real = rng.standard_normal((90, 6)).astype(np.float32)
    return real, (rng.standard_normal((70, 6)) * np.linspace(0.5, 1.5, 6) + 0.4).astype(np.float32)


def dense_distance(x, real):
    """The Frechet distance by a matrix root."""
    mean, covariance = x.mean(0, dtype=np.float64), np.cov(x, rowvar=False)
    root = scipy.linalg.sqrtm(covariance @ real.covariance).real
    return ((mean - real.mean) ** 2).sum() + np.trace(covariance + real.covariance - 2 * root)


def test_cmmd_is_its_definition(sets):
    real, fake = ([row / np.linalg.norm(row) for row in x.astype(np.float64)] for x in sets)
    kernel = lambda a, b: np.mean([[np.exp(-((x - y) @ (x - y)) / 200) for y in b] for x in a])
    expected = 1000 * (kernel(fake, fake) + kernel(real, real) - 2 * kernel(fake, real))
    assert kernels.cmmd(sets[1], sets[0], rows=16) == pytest.approx(expected, rel=1e-6)
    assert kernels.cmmd(sets[0], sets[0]) == pytest.approx(0, abs=1e-9)


def test_distances_to_one_reference_are_the_dense_form(sets):
    real, fake = formulas.moments([sets[0]]), sets[1]
    for x in (fake, fake[:4]):
        assert extrapolation.distance_to(real)(x) == pytest.approx(dense_distance(x, real), rel=1e-4)


def test_the_extrapolated_distance_fits_a_line(sets):
    """As dgm-eval: 15 sizes from a tenth to all, a line over 1 / N, and its value at 0."""
    real, fake = formulas.moments([sets[0]]), sets[1]
    sizes = np.linspace(7, 70, 15).astype(int)
    draws = np.random.default_rng(2020)
    values = [dense_distance(fake[draws.choice(70, size, replace=False)], real) for size in sizes]
    (expected, _), *_ = np.linalg.lstsq(np.stack([np.ones(15), 1 / sizes], 1), values, rcond=None)
    assert extrapolation.frechet_infinity(fake, real) == pytest.approx(expected, rel=1e-3)
    with pytest.raises(UserError, match="needs 30 or more samples, not 29"):
        extrapolation.frechet_infinity(fake[:29], real)


def test_extrapolation_removes_the_bias_of_few_samples():
    rng = np.random.default_rng(0)
    real, fake = (rng.standard_normal((n, 24)).astype(np.float32) for n in (20_000, 400))
    moments = formulas.moments([real])
    assert extrapolation.distance_to(moments)(fake) > 0.35
    assert abs(extrapolation.frechet_infinity(fake, moments)) < 0.1


def test_intervals_hold_the_estimate_and_shrink(sets):
    rng = np.random.default_rng(1)
    real, fake = (rng.standard_normal((n, 6)) + shift for n, shift in ((800, 0), (800, 0.3)))
    moments, widths = formulas.moments([real]), []
    for count in (100, 800):
        low, high = extrapolation.frechet_interval(fake[:count], moments)
        assert low < extrapolation.distance_to(moments)(fake[:count]) < high
        kid_low, kid_high = kernels.kernel_interval(fake[:count], real[:count])
        estimate = formulas.kernel_distance(fake[:count], real[:count]).mean
        assert kid_low < estimate < kid_high
        widths.append((high - low, kid_high - kid_low))
    assert widths[1][0] < 0.6 * widths[0][0] and widths[1][1] < 0.6 * widths[0][1]


def test_a_resample_of_a_kernel_distance_is_its_definition(sets):
    """With one drawing both ends are its value: pairs of copies are left out."""
    fake, real = sets[1], sets[0]
    low, high = kernels.kernel_interval(fake, real, resamples=1, seed=3)
    draws = np.random.default_rng(3)
    chosen = [
        np.repeat(np.arange(len(x)), draws.multinomial(len(x), np.full(len(x), 1 / len(x)))) for x in (fake, real)
    ]
    kernel = lambda x, y: (np.float64(x) @ np.float64(y) / 6 + 1) ** 3
    within = lambda x, i: np.mean([kernel(x[a], x[b]) for a in i for b in i if a != b])
    expected = within(fake, chosen[0]) + within(real, chosen[1])
    expected -= 2 * np.mean([kernel(fake[a], real[b]) for a in chosen[0] for b in chosen[1]])
    assert low == high == pytest.approx(expected, rel=1e-4)


def test_authenticity_and_rarity_are_their_definitions(sets):
    real, fake = (x.astype(np.float64) for x in sets)
    between = np.linalg.norm(real[:, None] - fake[None], axis=2)
    within = np.linalg.norm(real[:, None] - real[None], axis=2)
    np.fill_diagonal(within, np.inf)
    authentic = [within[between[:, j].argmin()].min() < between[:, j].min() for j in range(len(fake))]
    radii = np.sort(within, axis=1)[:, 2]
    rarities = [
        min((r for r, d in zip(radii, between[:, j], strict=True) if d <= r), default=np.nan) for j in range(70)
    ]
    found = memorisation.nearness(*sets, rows=16)
    assert 0.1 < found.authenticity < 0.9 and 0.1 < found.rarity_defined < 0.95
    assert found.authenticity == pytest.approx(np.mean(authentic), rel=1e-6)
    assert found.rarity == pytest.approx(np.nanmean(rarities), rel=1e-5)
    assert found.rarity_defined == pytest.approx(np.isfinite(rarities).mean(), rel=1e-6)


def test_copies_of_real_images_are_not_authentic(sets):
    copies = np.concatenate([sets[0][:35], sets[1][:35]])
    assert memorisation.nearness(sets[0], copies).authenticity <= 0.5
    assert memorisation.nearness(sets[0], sets[0]).authenticity == 0


def test_the_linear_classifier_is_scikit_learns():
    sklearn = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 300)
    x = (rng.standard_normal((300, 5)) * [1, 2, 3, 4, 0] + rng.standard_normal((4, 5))[labels] * 2).astype(np.float32)
    found = accuracy.fit(x, labels + 10)
    standard = ((x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1)).astype(np.float64)
    theirs = sklearn.LogisticRegression(C=1 / (accuracy.PENALTY * 300), tol=1e-8, max_iter=2000).fit(standard, labels)
    np.testing.assert_allclose(found.weights[:4], theirs.coef_.T[:4], atol=2e-3)
    assert (found(x) == labels + 10).mean() == pytest.approx(theirs.score(standard, labels), abs=0.01)
    with pytest.raises(UserError, match="two or more classes, not 1"):
        accuracy.fit(x, np.zeros(300, int))


def test_accuracy_scores_say_which_way(sets):
    """Samples of one class that are wrong spoil training on them, and testing on them."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 60)
    real, fake = (np.eye(3)[labels] * 6 + rng.standard_normal((180, 3)) for _ in range(2))
    fake[labels == 2] = fake[labels == 1]
    features = [Features(x.astype(np.float32), x, labels) for x in (fake, real)]
    reference = Reference("", "", formulas.moments([real]), features[1])
    found = metrics.compute(features[0], reference, ["cas"])
    assert found.by_class["classification_accuracy"][0] > 0.95 > 0.7 > found.by_class["classification_accuracy"][2]
    assert 0.6 < found.overall["classification_accuracy_reverse"] < 0.75
