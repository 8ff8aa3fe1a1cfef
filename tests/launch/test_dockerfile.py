"""launch/Dockerfile against the checkout; building it needs Docker, which may be missing."""

import configparser
import re

from tests.launch.rig import ROOT

TEXT = (ROOT / "launch" / "Dockerfile").read_text()
STEPS = [line.split(maxsplit=1) for line in TEXT.splitlines() if line and not line.startswith("#")]


def test_it_copies_existing_files_and_the_whole_package():
    copied = [word for step, words in STEPS if step == "COPY" for word in words.split()[:-1]]
    assert all((ROOT / word).exists() for word in copied)
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    needed = set(setup["options"]["package_dir"].replace(" ", "").split())
    assert {folder.partition("=")[2].partition("/")[0] for folder in needed} <= set(copied)
    assert re.sub(r"file: ", "", setup["metadata"]["long_description"]) in copied
    assert setup["metadata"]["license_files"] in copied


def test_its_extras_exist():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    named = re.findall(r"EXTRA=([a-z,]+)", TEXT) + re.findall(r"or ([a-z,]+)$", TEXT, re.MULTILINE)
    assert "tpu,gcs" in named and "cuda,gcs" in named
    assert {extra for words in named for extra in words.split(",")} <= set(setup["options.extras_require"])
