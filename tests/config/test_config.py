import json
import pathlib

import jax
import pytest

from biggan_jax import config as configs
from biggan_jax import data, sharding
from biggan_jax.config.__main__ import main
from biggan_jax.config.defaults import comments
from biggan_jax.config.loading import presets
from biggan_jax.models import build_gan
from biggan_jax.state import init_shapes
from biggan_jax.train_step import train_step
from biggan_jax.types import UserError
from tests.cli import refused, run

PRESETS = {name: path for name, path in presets().items() if name not in ("auto", "finetune", "plain")}


def preset(name):
    """Return the model of a preset, and the shapes of its state."""
    c = configs.load(name)
    configs.validate(c)
    few = {"peers/ajbrock_cifar": 2, "classic/gan_mnist": 4, "classic/cgan_mnist": 4}
    few |= {"classic/cyclegan": 1, "classic/cyclegan32": 4, "classic/pix2pix": 1, "modern/progan_celebahq1024": 4}
    devices = few.get(name, 8)
    sharding.check_batch_size(c.batch_size, devices, c.microbatches)
    assert c.data.name in data.SOURCES
    c.d_steps = 1  # Each is traced.
    gan = build_gan(c)
    return c, gan, init_shapes(gan)


# Networks of StyleGAN and R3GAN take seconds to trace.
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name.startswith("modern/") else ()) for name in PRESETS]
)
def test_presets_build(name):
    _, _, state = preset(name)
    assert len(state.networks) >= 2 and all(jax.tree.leaves(network.params) for network in state.networks.values())


# Of each family one: the others trace in `make test-slow`.
ONE_OF_EACH = "quickstart", "classic/dcgan_mnist", "classic/wgan_gp_toy", "classic/sngan_cifar10", "classic/cyclegan32"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in ONE_OF_EACH else pytest.mark.slow) for name in PRESETS]
)
def test_presets_of_small_images_trace_a_step(name):
    c, gan, state = preset(name)
    if gan.image_shape[0] > 32:
        # Tracing a step of wide networks is slow; narrow ones run the same code.
        return
    n, dtype = (c.d_steps, c.batch_size), "uint8" if len(gan.image_shape) == 3 else "float32"
    images = gan.data_shapes(c.batch_size).items()
    batch = {name: jax.ShapeDtypeStruct((c.d_steps, *shape), dtype) for name, shape in images}
    label = gan.label_shape if gan.condition.kind == "text" else ()
    batch |= {"label": jax.ShapeDtypeStruct((*n, *label), "int32")}
    after, metrics = jax.eval_shape(lambda s, b: train_step(gan, s, b), state, batch)
    shapes = lambda tree: jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)
    assert shapes(after) == shapes(state)
    assert {"d_loss", "g_loss"} <= metrics.keys()


def test_presets_open_with_source_hardware_result_and_command():
    for name, path in presets().items():
        header = path.read_text().partition("import")[0]
        for word in ("Paper row:", "Hardware:", "Expected", "Command:"):
            assert word in header, (name, word)


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
    found = [name for name in PRESETS if "imagenet" in name and "/" not in name]
    assert found and all(configs.load(name).dtype == "bfloat16" for name in found)


def test_diff_prints_the_keys_in_which_two_presets_differ(capsys):
    assert main(["diff", "biggan_imagenet128", "biggan_imagenet256"]) == 1
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["model.dim_z", "120", "140"],
        ["model.g_attention", "[64]", "[128]"],
        ["model.resolution", "128", "256"],
    ]


def test_diff_of_a_preset_and_its_file_is_empty(capsys):
    assert main(["diff", "ajbrock_cifar", str(PRESETS["peers/ajbrock_cifar"])]) == 0
    assert capsys.readouterr().out == ""


def test_list_prints_each_preset_with_its_title(capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*presets()]
    assert all(len(line.split()) > 3 for line in lines)


def test_show_prints_every_key_with_value_and_meaning(capsys):
    assert main(["show", "digits"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" = ")[0] for line in lines] == [*configs.table("biggan")]
    assert all(line.partition("# ")[2] for line in lines)
    assert any(line.startswith("model.ch = 4  ") and "# Channel multiplier" in line for line in lines)


def test_show_as_json_is_read_back(capsys):
    assert main(["show", "digits", "--json"]) == 0
    assert configs.from_plain(json.loads(capsys.readouterr().out), "FILE") == configs.load("digits")


def test_help_exits_with_0_and_names_the_commands(capsys):
    for arguments in (["--help"], ["show", "--help"]):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
    assert "{list,show,diff}" in capsys.readouterr().out


def test_bad_arguments_are_refused_in_one_sentence(capsys):
    for arguments, sentence in [
        ([], "the following arguments are required: command"),
        (["diff", "biggan_imagenet128"], "the following arguments are required: B"),
        (["diff", "biggan_imagenet128", "biggan_imagnet256"], "did you mean biggan_imagenet256?"),
        (["diff", "digits", "finetune:nowhere"], "nowhere/config.json does not exist"),
        (["show", "digitz"], "config 'digitz' is unknown; did you mean digits?"),
    ]:
        with pytest.raises(UserError) as refusal:
            main(arguments)
        assert sentence in str(refusal.value) and not capsys.readouterr().out


