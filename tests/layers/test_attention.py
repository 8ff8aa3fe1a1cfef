import jax
import numpy as np

from biggan_jax.layers.attention import SelfAttention


def naive(x, params):
    """One image [H, W, C], positions one by one."""
    h, w, c = x.shape
    project = lambda name: x.reshape(-1, c) @ np.asarray(params[name]["kernel"])[0, 0]
    pool = lambda t: t.reshape(h // 2, 2, w // 2, 2, -1).max((1, 3)).reshape(h * w // 4, -1)
    theta, phi, g = project("theta"), pool(project("phi")), pool(project("g"))
    gathered = []
    for query in theta:
        weights = np.exp(phi @ query - (phi @ query).max())
        gathered.append(weights @ g / weights.sum())
    out = np.array(gathered) @ np.asarray(params["o"]["kernel"])[0, 0]
    return x + params["gamma"] * out.reshape(h, w, c)


def test_it_equals_a_naive_loop():
    x = np.random.default_rng(0).standard_normal((2, 4, 6, 16)).astype(np.float32)
    params = SelfAttention().init(jax.random.key(0), x)["params"]
    params = {**params, "gamma": np.float32(0.7)}
    expected = np.stack([naive(image, params) for image in x])
    np.testing.assert_allclose(SelfAttention().apply({"params": params}, x), expected, atol=1e-5)


def test_it_starts_as_the_identity_and_has_no_biases():
    x = np.ones((1, 4, 4, 16), np.float32)
    variables = SelfAttention().init(jax.random.key(0), x)
    np.testing.assert_array_equal(SelfAttention().apply(variables, x), x)
    assert {name: set(p) for name, p in variables["params"].items() if name != "gamma"} == {
        name: {"kernel"} for name in ("theta", "phi", "g", "o")
    }
