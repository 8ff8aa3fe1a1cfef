"""The commands on checkpoints.

python -m biggan_jax.checkpoint compare A B     # are all arrays bitwise identical?
python -m biggan_jax.checkpoint check PATH      # does each checkpoint of a workdir, or one step, match its checksums?

Both exit with 0 for yes and 1 for no.
"""

import sys

from biggan_jax.checkpoint import checkpoint_steps, compare, find
from biggan_jax.checkpoint.restore import check
from biggan_jax.runtime import cli
from biggan_jax.types import UserError


def check_all(path: str) -> int:
    latest, status = find(path), cli.SUCCESS
    for step_path in [latest.parent / str(step) for step in checkpoint_steps(path)] or [latest]:
        try:
            print(f"{step_path}: {check(step_path)}", flush=True)
        except UserError as error:
            print(error, flush=True)
            status = cli.DIFFERENT
    return status


def main(argv: list[str]) -> int:
    """Run the command that `argv` names, without the program's name, and return its exit status."""
    if {"-h", "--help"} & {*argv}:
        print(__doc__)
        return cli.SUCCESS
    cli.log_to_stderr()
    try:
        match argv:
            case ["compare", a, b]:
                lines = compare(a, b)
                print("\n".join(lines) or "bit-identical")
                return cli.DIFFERENT if lines else cli.SUCCESS
            case ["check", path]:
                return check_all(path)
    except UserError as error:
        cli.fail(error)
    print("usage: python -m biggan_jax.checkpoint compare A B, or check PATH", file=sys.stderr)
    return cli.USER_ERROR


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
