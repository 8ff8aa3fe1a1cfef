"""Every command that README and docs/ show in ```sh is run, in the order of its page, unless the page says why not.

`<!-- not run: REASON -->` stands in the line before such a block. ```python is run, too, or, where it begins with `# NAME.py`, saved as
that file for what follows. Where commands are run, and how they are made small: scratch.py.
"""

import re
import shutil

import pytest

from tests.docs import scratch
from tests.docs.pages import COMMAND, SHOWN, blocks, name, prose

RUN = [page for page in SHOWN if any(block.run for block in blocks(page))]


@pytest.mark.parametrize("page", SHOWN, ids=name)
def test_every_command_is_run_or_says_why_not(page):
    for block in blocks(page):
        if block.language != "sh":
            assert not COMMAND.search(block.text), f"line {block.line}: commands are shown in ```sh"
    indented = [line for line in re.findall(r"^ {4,}(.*)", prose(page), re.M) if COMMAND.match(line)]
    assert not indented, "commands are shown in ```sh"


@pytest.fixture(scope="session")
def standing(tmp_path_factory):
    return scratch.make(tmp_path_factory.mktemp("docs") / "scratch")


@pytest.mark.docs
@pytest.mark.parametrize("page", RUN, ids=name)
def test_the_page_s_commands_do_what_they_are_there_for(page, standing, tmp_path):
    folder = shutil.copytree(standing, tmp_path / "scratch", symlinks=True)
    for block in filter(lambda block: block.run, blocks(page)):
        result = try_(folder, block)
        assert result.returncode == 0, f"{name(page)}, line {block.line}: {block.text}\n{result.stderr[-3000:]}"


def try_(folder, block):
    if block.language == "sh":
        return scratch.run(folder, block.text)
    file = re.match(r"# (\w+\.py)\n", block.text)
    script = folder / (file[1] if file else "block.py")
    script.write_text(block.text)
    return scratch.run(folder, f"python {script.name}")
