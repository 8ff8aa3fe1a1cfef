import dataclasses
import functools

import jax
import numpy as np
import optax
import pytest

from biggan_jax.gradients import interleave, scatter_slice, strided_slice
from biggan_jax.penalties import gradient_penalty, orthogonal
from biggan_jax.state import init_state
from biggan_jax.train_step import to_float, train_step
from tests.conftest import (
    assert_identical,
    biases_that_feed_only_batch_norm,
    build,
    discriminate,
    fresh_state,
    generate,
    leaves,
    random_batch,
    tiny_config,
    unchanged,
    update,
    with_attention,
    with_optimizers,
)

# What the engine does with any family is tested with dense networks, since BigGAN takes XLA minutes.
DENSE_AND_BIGGAN = ["dense", pytest.param("biggan", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def updates():
    """(state before, networks after one D update, networks after one G update); both updates start from that state."""
    gan, state = build(tiny_config("dense")), fresh_state("dense")
    batch = random_batch(gan, 16)
    z_key, key = jax.random.split(jax.random.key(0))

    @jax.jit
    def both(state):
        data = {"z": gan.latents(z_key, 16)[0], "fake_label": np.arange(16) % gan.num_classes}
        data |= {"image": to_float(batch["image"][0]), "label": batch["label"][0]}
        return tuple(update(gan, state, name, data, key)[0].networks for name in ("D", "G"))

    return state, *both(state)


def test_a_discriminator_update_moves_only_the_generators_statistics(updates):
    state, after, _ = updates
    G = after["G"]
    assert_identical(G.params, state.networks["G"].params)
    assert_identical(G.opt_state, state.networks["G"].opt_state)
    assert not unchanged(state.networks["G"].stats, G.stats)
    # As long as all images are within the hinge, the gradients of the last bias, of real and fake images, cancel.
    assert unchanged(state.networks["D"].params, after["D"].params) <= {"linear.bias"}


def test_a_generator_update_moves_only_the_discriminators_statistics(updates):
    state, _, after = updates
    D = after["D"]
    assert_identical(D.params, state.networks["D"].params)
    assert_identical(D.opt_state, state.networks["D"].opt_state)
    # A projection to one number has one singular value: its u is always 1.
    u = leaves(state.networks["D"].stats)
    assert unchanged(u, D.stats) <= {name for name in u if u[name].size == 1}
    assert unchanged(state.networks["G"].params, after["G"].params) <= biases_that_feed_only_batch_norm("dense")


@pytest.fixture(scope="module")
def small():
    """(GAN with d_steps 2 and learning rates 0, its state, a batch, the state after a step, its metrics)"""
    c = tiny_config("dense")
    c.d_steps = 2
    gan = build(c)
    gan = with_optimizers(gan, G=optax.sgd(0.0), D=optax.sgd(0.0))
    state = jax.jit(lambda: init_state(gan, 0))()
    batch = random_batch(gan, 8)
    after, metrics = jax.jit(functools.partial(train_step, gan))(state, batch)
    return gan, state, batch, after, metrics


def test_u_advances_once_per_update_that_uses_its_network(small):
    gan, state, _, after, _ = small
    for before, now in ((state.networks["G"], after.networks["G"]), (state.networks["D"], after.networks["D"])):
        u = before.spectral
        for _ in range(gan.d_steps + 1):
            _, u = gan.normalize(before.params, u)
        expected = leaves(u)
        for name, value in leaves(now.spectral).items():
            np.testing.assert_allclose(value, expected[name], atol=1e-5)


def test_g_loss_uses_fresh_latents_and_the_updated_discriminator():
    gan = build(tiny_config("dense"))
    state = jax.jit(lambda: init_state(gan, 0))()
    # With learning rate 1, the discriminator's update changes the score by much.
    gan = with_optimizers(dataclasses.replace(gan, d_steps=1), D=optax.sgd(1.0))
    D = state.networks["D"]
    state = state.with_networks(D=D.replace(opt_state=gan.networks["D"].optimizer.init(D.params)))
    batch = random_batch(gan, 8)
    after, metrics = jax.jit(functools.partial(train_step, gan))(state, batch)

    def expected(D):
        g_key = jax.random.split(state.step_key(), 2)[1]
        z_key, key = jax.random.split(g_key)
        u = state.networks["G"].spectral
        for _ in range(2):
            weights, u = gan.normalize(state.networks["G"].params, u)
        z, y = gan.latents(z_key, 8)
        fake, _ = generate(gan, weights, state.networks["G"].variables["batch_stats"], z, y)
        d_weights, _ = gan.normalize(D.params, D.spectral)
        return gan.loss.generator(discriminate(gan, d_weights, fake, y, key))

    # `after` holds D's weights after its own update, but u after G's: one power step later than in G's loss.
    _, d_u = gan.normalize(state.networks["D"].params, state.networks["D"].spectral)
    updated = after.networks["D"].replace(spectral=d_u)
    score = jax.jit(expected)
    assert float(metrics["g_loss"]) == pytest.approx(float(score(updated)), rel=1e-3)
    assert float(metrics["g_loss"]) != pytest.approx(float(score(state.networks["D"])), rel=1e-1)


def test_logits_are_equal_for_joint_and_separate_real_and_fake(model):
    gan, state = model
    weights, _ = gan.normalize(state.networks["D"].params, state.networks["D"].spectral)
    draw = lambda seed: jax.random.uniform(jax.random.key(seed), (4, 16, 16, 3), minval=-1)
    (real, y), (fake, fake_y) = (draw(0), np.array([0, 1, 2, 3])), (draw(1), np.array([4, 5, 6, 7]))
    logits_of = jax.jit(lambda x, y: discriminate(gan, weights, x, y, jax.random.key(0)))
    logits = logits_of(interleave(real, fake), interleave(y, fake_y)).reshape(-1, 2).T
    for ours, expected in zip(logits, (logits_of(real, y), logits_of(fake, fake_y)), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


def test_the_average_is_a_copy_before_its_start_then_decays():
    c = tiny_config("dense")
    c.ema.decay, c.ema.start, c.d_steps = 0.9, 3, 1
    gan = build(c)
    state = jax.jit(lambda: init_state(gan, 0))()
    step = jax.jit(functools.partial(train_step, gan))
    for seed in (1, 2):
        state, _ = step(state, random_batch(gan, seed=seed))
        assert_identical(state.averages["G"], state.networks["G"].params)
    before = leaves(state.averages["G"])
    state, _ = step(state, random_batch(gan, seed=3))
    live = leaves(state.networks["G"].params)
    for name, average in leaves(state.averages["G"]).items():
        np.testing.assert_allclose(average, 0.9 * before[name] + 0.1 * live[name], atol=1e-6)


def test_pixels_span_minus_one_to_one():
    np.testing.assert_allclose(to_float(np.array([0, 255], np.uint8)), [-1, 1])


def test_a_batch_is_split_in_strides():
    parts = [strided_slice((np.arange(6), np.arange(12).reshape(6, 2)), 2, i) for i in range(2)]
    assert [part[0].tolist() for part in parts] == [[0, 2, 4], [1, 3, 5]]
    assert parts[1][1].tolist() == [[2, 3], [6, 7], [10, 11]]
    whole = scatter_slice(scatter_slice(jax.numpy.zeros(6, int), parts[0][0], 2, 0), parts[1][0], 2, 1)
    assert whole.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.fixture(scope="module", params=DENSE_AND_BIGGAN)
def accumulated(request):
    """Results of updates of D and G on a batch of 8, or on that batch with each example twice, in two microbatches."""
    c = tiny_config(request.param)
    c.model.init = "normal"  # Orthogonal weights have equal singular values, and u would not move.
    plain = build(c)
    plain = with_optimizers(plain, G=optax.sgd(1.0), D=optax.sgd(1.0))
    state = with_attention(jax.jit(lambda: init_state(plain, 0))())
    z, fake_y = plain.latents(jax.random.key(1), 8)
    batch = random_batch(plain, 8)
    x, y = to_float(batch["image"][0]), batch["label"][0]
    key = jax.random.key(0)

    def both(gan, repeats):
        data = {"image": x, "label": y, "z": z, "fake_label": fake_y}
        data = {name: np.repeat(np.asarray(a), repeats, axis=0) for name, a in data.items()}
        after, d_metrics = update(gan, state, "D", data, key)
        after, g_metrics = update(gan, after, "G", data, key)
        return after.networks["G"], after.networks["D"], d_metrics | g_metrics

    cases = {
        "whole": (plain, 1),
        "update": (dataclasses.replace(plain, microbatches=2), 2),
        "microbatch": (dataclasses.replace(plain, microbatches=2, spectral_advance="microbatch"), 2),
        "loop": (dataclasses.replace(plain, microbatches=2, loops=True), 2),
        "all": (dataclasses.replace(plain, microbatches=2, terms=(("r1", 0.1),), remat=True), 2),
        "all, in chunks": (dataclasses.replace(plain, microbatches=2, terms=(("r1", 0.1),), remat=True, d_chunks=2), 2),
        "chunks": (dataclasses.replace(plain, d_chunks=4), 1),
        "loop of chunks": (dataclasses.replace(plain, d_chunks=4, loops=True), 1),
    }
    # Each is compiled when a test asks for it: for BigGAN minutes of XLA in all.
    after = functools.cache(lambda name: jax.jit(functools.partial(both, *cases[name]))())
    return request.param, state, plain, after


def test_microbatch_gradients_average_to_that_of_the_batch(accumulated):
    *_, after = accumulated
    (G, D, metrics), (G2, D2, metrics2) = after("whole"), after("update")
    for a, b in ((G, G2), (D, D2)):
        a, b = leaves(a.params), leaves(b.params)
        for name in a:
            np.testing.assert_allclose(a[name], b[name], atol=2e-5, err_msg=name)
    assert float(metrics["g_loss"]) == pytest.approx(float(metrics2["g_loss"]), rel=1e-4)


@pytest.mark.slow  # tests/families/test_execution.py compares small networks in the quick suite.
@pytest.mark.parametrize(
    ("one", "other"), [("update", "loop"), ("whole", "chunks"), ("whole", "loop of chunks"), ("all", "all, in chunks")]
)
def test_a_loop_and_chunks_change_nothing(accumulated, one, other):
    family, _, _, after = accumulated
    for a, b in zip(after(one), after(other), strict=True):
        a, b = leaves(a), leaves(b)
        assert a.keys() == b.keys()
        for name in a:
            # Rounding of weights that a step of rate 1 has made large, most of all in jax 0.7.2. Where the true gradient is
            # zero, the computed one is pure rounding.
            if not any(name.endswith(bias) for bias in biases_that_feed_only_batch_norm(family)):
                np.testing.assert_allclose(a[name], b[name], atol=5e-5 * (1 + np.abs(a[name]).max()), err_msg=name)


def test_u_advances_once_per_update_or_per_microbatch(accumulated):
    _, state, gan, after = accumulated
    before = state.networks["G"]

    def advanced(steps):
        u = before.spectral
        for _ in range(steps):
            _, u = gan.normalize(before.params, u)
        return leaves(u)

    # G's u advances in D's update and in its own: 2 forward passes, or 2 of 2 microbatches.
    for name, steps in (("update", 2), ("microbatch", 4)):
        expected, other = advanced(steps), advanced(6 - steps)
        ours = leaves(after(name)[0].spectral)
        for array in ours:
            np.testing.assert_allclose(ours[array], expected[array], atol=1e-5, err_msg=array)
        assert any(np.abs(ours[array] - other[array]).max() > 1e-3 for array in ours)


def test_running_statistics_move_with_each_microbatch(accumulated):
    *_, after = accumulated
    whole, parts = (leaves(after(n)[0].variables["batch_stats"]) for n in ("whole", "update"))
    moved = [np.abs(parts[name] - whole[name]).max() for name in whole if "mean" in name]
    assert max(moved) > 1e-4


REMAT = [
    ("dense", "full"),
    pytest.param(("biggan", "full"), marks=pytest.mark.slow),
    pytest.param(("biggan_deep", "blocks"), marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=REMAT, ids=lambda param: "-".join(param))
def with_remat(request):
    """(state, metrics, FLOPs) of a step that keeps all activations, and of one that recomputes them."""
    family, remat = request.param
    outcomes = []
    for value in ("none", remat):
        c = tiny_config(family)
        c.remat, c.d_steps = value, 1
        gan = build(c)
        state = with_attention(jax.jit(lambda gan=gan: init_state(gan, 0))())
        batch = random_batch(gan, 32)
        lowered = jax.jit(functools.partial(train_step, gan)).lower(state, batch)
        outcomes.append((*lowered.compile()(state, batch), lowered.cost_analysis()["flops"]))
    return family, outcomes


def test_recomputed_activations_give_the_same_update(with_remat):
    family, ((kept, metrics, _), (again, more, _)) = with_remat
    for name in metrics.keys() - {"d_faults", "g_faults"}:
        assert float(metrics[name]) == pytest.approx(float(more[name]), rel=1e-5, abs=1e-6)
    for network in ("G", "D"):
        a, b = leaves(kept.networks[network].params), leaves(again.networks[network].params)
        for name in a:
            if name not in biases_that_feed_only_batch_norm(family):
                # Adam's first step has size lr for any gradient; where the gradient is rounding, its sign is arbitrary.
                assert np.mean(np.abs(a[name] - b[name])) <= 2e-6, name


def test_recomputing_activations_needs_more_flops(with_remat):
    """The memory it saves is tested in tests/plan with a TPU's compiler: XLA for CPUs undoes the recomputation."""
    _, ((_, _, kept), (_, _, again)) = with_remat
    assert 1.15 * kept < again < 1.5 * kept


def test_penalties_are_added_once_for_any_microbatches():
    c = tiny_config("dense")
    c.microbatches, c.regularizer.g_ortho = 2, 1e-2
    gan = with_optimizers(build(c), G=optax.sgd(1.0))
    state = jax.jit(lambda: init_state(gan, 0))()
    data = gan.draw(jax.random.key(1), 8)

    def updated(strength):
        gan_ = dataclasses.replace(gan, g_ortho=strength)
        return update(gan_, state, "G", data, jax.random.key(0))[0].networks["G"].params

    kernel = lambda params: np.asarray(params["linear"]["kernel"])
    expected = jax.grad(lambda params: 1e-2 * orthogonal(params))(state.networks["G"].params)
    difference = kernel(jax.jit(updated, static_argnums=0)(0.0)) - kernel(jax.jit(updated, static_argnums=0)(1e-2))
    np.testing.assert_allclose(difference, kernel(expected), atol=1e-5)


@pytest.mark.parametrize("family", DENSE_AND_BIGGAN)
def test_penalties_on_d_move_it_along_their_own_gradient(family):
    gan = with_optimizers(build(tiny_config(family)), D=optax.sgd(1.0))
    state = with_attention(jax.jit(lambda: init_state(gan, 0))())
    D = state.networks["D"]
    batch = random_batch(gan, 8)
    real = to_float(batch["image"][0]), batch["label"][0]
    data, key = {"image": real[0], "label": real[1]} | gan.draw(jax.random.key(1), 8), jax.random.key(0)

    def updated(r1, d_ortho):
        after, metrics = update(
            dataclasses.replace(gan, terms=(("r1", r1),) if r1 else (), d_ortho=d_ortho), state, "D", data, key
        )
        return after.networks["D"].params, metrics

    def penalty(params):
        weights, _ = gan.normalize(params, D.spectral)
        r1 = gradient_penalty(lambda x: discriminate(gan, weights, x, real[1], key), real[0])
        return 10 * r1 + 1e-2 * orthogonal(params)

    (plain, metrics), (penalised, more) = (
        jax.jit(functools.partial(updated, *s))() for s in ((0.0, 0.0), (10.0, 1e-2))
    )
    expected = leaves(jax.jit(jax.grad(penalty))(D.params))
    plain, penalised = leaves(plain), leaves(penalised)
    for name in expected:
        # The difference of two float32 steps of size up to 100.
        atol = 1e-4 * (1 + np.abs(plain[name]).max() + np.abs(expected[name]).max())
        np.testing.assert_allclose(plain[name] - penalised[name], expected[name], atol=atol, err_msg=name)
    assert more.keys() - metrics.keys() == {"d_r1", "d_ortho"} and float(more["d_r1"]) > 0
    assert float(more["d_loss"]) == pytest.approx(float(metrics["d_loss"]), rel=1e-5)


def test_evaluation_takes_one_power_step_for_any_iterations():
    gan, state = build(tiny_config("dense")), fresh_state("dense")
    G = state.networks["G"]
    several = dataclasses.replace(gan, spectral_iterations=3)
    noisy = jax.tree.map(lambda w: w + 0.1 * np.cos(np.arange(w.size)).reshape(w.shape), G.params)
    once, thrice = (
        several.evaluation_weights(noisy, G.spectral),
        several.normalize(noisy, G.spectral)[0],
    )
    expected = leaves(gan.normalize(noisy, G.spectral)[0])
    once, thrice = leaves(once), leaves(thrice)
    assert all(np.array_equal(once[name], expected[name]) for name in expected)
    assert any(np.abs(once[name] - thrice[name]).max() > 1e-3 for name in expected)
