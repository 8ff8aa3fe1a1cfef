import json

import pytest

from biggan_jax import config as configs
from biggan_jax.config.keys import AUTO
from biggan_jax.types import UserError


def test_auto_is_replaced_by_its_rule_and_said():
    c = configs.base()
    c.regularizer.r1, c.batch_size, c.model.resolution = AUTO, 32, 256
    configs.validate(c)
    said = "regularizer.r1=auto is 0.4096: 0.0002 x 256 x 256 / batch_size 32 (StyleGAN2-ADA)"
    assert configs.resolve(c) == said
    assert c.regularizer.r1 == pytest.approx(0.4096)
    assert configs.resolve(c) == "" and json.loads(configs.to_json(c))["regularizer"]["r1"] == c.regularizer.r1


def test_pictures_that_are_not_square_count_their_pixels():
    c = configs.base("sngan")
    c.update_from_flattened_dict({"regularizer.r1": AUTO, "model.image_shape": (32, 64, 3), "batch_size": 16})
    configs.resolve(c)
    assert c.regularizer.r1 == pytest.approx(0.0002 * 32 * 64 / 16)


def test_auto_of_vectors_is_refused():
    c = configs.base("gan")
    c.regularizer.r1, c.model.image_shape = AUTO, (2,)
    with pytest.raises(UserError, match="a rule for images, but the data are vectors"):
        configs.resolve(c)


def test_a_key_with_auto_takes_numbers_and_no_other_words():
    c = configs.from_plain({"regularizer.r1": "auto"}, "FILE")
    assert c.regularizer.r1 == AUTO
    c.regularizer.r1 = 10
    configs.validate(c)
    for bad, sentence in (("aut", 'a finite number, not the string "aut"; it may also be auto'), (True, "not true")):
        with pytest.raises(UserError, match=sentence):
            configs.from_plain({"regularizer.r1": bad}, "FILE")
    c.regularizer.r1 = -1.0
    with pytest.raises(UserError, match="it must be at least 0, or auto"):
        configs.validate(c)
    with pytest.raises(UserError, match="regularizer.r2 must be a finite number, not"):
        configs.from_plain({"regularizer.r2": "auto"}, "FILE")


def test_auto_is_a_word_in_json_and_refused_by_other_keys():
    c = configs.base()
    c.regularizer.r1 = AUTO
    again = configs.from_plain(json.loads(configs.to_json(c)), "FILE").copy_and_resolve_references()
    assert again.regularizer.r1 == AUTO
    assert configs.differences(configs.base().to_dict(), c.to_dict()) == {"regularizer.r1": (0.0, "auto")}
    c.regularizer.r2 = AUTO
    with pytest.raises(UserError, match="regularizer.r2 must be a finite number, not auto"):
        configs.validate(c)
