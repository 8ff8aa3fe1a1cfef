"""Makes each NAME.ipynb here of NAME.md, which is its source: `make notebooks`. Must not run any cell.

Equal sources give equal files: cells have no ids, which would be drawn by chance.
"""

import pathlib

import jupytext
import nbformat

FOLDER = pathlib.Path(__file__).parent


def built(source: str) -> str:
    """The text of the notebook whose source this is, in Jupytext's Markdown: without outputs."""
    notebook = jupytext.reads(source, fmt="md")
    notebook.nbformat_minor = 4
    for cell in notebook.cells:
        cell.pop("id", None)
    notebook.metadata.pop("jupytext", None)
    return nbformat.writes(notebook) + "\n"


if __name__ == "__main__":
    for path in sorted(FOLDER.glob("*.md")):
        path.with_suffix(".ipynb").write_text(built(path.read_text()))
