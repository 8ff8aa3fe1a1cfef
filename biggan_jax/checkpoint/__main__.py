"""The commands on checkpoints.

python -m biggan_jax.checkpoint compare A B     # are all arrays bitwise identical?
python -m biggan_jax.checkpoint check PATH      # does each checkpoint of a workdir, or one step, match its checksums?

Both exit with 0 for yes and 1 for no.
"""

import sys
from collections.abc import Callable

from biggan_jax.checkpoint import checkpoint_steps, compare, find
from biggan_jax.checkpoint.restore import check
from biggan_jax.runtime import cli
from biggan_jax.types import UserError


def compare_command(a: str, b: str) -> int:
    lines = compare(a, b)
    print("\n".join(lines) if lines else "bit-identical")
    return cli.DIFFERENT if lines else cli.SUCCESS


def check_command(path: str) -> int:
    latest = find(path)
    steps = [latest.parent / str(step) for step in checkpoint_steps(path)] or [latest]
    status = cli.SUCCESS
    for step_path in steps:
        try:
            print(f"{step_path}: {check(step_path)}", flush=True)
        except UserError as error:
            print(error, flush=True)
            status = cli.DIFFERENT
    return status


COMMANDS: dict[str, tuple[Callable[..., int], int]] = {"compare": (compare_command, 2), "check": (check_command, 1)}
"""Name: (function, number of arguments)."""


def main(argv: list[str]) -> int:
    """Run the command that `argv` names, without the program's name, and return its exit status."""
    if {"-h", "--help"} & {*argv}:
        print(__doc__)
        return cli.SUCCESS
    name, *arguments = argv or [""]
    if name not in COMMANDS or len(arguments) != COMMANDS[name][1]:
        print("usage: python -m biggan_jax.checkpoint compare A B, or check PATH", file=sys.stderr)
        return cli.USER_ERROR
    cli.log_to_stderr()
    try:
        return COMMANDS[name][0](*arguments)
    except UserError as error:
        cli.fail(error)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
