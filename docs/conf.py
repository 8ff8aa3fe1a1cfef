"""Sphinx configuration for `make docs`. The pages are written for a forge; see `link_source`."""

import os
import pathlib
import re

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # The site needs no accelerator.

import biggan_jax

DOCS = pathlib.Path(__file__).parent
ROOT = DOCS.parent
REPOSITORY = os.environ.get("REPOSITORY", "").rstrip("/")
"""Address of the repository on a forge, to which links to source files lead. Without one they become plain text."""

project = "biggan_jax"
author = "The biggan_jax authors"
copyright = author
version = release = biggan_jax.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "biggan_jax"
html_static_path = ["_static"]
html_css_files = ["wide.css"]

myst_heading_anchors = 4  # The anchors of headings on a forge.
myst_links_external_new_tab = False
toc_object_entries = False
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_use_ivar = True  # Otherwise fields that a class documents under Attributes are described twice.
default_role = "code"  # Docstrings put names between single backticks.
nitpicky = True
nitpick_ignore_regex = [(".*", "(?!biggan_jax).*")]  # Inventories of other projects need a network.
linkcheck_ignore = ["http://localhost.*", "http://127.*"]
linkcheck_anchors = False  # Forges render anchors by script.

ASTERISK = re.compile(r"\*(?=(?:[^`]*`[^`]*`)*[^`]*$)")
"""An asterisk outside of backticks."""
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")


def link_source(app, page, source):
    """Point links to files that are no pages, such as source code, to REPOSITORY."""

    def replacement(match):
        text, target, anchor = match.groups()
        path = (DOCS / target).resolve()
        if path.parent == DOCS and path.suffix == ".md":
            return match[0]
        if not REPOSITORY:
            return text
        kind = "tree" if path.is_dir() else "blob"
        return f"[{text}]({REPOSITORY}/{kind}/main/{path.relative_to(ROOT)}{anchor or ''})"

    source[0] = LINK.sub(replacement, source[0])


def plain_docstring(app, what, name, obj, options, lines):
    """Join hanging indents and escape asterisks: docstrings are plain text with Google sections, not reStructuredText."""
    joined = []
    for line in lines:
        previous = joined[-1] if joined else ""
        if line.strip() and previous.strip() and indent(line) > indent(previous) and not previous.endswith(":"):
            joined[-1] = f"{previous.rstrip()} {line.strip()}"
        else:
            joined.append(line)
    lines[:] = [line if ">>>" in line else ASTERISK.sub(r"\\*", line) for line in joined]


def indent(line):
    return len(line) - len(line.lstrip())


def setup(app):
    app.connect("source-read", link_source)
    app.connect("autodoc-process-docstring", plain_docstring, priority=400)  # Before napoleon reads the sections.
