import json

import pytest

from biggan_jax import config as configs
from biggan_jax.config import AUTO_OF_TYPE, own_data
from biggan_jax.config.own_data import Facts
from biggan_jax.models import build_gan
from biggan_jax.sharding import check_batch_size
from biggan_jax.types import UserError

RGB = lambda size: (size, size, 3)
DIFFAUGMENT = ("colour", "translation", "cutout")


def chosen(images, classes, shape, devices=1, platform="gpu", given=None, **more):
    """Return the config that `--config=auto` becomes, and its lines."""
    config = configs.load("auto")
    config.update_from_flattened_dict(given or {})
    config, lines = configs.choose_for(config, Facts(images, classes, shape, **more), devices, platform)
    configs.validate(config)
    check_batch_size(config.batch_size, devices, config.microbatches)
    assert not configs.unresolved(config) and config.batch_size <= images
    return config, lines


# (images, classes, size, devices, platform) and what is chosen: resolution, classes, ch, batch, microbatches, steps, augmented.
CASES = [
    ((394, 5, 64, 1, "gpu"), (64, 5, 32, 64, 2, 20_000, True)),
    ((394, 5, 64, 1, "cpu"), (64, 5, 16, 32, 1, 5_000, True)),
    ((400, 4, 16, 1, "cpu"), (16, 4, 16, 32, 1, 5_000, True)),
    ((4_000, 1, 128, 1, "gpu"), (128, 0, 64, 64, 2, 50_000, True)),
    ((4_000, 1, 128, 8, "tpu"), (128, 0, 64, 64, 1, 50_000, True)),
    ((50_000, 10, 32, 1, "gpu"), (32, 10, 96, 64, 2, 100_000, True)),
    ((2_000, 3, 256, 1, "gpu"), (256, 3, 64, 64, 4, 50_000, True)),
    ((2_000, 3, 512, 2, "gpu"), (512, 3, 64, 64, 4, 50_000, True)),
    ((1_300_000, 1000, 128, 32, "tpu"), (128, 1000, 96, 256, 1, 150_000, False)),
    ((20, 2, 32, 1, "gpu"), (32, 2, 32, 16, 1, 20_000, True)),
    ((20, 2, 32, 3, "gpu"), (32, 2, 32, 15, 1, 20_000, True)),
    ((200, 1, 32, 128, "tpu"), (32, 0, 32, 128, 1, 20_000, True)),
    ((900, 300, 100, 1, "gpu"), (64, 0, 32, 64, 2, 20_000, True)),
    ((900, 1, 1024, 1, "gpu"), (512, 0, 32, 64, 8, 20_000, True)),
]


@pytest.mark.parametrize(("facts", "expected"), CASES)
def test_the_set_and_the_devices_decide(facts, expected):
    images, classes, size, devices, platform = facts
    c, lines = chosen(images, classes, RGB(size), devices, platform)
    found = c.model.resolution, c.model.num_classes, c.model.ch, c.batch_size, c.microbatches, c.num_steps
    assert (*found, c.augment.policy == DIFFAUGMENT) == expected
    assert c.model.family == "biggan" and all(": " in line for line in lines)
    said = {line.partition("=")[0] for line in lines}
    assert {"model.family", "model.resolution", "model.ch", "batch_size", "num_steps", "augment.policy"} <= said


@pytest.mark.parametrize("size", own_data.BY_SIZE)
@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_the_networks_of_each_size_build(size, platform):
    c, _ = chosen(500, 5, RGB(size), platform=platform)
    assert build_gan(c).image_shape == RGB(size)


def test_a_few_thousand_pictures_of_128_have_the_values_of_small128():
    c, _ = chosen(3_000, 5, RGB(128), devices=2)
    c.model.num_classes = 1
    assert configs.differences(configs.load("biggan_small128").to_dict(), c.to_dict()) == {}


