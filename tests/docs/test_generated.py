"""Pages that are generated from code are up to date."""

import runpy

import pytest

import biggan_jax
from biggan_jax import config as configs
from tests.conftest import ROOT

MADE = runpy.run_path(str(ROOT / "docs" / "generate.py"))


@pytest.mark.parametrize("page", MADE["PAGES"])
def test_generated_pages_are_up_to_date(page):
    assert (ROOT / page).read_text() == MADE["PAGES"][page](), "make pages"


def test_the_citation_has_the_version_of_the_package():
    assert f"\nversion: {biggan_jax.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_every_key_is_explained():
    page = (ROOT / "docs" / "config_keys.md").read_text()
    for family in MADE["shipped_sections"]():
        for key in configs.table(family):
            row = next((line for line in page.splitlines() if line.startswith(f"| `{key}` |")), "")
            assert row and row.split(" | ")[2].strip(), key
