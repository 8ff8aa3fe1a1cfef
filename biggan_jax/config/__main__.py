"""Owns `python -m biggan_jax.config diff A B`, which compares two configs."""

import json
import sys

from biggan_jax.config import differences, load
from biggan_jax.types import UserError


def main() -> int:
    """`python -m biggan_jax.config diff A B`: the keys in which two configs differ, and each one's value; exits 1 if any."""
    if len(sys.argv) != 4 or sys.argv[1] != "diff":
        print("usage: python -m biggan_jax.config diff A B", file=sys.stderr)
        return 2
    try:
        changed = differences(*(load(name).to_dict() for name in sys.argv[2:]))
    except UserError as error:
        print(f"config: error: {error}", file=sys.stderr)
        return 2
    widths = [max([len(str(row[i])) for row in _rows(changed)], default=0) for i in range(2)]
    for key, a, b in _rows(changed):
        print(f"{key:{widths[0]}}  {a:{widths[1]}}  {b}")
    return 1 if changed else 0


def _rows(changed: dict[str, tuple]) -> list[tuple[str, str, str]]:
    return [(key, json.dumps(a), json.dumps(b)) for key, (a, b) in changed.items()]


if __name__ == "__main__":
    raise SystemExit(main())
