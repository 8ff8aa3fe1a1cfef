"""Text to image: its networks, the text encoder, the three terms of D's loss, and embeddings between captions."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax import config as configs
from biggan_jax import schedules
from biggan_jax.config.loading import load
from biggan_jax.data.captions import encode
from biggan_jax.family import Moving, Nets
from biggan_jax.models import build_gan
from biggan_jax.models.text_to_image import ImageEncoder, TextEncoder
from biggan_jax.state import init_shapes, init_state
from biggan_jax.types import UserError
from tests.conftest import leaves, random_batch

SMALL = {
    "batch_size": 4,
    "model.image_shape": (8, 8, 3),
    "model.ch": 4,
    "model.d_ch": 4,
    "model.text_dim": 3,
    "model.dim_z": 3,
    "model.text_length": 9,
    "model.embed_dim": 5,
    "model.text_ch": 4,
}


def config_of(preset="text_to_image32", **changes):
    c = load(f"classic/{preset}")
    c.update_from_flattened_dict(SMALL | changes if preset == "text_to_image32" else changes)
    configs.validate(c)
    return c


@pytest.fixture(scope="module")
def small():
    """(family, fresh state, batch of an update) of small networks with a text encoder."""
    gan = build_gan(config_of())
    state = jax.jit(lambda: init_state(gan, 0))()
    batch = {name: jnp.asarray(x[0]) for name, x in random_batch(gan, 4).items()}
    batch["image"] = batch["image"] / 127.5 - 1
    return gan, state, batch | gan.draw_for_g(jax.random.key(1), 4)


def counts(c):
    state = init_shapes(build_gan(c))
    return {name: sum(x.size for x in jax.tree.leaves(network.params)) for name, network in state.networks.items()}


def test_networks_have_the_published_numbers_of_parameters():
    assert counts(config_of("text_to_image64")) == {"G": 18_909_699, "D": 4_032_321}
    coco = config_of("text_to_image64", **{"model.ch": 196, "model.d_ch": 196})
    assert counts(coco) == {"G": 41_107_551, "D": 36_190_557}


def test_feature_maps_have_the_paper_s_shapes():
    gan = build_gan(config_of("text_to_image64"))
    seen = {}

    def keep(next_function, args, kwargs, context):
        out = next_function(*args, **kwargs)
        if len(context.module.path) == 1:
            seen.setdefault(context.module.name, out.shape[1:])
        return out

    def shape_of(name, x):
        with nn.intercept_methods(keep):
            module, y = gan.networks[name].module, jnp.zeros((1, 1024))
            return jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), x, y, train=True)[0]).shape

    assert shape_of("G", jnp.zeros((1, 100))) == (1, 64, 64, 3) and shape_of("D", jnp.zeros((1, 64, 64, 3))) == (1,)
    assert seen["residual_0"] == (4, 4, 1024) and seen["residual_1"] == (8, 8, 512) and seen["conv_3"] == (32, 32, 128)
    assert seen["residual_4"] == (4, 4, 512) and seen["conv_text"] == (4, 4, 512) and seen["text_bn"] == (128,)


def test_initial_weights_are_the_authors_and_biases_stay_zero(small):
    gan, state, _ = small
    for name in "GD":
        params = leaves(state.networks[name].params)
        kernels = np.concatenate([x.ravel() for path, x in params.items() if path.endswith("kernel")])
        gains = np.concatenate([x.ravel() for path, x in params.items() if path.endswith("gain")])
        assert kernels.std() == pytest.approx(0.02, rel=0.05) and kernels.mean() == pytest.approx(0, abs=0.002)
        assert gains.std() == pytest.approx(0.02, rel=0.6) and gains.mean() == pytest.approx(1, abs=0.02)
    moved = jax.tree.map(jnp.ones_like, state.networks["D"].params)
    kept = leaves(gan.networks["D"].constrain(moved))
    biases = {path: x.max() for path, x in kept.items() if path.endswith("bias")}
    assert biases.pop("text.bias") == 1 and set(biases.values()) == {0.0} and len(biases) == 6
    assert all(x.min() == 1 for path, x in kept.items() if not path.endswith("bias"))


def test_an_embedding_depends_on_the_text_alone():
    module = TextEncoder(embed_dim=6, ch=4)
    texts = ["a red flag", "A Red FLAG", "a red flap", "flag a red", "é"]
    params = jax.jit(module.init)(jax.random.key(0), encode(texts, 12))
    apply = jax.jit(module.apply)
    short, long = (np.asarray(apply(params, encode(texts, length))) for length in (11, 40))
    np.testing.assert_allclose(short, long, rtol=1e-5, atol=1e-6, err_msg="zeros behind a text change nothing")
    np.testing.assert_allclose(np.square(long).mean(-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(short[0], short[1])
    assert min(np.abs(long[0] - long[i]).max() for i in (2, 3, 4)) > 1e-3


def test_captions_of_an_image_are_averaged_without_absent_ones(small):
    gan, state, _ = small
    weights = {name: network.params for name, network in state.networks.items()}
    conditions = jax.jit(gan.conditions)
    of = lambda y: np.asarray(conditions(weights, y))
    one, two = encode(["ab", "c"], 9), encode(["de", "fgh"], 9)
    mean = (of(one) + of(two)) / 2
    np.testing.assert_allclose(of(np.stack([one, two], axis=1)), mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(of(np.stack([one, 0 * one], axis=1)), of(one), rtol=1e-5, atol=1e-6)
    numbers = np.arange(20, dtype=np.float32).reshape(2, 2, 5)
    np.testing.assert_array_equal(of(numbers), numbers.mean(1))
    np.testing.assert_array_equal(of(numbers[:, 0]), numbers[:, 0])


class Fixed(Nets):
    """Networks whose D returns what a function of (image, embedding) says, and G the mean of z and of the embedding."""

    def __init__(self, gan, d):
        super().__init__(gan, {}, Moving({"D": {"batch_stats": 1}}, {}), jax.random.key(0))
        self._d = d

    def __call__(self, name, *args, keep=True):
        if name == "G":
            return jnp.zeros((len(args[1]), 8, 8, 3)) + args[1].mean(-1)[:, None, None, None]
        return self._d(*args)


def test_d_has_three_terms_and_wrong_pairs_are_other_captions():
    c = config_of(**{"model.embed_dim": 2})
    gan = build_gan(c)
    y = jnp.asarray([[0.0, 0], [1, 1], [1, 1], [2, 2]])
    x = jnp.zeros((4, 8, 8, 3)) + y[:, 0, None, None, None]
    # 3 for a match of a real image, -1 for a mismatch, 0.5 for what is not real.
    d = lambda x, y: jnp.where(x.min((1, 2, 3)) < 0, 0.5, jnp.where(x[:, 0, 0, 0] == y[:, 0], 3.0, -1.0))
    batch = {"image": x, "label": y, "z": jnp.zeros((4, 3)), "fake_label": jnp.zeros((4, 1, 9), jnp.int32)}
    gan_of = lambda **fields: build_gan(config_of(**{"model.embed_dim": 2} | fields))
    nets = Fixed(gan, d)
    nets_g = lambda: Fixed(gan, lambda x, y: d(x, y))
    softplus = lambda t: float(jax.nn.softplus(t))
    # The fakes are at the embedding's mean, so D takes them for matches: 3.
    loss, metrics = gan.discriminator_loss(nets, batch, jax.random.key(0))
    # Neighbours 1 and 2 have one caption, so the pair of image 2 is no mismatch and is left out.
    assert float(metrics["d_wrong"]) == -1 and float(metrics["d_loss_wrong"]) == pytest.approx(softplus(-1.0))
    expected = softplus(-3.0) + 0.5 * softplus(3.0) + 0.5 * softplus(-1.0)
    assert float(loss) == pytest.approx(expected, rel=1e-5) and float(metrics["d_loss"]) == pytest.approx(
        expected, rel=1e-5
    )
    plain, _ = gan_of(**{"model.wrong": 0.0}).discriminator_loss(nets_g(), batch, jax.random.key(0))
    assert float(plain) == pytest.approx(softplus(-3.0) + softplus(3.0), rel=1e-5)


def test_g_also_draws_between_two_captions():
    y = jnp.asarray([[0.0, 2], [4, 6], [1, 1], [3, 3]])
    batch = {"label": y, "fake_label": jnp.zeros((4, 1, 9), jnp.int32)}
    batch |= {"z": jnp.zeros((4, 3)), "z_between": jnp.zeros((4, 3))}
    seen = []

    def d(x, y):
        seen.append(np.asarray(y))
        return jnp.full(len(y), 2.0 * len(y))

    losses = {}
    for weight in (0.0, 1.0, 2.0):
        gan = build_gan(config_of(**{"model.embed_dim": 2, "model.interpolated": weight}))
        losses[weight] = float(gan.generator_loss(Fixed(gan, d), batch, jax.random.key(0))[0])
    np.testing.assert_array_equal(seen[2], [[2, 4], [2, 2]])
    of_all, of_half = float(jax.nn.softplus(-8.0)), float(jax.nn.softplus(-4.0))
    assert list(losses.values()) == pytest.approx([of_all, of_all + of_half, of_all + 2 * of_half], rel=1e-4)


def test_the_joint_loss_takes_no_equal_caption_for_wrong(small):
    gan, _, batch = small

    class Same(Fixed):
        def __call__(self, name, *args, keep=True):
            one = jnp.eye(5)[jnp.asarray([0, 0, 1, 2])]
            return one * (1 if name == "V" else 3.0)

    label = jnp.asarray(encode(["a", "a", "b", "c"], 9))[:, None]
    loss_of = jax.jit(lambda label: gan.joint_loss(Same(gan, None), batch | {"label": label}, jax.random.key(0)))
    loss, metrics = loss_of(label)
    # Each row has its own at 10 and two others at 0, or three.
    rows = [np.log(np.exp(10) + 2) - 10] * 2 + [np.log(np.exp(10) + 3) - 10] * 2
    assert float(loss) == pytest.approx(np.mean(rows), rel=1e-2) and float(metrics["text_accuracy"]) == 1
    label = jnp.asarray(encode(["a", "d", "b", "c"], 9))[:, None]
    assert float(loss_of(label)[0]) > 0.3


def test_the_text_encoder_learns_for_as_many_steps_as_asked():
    update = lambda steps: build_gan(config_of(**{"model.text_steps": steps})).updates()[0]
    assert update(0).always and update(0).trains == ("T", "V") and update(0).prefix == "text"
    assert [bool(update(3).runs_in(jnp.int32(step))) for step in (0, 2, 3)] == [True, True, False]
    embed = lambda x: ImageEncoder(8, 5, 4).init_with_output(jax.random.key(0), x)[0]
    assert jax.eval_shape(embed, jnp.ones((1, 8, 8, 3))).shape == (1, 5)


def test_the_paper_s_rates_halve_every_hundred_epochs():
    c = config_of("text_to_image64")
    rate = schedules.learning_rate(c, 2e-4, 1)
    epoch = 8855 / 64
    assert [float(rate(int(n * epoch))) for n in (0, 99, 101, 250, 599)] == [1, 1, 0.5, 0.25, 0.5**5]
    assert c.num_steps == round(600 * epoch, -3)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"loss": "relativistic_pairs"}, "has no term for wrong captions; use non_saturating"),
        (
            {"condition.labels": "real"},
            "condition.labels=real has no effect: each generated image has a real one's caption",
        ),
        ({"g_batch": 2}, "g_batch=2 has no effect"),
        ({"batch_size": 1}, "model.interpolated needs two captions in a batch"),
        ({"model.condition_dim": 7}, "model.text_length=9 has no effect: embeddings come with the data"),
        ({"model.image_shape": (8, 16, 3)}, "these networks make square images"),
        ({"d_chunks": 2}, "D has statistics of its batch"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, why):
    with pytest.raises(UserError, match=why):
        build_gan(config_of(**changes))
