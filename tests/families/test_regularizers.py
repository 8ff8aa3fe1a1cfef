"""What is added to the losses of D and G: on dense networks, each against its formula."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biggan_jax import config as configs
from biggan_jax import penalties
from biggan_jax.conditioning import Output, direction
from biggan_jax.models import build_gan, idle
from biggan_jax.models.heads import Head
from biggan_jax.models.wgan import g_runs
from biggan_jax.regularizers import TERMS, LatentConsistency, LatentStep, LeCam, TopK
from biggan_jax.stability.signals import logits_and_features
from biggan_jax.state import init_shapes, init_state
from biggan_jax.train_step import train_step
from biggan_jax.types import UserError
from tests.conftest import leaves, nets_of
from tests.families.minimal import SHAPE, pair
from tests.variants import further_slow

CLASSES = 5


def section():
    return {"image_shape": SHAPE, "num_classes": CLASSES, "dim_z": 4, "prior": "uniform"}


@pytest.fixture(scope="module")
def plain():
    """(a GAN of dense networks, its state, a batch of 8 with latents)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(configs.SECTIONS, "small", section)
        gan = pair(configs.base("small"), None)
    state = init_state(gan, 0)
    data = gan.draw(jax.random.key(1), 8) | {
        "image": jax.random.uniform(jax.random.key(2), (8, *SHAPE), minval=-1),
        "label": jnp.arange(8) % CLASSES,
    }
    return gan, state, data


def losses(plain, network, extra=None, step=0, **fields):
    """(D's or G's loss with these fields of the GAN, its metrics, the nets after it)."""
    gan, state, data = plain
    gan = dataclasses.replace(gan, **fields)
    nets = nets_of(gan, **{name: (n.params, n.variables) for name, n in state.networks.items()})
    nets.extra, nets.step = dict(gan.initial_extra() if extra is None else extra), step
    loss = gan.discriminator_loss if network == "D" else gan.generator_loss
    value, metrics = loss(nets, data, jax.random.key(3))
    return float(value), {name: float(metric) for name, metric in metrics.items()}, nets


@pytest.mark.parametrize("name", TERMS)
def test_each_term_is_added_with_its_strength(plain, name):
    before, *_ = losses(plain, "D")
    after, metrics, _ = losses(plain, "D", terms=((name, 3.0),))
    assert metrics[f"d_{name}"] > 0
    assert after == pytest.approx(before + 3 * metrics[f"d_{name}"], rel=1e-5)


def test_any_number_of_terms_is_added(plain):
    before, *_ = losses(plain, "D")
    after, metrics, _ = losses(plain, "D", terms=tuple((name, 2.0) for name in TERMS))
    assert after == pytest.approx(before + 2 * sum(metrics[f"d_{name}"] for name in TERMS), rel=1e-5)
    # Each term draws as if it were alone.
    for name in TERMS:
        assert losses(plain, "D", terms=((name, 1.0),))[1][f"d_{name}"] == pytest.approx(metrics[f"d_{name}"], rel=1e-5)


def test_penalties_see_the_images_and_labels_of_their_side(plain):
    gan, state, data = plain
    nets = nets_of(gan, **{name: (n.params, n.variables) for name, n in state.networks.items()})
    fake = nets("G", data["z"], data["fake_label"])
    sides = {"r1": (data["image"], data["label"]), "r2": (fake, data["fake_label"])}
    for name, (x, y) in sides.items():
        expected = penalties.gradient_penalty(lambda x, y=y: nets("D", x, y), x)
        assert losses(plain, "D", terms=((name, 1.0),))[1][f"d_{name}"] == pytest.approx(float(expected), rel=1e-5)


