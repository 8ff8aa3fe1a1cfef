"""The commands on checkpoints: `python -m biggan_jax.checkpoint compare A B` and `python -m biggan_jax.checkpoint check PATH`.

compare exits with 0 if all arrays are bit-identical, 1 if not; check, of a workdir or one step, with 0 if each checkpoint is
to the bit what was saved, 1 if not.
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


def main() -> int:
    name, *arguments = sys.argv[1:] or [""]
    if name not in COMMANDS or len(arguments) != COMMANDS[name][1]:
        print("usage: python -m biggan_jax.checkpoint compare A B, or check PATH", file=sys.stderr)
        return cli.USER_ERROR
    cli.log_to_stderr()
    try:
        return COMMANDS[name][0](*arguments)
    except UserError as error:
        cli.fail(error)


if __name__ == "__main__":
    raise SystemExit(main())
