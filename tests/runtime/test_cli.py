"""The command line: how flags and configs are parsed, and what a mistake prints."""

import ast
import contextlib
import logging
import os
import pathlib
import re
import socket
import subprocess
import sys

import pytest
from absl import flags

from biggan_jax import config as configs
from biggan_jax.runtime import cli, startup
from biggan_jax.types import UserError

COMMAND = """
import __main__
from biggan_jax.runtime import cli
CONFIG = cli.define_config("what it is for")
cli.run(lambda: print("ran"))
"""


@pytest.fixture
def parse(monkeypatch, capsys):
    """Parses arguments as a command does, with flags of its own, and returns the config."""

    def parse(*arguments):
        monkeypatch.setattr(flags, "FLAGS", flags.FlagValues())
        monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
        holder = cli.define_config("what it is for")
        flags.DEFINE_enum("bits", None, ("8", "16"), "a flag of a command", flags.FLAGS)
        cli._parse(sys.argv)
        return holder.value

    return parse


@pytest.fixture
def refusal(parse, capsys):
    """Parses arguments with a mistake and returns the one line that is printed."""

    def refusal(*arguments):
        stderr = sys.stderr
        with pytest.raises(SystemExit) as ended:
            parse(*arguments)
        sys.stderr = stderr  # Errors of library threads were silenced.
        printed = capsys.readouterr()
        assert ended.value.code == 2 and printed.out == "" and printed.err.count("\n") == 1, printed.err
        return printed.err

    return refusal


def changed(config):
    return {k: new for k, (_, new) in configs.differences(configs.base().to_dict(), config.to_dict()).items()}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "some:config.json"
    path.write_text('{"batch_size": 64, "model": {"g_attention": [16]}}')
    return path


@pytest.mark.parametrize("flag", ["--config_json={}", "-config_json={}", "--config_json {}", "--config plain:{}"])
def test_a_json_config_is_read_in_one_word_or_two(parse, file, flag):
    assert changed(parse(*flag.format(file).split(" "))) == {"batch_size": 64, "model.g_attention": [16]}


def test_a_flagfile_may_name_a_json_config(parse, file, tmp_path):
    (tmp_path / "flags").write_text(f"--config_json={file}\n--config.batch_size=8\n")
    assert changed(parse(f"--flagfile={tmp_path / 'flags'}"))["batch_size"] == 8


def test_overrides_apply_to_a_json_config(parse, file):
    config = parse(f"--config_json={file}", "--config.batch_size=8", "--config.model.ch=32")
    assert changed(config) == {"batch_size": 8, "model.ch": 32, "model.g_attention": [16]}


def test_a_stored_config_reproduces_the_config(parse, tmp_path):
    quickstart = configs.to_json(parse("--config=quickstart"))
    (tmp_path / "config.json").write_text(quickstart)
    assert configs.to_json(parse("--config_json", tmp_path / "config.json")) == quickstart


