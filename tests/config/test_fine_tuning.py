"""What a run started by --config=finetune:DIR inherits."""

import sys
import types

import pytest
from absl import flags

from biggan_jax import config as configs
from biggan_jax import main
from biggan_jax.runtime import cli


@pytest.fixture
def before(tmp_path):
    """The folder of a run on attributes of faces, mirrored, with scores expected by steps."""
    c = configs.base()
    c.update_from_flattened_dict(
        {"data.name": "tfds", "data.dataset": "celeb_a", "data.dir": "sets", "data.label_key": "attributes/Smiling"}
    )
    c.data.flip, c.data.unreadable_limit, c.stability.expected, c.data.workers = True, 500, "300:600", 2
    (tmp_path / "config.json").write_text(configs.to_json(c))
    return tmp_path


def tuned(before, **given):
    """Return the config of a fine-tuned run, and what is said of it."""
    c = configs.load(f"finetune:{before}")
    c.update_from_flattened_dict(given)
    return c, configs.drop_data_settings(c, given)


def test_expected_scores_are_not_inherited(before):
    c, said = tuned(before)
    assert (c.stability.expected, said) == ("", "")
    assert c.data.flip and c.data.label_key == "attributes/Smiling", "the data are the same"


def test_settings_of_another_data_set_are_not_inherited(before):
    c, said = tuned(before, **{"data.dir": "mine"})
    assert (c.data.label_key, c.data.flip, c.data.unreadable_limit) == ("", False, 100)
    assert (c.data.dataset, c.data.workers) == ("celeb_a", 2), "a moved set keeps its name"
    assert said == (
        f"data.label_key=attributes/Smiling, data.flip=True, data.unreadable_limit=500: not inherited from {before}, since "
        "data.dir differs; give what holds for the new data"
    )
    c, _ = tuned(before, **{"data.name": "digits"})
    assert (c.data.dataset, c.data.dir) == ("", "")


def test_settings_that_are_given_hold_for_another_data_set(before):
    c, said = tuned(before, **{"data.dir": "mine", "data.flip": True, "data.label_key": "attributes/Smiling"})
    assert c.data.flip and c.data.label_key == "attributes/Smiling" and "flip" not in said


@pytest.mark.parametrize(("start", "flip"), [("--config=finetune:{}", False), ("--config_json={}/config.json", True)])
def test_the_command_to_train_drops_them_in_fine_tuning_alone(before, tmp_path, monkeypatch, start, flip):
    monkeypatch.setattr(flags, "FLAGS", flags.FlagValues())
    arguments = [start.format(before), "--config.data.dir=mine", "--config.data.crop=random"]
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    monkeypatch.setattr(main, "CONFIG", cli.define_config("what it is for"))
    monkeypatch.setattr(main, "WORKDIR", flags.DEFINE_string("workdir", str(tmp_path), "", flags.FLAGS))
    cli._parse(sys.argv)
    seen = []
    monkeypatch.setattr(main.runtime_flags, "run", lambda work: work())
    monkeypatch.setattr(main, "ON_DAMAGE", types.SimpleNamespace(value="refuse"))
    monkeypatch.setattr(main, "train", lambda config, workdir, on_damage: seen.append(config) or True)
    assert main.main() == 0
    assert seen[0].data.flip is flip and seen[0].data.crop == "random"