def test_a_long_table_is_not_printed_whole():
    table = {f"name{i}": i for i in range(99)}
    with pytest.raises(UserError) as refused:
        configs.choose(table, "key", "nam3")
    assert "did you mean name3? known are name0, name1, " in str(refused.value)
    assert str(refused.value).endswith(", name15 and 83 more")


def test_a_refusal_of_a_subcommand_exits_with_2_and_one_line():
    refused(run("config", "show", "digitz"), "biggan-config: error: config 'digitz' is unknown; did you mean digits?")


def test_presets_are_found_with_or_without_their_folder():
    for name in ("sagan_imagenet128", "peers/sagan_imagenet128", "configs/quickstart.py"):
        assert configs.config_path(name).stem == pathlib.Path(name).stem


def test_values_out_of_range_are_refused():
    for key, value, sentence in [
        ("spectral_advance", "step", "spectral_advance 'step' is unknown; known are update, microbatch"),
        ("model.spectral_eval", "saved", "model.spectral_eval 'saved' is unknown"),
        ("microbatches", 3, "batch_size 2048 cannot be split in 3 microbatches"),
        ("d_chunks", 3, "batch_size 2048 cannot be split in d_chunks=3 of equal size; d_chunks=2 can"),
        ("model.bn_group", 96, "batch_size 2048 cannot be split in model.bn_group=96; model.bn_group=64 divides it"),
        ("regularizer.r1", -1.0, "regularizer.r1 is -1.0; it must be at least 0"),
        ("model.depth", 65, "model.depth is 65; it must be at most 64"),
        ("data.order", "random", "data.order 'random' is unknown; known are grain, feistel"),
    ]:
        c = configs.base()
        c.update_from_flattened_dict({key: value})
        with pytest.raises(UserError, match=sentence):
            configs.validate(c)


@pytest.fixture
def two_layers():
    """A family with its own keys, registered during the test."""
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
        ({"model": {"family": "mine"}}, "for a family of your own, import its file first"),
        ({"model": {"family": 3}}, "FILE: model.family must be a string, not 3"),
        ({"model.family": "dcgun" * 1000}, "known are biggan, biggan_deep, gan, "),
    ]:
        with pytest.raises(UserError) as refusal:
            configs.from_plain(given, "FILE")
        assert sentence in str(refusal.value) and len(str(refusal.value)) < 400


def test_a_familys_own_checks_are_applied(two_layers):
    c = configs.base("two_layers")
    c.model.hidden = 0
    with pytest.raises(UserError, match="model.hidden is 0; it must be greater than 0"):
        configs.validate(c)


def test_another_family_by_override_names_presets_of_it(two_layers):
    c = configs.base("two_layers")
    c.model.family = "biggan_deep"
    presets = "--config=biggan_deep_imagenet128 or --config=biggan_deep_imagenet256"
    for refuse in (configs.validate, configs.normalize):  # A command normalizes before it validates.
        with pytest.raises(UserError, match=f"the keys of 'two_layers'; start from a preset of that family, {presets}"):
            refuse(c)
    c = configs.base()
    c.model.family = "two_layers"
    with pytest.raises(UserError, match=r"start from base\('two_layers'\) in a config file"):
        configs.validate(c)
    c.model.family = "biggan_deep"
    configs.validate(c)
    assert c == configs.base("biggan_deep")


def test_shares_are_at_most_1():
    for key in ("regularizer.top_k_least", "regularizer.logan_rate", "condition.margin", "optimizer.decay_factor"):
        c = configs.base("sngan")
        c.update_from_flattened_dict({key: 2.0})
        with pytest.raises(UserError, match=f"{key} is 2.0; it must be greater than 0 and at most 1"):
            configs.validate(c)


def parent():
    return {"ch": 4, "depth": 2}  # Of the parent.


def extended():
    return parent() | {
        "ch": 8,  # Other than in the parent.
        # Above
        # the key.
        "more": configs.choice(
            "a",
            "b",
        ),
        "none": (),
    }


def test_comments_are_read_above_and_behind_keys():
    found = comments(extended)
    assert found == {
        "depth": "Of the parent.",
        "ch": "Other than in the parent.",
        "more": "Above the key.",
        "none": "",
    }
    assert comments(eval("lambda: {}")) == {}


def test_a_default_of_another_type_is_an_error():
    for default in (None, [1], {}):
        with pytest.raises(TypeError, match="is not a bool, int, float, str or tuple"):
            configs.Key(default)


def test_a_config_that_lacks_a_key_is_refused():
    c = configs.base()
    del c.model["ch"]
    with pytest.raises(UserError, match="the config lacks the key model.ch"):
        configs.validate(c)