def test_apart_real_and_fake_images_share_augmentation_with_penalties(plain):
    """R1 and R2 are of D at the very images that the loss sees, so that XLA computes each forward pass once."""
    gan, state, data = plain
    gan = dataclasses.replace(gan, apart=True, augment_policy=("translation",), terms=(("r1", 1.0), ("r2", 1.0)))
    nets = nets_of(gan, **{name: (n.params, n.variables) for name, n in state.networks.items()})
    seen = []
    object.__setattr__(gan, "discriminate", lambda nets, x, y, key, **_: seen.append(key) or nets("D", x, y))
    gan.discriminator_loss(nets, data, jax.random.key(3))
    real, fake, r1, r2 = map(jax.random.key_data, seen)
    assert (real == r1).all() and (fake == r2).all() and (real != fake).any()


def test_lazy_penalties_run_apart_times_their_interval(plain):
    gan, state, data = plain
    terms = (("r1", 2.0), ("cr", 3.0))
    _, metrics, _ = losses(plain, "D", terms=terms, every=4)
    assert "d_cr" in metrics and "d_r1" not in metrics
    lazy = dataclasses.replace(gan, terms=terms, every=4)
    update = lazy.updates()[-2]
    assert (update.trains, update.every, update.prefix) == (("D",), 4, "d_lazy")
    nets = nets_of(lazy, **{name: (n.params, n.variables) for name, n in state.networks.items()})
    apart, seen = update.loss(nets, data, jax.random.key(3))
    assert float(apart) == pytest.approx(4 * lazy.d_steps * 2 * float(seen["d_r1"]), rel=1e-6)
    assert [u.prefix for u in dataclasses.replace(gan, terms=(("cr", 3.0),), every=4).updates()] == ["d", "d", "g"]


def test_lecam_moves_its_anchors_and_acts_after_its_start(plain):
    lecam = LeCam(strength=0.5, decay=0.9, start=10)
    before, metrics, _ = losses(plain, "D")
    anchors = {"lecam": {"real": jnp.float32(3), "fake": jnp.float32(-3)}}
    early, _, nets = losses(plain, "D", lecam=lecam, extra=anchors, step=9)
    assert early == pytest.approx(before) and float(nets.extra["lecam"]["real"]) == pytest.approx(metrics["d_real"])
    late, seen, nets = losses(plain, "D", lecam=lecam, extra=anchors, step=11)
    real = 0.9 * 3 + 0.1 * metrics["d_real"]
    assert float(nets.extra["lecam"]["real"]) == pytest.approx(real, rel=1e-5)
    assert late == pytest.approx(before + seen["d_lecam"], rel=1e-5) and seen["d_lecam"] > 0


def test_latent_consistency_pulls_d_together_and_g_apart(plain):
    zcr = LatentConsistency(d=20.0, g=0.5, radius=0.05)
    for network, weight, name in (("D", 20.0, "d_zcr"), ("G", -0.5, "g_zcr")):
        before, *_ = losses(plain, network)
        after, metrics, _ = losses(plain, network, zcr=zcr)
        assert metrics[name] > 0 and after == pytest.approx(before + weight * metrics[name], rel=1e-4)


def test_a_latent_step_follows_the_gradient_and_is_clipped():
    z = jnp.array([[0.5, -0.5], [0.9, 0.0]])
    step = LatentStep(alpha=0.9, beta=0.1, rate=1.0, cost=2.0)
    moved, cost = step.moved(lambda z: z @ jnp.array([3.0, 0.0]), z, jax.random.key(0))
    size = 0.9 * 3 / (0.1 + 9)
    np.testing.assert_allclose(moved, [[0.5 + size, -0.5], [1.0, 0.0]], rtol=1e-6)
    assert float(cost) == pytest.approx(2 * size**2, rel=1e-6)
    kept, _ = step._replace(rate=1e-9).moved(lambda z: z.sum(1), z, jax.random.key(0))
    np.testing.assert_array_equal(kept, z)


def test_latent_steps_raise_what_d_says_of_fake_images(plain):
    before, after = (losses(plain, "D", logan=step)[1]["d_fake"] for step in (None, LatentStep(0.1, 0.1, 1.0, 0.0)))
    assert after > before


