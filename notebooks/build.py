"""Build each NAME.ipynb from its source NAME.md, without running cells: `make notebooks`.

Equal sources give equal files: cells have no random ids.
"""

import pathlib

import jupytext
import nbformat

FOLDER = pathlib.Path(__file__).parent


def built(source: str) -> str:
    """Convert a source in Jupytext Markdown to the text of a notebook without outputs."""
    notebook = jupytext.reads(source, fmt="md")
    notebook.nbformat_minor = 4
    for cell in notebook.cells:
        cell.pop("id", None)
    notebook.metadata.pop("jupytext", None)
    return nbformat.writes(notebook) + "\n"


if __name__ == "__main__":
    for path in sorted(FOLDER.glob("*.md")):
        path.with_suffix(".ipynb").write_text(built(path.read_text()))
