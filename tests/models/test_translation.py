"""How a config becomes CycleGAN and pix2pix, and what these families refuse."""

import jax
import pytest

from biggan_jax import config as configs
from biggan_jax.config.loading import load
from biggan_jax.models import build_gan
from biggan_jax.state import init_shapes
from biggan_jax.types import UserError


def built(preset, **changes):
    c = load(f"classic/{preset}")
    c.update_from_flattened_dict(changes)
    configs.validate(c)
    return build_gan(c)


def counts(gan):
    state = init_shapes(gan)
    return {name: sum(x.size for x in jax.tree.leaves(network.params)) for name, network in state.networks.items()}


def test_presets_have_the_papers_networks_and_losses():
    cycle = built("cyclegan")
    assert counts(cycle) == {"G_A": 11_378_179, "G_B": 11_378_179, "D_A": 2_764_737, "D_B": 2_764_737}
    assert (cycle.pool, cycle.cycle_a, cycle.cycle_b, cycle.identity) == (50, 10.0, 10.0, 0.5)
    assert (cycle.g_weight, cycle.d_weight, cycle.averaged) == (2.0, 1.0, ())
    pair = built("pix2pix")
    assert counts(pair) == {"G": 54_413_955, "D": 2_768_705}
    assert (pair.l1, pair.g_weight, pair.d_weight) == (100.0, 1.0, 0.5)
    assert pair.networks["G"].module.dropout == 0.5 and pair.networks["G"].module.halvings == 8


def test_learning_rates_fall_to_0_in_the_second_half():
    gan = built("cyclegan")
    network = gan.networks["G_A"]
    params = {"w": jax.numpy.ones(())}
    state = network.optimizer.init(params)
    sizes = [
        float(network.optimizer.update(params, state, params, step=step)[0]["w"]) for step in (0, 200_100, 266_800)
    ]
    assert sizes == pytest.approx([-2e-4, -1e-4, 0], rel=1e-3)


def test_domains_of_other_channels_have_networks_that_fit():
    one_to_three = {"model.input_channels": 1, "model.image_shape": (32, 32, 3)}
    gan = built("cyclegan32", **one_to_three, **{"model.identity": 0.0})
    shapes = {name: network.example(jax.random.key(0))[0].shape[-1] for name, network in gan.networks.items()}
    assert shapes == {"G_A": 1, "G_B": 3, "D_A": 3, "D_B": 1}
    assert gan.data_shapes(2) == {"image": (2, 32, 32, 1), "other": (2, 32, 32, 3)}
    extra = jax.eval_shape(gan.initial_extra)
    assert extra["shown_A"].shape == (4, 32, 32, 3) and extra["pool_B"]["images"].shape == (50, 32, 32, 1)
    pair = built("pix2pix32", **one_to_three)
    assert pair.networks["D"].example(jax.random.key(0))[0].shape[-1] == 4 and pair.networks["G"].module.channels == 3


@pytest.mark.parametrize(
    ("preset", "changes", "sentence"),
    [
        ("cyclegan32", {"d_steps": 2}, "d_steps=2: model.family cyclegan updates D once in a step"),
        ("cyclegan32", {"model.input_channels": 3}, "model.identity=0.5 shows an image of B to the network of A"),
        ("cyclegan32", {"regularizer.r1": 1.0}, "regularizer.r1=1.0 has no effect with model.family cyclegan"),
        ("cyclegan32", {"score.every": 500}, "score.every=500 has no effect with model.family cyclegan"),
        ("cyclegan32", {"loss": "wasserstein"}, "takes least_squares, non_saturating or hinge"),
        ("cyclegan32", {"model.image_shape": (30, 32, 1)}, "model.generator=resnet needs multiples of 4"),
        ("cyclegan32", {"remat": "blocks"}, "remat=blocks: model.family cyclegan does not recompute blocks alone"),
        ("pix2pix32", {"augment.policy": ("colour",)}, "augment.policy=.* has no effect with model.family pix2pix"),
        ("pix2pix32", {"model.halvings": 6}, "model.halvings=6, .* sides of 32 and 32 pixels can be halved 5 times"),
        ("pix2pix32", {"model.d_layers": 4}, "model.d_layers=4 needs images of 48 pixels or more, not of 32"),
        ("pix2pix32", {"model.image_shape": (32,)}, "is not \\(height, width, channels\\)"),
    ],
)
def test_what_has_no_meaning_is_refused(preset, changes, sentence):
    with pytest.raises(UserError, match=sentence):
        built(preset, **changes)
