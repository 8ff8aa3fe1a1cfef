import jax
import numpy as np
import pytest

from biggan_jax import latents
from biggan_jax.types import UserError

draw = lambda prior, num=4000, dim_z=8: np.asarray(latents.draw(prior, jax.random.key(0), num, dim_z))


@pytest.mark.parametrize(
    ("prior", "mean", "std", "values"),
    [
        ("normal", 0, 1, None),
        ("uniform", 0, 3**-0.5, None),
        ("bernoulli", 0.5, 0.5, {0, 1}),
        ("sign", 0, 1, {-1, 1}),
        ("censored_normal", (2 * np.pi) ** -0.5, (0.5 - 1 / (2 * np.pi)) ** 0.5, None),
        ("categorical", 0, (2 / 3) ** 0.5, {-1, 0, 1}),
        ("normal*bernoulli", 0, 0.5**0.5, None),
    ],
)
def test_each_prior_has_its_mean_deviation_and_values(prior, mean, std, values):
    z = draw(prior)
    assert z.dtype == np.float32 and z.shape == (4000, 8)
    # 32,000 draws: four standard errors of a mean are 0.022 standard deviations.
    assert z.mean() == pytest.approx(mean, abs=0.022 * std)
    assert z.std() == pytest.approx(std, rel=0.03)
    assert values is None or set(np.unique(z)) == values


def test_a_censored_normal_is_nonnegative_and_half_zeros():
    z = draw("censored_normal")
    assert z.min() == 0 and np.mean(z == 0) == pytest.approx(0.5, abs=0.02)


def test_a_product_multiplies_independent_draws():
    z = draw("normal*bernoulli")
    assert np.mean(z == 0) == pytest.approx(0.5, abs=0.02)
    assert draw("normal*normal").std() == pytest.approx(1, rel=0.05), "a square would have a mean of 1"
    assert abs(draw("normal*normal").mean()) < 0.05


def test_parts_of_a_prior_get_equal_shares_in_order():
    z = draw("normal|bernoulli")
    assert set(np.unique(z[:, 4:])) == {0, 1} and len(np.unique(z[:, :4])) > 10_000


def test_uniform_stays_within_one():
    assert np.abs(draw("uniform")).max() <= 1


@pytest.mark.parametrize(
    ("kind", "deviation", "bound"),
    [
        # A normal between -t and t has variance 1 - 2 t phi(t) / (2 Phi(t) - 1): 0.2837 squared at 0.5, 0.880 squared at 2.
        ("resample", 0.2837, 0.5),
        ("scale", 0.5 * 0.880, 1.0),
        ("std", 0.5, np.inf),
    ],
)
def test_the_kinds_of_truncation_are_three_distributions(kind, deviation, bound):
    z = np.asarray(latents.draw("normal", jax.random.key(0), 4000, 8, latents.Truncation(0.5, kind)))
    assert z.std() == pytest.approx(deviation, rel=0.02)
    assert np.abs(z).max() <= bound
    assert np.abs(z).max() > min(0.95 * bound, 1.5), "values from the whole range"


def test_an_unknown_kind_of_truncation_is_refused():
    with pytest.raises(UserError, match="did you mean resample"):
        latents.draw("normal", jax.random.key(0), 1, 8, latents.Truncation(0.5, "resampled"))


def test_only_the_normal_prior_can_be_truncated():
    with pytest.raises(UserError, match="this model's is uniform"):
        latents.draw("uniform", jax.random.key(0), 1, 8, latents.Truncation(0.5))


@pytest.mark.parametrize(
    ("prior", "dim_z", "sentence"),
    [
        ("gaussian", 8, "model.prior 'gaussian' is unknown"),
        ("normal*bernouli", 8, "did you mean bernoulli"),
        ("normal|sign", 7, "has 2 parts, but model.dim_z 7 is not divisible by 2"),
        ("", 8, "model.prior '' is unknown"),
    ],
)
def test_an_unknown_or_unfit_prior_is_refused(prior, dim_z, sentence):
    with pytest.raises(UserError, match=sentence.replace("*", ".")):
        latents.check_prior(prior, dim_z)
