"""What a public forge runs is what one can run at home, and all of it."""

import re

import pytest

from tests.conftest import ROOT

TARGETS = re.findall(r"^(test[a-z-]*|lint|docs|linkcheck|demo):", (ROOT / "Makefile").read_text(), re.MULTILINE)
RUN = (ROOT / ".github" / "workflows" / "ci.yml").read_text()


@pytest.mark.parametrize("target", TARGETS)
def test_every_check_of_the_makefile_is_run(target):
    assert re.search(rf"(make |target: ){target}(?![\w-])", RUN)


def test_the_oldest_versions_are_those_that_setup_cfg_admits():
    pinned = dict(re.findall(r"^([\w-]+)==(.+)$", (ROOT / "tests" / "oldest.txt").read_text(), re.MULTILINE))
    del pinned["jaxlib"]  # jax brings its own.
    admitted = dict(re.findall(r"^    ([\w-]+)>=([\d.]+)", (ROOT / "setup.cfg").read_text(), re.MULTILINE))
    assert pinned == {name: version for name, version in admitted.items() if name in pinned}
