"""CI runs every check of the Makefile."""

import re

from tests.conftest import ROOT

TARGETS = re.findall(r"^(test[a-z-]*|lint|docs|linkcheck|demo):", (ROOT / "Makefile").read_text(), re.MULTILINE)
RUN = (ROOT / ".github" / "workflows" / "ci.yml").read_text()


def test_ci_runs_every_check_of_the_makefile():
    missing = [name for name in TARGETS if not re.search(rf"(make |target: ){name}(?![\w-])", RUN)]
    assert missing == ["test-all"], "test-all is all of the others, one after another"


def test_the_oldest_versions_are_those_in_setup_cfg():
    pinned = dict(re.findall(r"^([\w-]+)==(.+)$", (ROOT / "tests" / "oldest.txt").read_text(), re.MULTILINE))
    del pinned["jaxlib"]  # jax brings its own.
    admitted = dict(re.findall(r"^    ([\w-]+)>=([\d.]+)", (ROOT / "setup.cfg").read_text(), re.MULTILINE))
    assert pinned == {name: version for name, version in admitted.items() if name in pinned}
