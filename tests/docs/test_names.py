"""Every command, flag, key, config, file and module that a page names exists."""

import ast
import functools
import re

from biggan_jax import config as configs
from biggan_jax.__main__ import COMMANDS
from tests.conftest import ROOT
from tests.docs.pages import PAGES, commands, name

KEYS = {key for family in configs.SECTIONS for key in configs.table(family)}
SECTIONS = {key.partition(".")[0] for key in KEYS if "." in key}
PACKAGE = ROOT / "biggan_jax"
ANY = {"help", "config", "config_json"}
"""Flags of absl and `cli.define_config`; --help says which commands have the latter two."""
LAUNCHERS = {flag for path in (ROOT / "launch").iterdir() for flag in re.findall(r"--([a-z][\w-]*)", path.read_text())}
OTHER_PROGRAMS = {"docs/launching.md"}
"""Pages that also name flags of other programs, such as sbatch. Flags of our commands are checked there all the same."""
FILES = {"json", "jsonl", "py", "md", "safetensors"}
"""File suffixes that may follow the name of a section, as in stability.jsonl."""


def source_of(module):
    path = PACKAGE / module.replace(".", "/")
    return path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__main__.py"


@functools.cache
def flags_of(path):
    """Return the flags that a command's file and its imported flag modules define."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and re.match(
            r"[\w.]+\.(DEFINE_\w+|define_path|add_argument)$", ast.unparse(node.func)
        ):
            found.add(ast.literal_eval(node.args[0]).removeprefix("--"))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("biggan_jax"):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            files = [(ROOT / name.replace(".", "/")).with_suffix(".py") for name in names if ".flags" in name]
            found = found.union(*(flags_of(file) for file in files if file.exists() and file != path))
    return found


@functools.cache
def all_flags():
    files = [*PACKAGE.rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")]
    return LAUNCHERS.union(ANY, *(flags_of(path) for path in files))


def unknown(flags, known):
    """Return the flags and config keys that do not exist."""
    for flag in flags:
        key = flag.removeprefix("config.")
        if key != flag:
            if key not in KEYS and key not in ("KEY", "key"):
                yield f"config.{key}"
        elif flag not in known and flag.removeprefix("no") not in known:
            yield f"--{flag}"


def test_every_command_exists_and_has_its_flags():
    wrong = []
    for page in PAGES:
        for command, module, arguments in commands(page):
            path = source_of(module)
            if not path.exists():
                wrong.append(f"{name(page)}: there is no {command}")
                continue
            given = re.findall(r"--([\w.-]*\w)", arguments)
            wrong += [f"{name(page)}: {command} has no {flag}" for flag in unknown(given, flags_of(path) | ANY)]
    assert not wrong, "\n".join(wrong)


def test_the_list_of_commands_is_complete_and_installed():
    page, installed = (ROOT / "docs" / "getting_started.md").read_text(), (ROOT / "setup.cfg").read_text()
    for command, (module, purpose) in COMMANDS.items():
        assert f"| `{command}` | {purpose} `{module}` |" in page
        assert f"\n    {command} = biggan_jax.runtime.startup:{command.removeprefix('biggan-')}\n" in installed


def test_every_flag_and_key_exists():
    wrong = []
    for page in PAGES:
        text = re.sub(r"XLA_FLAGS=\S+", "", page.read_text())
        flags = re.findall(r"(?<![\w-])--([a-z][\w.-]*\w)", text)
        ours = [flag for flag in flags if name(page) not in OTHER_PROGRAMS or flag.startswith("config.")]
        wrong += [f"{name(page)}: there is no {flag}" for flag in unknown(ours, all_flags())]
        for section, key in re.findall(rf"`({'|'.join(SECTIONS)})\.(\w+)[`=]", text):
            module = PACKAGE / section / f"{key}.py"
            if key not in FILES and f"{section}.{key}" not in KEYS and not module.exists():
                wrong.append(f"{name(page)}: there is no {section}.{key}")
    assert not wrong, "\n".join(wrong)


def test_every_config_exists():
    named = [(page, c) for page in PAGES for c in re.findall(r"--config=([a-z][\w/]*)(?=[\s`:])", page.read_text())]
    assert named
    wrong = [
        f"{name(page)}: there is no {config}" for page, config in named if not configs.config_path(config).exists()
    ]
    assert not wrong, "\n".join(wrong)


def test_every_test_script_and_benchmark_exists():
    pattern = r"`((?:tests|benchmarks|launch)/[\w/.]+\.(?:py|sh|json|sbatch))`"
    named = [(page, path) for page in PAGES for path in re.findall(pattern, page.read_text())]
    assert named
    wrong = [f"{name(page)}: there is no {path}" for page, path in named if not (ROOT / path).exists()]
    assert not wrong, "\n".join(wrong)


def test_design_names_every_module_at_the_root_of_the_package():
    text = (ROOT / "docs" / "design.md").read_text().partition("## Module responsibilities")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)/?`", "".join(line for line in text.splitlines() if line.startswith("| `"))))
    there = {path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    missing = sorted(there - {"__init__"} - named)
    assert not missing, f"add to docs/design.md: {missing}"


def test_pages_keep_lines_below_121_characters():
    wrong = []
    for page in PAGES:
        for number, line in enumerate(page.read_text().splitlines(), 1):
            if len(line) > 120 and not re.match(r"\||<!--|    ", line):
                wrong.append(f"{name(page)}:{number}")
    assert not wrong, "\n".join(wrong)
