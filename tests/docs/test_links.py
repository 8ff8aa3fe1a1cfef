"""Every link of the pages leads somewhere, as they lie on a forge; `make linkcheck` asks other sites."""

import pytest

from tests.docs.pages import PAGES, anchors, links, name


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_and_anchor_is_there(page):
    for target, anchor in links(page):
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), f"{target} is not there"
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), f"{target}#{anchor}: its headings are {sorted(anchors(there))}"
