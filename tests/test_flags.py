"""Flags are checked before jax is imported."""

import ast
import contextlib
import dataclasses
import json
import subprocess
import sys

from biggan_jax import latents
from biggan_jax.__main__ import COMMANDS
from biggan_jax.data import forms, picture
from biggan_jax.evaluation import metrics, networks, ppl, resizers
from biggan_jax.flags import choices
from biggan_jax.sampling import sampler
from biggan_jax.tools.dream import ascent, layers
from biggan_jax.tools.edit import directions, projection
from tests.conftest import ROOT

LIBRARIES = ("jax", "flax", "orbax", "tensorflow")
MISTAKES = {
    "biggan-train": ("--config=quickstart", "--workdir=x", "--config.d_steps=many"),
    "biggan-sample": ("--checkpoint=nowhere", "--out=a.png"),
    "biggan-translate": ("--checkpoint=digits", "--in=nowhere", "--out=x"),
    "biggan-evaluate": ("--checkpoint=nowhere", "--scores=fid"),
    "biggan-demo": ("--seed=x",),
    "biggan-prepare": ("--from=folder", "--in=nowhere", "--out=x"),
    "biggan-sheets": ("--checkpoint=digits", "--sheet=classes", "--rows=3", "--out=a.png"),
    "biggan-edit": ("--do=mix", "--checkpoint=digits", "--out=x"),
    "biggan-dream": ("--picture=nowhere.png", "--out=x.png"),
    "biggan-export": ("model", "--checkpoint=digits", "--out=x", "--per_class=3"),
    "biggan-explore": ("--checkpoint=nowhere",),
    "biggan-report": ("nowhere",),
    "biggan-stability": ("--workdir=a", "--checkpoint=b"),
    "biggan-plan": ("--config=quickstart", "--topology=h100"),
    "biggan-convert": ("--from=r3gan", "--to=r3gan", "--in=a", "--out=b"),
    "biggan-checkpoint": ("compare", "A"),
    "biggan-config": ("diff", "quickstart"),
    "biggan-validate": ("--in=nowhere",),
}
"""Of each command, a mistake that its flags alone, or the files that they name, show."""

SCRIPT = """
import contextlib, importlib, io, json, os, sys
from biggan_jax.runtime import cli, subcommands, startup  # Once, for all.

def result(command, arguments):
    read, write = os.pipe()
    if not os.fork():
        sys.argv, out = [command, *arguments], io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            try:
                getattr(startup, command.removeprefix("biggan-"))()
                status = None
            except SystemExit as ended:
                status = ended.code
        found = [name for name in {libraries} if name in sys.modules]
        os.write(write, json.dumps((status or 0, out.getvalue()[-400:], found)).encode())
        os._exit(0)
    os.close(write)
    with open(read) as file:
        return json.load(file)

json.dump([result(*case) for case in json.load(sys.stdin)], sys.stdout)
"""


def test_flags_of_every_command_are_checked_without_jax():
    ways = {"--help": (0, ""), "--no_such_flag": (2, "error: ")}
    cases = [(command, [way], *expected) for command in COMMANDS for way, expected in ways.items()]
    cases += [(command, [*arguments], 2, "error: ") for command, arguments in MISTAKES.items()]
    script = SCRIPT.replace("{libraries}", repr(LIBRARIES))
    given = json.dumps([case[:2] for case in cases])
    done = subprocess.run([sys.executable, "-c", script], input=given, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert MISTAKES.keys() == COMMANDS.keys()
    for (command, arguments, status, text), (ended, printed, imported) in zip(
        cases, json.loads(done.stdout), strict=True
    ):
        assert (ended, imported) == (status, []), f"{command} {' '.join(arguments)}: {printed}"
        assert text in printed and printed.count("error: ") == bool(status), printed


def test_a_package_with_jax_is_checked_first_too():
    """`python -m biggan_jax.checkpoint` imports the package, and so Orbax, before it runs a line of the command."""
    command = [sys.executable, "-X", "importtime", "-m", "biggan_jax.checkpoint", "check"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and "biggan-checkpoint: error: the following arguments are required" in done.stderr
    assert not [
        line for line in done.stderr.splitlines() if line.rpartition("|")[2].strip().partition(".")[0] in LIBRARIES
    ]


def assigned(path, name):
    """Return the value, in the source of a module, of a name: of a dict the keys."""
    for node in ast.parse((ROOT / "biggan_jax" / path).read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            if isinstance(node.value, ast.Dict):
                return tuple(ast.literal_eval(key) for key in node.value.keys)
            return ast.literal_eval(node.value)
    raise AssertionError(f"{path} has no {name}")


def defined(command, number):
    """Return {flag: argument of that number}, of the flags of a command that a literal gives."""
    found = {}
    for node in ast.walk(ast.parse((ROOT / "biggan_jax" / "flags" / f"{command}.py").read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("flags.DEFINE") and len(node.args) > number:
            with contextlib.suppress(ValueError):
                found[ast.literal_eval(node.args[0])] = ast.literal_eval(node.args[number])
    return found


def test_flags_take_the_names_in_the_tables():
    """Tables of functions are in modules that import jax, so flags repeat their names."""
    enums = {
        ("drawing", "truncation_kind"): latents.KINDS,
        ("drawing", "statistics"): sampler.STATISTICS,
        ("evaluation", "resizer"): resizers.RESIZERS,
        ("prepare", "crop"): forms.CROPS,
        ("prepare", "resize"): ("area", *picture.FILTERS),
        ("dream", "network"): layers.NETWORKS,
        ("edit", "space"): ("z", *projection.SPACES),
    }
    for (command, flag), names in enums.items():
        assert tuple(defined(command, 2)[flag]) == tuple(names), f"{command} {flag}"
    assert tuple(networks.NETWORKS) == choices.NETWORKS
    assert tuple(networks.ENCODERS) == choices.ENCODERS
    assert networks.WITHOUT_CLASSES == choices.WITHOUT_CLASSES
    assert tuple(metrics.NAMES) == choices.SCORES
    assert assigned("flags/evaluate.py", "PATHS") == ppl.KINDS
    assert assigned("flags/edit.py", "ATTRIBUTES") == tuple(directions.ATTRIBUTES)


def test_flags_know_what_commands_do_with_them():
    assert assigned("flags/edit.py", "EDITS") == assigned("tools/edit/__main__.py", "EDITS")
    assert assigned("flags/sheets.py", "GRIDS") == assigned("tools/grids/__main__.py", "GRIDS")
    assert assigned("flags/export.py", "IDLE") == assigned("tools/export/__main__.py", "EXPORTS")
    assert assigned("flags/convert.py", "PROJECTS") == assigned("convert/__main__.py", "PROJECTS")


def test_defaults_of_dreams_are_those_of_the_library():
    given, settings = defined("dream", 1), dataclasses.asdict(ascent.Settings())
    assert {name: given[name] for name in settings} == settings