def test_top_k_takes_the_mean_of_the_most_real(plain):
    gan, state, data = plain
    nets = nets_of(gan, **{name: (n.params, n.variables) for name, n in state.networks.items()})
    logits = np.sort(nets("D", nets("G", data["z"], data["fake_label"]), data["fake_label"]))
    for step, k in ((0, 8), (10, 6), (20, 4), (1000, 4)):  # 8 images, times 0.75, times 0.75 (4.5), at least half.
        value, *_ = losses(plain, "G", top_k=TopK(0.75, 0.5, 10), step=step)
        assert value == pytest.approx(-logits[-k:].mean(), rel=1e-5), step


def test_more_images_for_g_than_for_d():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(configs.SECTIONS, "small", section)
        c = configs.base("small")
    c.g_batch = 2
    gan = pair(c, None)
    d, g = (update.draw(jax.random.key(0), 8) for update in (gan.updates()[0], gan.updates()[-1]))
    assert len(d["z"]) == 8 and len(g["z"]) == 16


@pytest.mark.parametrize(("labels", "of"), [("uniform", ""), ("real", "D"), ("paired", "DG")])
def test_fake_images_may_have_the_labels_of_real_ones(plain, labels, of):
    gan, state, data = plain
    gan = dataclasses.replace(gan, labels=labels)
    nets = nets_of(gan, **{name: (n.params, n.variables) for name, n in state.networks.items()})
    for network, shown in (("D", gan.shown_to_d), ("G", gan.shown_to_g)):
        expected = data["label"] if network in of else data["fake_label"]
        np.testing.assert_array_equal(shown(nets, data, jax.random.key(0))[0].fake_label, expected)


def test_gs_update_may_compare_with_real_images_of_its_own(plain):
    gan = dataclasses.replace(plain[0], d_steps=2, terms=(("r1", 1.0),), every=4)
    minibatches = lambda gan: [range(gan.minibatches)[update.minibatch] for update in gan.updates()]
    assert minibatches(gan) == [0, 1, 1, 1]
    assert minibatches(dataclasses.replace(gan, g_real="own")) == [0, 1, 1, 2]


def test_gradient_penalties_may_see_images_without_augmentation(plain):
    gan, state, data = plain
    nets = nets_of(gan, **{name: (n.params, n.variables) for name, n in state.networks.items()})
    expected = penalties.gradient_penalty(lambda x: nets("D", x, data["label"]), data["image"])
    value = lambda **more: losses(plain, "D", terms=(("r1", 1.0), ("cr", 1.0)), **more)[1]
    augmented, plainly = (value(augment_policy=("translation",), penalties_see=see) for see in ("augmented", "plain"))
    assert plainly["d_r1"] == pytest.approx(float(expected), rel=1e-5) != augmented["d_r1"]
    assert plainly["d_cr"] == augmented["d_cr"]


def test_dequantized_images_are_within_a_grey_level(plain):
    gan, _, _ = plain
    pixels = np.arange(256, dtype=np.float32)
    batch = {"image": jnp.asarray(pixels / 127.5 - 1).reshape(1, 16, 16, 1)}
    noise = (dataclasses.replace(gan, dequantize=True)._real(batch, jax.random.key(0)).reshape(-1) + 1) * 128 - pixels
    assert -1e-3 < noise.min() < 0.1 and 0.9 < noise.max() < 1 + 1e-3


BIGGAN = {"model__resolution": 32, "model__num_classes": 4, "model__g_attention": (16,), "model__d_attention": (16,)}


def built(family, **changes):
    c = configs.base(family)
    c.update_from_flattened_dict({name.replace("__", "."): value for name, value in changes.items()})
    return build_gan(c)


