"""Compare two checkpoints, or verify one, by biggan-checkpoint or python -m biggan_jax.checkpoint:

biggan-checkpoint compare A B | check PATH

compare: are all arrays bitwise identical? check: does each checkpoint of a workdir, or one step, match its checksums? Both
exit with 0 for yes and 1 for no.
"""

from collections.abc import Sequence

from biggan_jax.checkpoint import checkpoint_steps, compare, find
from biggan_jax.checkpoint.restore import check
from biggan_jax.flags.checkpoint import arguments as parse
from biggan_jax.runtime import cli, subcommands
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


def main(argv: Sequence[str]) -> int:
    """Run the subcommand in `argv` and return its exit status. Raises UserError."""
    arguments = parse(argv)
    cli.log_to_stderr()
    if arguments.command == "check":
        return check_all(arguments.path)
    lines = compare(arguments.a, arguments.b)
    print("\n".join(lines) or "bit-identical")
    return cli.DIFFERENT if lines else cli.SUCCESS


run = subcommands.command(main)

if __name__ == "__main__":
    run()
