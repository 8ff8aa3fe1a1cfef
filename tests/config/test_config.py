import json
import pathlib
import subprocess
import sys

import jax
import pytest
from ml_collections import config_flags  # noqa: F401

from biggan_jax import config as configs
from biggan_jax import data, sharding
from biggan_jax.models import build_gan
from biggan_jax.state import init_state
from biggan_jax.train_step import train_step
from biggan_jax.types import UserError

FOLDER = pathlib.Path(__file__).parents[2] / "configs"
FILES = sorted(path for path in FOLDER.rglob("[a-z]*.py") if path.stem not in ("finetune", "plain"))


def load(path):
    import runpy

    return runpy.run_path(str(path))["get_config"]()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_config_makes_a_game_and_small_ones_a_round_of_the_right_shapes(path):
    c = load(path)
    configs.validate(c)
    sharding.check_batch_size(c.batch_size, 2 if path.stem == "ajbrock_cifar" else 8, c.microbatches)
    assert c.data.name in data.SOURCES
    gan = build_gan(c)
    state = jax.eval_shape(lambda: init_state(gan, 0))
    if c.model.resolution > 64:
        # Tracing rounds of wide networks takes minutes in all; those of the narrow ones go through the same code.
        return
    r, n = c.model.resolution, (c.d_steps, c.batch_size)
    batch = {"image": jax.ShapeDtypeStruct((*n, r, r, 3), "uint8"), "label": jax.ShapeDtypeStruct(n, "int32")}
    after, metrics = jax.eval_shape(lambda s, b: train_step(gan, s, b), state, batch)
    described = lambda tree: jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)
    assert described(after) == described(state)
    assert {"d_loss", "g_loss"} <= metrics.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_config_opens_with_what_to_expect_of_it(path):
    text = path.read_text()
    for word in ("Paper row:", "Hardware:", "Expected", "Command:"):
        assert word in text.partition("import")[0]


def test_json_and_back_is_the_same_config():
    c = configs.base()
    c.model.g_attention = (32, 64)
    again = configs.from_plain(json.loads(configs.to_json(c)), "FILE")
    assert configs.differences(c.to_dict(), again.to_dict()) == {}
    assert again.model.g_attention == (32, 64)


def test_a_stored_config_without_data_order_means_feistel():
    assert configs.base().data.order == "grain"
    stored = configs.base().to_dict()
    assert configs.from_plain(stored, "FILE").data.order == "grain"
    del stored["data"]["order"]
    assert configs.from_plain(stored, "FILE").data.order == "feistel"
    assert configs.from_plain({"data": {"name": "digits"}}, "FILE").data.order == "grain"


def test_a_stored_key_of_another_version_is_refused_by_name():
    with pytest.raises(UserError, match="the key model.colour"):
        configs.from_plain({"model": {"colour": 1}}, "FILE")


def test_differences_are_named_with_both_values():
    a, b = configs.base(), configs.base()
    b.model.ch, b.loss = 64, "other"
    assert configs.differences(a.to_dict(), b.to_dict()) == {"loss": ("hinge", "other"), "model.ch": (96, 64)}


def test_imagenet_presets_compute_in_bfloat16():
    presets = [path for path in FILES if "imagenet" in path.stem and path.parent == FOLDER]
    assert presets and all(load(path).dtype == "bfloat16" for path in presets)


def diff(*arguments):
    command = [sys.executable, "-m", "biggan_jax.config", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_two_presets_differ_in_the_keys_that_diff_prints():
    result = diff("diff", "biggan_imagenet128", "biggan_imagenet256")
    assert result.returncode == 1
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["model.dim_z", "120", "140"],
        ["model.g_attention", "[64]", "[128]"],
        ["model.resolution", "128", "256"],
    ]