@pytest.mark.parametrize(
    ("family", "changes", "sentence"),
    [
        ("sngan", {"condition__d": "ac"}, "condition.d=ac needs classes"),
        ("sngan", {"loss": "multi_hinge"}, "loss=multi_hinge and condition.d=projection do not fit"),
        ("sngan", {"condition__d": "multi_hinge", "model__num_classes": 4}, "do not fit"),
        ("sngan", {"regularizer__logan": 0.9}, "model.prior is normal; use uniform"),
        ("sngan", {"loss": "relativistic_pairs", "g_batch": 2}, "use g_batch=1"),
        (
            "sngan",
            {"condition__labels": "paired", "g_batch": 2},
            "paired gives each fake image a real one's; use g_batch=1",
        ),
        ("sngan", {"g_real": "own"}, "g_real=own has no effect: G's loss compares with no real images"),
        (
            "sngan",
            {"regularizer__see": "plain", "regularizer__r1": 1.0},
            "without a gradient penalty and augment.policy",
        ),
        ("sngan", {"loss": "relativistic_average", "regularizer__top_k": 0.9}, "top_k needs a loss of single images"),
        ("gan", {"regularizer__logan": 0.9}, "model.prior is uniform_unit; use uniform"),
        (
            "gan",
            {"regularizer__feature_matching": 1.0},
            "^regularizer.feature_matching=1: D of model.family gan has no head for classes or features here; leave it",
        ),
        (
            "cgan",
            {"model__num_classes": 4, "condition__d": "ac", "loss": "multi_hinge"},
            "^condition.d=ac, loss=multi_hinge: D of model.family cgan has no head .*; leave them",
        ),
        ("wgan_gp", {"model__form": "good", "model__image_shape": (64, 64, 3), "condition__d": "none"}, "has no head"),
        ("sngan", {"regularizer__every": 16}, "regularizer.every=16 has no effect without a gradient penalty"),
        ("sngan", {"regularizer__lecam_start": 5}, "lecam_start=5 has no effect without regularizer.lecam"),
        ("sngan", {"condition__temperature": 0.5}, "temperature=0.5 has no effect without condition.d contrastive"),
        ("sngan", {"condition__normalize": True}, "normalize=True has no effect without condition.d=ac"),
        ("sngan", {"optimizer__momentum": 0.5}, "momentum=0.5 has no effect without optimizer.name=sgd"),
        ("sngan", {"optimizer__decay_end": 9}, "decay_end=9 has no effect without optimizer.decay=linear"),
        ("sngan", {"optimizer__decay": "exponential"}, "decay_factor below 1"),
        ("sngan", {"regularizer__clip": 0.01}, "clip bounds weights that spectral normalisation scales again"),
        ("sngan", {"model__num_classes": 4, "model__condition_dim": 2}, "are two conditions"),
        (
            "sngan",
            {"model__d_skip_relu": True, "model__d_batch_norm": True},
            "d_skip_relu is of a D without batch norm",
        ),
        ("sngan", {"remat": "blocks"}, "remat=blocks: model.family sngan"),
        ("gan", {"dtype": "bfloat16"}, "gan computes in float32 alone"),
        ("gan", {"model__image_shape": (28, 28)}, "is neither .height, width, channels. nor .n,."),
        ("gan", {"model__image_shape": (0,)}, "is neither"),
        ("sngan", {"model__g_attention": (48,)}, "48 is no size of G's feature maps, which are 8, 16, 32"),
        ("sagan", {"model__ch": 1}, "model.ch 1 is too small for attention at 32"),
        ("wgan", {}, "wgan needs loss=wasserstein and regularizer.clip above 0"),
        ("sngan", {"regularizer__max_gp": 1.0, "d_chunks": 2}, "regularizer.max_gp is not a mean over images"),
        ("sngan", {"regularizer__lecam": 1.0, "d_chunks": 2}, "LeCam.*need whole batches"),
        ("sngan", {"model__image_shape": (32, 20, 3)}, "the width must be a multiple of 8"),
        ("sngan", {"model__image_shape": (33, 32, 3)}, "the height in model.image_shape 33 is unknown"),
        (
            "sngan",
            {"optimizer__decay": "linear", "optimizer__decay_start": 9},
            "needs optimizer.decay_end",
        ),
        ("sagan", {"model__g_attention": (48,)}, "48 is no size of G's feature maps, which are 8, 16, 32, 64, 128"),
        ("gan", {"model__image_shape": (2,), "regularizer__cr": 1.0}, "but the data are vectors"),
        ("gan", {"model__image_shape": (2,), "augment__policy": ("colour",)}, "but the data are vectors"),
        ("gan", {"model__image_shape": (2,), "data__dequantize": True}, "but the data are vectors"),
        ("cgan", {}, "cgan is conditional: set model.num_classes"),
        ("dcgan", {"model__image_shape": (48, 48, 3)}, "images of 8, 16, 32, 64, ... pixels, not of 48"),
        ("dcgan", {"model__image_shape": (64, 32, 3)}, "these networks make square images"),
        ("dcgan", {"model__num_classes": 4}, "form=torch has no condition"),
        ("dcgan", {"model__form": "deep_conv"}, "deep_conv makes images of 32 pixels, not of 64"),
        ("dcgan", {"model__form": "conditional"}, "needs a condition: set model.num_classes above 0"),
        ("wgan", {"model__image_shape": (2,), "loss": "wasserstein", "regularizer__clip": 0.01}, "make square images"),
        ("wgan_gp", {"model__form": "toy", "model__num_classes": 4}, "form=toy has no condition"),
        ("wgan_gp", {"model__form": "good"}, "good makes images of 64 pixels, not of 32"),
    ],
)
def test_parts_that_do_not_fit_are_refused_in_a_sentence(family, changes, sentence):
    with pytest.raises(UserError, match=sentence):
        built(family, **changes)


