import jax
import numpy as np
import pytest

from biggan_jax.evaluation import neighbours
from biggan_jax.sharding import batch_sharding, make_mesh, replicated
from biggan_jax.types import UserError

ROWS = 16  # Rows of a block: neither 50 nor 70 is a multiple of it.


@pytest.fixture(scope="module")
def sets():
    """Real and generated features that partly overlap."""
    rng = np.random.default_rng(0)
    real = rng.standard_normal((50, 4)).astype(np.float32)
    return real, (rng.standard_normal((70, 4)) * [0.5, 1.0, 1.5, 2.0] + 1).astype(np.float32)


def all_pairs(real, fake, k_precision, k_density):
    """Compute the metrics by their definitions, in float64, one sample at a time."""
    between = lambda x, y: np.linalg.norm(x[:, None].astype(np.float64) - y[None], axis=2)

    def radii(x, k):
        return [np.sort(np.delete(row, i))[k - 1] for i, row in enumerate(between(x, x))]

    d = between(real, fake)
    reals, fakes, wide = radii(real, k_precision), radii(fake, k_precision), radii(real, k_density)
    n, m = d.shape
    return neighbours.PRDC(
        precision=np.mean([any(d[i, j] <= reals[i] for i in range(n)) for j in range(m)]),
        recall=np.mean([any(d[i, j] <= fakes[j] for j in range(m)) for i in range(n)]),
        density=np.mean([sum(d[i, j] <= wide[i] for i in range(n)) for j in range(m)]) / k_density,
        coverage=np.mean([d[i].min() <= wide[i] for i in range(n)]),
    )


@pytest.mark.parametrize("k_precision, k_density", [(3, 5), (3, 2)])
def test_scores_are_those_of_the_definitions(sets, k_precision, k_density):
    found = neighbours.prdc(*sets, k_precision=k_precision, k_density=k_density, rows=ROWS)
    expected = all_pairs(*sets, k_precision, k_density)
    assert all(0.1 < value < 0.9 for value in expected)
    # Ratios of counts: no two distances are so close that float32 could swap them.
    assert found == pytest.approx(expected, rel=1e-6)


def test_features_far_from_zero_have_the_same_scores(sets):
    # Shift by a power of two; features are rounded so that the sum is exact.
    real, fake = (np.round(x * 256) / 256 for x in sets)
    near = neighbours.prdc(real, fake, rows=ROWS)
    assert neighbours.prdc(real + np.float32(8192), fake + np.float32(8192), rows=ROWS) == near


def test_a_copy_of_the_real_samples_scores_one(sets):
    found = neighbours.prdc(sets[0], sets[0].copy(), rows=ROWS)
    assert found[:2] == (1, 1) and found.coverage == 1
    # Each ball holds its own center and five others.
    assert found.density == pytest.approx(6 / 5, rel=0.02)


def test_a_collapsed_generator_is_precise_and_covers_nothing(sets):
    real = sets[0]
    found = neighbours.prdc(real, real[:1] + np.zeros((30, 1), np.float32), rows=ROWS)
    assert found.precision == 1 and found.recall <= 1 / 50 and found.coverage < 0.3


def test_samples_far_from_all_real_ones_score_zero(sets):
    assert neighbours.prdc(sets[0], sets[1] + 100, rows=ROWS) == (0, 0, 0, 0)


def test_scores_are_the_same_over_all_devices(sets):
    shared = neighbours.prdc(*sets, rows=2, mesh=make_mesh())
    assert jax.device_count() > 1
    assert shared == neighbours.prdc(*sets, rows=ROWS)


def test_distances_are_not_gathered():
    mesh = make_mesh()
    part = jax.ShapeDtypeStruct((32, 4), np.float32, sharding=batch_sharding(mesh))
    full = jax.ShapeDtypeStruct((70, 4), np.float32, sharding=replicated(mesh))
    program = neighbours.nearest_others.lower(part, full, 0, 5, mesh).compile().as_text()
    assert "f32[4,70]" in program and "all-gather" not in program


def test_too_few_samples_for_the_neighbours_are_refused(sets):
    with pytest.raises(UserError, match="6 or more samples of each kind; there are 5 real and 70 generated"):
        neighbours.prdc(sets[0][:5], sets[1])
