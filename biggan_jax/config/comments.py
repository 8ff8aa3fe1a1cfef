"""Read what each key means from the comments in the source of the table."""

import ast
import inspect
import textwrap
from collections.abc import Callable

from biggan_jax.config.defaults import general, table
from biggan_jax.config.families import SECTIONS


def meanings(family: str) -> dict[str, str]:
    """Return {dotted key: its comment, or ""} of all keys of a family's configs, in the order of the table."""
    found = comments(general) | {f"model.{key}": text for key, text in comments(SECTIONS[family]).items()}
    return {key: found.get(key, "") for key in table(family)}


def comments(section: Callable[[], dict]) -> dict[str, str]:
    """Return {key: the comment above or behind it} of a function that returns a dict display.

    A section may extend another, as in `biggan() | {...}` or `{**biggan(), ...}`, whose comments it then has.
    """
    try:
        source = textwrap.dedent(inspect.getsource(section))
        nodes = list(ast.walk(ast.parse(source)))
    except (OSError, SyntaxError):  # Typed into a shell, or a lambda within a call: there are no comments to read.
        return {}
    found: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not (node.args or node.keywords):
            found |= comments(section.__globals__[node.func.id])
    for display in (node for node in nodes if isinstance(node, ast.Dict)):
        for key, value in zip(display.keys, display.values, strict=True):
            if isinstance(key, ast.Constant):  # `**other` has the key None.
                comment = _comment(source.splitlines(), key.lineno, value.end_lineno or key.lineno)
                found[str(key.value)] = comment or found.get(str(key.value), "")
    return found


def _comment(lines: list[str], first: int, last: int) -> str:
    """The comment above line `first`, then that behind line `last`; both count from 1."""
    above = first - 1
    while lines[above - 1].lstrip().startswith("# "):
        above -= 1
    text = [line.strip().removeprefix("# ") for line in lines[above : first - 1]]
    return " ".join([*text, lines[last - 1].partition("  # ")[2]]).strip()
