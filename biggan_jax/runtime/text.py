"""Text that others wrote, such as names in data sets and in a run's own files, made safe to print."""

from typing import Any


def escape(text: str) -> str:
    """Escape control characters, with which a terminal can be made to do more than show text."""
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


def escape_all(tree: Any) -> Any:
    """Escape every string in lists and dicts, keys included."""
    if isinstance(tree, str):
        return escape(tree)
    if isinstance(tree, list):
        return [escape_all(value) for value in tree]
    return {escape(key): escape_all(value) for key, value in tree.items()} if isinstance(tree, dict) else tree
