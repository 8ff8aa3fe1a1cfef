"""Every link within the repository leads to a file and an anchor; `make linkcheck` asks other sites."""

from tests.conftest import ROOT
from tests.docs.pages import PAGES, anchors, links, name


def test_every_link_and_anchor_exists():
    wrong = []
    for page in PAGES:
        for target, anchor in links(page):
            path = (page.parent / target).resolve() if target else page
            if not path.exists():
                wrong.append(f"{name(page)}: there is no {target}")
            elif anchor and path.suffix == ".md" and anchor not in anchors(path):
                wrong.append(f"{name(page)}: {target} has no #{anchor}, only {sorted(anchors(path))}")
    assert not wrong, "\n".join(wrong)


def test_the_navigation_has_every_page():
    index = (ROOT / "docs" / "index.md").read_text()
    missing = [page.stem for page in (ROOT / "docs").glob("*.md") if page.stem != "index" and page.stem not in index]
    assert not missing
