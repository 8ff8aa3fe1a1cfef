"""Parse the pages: code blocks, links, headings and commands, for the tests in this folder."""

import re
from typing import NamedTuple

from biggan_jax.__main__ import COMMANDS
from tests.conftest import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES.append(ROOT / "benchmarks" / "README.md")
SHOWN = [page for page in PAGES if page == ROOT / "README.md" or page.parent.name == "docs"]
FENCE = re.compile(r"^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$", re.M | re.S)
REASON = re.compile(r"<!-- not run: ([^\n]+) -->\n\Z")
COMMAND = re.compile(r"\b(python3? -m biggan_jax|biggan-[a-z]+ (--|[a-z])|pip install|make [a-z]|launch/\w+\.s)")
MODULES = {command: module.removeprefix("biggan_jax.") for command, (module, _) in COMMANDS.items()}


class Block(NamedTuple):
    """A code block; `reason` says why no test runs it, if the page says so."""

    language: str
    text: str
    line: int
    reason: str | None

    @property
    def run(self):
        return self.language in ("sh", "python") and not self.reason


def name(page):
    return page.relative_to(ROOT).as_posix()


def blocks(page):
    text = page.read_text()
    for found in FENCE.finditer(text):
        reason = REASON.search(text, 0, found.start())
        line = text.count("\n", 0, found.start()) + 1
        yield Block(found["language"], found["text"], line, reason and reason[1])


def prose(page):
    """Return the page without code blocks."""
    return FENCE.sub("", page.read_text())


def links(page):
    """Return (target, anchor) of each link and picture within the repository."""
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            yield tuple(target.partition("#")[::2])


def anchors(page):
    """Return the anchors as GitHub makes them: headings in lower case, without punctuation, with hyphens for spaces."""
    headings = re.findall(r"^#+ +(.+)$", prose(page), re.M)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def commands(page):
    """Return (command, module without biggan_jax, arguments) of each command on the page, in blocks or inline."""
    text = page.read_text().replace("\\\n", " ")
    for command, arguments in re.findall(r"\b(python -m biggan_jax\.[\w.]+|biggan-[a-z]+)(?=[\s`])([^`\n]*)", text):
        module = MODULES.get(command) or command.removeprefix("python -m biggan_jax.")
        yield command, module, arguments.partition("  #")[0]