def test_each_key_that_needs_another_is_refused_without_it():
    unconditional, head = configs.base("sngan"), Head("none")
    idle.refuse(unconditional, head)
    for key in (key for needs in idle.NEEDS for key in needs.keys):
        c = unconditional.copy_and_resolve_references()
        section, name = key.split(".")
        before = c[section][name]
        c[section][name] = not before if isinstance(before, bool) else before + ("x" if isinstance(before, str) else 1)
        with pytest.raises(UserError, match=f"{key}=.* has no effect without"):
            idle.refuse(c, head)


@pytest.mark.parametrize(
    ("family", "changes"),
    further_slow([
        ("sngan", {"model__num_classes": 4, "condition__d": "d2dce"}),
        ("sngan", {"model__num_classes": 4, "condition__d": "multi_hinge", "loss": "multi_hinge"}),
        ("sngan", {"model__condition_dim": 3}),
        ("sngan", {"model__image_shape": (32, 48, 2)}),
        ("dcgan", {"model__form": "deep_conv", "model__image_shape": (32, 32, 1), "model__condition_dim": 2}),
        ("dcgan", {"model__form": "conditional", "model__image_shape": (8, 12, 5), "model__num_classes": 3}),
        ("cgan", {"model__image_shape": (7,), "model__condition_dim": 2}),
        ("biggan", BIGGAN | {"condition__d": "contrastive"}),
    ], quick=(0, 3, 6)),
)  # fmt: skip
def test_conditions_and_shapes_pass_through_a_step(family, changes):
    gan = built(family, batch_size=8, d_steps=1, **changes)
    state = init_shapes(gan)
    image = jax.ShapeDtypeStruct((1, 8, *gan.image_shape), "uint8" if len(gan.image_shape) == 3 else "float32")
    vector = gan.condition.kind == "vector"
    label = jax.ShapeDtypeStruct((1, 8, gan.condition.size) if vector else (1, 8), "float32" if vector else "int32")
    after, metrics = jax.eval_shape(lambda s, b: train_step(gan, s, b), state, {"image": image, "label": label})
    assert jax.tree.map(lambda x: x.shape, after) == jax.tree.map(lambda x: x.shape, state)
    assert ("g_classes" in metrics) == (gan.classes.g > 0)


