"""Pages that are made of code are what the code makes of them now."""

import runpy

import pytest

import biggan_jax
from biggan_jax import config as configs
from tests.conftest import ROOT

MADE = runpy.run_path(str(ROOT / "docs" / "generate.py"))


@pytest.mark.parametrize("page", MADE["PAGES"])
def test_the_page_is_what_the_code_says(page):
    assert (ROOT / page).read_text() == MADE["PAGES"][page](), "make pages"


def test_the_citation_has_the_version_of_the_package():
    assert f"\nversion: {biggan_jax.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_every_key_is_explained():
    said = MADE["explanations"]()
    assert said.keys() == configs.flatten(configs.base().to_dict()).keys()
    assert all(said.values()), [key for key in said if not said[key]]
