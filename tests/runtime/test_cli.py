"""The command line, in processes that import nothing of JAX: what a command does is not asked here."""

import json
import os
import subprocess
import sys

import pytest

from biggan_jax import config as configs

COMMAND = """
from biggan_jax import config
from biggan_jax.runtime import cli
CONFIG = cli.define_config("what it is for")
cli.run(lambda: print(config.to_json(CONFIG.value)))
"""


def run(*arguments, script=COMMAND):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def changed(result):
    assert result.returncode == 0, result.stderr
    return {k: new for k, (_, new) in configs.differences(configs.base().to_dict(), json.loads(result.stdout)).items()}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "some:config.json"
    path.write_text('{"batch_size": 64, "model": {"g_attention": [16]}}')
    return path


@pytest.mark.parametrize("flag", ["--config_json={}", "-config_json={}", "--config_json {}", "--config plain:{}"])
def test_a_config_of_plain_data_is_read_in_one_word_or_two(file, flag):
    given = changed(run(*flag.format(file).split(" ")))
    assert given == {"batch_size": 64, "model.g_attention": [16]}


def test_overrides_after_it_stand_above_it(file):
    given = changed(run(f"--config_json={file}", "--config.batch_size=8", "--config.model.ch=32"))
    assert given == {"batch_size": 8, "model.ch": 32, "model.g_attention": [16]}


def test_a_runs_own_config_gives_that_run_again(tmp_path):
    quickstart = run("--config=quickstart")
    (tmp_path / "config.json").write_text(quickstart.stdout)
    assert run("--config_json", tmp_path / "config.json").stdout == quickstart.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--config_json={}", "--config=quickstart"], "one of --config and --config_json is given, once"),
        (["--config", "quickstart", "--config_json", "{}"], "one of --config and --config_json is given, once"),
        (["--config_json={}", "--config_json={}"], "one of --config and --config_json is given, once"),
        (["--config_json"], "--config_json names no file"),
        (["--config_json="], "--config_json names no file"),
        (["--config=plain"], "--config_json names no file"),
        (["--config_json=nowhere.json"], "nowhere.json cannot be read: No such file or directory"),
        (["--config_json={}", "--config.batchsize=8"], "config key batchsize is unknown; did you mean batch_size?"),
        (["--config_json={}", "--config.batch_size=many"], "--config.batch_size=many"),
        (["--flagfile={}.flags"], "--config_json is read from the command line alone"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_with_it_is_one_sentence(file, arguments, sentence):
    (file.parent / f"{file.name}.flags").write_text(f"--config_json={file}\n")
    result = run(*(argument.format(file) for argument in arguments))
    assert result.returncode == 2 and sentence in result.stderr, result.stderr
    assert result.stderr.count("\n") == 1 and result.stdout == ""


def test_a_file_of_python_is_not_run(tmp_path):
    path = tmp_path / "config.py"
    path.write_text(f"open({str(tmp_path / 'marker')!r}, 'w')\n")
    result = run(f"--config_json={path}")
    assert result.returncode == 2 and "is not JSON" in result.stderr
    assert not (tmp_path / "marker").exists()
    run(f"--config={path}")
    assert (tmp_path / "marker").exists(), "--config is Python, by nature"


def test_what_a_terminal_would_obey_is_shown_instead(tmp_path):
    script = (
        "import logging\nfrom biggan_jax import cli\nfrom biggan_jax.types import UserError\ndef main():\n"
        "    logging.getLogger('biggan_jax').info('caf\\u00e9 \\x1b]0;title\\x07')\n"
        "    raise UserError('bad \\x1b[31mred')\ncli.run(main)"
    )
    result = run(script=script)
    assert "\x1b" not in result.stderr and "\x07" not in result.stderr
    assert r"café \x1b]0;title\x07" in result.stderr and r"bad \x1b[31mred" in result.stderr


def test_help_lists_both(file):
    script = "import __main__\n" + COMMAND
    done = run("--help", script=script)
    assert "--config:" in done.stdout and "--config_json:" in done.stdout
    assert done.returncode == 0


def test_help_whose_reader_has_seen_enough_says_nothing_of_it():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", COMMAND, "--help"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