def test_feature_matching_needs_features_of_d():
    gan = built("sngan", model__ch=1, regularizer__feature_matching=1.0)
    out = gan.networks["D"].module
    shapes = jax.eval_shape(lambda: out.init_with_output(jax.random.key(0), jnp.zeros((2, 32, 32, 3)), None)[0])
    assert isinstance(shapes, Output) and shapes.features.shape == (2, 2)


def test_weights_are_clipped_at_the_start_and_after_each_update():
    c = configs.base("wgan")
    c.update_from_flattened_dict(
        {"model.network": "mlp", "model.image_shape": (2,), "model.hidden": 4, "batch_size": 8}
    )
    c.update_from_flattened_dict({"regularizer.clip": 0.01, "loss": "wasserstein", "d_steps": 1, "optimizer.d_lr": 0.1})
    gan = build_gan(c)
    state = init_state(gan, 0)
    batch = {"image": np.ones((1, 8, 2), np.float32), "label": np.zeros((1, 8), np.int32)}
    after, _ = jax.jit(lambda s, b: train_step(gan, s, b))(state, batch)
    for s in (state, after):
        largest = max(np.abs(leaf).max() for leaf in leaves(s.networks["D"].params).values())
        assert largest <= np.float32(0.01)
    assert max(np.abs(leaf).max() for leaf in leaves(after.networks["G"].params).values()) > 0.01


def test_g_rests_while_the_critic_takes_a_hundred_steps():
    runs = [bool(g_runs(step)) for step in range(1600)]
    taken, critic = [], 0
    for ran in runs:
        critic += 5
        if ran:
            taken, critic = [*taken, critic], 0
    assert taken == [100 if g < 25 or g % 500 == 0 else 5 for g in range(len(taken))] and len(taken) > 1000


def test_labels_may_be_mixtures_of_classes(plain):
    gan, state, data = plain
    mixed = data | {"label": jax.nn.one_hot(data["label"], CLASSES)}
    same = [losses((gan, state, batch), "D")[0] for batch in (data, mixed)]
    assert same[0] == pytest.approx(same[1], rel=1e-6)


def test_at_least_one_image_is_among_the_top_k(plain):
    _, state, data = plain
    few, *_ = losses(plain, "G", top_k=TopK(0.5, 0.01, 1), step=50)
    gan = plain[0]
    nets = nets_of(gan, **{name: (n.params, n.variables) for name, n in state.networks.items()})
    logits = nets("D", nets("G", data["z"], data["fake_label"]), data["fake_label"])
    assert few == pytest.approx(-float(logits.max()), rel=1e-5)


def test_the_gradient_of_a_direction_is_finite_at_zero():
    grads = jax.grad(lambda e: direction(e).sum())(jnp.zeros((2, 3)))
    assert np.isfinite(grads).all()


def test_lecam_without_a_delay_begins_at_the_first_means(plain):
    lecam = LeCam(strength=0.5, decay=0.9, start=0)
    _, metrics, nets = losses(plain, "D", lecam=lecam, step=0)
    assert float(nets.extra["lecam"]["real"]) == pytest.approx(metrics["d_real"])


def test_spectral_norm_of_sagan_leaves_conditional_batch_norm():
    for tables in (False, True):
        gan = built("sagan", model__num_classes=4, model__ch=8, model__g_spectral_tables=tables)
        shapes = jax.eval_shape(lambda gan=gan: init_state(gan, 0)).networks["G"].spectral["u"]
        assert "conv_1" in shapes["block_0"] and ("bn_1" in shapes["block_0"]) == tables


def test_features_of_a_last_layer_that_is_a_convolution_are_rows():
    gan = built("dcgan", model__image_shape=(8, 8, 1), model__ch=2, d_steps=1)
    D = init_state(gan, 0).networks["D"]
    logits, features = logits_and_features(gan, D.params, D.variables, jnp.ones((3, 8, 8, 1)), jnp.zeros(3, int))
    assert logits.shape == (3,) and features.shape == (3, 4 * 4 * 2)
