"""The report's page: HTML in one file, without anything that a browser would load."""

import base64
import hashlib
import html
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

STATIC = pathlib.Path(__file__).parent / "static"


class Section(NamedTuple):
    """A section of the page. key: its anchor. body: HTML."""

    key: str
    title: str
    body: str


def escape(text: object) -> str:
    """Return text for HTML, also inside an attribute."""
    return html.escape(str(text), quote=True)


def page(title: str, lead: str, sections: Sequence[Section], foot: str) -> str:
    """Return the page. title, foot: text. lead: HTML above the sections.

    The policy allows the page's own styles and script, and images inside the file; nothing is loaded from elsewhere.
    """
    style, script = ((STATIC / name).read_text() for name in ("report.css", "report.js"))
    known = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{known}'; base-uri 'none'"
    )
    links = "".join(f'<a href="#{one.key}">{escape(one.title)}</a>' for one in sections)
    body = "".join(
        f'<section aria-labelledby="{one.key}"><h2 id="{one.key}">{escape(one.title)}</h2>{one.body}</section>\n'
        for one in sections
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body>
<header><h1>{escape(title)}</h1>{lead}<nav aria-label="Sections">{links}</nav></header>
<main>
{body}</main>
<footer>{escape(foot)}</footer>
<script>{script}</script>
</body>
</html>
"""


def facts(rows: Mapping[str, object]) -> str:
    """Return a grid of facts."""
    cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in rows.items())
    return f'<dl class="facts">{cells}</dl>'


def table(head: Sequence[str], rows: Iterable[Sequence[object]], kind: str = "") -> str:
    """Return a table. kind: its class."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table></div>'
    )


def figures(charts: Iterable[str]) -> str:
    """Return charts, given as SVG, beside each other."""
    return '<div class="charts">' + "".join(f"<figure>{chart}</figure>" for chart in charts) + "</div>"


def slider(name: str, pictures: Sequence[tuple[int, bytes]], note: str = "") -> str:
    """Return pictures over steps behind a slider, which starts at the last. pictures: (step, PNG). note: below them."""
    source = lambda png: f"data:image/png;base64,{base64.b64encode(png).decode()}"
    listed = [{"step": step, "source": source(png)} for step, png in pictures]
    last, label = len(pictures) - 1, escape(name)
    # "</" would end the element; JSON has the same string with an escape.
    inner = json.dumps(listed).replace("</", "<\\/")
    return (
        f'<div class="samples"><h3>{label}</h3>'
        f'<input type="range" min="0" max="{last}" value="{last}" aria-label="step of {label}">'
        f"<output>step {pictures[last][0]}</output>"
        f'<img src="{listed[last]["source"]}" alt="samples at step {pictures[last][0]}">'
        f'<script type="application/json">{inner}</script><p class="faint">{escape(note)}</p></div>'
    )
