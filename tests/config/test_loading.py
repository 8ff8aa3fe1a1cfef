import json

import pytest

from biggan_jax import config as configs
from biggan_jax.config import loading
from biggan_jax.config.keys import KINDS
from biggan_jax.types import UserError


def of_text(text):
    return configs.from_plain(loading.parse(text, "FILE"), "FILE")


def test_keys_not_given_have_their_default():
    given = {"batch_size": 64, "model": {"ch": 32}}
    changed = configs.differences(configs.base().to_dict(), of_text(json.dumps(given)).to_dict())
    assert changed == {"batch_size": (2048, 64), "model.ch": (96, 32)}


def test_keys_are_nested_or_dotted_or_both():
    assert of_text('{"model.ch": 32, "model": {"depth": 3}}').model.depth == 3
    assert of_text('{"model.ch": 32, "model": {"depth": 3}}').model.ch == 32


def test_values_take_the_type_of_their_default():
    c = of_text('{"optimizer.g_lr": 1, "model.g_attention": [16, 32], "augment": {"policy": ["cutout"]}}')
    assert (type(c.optimizer.g_lr), c.model.g_attention, c.augment.policy) == (float, (16, 32), ("cutout",))


def test_every_default_has_a_type_that_json_can_give():
    assert {type(value) for value in configs.flatten(configs.base().to_dict()).values()} <= KINDS.keys()


REFUSED = [
    ('{"batch_size": "64"}', 'batch_size must be a whole number, not the string "64"'),
    ('{"batch_size": 1.5}', "batch_size must be a whole number, not 1.5"),
    ('{"batch_size": 64.0}', "batch_size must be a whole number, not 64.0"),
    ('{"batch_size": true}', "batch_size must be a whole number, not true"),
    ('{"batch_size": null}', "batch_size must be a whole number, not null"),
    ('{"batch_size": {"a": 1}}', "batch_size must be a whole number, not an object"),
    ('{"batch_size": 9223372036854775808}', "more than 64 bits hold"),
    (f'{{"batch_size": 1{"0" * 5000}}}', "a whole number of 5001 digits is more than 64 bits hold"),
    ('{"data.flip": 1}', "data.flip must be true or false, not 1"),
    ('{"optimizer.g_lr": "1e-4"}', "optimizer.g_lr must be a finite number, not the string"),
    ('{"optimizer.g_lr": false}', "optimizer.g_lr must be a finite number, not false"),
    ('{"optimizer.g_lr": 1e999}', "optimizer.g_lr must be a finite number, not Infinity"),
    ('{"loss": 3}', "loss must be a string, not 3"),
    ('{"data.dir": "a\\u001b[31m"}', "data.dir holds characters that cannot be printed"),
    ('{"data.dir": "a\\u0000"}', "data.dir holds characters that cannot be printed"),
    ('{"model.g_attention": 64}', "model.g_attention must be a list, not 64"),
    ('{"model.g_attention": [64, "a"]}', "each of FILE: model.g_attention must be a whole number"),
    ('{"model.g_attention": [[64]]}', "each of FILE: model.g_attention must be a whole number, not a list"),
    ('{"augment.policy": [1]}', "each of FILE: augment.policy must be a string, not 1"),
    ('{"batchsize": 64}', "the key batchsize, which this version does not know; did you mean batch_size"),
    ('{"resolution": 64}', "did you mean model.resolution"),
    ('{"model": {"model.ch": 3}}', "the key model.model.ch, which"),
    ('{"": 3}', "has the key , which"),
    ('{"model": 3}', "model must be an object of keys, not 3"),
    ('{"batch_size": 64, "batch_size": 32}', "the key 'batch_size' is there twice"),
    ('{"model.ch": 64, "model": {"ch": 32}}', "has the key model.ch twice"),
    ('{"optimizer.g_lr": NaN}', "optimizer.g_lr must be a finite number, not NaN"),
    ('{"optimizer.g_lr": -Infinity}', "optimizer.g_lr must be a finite number, not -Infinity"),
    ("import os", "FILE is not JSON: Expecting value"),
    ("", "FILE is not JSON"),
    (b"\xff\xfe\x00", "FILE is not JSON"),
    ("[]", "FILE is no config: it holds a list, not an object of keys"),
    ('"' + "x" * 5000 + '"', 'it holds the string "xxx'),
    ('{"a":' * 100_000, "FILE is no config: it is nested too deeply"),
    ("[" * 100_000, "FILE is no config: it is nested too deeply"),
    (f'{{"seed": {"[" * 500}{"]" * 500}}}', "seed must be a whole number, not a list"),
]


def test_what_is_no_config_is_refused_in_one_short_sentence():
    for text, sentence in REFUSED:
        with pytest.raises(UserError) as refusal:
            of_text(text)
        assert sentence in str(refusal.value) and len(str(refusal.value)) < 200, text[:100]


def test_a_file_is_read_completely_or_refused(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(configs.to_json(configs.base()))
    assert configs.of_file(path) == configs.base()
    path.write_bytes(b"{" + b" " * loading.MAX_BYTES + b"}")
    with pytest.raises(UserError, match="has more than 1,048,576 bytes"):
        configs.of_file(path)


def test_a_file_that_cannot_be_read_says_why():
    for path, sentence in [
        ("nowhere.json", "nowhere.json cannot be read: No such file or directory"),
        ("tests", "tests cannot be read: Is a directory"),
        ("/dev/zero", "/dev/zero is no config: it has more than"),
        ("nothing://x", "nothing://x cannot be read"),
    ]:
        with pytest.raises(UserError, match=sentence):
            configs.of_file(path)


def test_80000_keys_are_refused_at_the_first():
    text = json.dumps({f"k{i}": 0 for i in range(80_000)})
    assert len(text) < loading.MAX_BYTES
    with pytest.raises(UserError, match="the key k0"):
        of_text(text)
