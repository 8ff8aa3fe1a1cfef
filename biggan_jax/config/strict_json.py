"""Owns plain data from outside: JSON that is read strictly, and laid upon defaults. Must not know what any key means.

Whoever wrote the file, reading it runs nothing, takes little memory, and fails with one sentence.
"""

import difflib
import json
import math
from typing import Any

from etils import epath

from biggan_jax.types import UserError

MOST_BYTES = 2**20
"""A longer file is refused, of which no more is read. A whole config has 4 kB."""

KINDS = {bool: "true or false", int: "a whole number", float: "a finite number", str: "a string", tuple: "a list"}
"""Of defaults, by type, what a value must be."""


def read(path: epath.PathLike) -> Any:
    """What a JSON file holds, local or gs://. Raises UserError if that cannot be had."""
    try:
        with epath.Path(path).open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except Exception as error:  # Object stores have errors of their own, and say so if their package is missing.
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(raw) > MOST_BYTES:
        raise UserError(f"{path} is no config: it has more than {MOST_BYTES:,} bytes")
    return parse(raw, str(path))


def parse(text: str | bytes, where: str) -> Any:
    """What JSON `text` holds. Raises UserError, which calls it `where`, if it is none, or gives a key twice."""
    try:
        return json.loads(text, object_pairs_hook=_once, parse_int=_whole, parse_constant=_no_constant)
    except RecursionError as error:
        raise UserError(f"{where} is no config: it is nested too deeply") from error
    except ValueError as error:
        raise UserError(f"{where} is not JSON: {error}") from error


def merge_into(defaults: dict[str, Any], given: Any, where: str) -> dict[str, Any]:
    """{dotted key: value} of what is given, nested or dotted. Each value has its default's type.

    An int becomes a float where that is the default's, a list a tuple, of the type of the default's first element, or of
    strings where it has none. Raises UserError for a key that no default has, and for a value of another type.
    """
    if not isinstance(given, dict):
        raise UserError(f"{where} is no config: it holds {said(given)}, not an object of keys")
    sections = {key[:dot] for key in defaults for dot in range(len(key)) if key[dot] == "."}
    found = {}

    def lay(tree: dict[str, Any], prefix: str) -> None:
        for key, value in tree.items():
            key = prefix + key
            if key in sections and isinstance(value, dict):
                lay(value, f"{key}.")
            elif key in sections:
                raise UserError(f"{where}: {key} must be an object of keys, not {said(value)}")
            elif key not in defaults:
                raise UserError(_unknown(key, defaults, where))
            elif key in found:
                raise UserError(f"{where} has the key {key} twice")
            else:
                found[key] = _typed(value, defaults[key], f"{where}: {key}")

    lay(given, "")
    return found


def said(value: Any) -> str:
    """A value as people are told of it: short, whatever it is."""
    if isinstance(value, dict | list | tuple):
        return "an object" if isinstance(value, dict) else "a list"
    text = json.dumps(value)
    return f"{'the string ' * isinstance(value, str)}{text if len(text) <= 40 else text[:40] + ' ...'}"


def _typed(value: Any, default: Any, what: str) -> Any:
    kind = type(default)
    if kind is tuple and isinstance(value, list | tuple):
        return tuple(_typed(entry, default[0] if default else "", f"each of {what}") for entry in value)
    if kind is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    # Exactly: for Python, true is an int.
    if type(value) is not kind or kind is float:
        raise UserError(f"{what} must be {KINDS[kind]}, not {said(value)}")
    if kind is int and not -(2**63) <= value < 2**63:
        raise UserError(f"{what} is {said(value)}, which is more than 64 bits hold")
    if kind is str and not value.isprintable():
        raise UserError(f"{what} holds characters that cannot be printed: {said(value)}")
    return value


def _unknown(key: str, defaults: dict[str, Any], where: str) -> str:
    same_name = [known for known in defaults if known.rpartition(".")[2] == key.rpartition(".")[2]]
    near = same_name or difflib.get_close_matches(key[:80], defaults, 1)
    short = key if len(key) <= 40 else key[:40] + " ..."
    return f"{where} has the key {short}, which this version does not know; " + (
        f"did you mean {near[0]}, or did another version write it?" if near else "did another version write it?"
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r:.60} is there twice")
        found[key] = value
    return found


def _whole(digits: str) -> int:
    if len(digits) > 20:
        raise ValueError(f"a whole number of {len(digits)} digits is more than 64 bits hold")
    return int(digits)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")
