"""No page names a flag, a key or a file that the code does not have."""

import ast
import functools
import re

import pytest

from biggan_jax import config as configs
from tests.conftest import ROOT
from tests.docs.pages import PAGES, commands, name

KEYS = configs.flatten(configs.base().to_dict())
SECTIONS = {key.partition(".")[0] for key in KEYS if "." in key}
PACKAGE = ROOT / "biggan_jax"
ANY = {"help", "config", "config_json"}
"""Flags that absl or `cli.define_config` bring; which commands have the latter two is said by their --help."""
LAUNCHERS = {flag for path in (ROOT / "launch").iterdir() for flag in re.findall(r"--([a-z][\w-]*)", path.read_text())}
OF_OTHERS = {"docs/launching.md"}
"""Pages that name flags of other programs, such as sbatch, beside ours; of ours' commands each is looked at all the same."""
FILES = {"json", "jsonl", "py", "md"}
"""What follows the name of a section in a file's name, such as stability.jsonl."""


def source_of(module):
    path = PACKAGE / module.replace(".", "/")
    return path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__main__.py"


@functools.cache
def flags_of(path):
    """The flags that a command's file defines, and those of the files of flags that it imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and re.match(r"[\w.]+\.(DEFINE_\w+|add_argument)$", ast.unparse(node.func)):
            found.add(ast.literal_eval(node.args[0]).removeprefix("--"))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("biggan_jax"):
            for alias in node.names:
                if alias.name.endswith("_flags"):
                    found |= flags_of(PACKAGE / f"{alias.name}.py")
    return found


@functools.cache
def all_flags():
    files = [*PACKAGE.rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")]
    return LAUNCHERS.union(ANY, *(flags_of(path) for path in files))


def assert_known(given, known):
    for flag in given:
        key = flag.removeprefix("config.")
        if key != flag:
            assert key in KEYS or key in ("KEY", "key"), f"there is no key {key}"
        else:
            assert flag in known or flag.removeprefix("no") in known, f"there is no --{flag}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_flag_of_a_command_is_one_of_its_own(page):
    for module, rest in commands(page):
        path = source_of(module)
        assert path.exists(), f"there is no python -m biggan_jax.{module}"
        assert_known(re.findall(r"--([\w.-]*\w)", rest), flags_of(path) | ANY)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_flag_and_key_that_is_named_is_there(page):
    text = re.sub(r"XLA_FLAGS=\S+", "", page.read_text())
    named = re.findall(r"(?<![\w-])--([a-z][\w.-]*\w)", text)
    assert_known([flag for flag in named if name(page) not in OF_OTHERS or flag.startswith("config.")], all_flags())
    for section, key in re.findall(rf"`({'|'.join(SECTIONS)})\.(\w+)[`=]", text):
        module = PACKAGE / section / f"{key}.py"
        assert key in FILES or f"{section}.{key}" in KEYS or module.exists(), f"there is no {section}.{key}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_config_that_is_named_ships(page):
    for config in re.findall(r"--config=([a-z][\w/]*)(?=[\s`:])", page.read_text()):
        assert configs.config_path(config).exists()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_test_that_is_named_is_there(page):
    for path in re.findall(r"`((?:tests|benchmarks|launch)/[\w/.]+\.(?:py|sh|json|sbatch))`", page.read_text()):
        assert (ROOT / path).exists(), path