def test_what_is_given_wins_and_the_rest_suits_it():
    given = {"batch_size": 96, "model.resolution": 32, "augment.policy": (), "num_steps": 7, "optimizer.g_lr": 3e-4}
    c, lines = chosen(500, 5, RGB(64), given=given)
    assert {key: configs.flatten(c.to_dict())[key] for key in given} == given
    assert c.model.dim_z == 80 and c.model.g_attention == () and c.microbatches == 3
    assert not {line.partition("=")[0] for line in lines} & given.keys()


@pytest.mark.parametrize(
    ("facts", "shape"),
    [
        ({"shape": (64, 96, 3)}, (64, 96, 3)),
        ({"shape": (100, 150, 3)}, (64, 96, 3)),
        ({"shape": (32, 32, 1)}, (32, 32, 1)),
        ({"shape": (32, 64, 5), "condition": 2}, (32, 64, 5)),
        ({"shape": (90, 70, 1), "stored": False}, (64, 64, 1)),
    ],
)
def test_pictures_that_biggan_does_not_make_have_networks_of_sngan(facts, shape):
    c, lines = chosen(500, 5, **facts, given={"seed": 3, "model.ch": 8})
    assert (c.model.family, tuple(c.model.image_shape), c.seed, c.model.ch) == ("sngan", shape, 3, 8)
    assert c.model.condition_dim == facts.get("condition", 0)
    assert c.model.num_classes == (0 if "condition" in facts else 5)
    assert lines[0].startswith("model.family=sngan: BigGAN ")
    assert build_gan(c).image_shape == shape


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        (
            {"shape": RGB(12)},
            "has pictures of 12 x 12 pixels; --config=auto needs 16 or more: prepare them with --size=16",
        ),
        ({"shape": (24, 24, 1)}, "pictures of 24 x 24 pixels with 1 channel, for which --config=auto has no networks"),
        ({"shape": (48, 30, 3)}, "for which --config=auto has no networks; prepare them with --size=HxW"),
        ({"shape": RGB(32), "images": 5, "devices": 8}, "has 5 pictures, fewer than the 8 devices"),
        (
            {"shape": (32, 64, 3), "given": {"model.dim_z": 60, "model.skip_z": False}},
            "no key model.skip_z; leave it out",
        ),
    ],
)
def test_a_set_that_nothing_suits_is_refused_in_a_sentence(facts, sentence):
    with pytest.raises(UserError, match=sentence):
        chosen(**{"images": 500, "classes": 2} | facts)


def test_a_run_keeps_its_choices():
    first, _ = chosen(500, 5, RGB(64))
    again = configs.choose_again(configs.load("auto"), first)
    assert again.to_dict() == first.to_dict()
    other = configs.load("auto")
    other.num_steps, other.optimizer.g_lr = 9, 1e-3
    changed = configs.differences(first.to_dict(), configs.choose_again(other, first).to_dict())
    assert changed == {"num_steps": (20_000, 9), "optimizer.g_lr": (1e-4, 1e-3)}
    grey, _ = chosen(500, 5, (32, 64, 1), given={"model.ch": 8})
    assert configs.choose_again(configs.load("auto"), grey).to_dict() == grey.to_dict()


def test_a_preset_may_leave_single_keys_to_the_data():
    c = configs.load("modern/r3gan_ffhq64")
    c.batch_size = c.microbatches = AUTO_OF_TYPE[int]
    c, lines = configs.choose_for(c, Facts(500, 1, (12, 12, 1)), 1, "gpu")
    assert (c.batch_size, c.microbatches, c.model.family, len(lines)) == (64, 2, "r3gan", 2)


def test_a_config_with_auto_left_is_refused_outside_of_training():
    c = configs.load("auto")
    configs.validate(c)
    with pytest.raises(UserError, match="num_steps is auto, which has no value here: biggan-train resolves it"):
        build_gan(c)
    stored = json.loads(configs.to_json(c))
    assert stored["batch_size"] == stored["data"]["resize"] == "auto" and stored["augment"]["policy"] == ["auto"]
    assert configs.from_plain(stored, "FILE").to_dict() == c.to_dict()
