import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax.layers.norm import BatchNorm

X = np.random.default_rng(0).standard_normal((6, 4, 4, 3)).astype(np.float32) * 3 + 1


def test_training_normalises_by_the_batch_and_tracks_averages():
    norm = BatchNorm(eps=1e-5, momentum=0.9)
    variables = norm.init(jax.random.key(0), X, train=True)
    y, moved = norm.apply(variables, X, train=True, mutable=["batch_stats"])
    mean, var = X.mean((0, 1, 2)), X.var((0, 1, 2))
    np.testing.assert_allclose(y, (X - mean) / np.sqrt(var + 1e-5), atol=1e-5)
    np.testing.assert_allclose(moved["batch_stats"]["mean"], 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(moved["batch_stats"]["var"], 0.9 + 0.1 * X.var((0, 1, 2), ddof=1), rtol=1e-5)


def test_initialisation_does_not_move_running_statistics():
    variables = BatchNorm().init(jax.random.key(0), X, train=True)
    assert (variables["batch_stats"]["mean"] == 0).all() and (variables["batch_stats"]["var"] == 1).all()


def test_a_condition_scales_by_one_plus_its_projection():
    norm = BatchNorm(eps=1e-5)
    c = np.random.default_rng(1).standard_normal((6, 5)).astype(np.float32)
    variables = norm.init(jax.random.key(0), X, c, train=True)
    plain = (X - X.mean((0, 1, 2))) / np.sqrt(X.var((0, 1, 2)) + 1e-5)
    gain = 1 + c @ variables["params"]["gain"]["kernel"]
    offset = c @ variables["params"]["offset"]["kernel"]
    y, _ = norm.apply(variables, X, c, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(y, plain * gain[:, None, None] + offset[:, None, None], atol=2e-5)


def test_evaluation_uses_the_running_statistics():
    norm = BatchNorm(eps=1e-5)
    variables = norm.init(jax.random.key(0), X, train=True)
    variables = {**variables, "batch_stats": {"mean": jnp.full(3, 2.0), "var": jnp.full(3, 4.0)}}
    np.testing.assert_allclose(norm.apply(variables, X, train=False), (X - 2) / np.sqrt(4 + 1e-5), atol=1e-6)


def test_momentum_zero_keeps_the_last_batchs_statistics():
    norm = BatchNorm(momentum=0.0)
    variables = norm.init(jax.random.key(0), X, train=True)
    _, moved = norm.apply(variables, X, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(moved["batch_stats"]["mean"], X.mean((0, 1, 2)), rtol=1e-5)


def test_statistics_are_float32_for_bfloat16_inputs():
    x = jnp.asarray(X, jnp.bfloat16)
    norm = BatchNorm(dtype=jnp.bfloat16)
    y, moved = norm.apply(norm.init(jax.random.key(0), x, train=True), x, train=True, mutable=["batch_stats"])
    assert y.dtype == jnp.bfloat16
    assert moved["batch_stats"]["mean"].dtype == jnp.float32
    exact = np.asarray(x, np.float32).mean((0, 1, 2))
    # The relative error of a bfloat16 mean would be up to 4e-3.
    np.testing.assert_allclose(moved["batch_stats"]["mean"], 0.1 * exact, rtol=1e-5)


def test_with_classes_gains_and_offsets_are_looked_up_and_mixed():
    norm = BatchNorm(num_classes=3)
    x = np.random.default_rng(0).standard_normal((3, 4, 4, 5)).astype(np.float32)
    y = np.array([0, 2, 1], np.int32)
    variables = norm.init(jax.random.key(0), x, y, train=True)
    assert variables["params"]["gain"]["embedding"].shape == (3, 5)
    plain = BatchNorm()
    normalised, _ = plain.apply(plain.init(jax.random.key(0), x, train=True), x, train=True, mutable=["batch_stats"])
    tables = variables["params"]
    gain, offset = 1 + tables["gain"]["embedding"][y], tables["offset"]["embedding"][y]
    expected = normalised * gain[:, None, None] + offset[:, None, None]
    out, _ = norm.apply(variables, x, y, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(out, expected, atol=1e-5)
    mixed, _ = norm.apply(variables, x, np.eye(3, dtype=np.float32)[y], train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(mixed, out, atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 3), (6, 8, 3)])
@pytest.mark.parametrize("conditional", [False, True])
def test_other_ranks_equal_images_of_as_many_positions(shape, conditional):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32) * 3 + 1
    image = x.reshape(6, -1, 1, 3)
    c = np.random.default_rng(1).standard_normal((6, 5)).astype(np.float32) if conditional else None
    norm = BatchNorm()
    variables = norm.init(jax.random.key(0), x, c, train=True)
    y, moved = norm.apply(variables, x, c, train=True, mutable=["batch_stats"])
    expected, expected_moved = norm.apply(variables, image, c, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(y, expected.reshape(shape), atol=1e-5)
    for name in ("mean", "var"):
        np.testing.assert_allclose(moved["batch_stats"][name], expected_moved["batch_stats"][name], rtol=1e-5)
    evaluated = norm.apply({**variables, **moved}, x, c, train=False)
    np.testing.assert_allclose(
        evaluated, norm.apply({**variables, **moved}, image, c, train=False).reshape(shape), atol=1e-5
    )


@pytest.mark.parametrize("group", [1, 2, 3, 6])
def test_groups_of_images_are_normalised_apart(group):
    norm = BatchNorm(eps=1e-5, momentum=0.9, group=group)
    c = np.random.default_rng(1).standard_normal((6, 5)).astype(np.float32)
    variables = norm.init(jax.random.key(0), X, c, train=True)
    y, moved = norm.apply(variables, X, c, train=True, mutable=["batch_stats"])
    groups = X.reshape(-1, group, *X.shape[1:])
    mean, var = groups.mean((1, 2, 3)), groups.var((1, 2, 3))
    plain = ((groups - mean[:, None, None, None]) / np.sqrt(var + 1e-5)[:, None, None, None]).reshape(X.shape)
    gain, offset = 1 + c @ variables["params"]["gain"]["kernel"], c @ variables["params"]["offset"]["kernel"]
    np.testing.assert_allclose(y, plain * gain[:, None, None] + offset[:, None, None], atol=2e-5)
    np.testing.assert_allclose(moved["batch_stats"]["mean"], 0.1 * mean.mean(0), atol=1e-6)
    unbiased = groups.var((1, 2, 3), ddof=1).mean(0)
    np.testing.assert_allclose(moved["batch_stats"]["var"], 0.9 + 0.1 * unbiased, rtol=1e-5)


def loss_of_groups(x, group):
    norm = BatchNorm(eps=1e-5, group=group)
    variables = norm.init(jax.random.key(0), x, train=True)
    y, moved = norm.apply(variables, x, train=True, mutable=["batch_stats"])
    weights = jnp.arange(y.size, dtype=jnp.float32).reshape(y.shape) % 7
    return (weights * jnp.tanh(y)).sum(), moved["batch_stats"]


def test_gradients_of_groups_are_those_of_each_alone():
    gradient = jax.jit(jax.grad(lambda x: loss_of_groups(x, 3)[0]))(X)
    weights = (np.arange(X.size, dtype=np.float32) % 7).reshape(X.shape)

    def alone(x, w):
        mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
        return (w * jnp.tanh((x - mean) / jnp.sqrt(var + 1e-5))).sum()

    expected = [jax.grad(alone)(jnp.asarray(X[i : i + 3]), weights[i : i + 3]) for i in (0, 3)]
    np.testing.assert_allclose(gradient, np.concatenate(expected), atol=2e-5)


@pytest.mark.parametrize("group", [2, 8])
def test_groups_are_the_same_on_one_and_eight_devices(group):
    x = np.random.default_rng(0).standard_normal((16, 4, 4, 3)).astype(np.float32)
    one = jax.jit(jax.value_and_grad(lambda x: loss_of_groups(x, group), has_aux=True))
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:8]), ("data",))
    sharded = jax.device_put(x, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data")))
    for a, b in zip(jax.tree.leaves(one(x)), jax.tree.leaves(one(sharded)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    # Groups within a device need no exchange of images.
    text = one.lower(sharded).compile().as_text()
    assert group == 8 or ("all-gather" not in text and "all-to-all" not in text and "collective-permute" not in text)