def test_a_config_does_not_differ_from_itself_by_name_or_by_file():
    assert diff("diff", "ajbrock_cifar", str(FOLDER / "peers" / "ajbrock_cifar.py")).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["diff", "biggan_imagenet128"], "usage: python -m biggan_jax.config diff A B"),
        (["diff", "biggan_imagenet128", "biggan_imagnet256"], "did you mean biggan_imagenet256?"),
        (["diff", "digits", "finetune:nowhere"], "nowhere/config.json does not exist"),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_sentence(arguments, sentence):
    result = diff(*arguments)
    assert result.returncode == 2 and sentence in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize("name", ["sagan_imagenet128", "peers/sagan_imagenet128", "configs/quickstart.py"])
def test_shipped_configs_are_found_with_or_without_their_folder(name):
    assert configs.config_path(name).stem == name.removesuffix(".py").rpartition("/")[2]


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("spectral_advance", "step", "spectral_advance 'step' is unknown; known are update, microbatch"),
        ("model.spectral_eval", "saved", "model.spectral_eval 'saved' is unknown"),
        ("microbatches", 3, "batch_size 2048 cannot be split in 3 microbatches"),
        ("d_chunks", 3, "batch_size 2048 cannot be split in d_chunks=3 of equal size; d_chunks=2 can"),
        ("regularizer.r1", -1.0, "regularizer.r1 is -1.0; it must be at least 0"),
    ],
)
def test_values_that_make_no_sense_are_refused(key, value, sentence):
    c = configs.base()
    c.update_from_flattened_dict({key: value})
    with pytest.raises(UserError, match=sentence):
        configs.validate(c)


@pytest.fixture
def two_layers():
    """A family with keys of its own, registered while a test runs."""
    configs.register("two_layers", lambda: {"hidden": configs.positive(64), "dim_z": 8, "sizes": (4,)})
    yield
    del configs.SECTIONS["two_layers"]


def test_a_registered_family_has_exactly_its_own_model_keys(two_layers):
    c = configs.base("two_layers")
    assert c.model.to_dict() == {"family": "two_layers", "hidden": 64, "dim_z": 8, "sizes": (4,)}
    c.model.hidden = 32
    configs.validate(c)
    assert configs.from_plain(json.loads(configs.to_json(c)), "FILE") == c
    assert configs.from_plain({"model.family": "two_layers", "model.hidden": 32}, "FILE") == c


def test_keys_of_another_family_are_refused_in_a_file(two_layers):
    for given, sentence in [
        ({"model": {"family": "two_layers", "ch": 8}}, "FILE has the key model.ch"),
        ({"model": {"family": "two_layers", "hiden": 8}}, "did you mean model.hidden"),
        ({"model": {"hidden": 8}}, "FILE has the key model.hidden, which"),
        ({"model": {"family": "two_layer"}}, "FILE: model.family 'two_layer' is unknown; did you mean two_layers?"),
        ({"model": {"family": 3}}, "FILE: model.family must be a string, not 3"),
        ({"model.family": "dcgun" * 1000}, "known are biggan, biggan_deep, two_layers"),
    ]:
        with pytest.raises(UserError) as refusal:
            configs.from_plain(given, "FILE")
        assert sentence in str(refusal.value) and len(str(refusal.value)) < 250


def test_a_familys_own_checks_are_applied(two_layers):
    c = configs.base("two_layers")
    c.model.hidden = 0
    with pytest.raises(UserError, match="model.hidden is 0; it must be greater than 0"):
        configs.validate(c)


def test_another_family_by_override_names_presets_of_it(two_layers):
    c = configs.base("two_layers")
    c.model.family = "biggan_deep"
    presets = "--config=biggan_deep_imagenet128 or --config=biggan_deep_imagenet256"
    with pytest.raises(UserError, match=f"the keys of 'two_layers'; start from a preset of that family, {presets}"):
        configs.validate(c)
    c = configs.base()
    c.model.family = "two_layers"
    with pytest.raises(UserError, match=r"start from base\('two_layers'\) in a config file"):
        configs.validate(c)
    c.model.family = "biggan_deep"
    configs.validate(c)
    assert c == configs.base("biggan_deep")


def test_a_config_that_lacks_a_key_is_refused():
    c = configs.base()
    del c.model["ch"]
    with pytest.raises(UserError, match="the config lacks the key model.ch"):
        configs.validate(c)
