"""Run every command that README and docs/ show in ```sh, in the order of its page, unless the page says why not.

`<!-- not run: REASON -->` stands in the line before such a block. A ```python block is run too; if it begins with
`# NAME.py`, it is also saved as that file for later blocks. scratch.py makes the folder and the small runs.
"""

import re
import shutil

import pytest

from tests.docs import scratch
from tests.docs.pages import COMMAND, SHOWN, blocks, name, prose

RUN = [page for page in SHOWN if any(block.run for block in blocks(page))]


def test_commands_are_shown_in_sh_blocks():
    wrong = []
    for page in SHOWN:
        others = [block for block in blocks(page) if block.language != "sh"]
        wrong += [f"{name(page)}:{block.line}" for block in others if COMMAND.search(block.text)]
        indented = re.findall(r"^ {4,}(.*)", prose(page), re.M)
        wrong += [f"{name(page)}: {line}" for line in indented if COMMAND.match(line)]
    assert not wrong, "\n".join(wrong)


@pytest.fixture(scope="session")
def folder_of_runs(tmp_path_factory):
    return scratch.make(tmp_path_factory.mktemp("docs") / "scratch")


@pytest.mark.docs
@pytest.mark.parametrize("page", RUN, ids=name)
def test_the_commands_of_a_page_succeed(page, folder_of_runs, tmp_path):
    folder = shutil.copytree(folder_of_runs, tmp_path / "scratch", symlinks=True)
    for block in filter(lambda block: block.run, blocks(page)):
        result = run_block(folder, block)
        assert result.returncode == 0, f"{name(page)}, line {block.line}: {block.text}\n{result.stderr[-3000:]}"


def run_block(folder, block):
    if block.language == "sh":
        return scratch.run(folder, block.text)
    file = re.match(r"# (\w+\.py)\n", block.text)
    script = folder / (file[1] if file else "block.py")
    script.write_text(block.text)
    return scratch.run(folder, f"python {script.name}")
