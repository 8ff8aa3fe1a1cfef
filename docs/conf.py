"""How the pages of this folder become a site: `make docs`. They are written to be read on a forge as they are; see `to_forge`."""

import os
import pathlib
import re

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # Building documents needs no accelerator.

import biggan_jax

DOCS = pathlib.Path(__file__).parent
ROOT = DOCS.parent
FORGE = "https://github.com/OWNER/biggan_jax"
"""Where the source will be; OWNER is not decided yet. Notebooks and README have the same placeholder."""

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

myst_heading_anchors = 4  # The anchors of headings are a forge's.
myst_links_external_new_tab = False
toc_object_entries = False
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
default_role = "code"  # Docstrings put names between single backticks.
nitpicky = True
nitpick_ignore_regex = [
    (".*", "(?!biggan_jax).*")
]  # Only our own names must be there: others' inventories need a network.
linkcheck_ignore = [f"{FORGE}.*", "http://localhost.*", "http://127.*"]
linkcheck_anchors = False  # Forges draw them by script.

LINK = re.compile(r"(?<!!)(\[[^\]]*\]\()(?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")


def to_forge(app, page, source):
    """Links to what is no page of the site, code above all, lead to the forge."""

    def moved(match):
        target = (DOCS / match[2]).resolve()
        if target.parent == DOCS and target.suffix == ".md":
            return match[0]
        return f"{match[1]}{FORGE}/{'tree' if target.is_dir() else 'blob'}/main/{target.relative_to(ROOT)}{match[3] or ''})"

    source[0] = LINK.sub(moved, source[0])


def setup(app):
    app.connect("source-read", to_forge)
