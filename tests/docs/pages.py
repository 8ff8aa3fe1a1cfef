"""What the pages say, taken apart: code, links, headings. Written for the tests beside it."""

import re
from typing import NamedTuple

from tests.conftest import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES.append(ROOT / "benchmarks" / "README.md")
SHOWN = [page for page in PAGES if page == ROOT / "README.md" or page.parent.name == "docs"]
FENCE = re.compile(r"^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$", re.M | re.S)
REASON = re.compile(r"<!-- not run: ([^\n]+) -->\n\Z")
COMMAND = re.compile(r"\b(python3? -m biggan_jax|biggan-[a-z]+ --|pip install|make [a-z]|launch/\w+\.s)")


class Block(NamedTuple):
    """Code between fences; `reason` says why no test runs it, if it says so."""

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
    """The page without code between fences."""
    return FENCE.sub("", page.read_text())


def links(page):
    """(what is linked to, its anchor) of each link and picture that is not on another site."""
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            yield tuple(target.partition("#")[::2])


def anchors(page):
    """Those of a forge: a heading in lower case, spaces to hyphens, without punctuation."""
    headings = re.findall(r"^#+ +(.+)$", prose(page), re.M)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def commands(page):
    """(module of biggan_jax, the text that follows it) of each command that the page shows, between fences or in a line."""
    text = page.read_text().replace("\\\n", " ")
    for module, rest in re.findall(r"python -m biggan_jax\.([\w.]+)([^`\n]*)", text):
        yield module, rest.partition("  #")[0]
