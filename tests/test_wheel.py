"""The wheel and the sdist: built from the repository, installed into an empty environment, run outside of the checkout."""

import configparser
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import urllib.request
import venv
import zipfile

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.wheel

COMMANDS = configparser.ConfigParser(delimiters="=")
COMMANDS.read(ROOT / "setup.cfg")
COMMANDS = [
    line.partition("=")[0].strip() for line in COMMANDS["options.entry_points"]["console_scripts"].split("\n")[1:]
]

SHORT = "--config.num_steps=2", "--config.sample_every=0", "--config.model.ch=2"


def tracked() -> set[str]:
    """Return all files that git tracks or would not ignore."""
    command = ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate"]
    listed = subprocess.run(command, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git repository here")
    return {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """A folder with the sdist, and the wheel built from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run([sys.executable, "-m", "build", f"--outdir={folder}", ROOT], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(dist):
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def sdist(dist, tmp_path_factory):
    """The folder of the unpacked sdist."""
    (found,) = dist.glob("*.tar.gz")
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(found) as archive:
        archive.extractall(folder, filter="data")
    return folder / found.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The bin/ of an environment with the wheel and its dependencies only."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=True)
    for command in (["install", "--quiet", f"{wheel}[demo,explore]"], ["check"]):
        done = subprocess.run([folder / "bin" / "pip", *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "bin"


@pytest.fixture
def away(tmp_path, monkeypatch):
    """Change to a folder outside of the repository, which is not on Python's path."""
    for name in ("PYTHONPATH", "XLA_FLAGS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*command, **more):
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_the_package_and_its_configs_and_nothing_else(wheel):
    wanted = {name for name in tracked() if name.startswith("biggan_jax/")}
    wanted |= {f"biggan_jax/{name}" for name in tracked() if re.fullmatch("configs/.*[.]py", name)}
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == wanted


def test_the_sdist_holds_the_repository(sdist):
    held = {str(path.relative_to(sdist)) for path in sdist.rglob("*") if path.is_file()}
    left_out = {name for name in tracked() if not name.startswith(".")} - held
    added = {name for name in held - tracked() if not name.startswith("biggan_jax.egg-info/")}
    assert (left_out, added) == (set(), {"PKG-INFO"})


def test_what_they_say_of_themselves_is_in_order(dist):
    said = run(sys.executable, "-m", "twine", "check", "--strict", *dist.iterdir())
    assert said.count("PASSED") == 2, said


def test_the_tests_of_the_sdist_pass_there(sdist, away, monkeypatch):
    monkeypatch.chdir(sdist)
    run(sys.executable, "-m", "pytest", "--collect-only", "-q")
    passed = run(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_golden.py", "tests/plan/test_hlo.py"
    )
    assert re.search(r"\d passed", passed) or "100%" in passed, passed


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_how_it_is_used(installed, away, command):
    said = run(installed / command, "--help")
    assert ("flags:" in said and "biggan_jax" in said) or f"usage: {command}" in said, said


def test_the_installed_package_is_used_and_needs_no_tensorflow(installed, away):
    script = "import biggan_jax, sys, biggan_jax.train; print(biggan_jax.__file__, 'tensorflow' in sys.modules)"
    path, with_tensorflow = run(installed / "python", "-c", script).split()
    assert pathlib.Path(path).is_relative_to(installed.parent) and with_tensorflow == "False"


def test_it_trains_and_the_page_of_what_came_out_is_served(installed, away):
    run(installed / "biggan-train", "--config=quickstart", "--workdir=run", *SHORT, "--config.score.every=0")
    run(installed / "biggan-sample", "--checkpoint=run", "--num=4", "--passes=1", "--out=grid.png")
    assert (away / "grid.png").read_bytes().startswith(b"\x89PNG")
    command = [installed / "biggan-explore", "--checkpoint=run", "--passes=1", "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as page:
        try:
            line = page.stdout.readline()
            assert "http://127.0.0.1:" in line, page.communicate()[1]
            for name in ("", "static/explore.js", "static/explore.css"):
                with urllib.request.urlopen(line.split()[4] + name) as answer:
                    assert answer.status == 200 and len(answer.read()) > 1000, name
        finally:
            page.terminate()


def test_it_demonstrates(installed, away):
    said = run(installed / "biggan-demo", "--out=demo", *SHORT)
    assert "demo/samples.png" in said and (away / "demo" / "report.json").is_file(), said


def test_every_config_is_found_by_its_name(installed, away):
    names = sorted(
        path.stem for path in (ROOT / "configs").rglob("[a-z]*.py") if path.stem not in ("finetune", "plain")
    )
    script = "import sys; from biggan_jax.config import load, validate\nfor name in sys.argv[1:]: validate(load(name)); print(name)"
    assert run(installed / "python", "-c", script, *names).split() == names


def test_a_mistake_is_one_sentence_there_too(installed, away):
    done = subprocess.run(
        [installed / "biggan-train", "--config=quikstart", "--workdir=run"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert re.fullmatch(r"biggan-train: error: .*did you mean quickstart\?.*\n", done.stderr), done.stderr
