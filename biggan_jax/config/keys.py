"""A config key: its default, its type, the values it accepts, and how a bad value is refused."""

import dataclasses
import difflib
import functools
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from biggan_jax.errors import UserError
from biggan_jax.runtime.files import expand_home

KINDS = {bool: "true or false", int: "a whole number", float: "a finite number", str: "a string", tuple: "a list"}
"""The types a default may have, and how an error names each."""


AUTO = -sys.float_info.max
"""The value of a key of type float that is computed (config.automatic): none that a key accepts, since ConfigDict keeps the types
of keys. JSON and the command line have the word auto."""

AUTO_OF_TYPE: dict[type, Any] = {float: AUTO, int: -(2**63) - 1, str: "auto", tuple: ("auto",)}
"""The same for keys of each type."""


OR_AUTO = "; it may also be auto"
"""What an error says of a key that may."""


def is_auto(value: Any) -> bool:
    """Return whether a value, of any type, is `auto`."""
    return value == ["auto"] or any(type(value) is kind and value == auto for kind, auto in AUTO_OF_TYPE.items())


@dataclasses.dataclass(frozen=True)
class Key:
    """One row of the table of keys."""

    default: Any  # Its type is the key's type; a float key accepts an int, a tuple key a list.
    _: dataclasses.KW_ONLY
    rule: tuple[str, Callable[[Any], bool]] | None = None  # What a value must be, in words and as a predicate.
    at_most: int = 2**31 - 1  # The largest whole number accepted.
    one_of: tuple[str, ...] = ()  # The strings accepted; any if empty.
    safe: bool = False  # Whether a resumed run may change it. A family's keys never are: they decide what is computed.
    entries: type | None = None  # The type of a tuple's entries; by default that of the first, or str.
    path: bool = False  # A file or folder; ~ at its start becomes the home folder.
    auto: bool = False  # It may also be `auto`.

    def __post_init__(self) -> None:
        if type(self.default) not in KINDS:
            raise TypeError(f"the default {self.default!r} is not a bool, int, float, str or tuple")

    def convert(self, value: Any, what: str) -> Any:
        """Return `value` in this key's type. Raises UserError, which calls it `what`."""
        if self.auto and is_auto(value):
            return AUTO_OF_TYPE[type(self.default)]
        if type(self.default) is tuple and isinstance(value, list | tuple):
            kind = self.entries or (type(self.default[0]) if self.default else str)
            return tuple(_convert(entry, kind, f"each of {what}", auto=self.auto) for entry in _split(value))
        value = _convert(value, type(self.default), what, auto=self.auto)
        return _one_path(value) if self.path else value

    def check(self, value: Any, name: str) -> None:
        """Raise UserError, which calls the key `name`, for a value of the right type that is not accepted."""
        if self.auto and is_auto(value):
            return
        if self.one_of:
            choose(dict.fromkeys((*self.one_of, *["auto"] * self.auto)), name, value)
        if self.rule and not self.rule[1](value):
            raise UserError(f"{name} is {value}; it must be {self.rule[0]}{', or auto' * self.auto}")
        if type(value) is int and value > self.at_most:
            raise UserError(f"{name} is {value}; it must be at most {self.at_most}")


positive = functools.partial(Key, rule=("greater than 0", lambda value: value > 0))
non_negative = functools.partial(Key, rule=("at least 0", lambda value: value >= 0))
share = functools.partial(Key, rule=("greater than 0 and at most 1", lambda value: 0 < value <= 1))
fraction = functools.partial(Key, rule=("at least 0 and less than 1", lambda value: 0 <= value < 1))


def choice(default: str, *others: str, **more: Any) -> Key:
    return Key(default, one_of=(default, *others), **more)


def choose(table: Mapping, key: str, name: Any) -> Any:
    """Return table[name]. Raises UserError with the config key and the nearest known name."""
    known = [str(n) for n in table]
    if name in table:
        return table[name]
    near = closest(str(name), known)
    hint = f"did you mean {near}? " if near else ""
    raise UserError(f"{key} {name!r:.80} is unknown; {hint}known are {some(known, 16)}")


def some(names: Iterable[str], most: int = 8) -> str:
    """List names for an error: at most `most`, then how many more; "none" without any.

    >>> some(["a", "b", "c", "d"], 2)
    'a, b and 2 more'
    """
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more or "none"


def closest(name: str, known: Iterable[str]) -> str:
    """Return the known name nearest to `name`; "" if none is near."""
    return next(iter(difflib.get_close_matches(name[:80], list(known), 1)), "")


def nearest_keys(name: str, known: Iterable[str]) -> list[str]:
    """Return up to three dotted keys for an unknown one: of a similar name, else of the same or a similar last part.

    >>> nearest_keys("lr", ["seed", "optimizer.g_lr", "optimizer.d_lr"])
    ['optimizer.g_lr', 'optimizer.d_lr']
    """
    last = lambda key: key.rpartition(".")[2][:80]
    known = list(known)
    if similar := difflib.get_close_matches(name[:80], known, 1, cutoff=0.9):
        return similar
    words = set(last(name).split("_"))
    parts = list(dict.fromkeys(map(last, known)))
    sharing = [part for part in parts if words & {*part.split("_")}]
    near = difflib.get_close_matches(last(name), sharing) or difflib.get_close_matches(last(name), parts)
    return [key for part in near for key in known if last(key) == part][:3]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return {dotted key: value} of a nested dict.

    >>> flatten({"seed": 0, "model": {"ch": 96, "depth": 2}})
    {'seed': 0, 'model.ch': 96, 'model.depth': 2}
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def short_repr(value: Any) -> str:
    """Describe any value in a few words, for an error."""
    if type(value) in (int, float) and is_auto(value):
        return "auto"
    if isinstance(value, dict | list | tuple):
        return "an object" if isinstance(value, dict) else "a list"
    if not isinstance(value, str | int | float | None):
        return f"an object of the type {type(value).__name__}"
    text = json.dumps(value)
    return f"{'the string ' * isinstance(value, str)}{text if len(text) <= 40 else text[:40] + ' ...'}"


def _one_path(path: str) -> str:
    """Expand ~ and drop slashes at the end, so that one folder has one form."""
    path = expand_home(path)
    return path if path.endswith("://") else path.rstrip("/") or path


def _split(entries: Iterable[Any]) -> Iterator[Any]:
    """Yield the entries of a list. Flags give `a,b` as one string, and an empty list as an empty one."""
    for entry in entries:
        if isinstance(entry, str):
            yield from filter(None, (part.strip() for part in entry.split(",")))
        else:
            yield entry


def _convert(value: Any, kind: Any, what: str, *, auto: bool = False) -> Any:
    number = type(value) in (int, float) and not is_auto(value)
    if kind is float and number and math.isfinite(value):
        return float(value)
    # The exact type: in Python, true is an int.
    if type(value) is not kind or kind is float or (kind is int and not number):
        raise UserError(f"{what} must be {KINDS[kind]}, not {short_repr(value)}{OR_AUTO * auto}")
    if kind is int and not -(2**63) <= value < 2**63:
        raise UserError(f"{what} is {short_repr(value)}, which is more than 64 bits hold")
    if kind is str and not value.isprintable():
        raise UserError(f"{what} holds characters that cannot be printed: {short_repr(value)}")
    return value