def test_a_config_is_named_with_or_without_its_folder(parse):
    named = [parse(*name) for name in (["--config=digits"], ["--config", "digits"], ["-config=configs/digits.py"])]
    assert len({configs.to_json(config) for config in named}) == 1
    assert parse() is None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--config_json={}", "--config=quickstart"], "one of --config and --config_json is given, once"),
        (["--config", "quickstart", "--config_json", "{}"], "one of --config and --config_json is given, once"),
        (["--config_json={}", "--config_json={}"], "one of --config and --config_json is given, once"),
        (
            ["--config=quickstart", "--config=quickstart", "--config.seed=1"],
            "one of --config and --config_json is given, once",
        ),
        (["--config_json"], "Missing value for flag --config_json"),
        (["--config_json="], "--config_json names no file"),
        (["--config=plain"], "--config_json names no file"),
        (["--config_json=nowhere.json"], "nowhere.json cannot be read: No such file or directory"),
        (["--config_json={}", "--config.batchsize=8"], "config key batchsize is unknown; did you mean batch_size?"),
        (
            ["--config=digits", "--config.resolution=8"],
            "config key resolution is unknown; did you mean model.resolution?",
        ),
        (
            ["--config=digits", "--config.lr=1e-3"],
            "config key lr is unknown; did you mean schedule.lr or optimizer.g_lr or optimizer.d_lr?",
        ),
        (["--config=digits", "--config.model.steps=9"], "did you mean d_steps or num_steps or "),
        (["--config=digits", "--config.learning_rate=1"], "did you mean optimizer.g_lr or optimizer.d_lr or "),
        (["--config_json={}", "--config.batch_size=many"], "config key batch_size must be a whole number, not 'many'"),
        (["--config=digits", "--config.seed=1.5"], "config key seed must be a whole number, not '1.5'"),
        (["--config=digits", "--config.ema.decay=big"], "config key ema.decay must be a finite number, not 'big'"),
        (["--config=digits", "--config.regularizer.r1=aut"], "a finite number, not 'aut'; it may also be auto"),
        (["--config=digits", "--config.batch_size=aut"], "a whole number, not 'aut'; it may also be auto"),
        (["--config=digits", "--config.model.g_attention=aut"], 'not the string "aut"; it may also be auto'),
        (["--config=digits", "--config.regularizer.r2=auto"], "regularizer.r2 must be a finite number, not auto"),
        (["--config=digits", "--config.seed=auto"], "seed must be a whole number, not auto"),
        (["--config=digits", "--config.data.flip=maybe"], "config key data.flip must be true or false, not 'maybe'"),
        (
            ["--config=digits", "--config.model=3"],
            "config key model is a section; set one of its keys, such as --config.",
        ),
        (
            ["--config=digits", "--config.model.image_shape=16,16,3"],
            "config key model.image_shape does not exist for model.family biggan; it does for gan, ",
        ),
        (["--config=LICENSE"], "the config file failed with SyntaxError: "),
        (["--bits=4"], "--bits '4' is unknown; known are 8, 16"),
        (["--config=quikstart"], "config 'quikstart' is unknown; did you mean quickstart?"),
        (["--config=nothing/near.py"], "give a file, or a name from `biggan-config list`"),
        (["--config="], "config '' is unknown"),
        (
            ["--batch_size=8"],
            "Unknown command line flag 'batch_size'; keys of the config are given as --config.batch_size=",
        ),
        (["--lr=8"], "as --config.schedule.lr= or --config.optimizer.g_lr= or --config.optimizer.d_lr="),
        (["extra"], "unexpected argument 'extra'; every option is given as --name=value"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence(refusal, file, arguments, sentence):
    assert sentence in refusal(*(argument.format(file) for argument in arguments))


@pytest.mark.parametrize(
    "given",
    [
        "colour,cutout",
        "colour, cutout",
        "('colour','cutout')",
        '["colour", "cutout"]',
        "colour --config.augment.policy=cutout",
    ],
)
def test_a_list_has_one_form_however_it_is_given(parse, given):
    first, *more = given.split(" --")
    arguments = [f"--config.augment.policy={first}", *(f"--{text}" for text in more)]
    assert parse("--config=quickstart", *arguments).augment.policy == ("colour", "cutout")


@pytest.mark.parametrize("key", ["augment.policy", "model.g_attention"])
@pytest.mark.parametrize("given", ["", "()", "[]"])
def test_an_empty_list_has_one_form_however_it_is_given(parse, key, given):
    assert changed(parse("--config=biggan_imagenet128", f"--config.{key}={given}")).get(key, []) == []


def test_home_folders_are_expanded_in_configs(parse, file, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.py").write_text("from biggan_jax.config import base as get_config\n")
    config = parse("--config=~/mine.py", "--config.data.dir=~/pictures", "--config.init_from=~/runs/a")
    assert changed(config) == {"data.dir": f"{tmp_path}/pictures", "init_from": f"{tmp_path}/runs/a"}
    assert parse("--config=plain:~/some:config.json").batch_size == 64
    assert parse("--config_json=~/some:config.json").batch_size == 64
    assert parse("--config=quickstart", "--config.data.dir=gs://~/a/").data.dir == "gs://~/a"
    assert parse("--config=quickstart", "--config.data.dir=/").data.dir == "/"


def test_dashes_and_underscores_in_flags_are_alike(monkeypatch):
    monkeypatch.setattr(flags, "FLAGS", flags.FlagValues())
    flags.DEFINE_bool("compile", True, "", flags.FLAGS)
    flags.DEFINE_string("truncation_sweep", None, "", flags.FLAGS)
    given = [
        "main",
        "--truncation-sweep=a-b",
        "--no-compile",
        "--no_compile",
        "--nocompile",
        "--no-such",
        "a-b",
        "--x-y=1",
    ]
    read = ["main", "--truncation_sweep=a-b", *3 * ["--nocompile"], "--no-such", "a-b", "--x-y=1"]
    assert cli.spelled(given) == read


def test_every_flag_is_spelled_with_underscores():
    """One style, and no flag named as a negation, which --help would show as --[no]no_."""
    calls = [
        call
        for path in pathlib.Path(cli.__file__).parent.parent.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and re.match(r"flags\.DEFINE_|cli\.define_path", ast.unparse(call.func))
    ]
    names = [ast.literal_eval(call.args[0]) for call in calls]
    assert len(names) > 50 and [name for name in names if not re.fullmatch(r"(?!no_)[a-z_]+", name)] == []


def test_flags_for_paths_expand_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(flags, "FLAGS", flags.FlagValues())
    out = flags.DEFINE(cli._PathParser(), "out", "~/default", "", flags.FLAGS)
    for given, read in {"~/a/~": "/home/me/a/~", "gs://b/~/c": "gs://b/~/c", "./~": "./~", "~": "/home/me"}.items():
        flags.FLAGS(["command", f"--out={given}"])
        assert out.value == read
    with pytest.raises(UserError, match="~nobody-has-this has no home folder; write ./~nobody-has-this/x"):
        flags.FLAGS(["command", "--out=~nobody-has-this/x"])


def test_every_flag_for_a_path_is_defined_as_one():
    """A flag whose help speaks of a file or folder, with those that are no paths."""
    no_paths = {"suffix", "from", "label_key", "image_key", "y", "z", "coordinator"}
    plain = [
        (str(path), ast.literal_eval(call.args[0]))
        for path in pathlib.Path(cli.__file__).parent.parent.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "flags.DEFINE_string"
        if re.search(r"\b(file|folder|workdir|npz)\b", ast.unparse(call).lower())
    ]
    assert [name for _, name in plain if name not in no_paths] == []


def test_a_json_config_is_not_run_as_python(refusal, tmp_path):
    path = tmp_path / "config.py"
    path.write_text(f"open({str(tmp_path / 'marker')!r}, 'w')\nraise RuntimeError('it ran')\n")
    assert "is not JSON" in refusal(f"--config_json={path}")
    assert not (tmp_path / "marker").exists()
    assert "the config file failed with RuntimeError: it ran (" in refusal(f"--config={path}")
    assert (tmp_path / "marker").exists(), "--config runs Python"


def test_an_error_in_a_config_file_names_its_line(refusal, tmp_path):
    path = tmp_path / "config.py"
    path.write_text(
        "from biggan_jax.config import base\ndef get_config():\n    c = base()\n    c.modle.ch = 3\n    return c\n"
    )
    assert f"({path}, line 4)" in refusal(f"--config={path}", "--config.model.ch=3")


def test_a_config_file_without_get_config_is_refused(refusal, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "config_config", raising=False)  # ml_collections' name of the last config file.
    (tmp_path / "config.py").write_text("x = 1\n")
    assert "the config file failed with AttributeError" in refusal(f"--config={tmp_path / 'config.py'}")


def test_control_characters_are_escaped(capsys):
    logger = logging.getLogger("biggan_jax")
    handlers, propagate = logger.handlers[:], logger.propagate
    try:
        cli.log_to_stderr()
        logger.info("caf\u00e9 \x1b]0;title\x07")
    finally:
        logger.handlers[:], logger.propagate = handlers, propagate
    with pytest.raises(SystemExit):
        cli.fail(UserError("bad \x1b[31mred"))
    printed = capsys.readouterr().err
    assert "\x1b" not in printed and "\x07" not in printed
    assert r"café \x1b]0;title\x07".encode().decode("unicode_escape").encode() or True
    assert r"\x1b]0;title\x07" in printed and "caf\u00e9" in printed and r"bad \x1b[31mred" in printed


def test_help_lists_both_config_flags_and_exits_0():
    done = subprocess.run([sys.executable, "-c", COMMAND, "--help"], capture_output=True, text=True, timeout=60)
    assert "--config:" in done.stdout and "--config_json:" in done.stdout
    assert done.returncode == 0


@pytest.fixture(params=["", "1"], ids=["buffered", "unbuffered"])
def into_a_closed_pipe(request):
    """Return a function that runs Python with arguments, and nobody reads what it prints: (exit status, errors)."""

    def run(*arguments):
        reader, writer = os.pipe()
        os.close(reader)
        environment = os.environ | {"PYTHONUNBUFFERED": request.param}
        command = [sys.executable, *arguments]
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, env=environment)
        os.close(writer)
        return done.returncode, done.stderr

    return run


def test_help_into_a_closed_pipe_ends_silently(into_a_closed_pipe):
    for module in "stability", "config":
        status, errors = into_a_closed_pipe("-m", f"biggan_jax.{module}", "--help")
        assert status in (0, 141) and errors == ""


def test_output_into_a_closed_pipe_ends_silently(into_a_closed_pipe):
    assert into_a_closed_pipe("-c", COMMAND, "--config=quickstart") == (141, "")
    assert into_a_closed_pipe("-m", "biggan_jax.config", "show", "quickstart") == (141, "")


@pytest.fixture
def ended(monkeypatch):
    """Return a function that ends a command by an exception, after it has printed to a pipe that nobody reads."""

    def ended(error):
        reader, writer = os.pipe()
        os.close(reader)
        kept = os.dup(1)
        os.dup2(writer, 1), os.close(writer)
        monkeypatch.setattr(sys, "stdout", os.fdopen(1, "w", closefd=False))
        try:
            with pytest.raises(BaseException) as end, startup.ends_with_its_reader():
                print("printed")
                if error:
                    raise error
            return end.value
        finally:
            os.dup2(kept, 1), os.close(kept)

    return ended


@pytest.mark.parametrize("error", [ValueError("a defect"), UserError("a mistake"), SystemExit(75), KeyboardInterrupt()])
def test_a_failure_is_not_hidden_by_a_reader_that_has_quit(ended, error):
    assert ended(error) is error


def test_a_failure_is_not_hidden_by_a_full_disk(monkeypatch):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit, match="75"), startup.ends_with_its_reader():
            print("printed")
            raise SystemExit(75)
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()


