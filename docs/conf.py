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

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
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
default_role = "code"  # Docstrings put names between single backticks.
nitpicky = True
nitpick_ignore_regex = [(".*", "(?!biggan_jax).*")]  # Inventories of other projects need a network.
linkcheck_ignore = ["http://localhost.*", "http://127.*"]
linkcheck_anchors = False  # Forges render anchors by script.

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


def setup(app):
    app.connect("source-read", link_source)
