"""The command that compares two checkpoints: `python -m biggan_jax.checkpoint compare A B`; exits with 0 if equal, 1 if not."""

import sys

from biggan_jax import cli
from biggan_jax.checkpoint import compare
from biggan_jax.types import UserError


def main() -> int:
    if len(sys.argv) != 4 or sys.argv[1] != "compare":
        print("usage: python -m biggan_jax.checkpoint compare A B", file=sys.stderr)
        return cli.USER_ERROR
    cli.log_to_stderr()
    try:
        lines = compare(*sys.argv[2:])
    except UserError as error:
        cli.fail(error)
    print("\n".join(lines) if lines else "bit-identical")
    return cli.DIFFERENT if lines else cli.SUCCESS


if __name__ == "__main__":
    raise SystemExit(main())
