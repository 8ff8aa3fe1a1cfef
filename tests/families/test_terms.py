"""Terms of the losses: what a new one may do, and which D may see in chunks."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from biggan_jax import config as configs
from biggan_jax.losses import LOSSES
from biggan_jax.models import adversarial
from biggan_jax.models.heads import Head, apply_head
from biggan_jax.regularizers import Classes, LatentConsistency, LatentStep, LeCam, TopK
from biggan_jax.state import init_state
from biggan_jax.terms import Term
from biggan_jax.types import UserError
from tests.conftest import leaves, update, with_optimizers
from tests.families import test_regularizers
from tests.families.minimal import SHAPE, G
from tests.families.test_regularizers import CLASSES, losses, section
from tests.variants import further_slow

plain = test_regularizers.plain

AC = Classes("ac", d=1.0, d_fake=0.5, g=0.7)


class WithHead(nn.Module):
    """D of one hidden layer, and a head."""

    head: Head

    @nn.compact
    def __call__(self, x, y=None, *, train=False):
        return apply_head(nn.leaky_relu(nn.Dense(8)(x.reshape(len(x), -1))), y, self.head)


def headed(kind, **fields):
    """A GAN of a D with that head."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(configs.SECTIONS, "small", section)
        config = configs.base("small")
    head = Head(kind, CLASSES, embed_dim=4, features=True)
    gan = adversarial.build(config, None, G(SHAPE, CLASSES), WithHead(head), image_shape=SHAPE, head=head, **fields)
    return with_optimizers(gan, G=optax.sgd(1.0), D=optax.sgd(1.0))


@pytest.mark.parametrize(
    ("kind", "fields"),
    further_slow(
        [
            ("ac", {"classes": AC}),
            ("multi_hinge", {"loss": LOSSES["multi_hinge"], "classes": None}),
            ("projection", {"feature_matching": 1.0}),
            ("projection", {"top_k": TopK(0.5, 0.25, 1)}),
            ("projection", {"labels": "paired"}),
        ],
        quick=(0, 3),
    ),
    ids=["classes", "multi_hinge", "feature_matching", "top_k", "labels of real images"],
)
def test_losses_of_single_images_are_equal_in_chunks(plain, kind, fields):
    _, _, data = plain
    whole = headed(kind, **fields)
    state = init_state(whole, 0).replace(step=jnp.int32(1))

    def both(gan):
        after, d_metrics = update(gan, state, "D", data, jax.random.key(0))
        after, g_metrics = update(gan, after, "G", data, jax.random.key(0))
        return after.networks, d_metrics | g_metrics

    one, two = (leaves(jax.jit(both, static_argnums=0)(gan)) for gan in (whole, dataclasses.replace(whole, d_chunks=4)))
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_allclose(one[name], two[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"logan": LatentStep(0.9, 0.1, 0.8, 1.0)}, "LOGAN's step of latents needs whole batches"),
        ({"zcr": LatentConsistency(5.0, 0.5, 0.05)}, "zCR's near latents need whole batches"),
        ({"lecam": LeCam(0.3, 0.9, 0)}, "LeCam's moving means need whole batches"),
        ({"classes": Classes("contrastive", d=1.0)}, "condition.d=contrastive compares the images of its batch"),
        ({"classes": Classes("d2dce", g=1.0)}, "condition.d=d2dce compares the images of its batch"),
        ({"loss": LOSSES["relativistic_pairs"]}, "the loss is not a mean over images"),
        ({"terms": (Term("mine", state=lambda: jnp.zeros(())),)}, "mine keeps statistics of whole batches"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_losses_of_whole_batches_refuse_chunks(plain, fields, why):
    gan = dataclasses.replace(plain[0], d_chunks=2, **fields)
    with pytest.raises(UserError, match=f"d_chunks=2: {why}.*; use d_chunks=1"):
        gan.check_chunks({})


def test_a_strength_may_follow_the_step(plain):
    before, *_ = losses(plain, "D")
    for step in (0, 10):
        after, metrics, _ = losses(plain, "D", terms=(("r1", lambda step: 0.1 * step),), step=step)
        assert after == pytest.approx(before + 0.1 * step * metrics["d_r1"], rel=1e-5)


def test_a_term_may_keep_a_state_and_draw_its_own(plain):
    """As adaptive augmentation does: it counts how often D is right, and draws with what it has counted."""
    keys = []

    def d(seen, key):
        keys.append(jax.random.key_data(key).tolist())
        seen.extra["right"] = seen.extra["right"] + jnp.sign(seen.real_output).sum()
        return jnp.float32(0), {"d_right": seen.extra["right"]}

    right = Term("right", d=d, state=lambda: jnp.float32(100))
    _, metrics, nets = losses(plain, "D", terms=(right,))
    assert float(nets.extra["right"]) == metrics["d_right"] != 100
    losses(plain, "D", terms=(("cr", 1.0), right))
    losses(plain, "D", terms=(right._replace(name="other", state=lambda: None),), extra={"right": 0})
    assert keys[0] == keys[1] != keys[2]


def test_a_term_may_show_d_other_images(plain):
    """As adaptive pseudo augmentation does: it shows D fake images for real ones."""
    pseudo = Term(
        "pseudo", show=lambda shown, extra, step, key: shown._replace(real=shown.fake, label=shown.fake_label)
    )
    _, metrics, _ = losses(plain, "D", terms=(pseudo,))
    assert metrics["d_real"] == pytest.approx(metrics["d_fake"], rel=1e-6)


def test_a_term_may_weigh_the_images_of_gs_loss(plain):
    before, *_ = losses(plain, "G")
    twice = Term("twice", weigh=lambda logits, step: jnp.full(logits.shape, 2.0))
    assert losses(plain, "G", terms=(twice,))[0] == pytest.approx(2 * before, rel=1e-6)


def test_a_term_of_g_may_compare_with_real_images(plain):
    data = plain[2]
    seen_by = []
    near = Term(
        "near", g=lambda seen, key: (seen_by.append(seen) or jnp.abs(seen.real - seen.fake).mean(), {}), compares=True
    )
    before, *_ = losses(plain, "G")
    after, *_ = losses(plain, "G", terms=(near,))
    assert after > before and seen_by[0].real is data["image"] and seen_by[0].label is data["label"]