@pytest.mark.parametrize("error", [None, SystemExit(0), SystemExit(None), BrokenPipeError()])
def test_a_success_that_nobody_has_read_ends_with_141(ended, error):
    assert ended(error).code == 141


@pytest.mark.parametrize("stdout", [None, "closed"])
def test_without_a_stdout_a_command_ends_as_with_one(monkeypatch, stdout):
    with open(os.devnull, "w") as file:
        pass
    monkeypatch.setattr(sys, "stdout", stdout and file)
    with pytest.raises(SystemExit, match="75"), startup.ends_with_its_reader():
        raise SystemExit(75)
    with startup.ends_with_its_reader():
        pass


def test_a_socket_whose_reader_has_quit_counts_too():
    ours, theirs = socket.socketpair()
    theirs.close()
    done = subprocess.run(
        [sys.executable, "-m", "biggan_jax.config", "list"], stdout=ours.fileno(), stderr=subprocess.PIPE, text=True
    )
    ours.close()
    assert (done.returncode, done.stderr) == (141, "")


def test_a_config_that_ends_the_program_is_refused(refusal, tmp_path):
    (tmp_path / "config.py").write_text("import sys\nsys.exit(1)\n")
    assert "the config file ended the program, with status 1" in refusal(f"--config={tmp_path / 'config.py'}")


def test_another_broken_pipe_is_not_taken_for_that_of_the_reader():
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(BrokenPipeError), startup.ends_with_its_reader():
        os.write(writer, b"x")
    os.close(writer)
