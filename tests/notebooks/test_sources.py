"""Each notebook is generated from its source, and shared passages are equal in all notebooks."""

import json

import nbformat
import nbstripout
import pytest

from notebooks.build import built
from tests.conftest import ROOT

SOURCES = sorted((ROOT / "notebooks").glob("*.md"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_notebook_is_what_its_source_makes(source):
    assert source.with_suffix(".ipynb").read_text() == built(source.read_text()), "run `make notebooks`"


def test_every_notebook_has_a_source():
    assert [path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb"))] == [path.stem for path in SOURCES]
    assert len(SOURCES) == 3


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_it_has_no_outputs(source):
    text = source.with_suffix(".ipynb").read_text()
    notebook = nbformat.reads(text, as_version=4)
    assert nbstripout.strip_output(notebook, keep_output=False, keep_count=False, keep_id=True) == nbformat.reads(
        text, 4
    )


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_its_install_is_that_of_all(source):
    cells = json.loads(source.with_suffix(".ipynb").read_text())["cells"]
    text = "".join(line for cell in cells for line in cell["source"])
    assert 'SOURCE = ""  # The package to install' in text
    packages = "clu tensorboardX ml_collections simplejpeg opencv-python-headless mlxtend"
    assert f"    %pip install --quiet --no-deps $SOURCE {packages}\n" in text
