"""Commands with subcommands, such as `biggan-config show NAME`. As in other commands, a mistake is one sentence and status 2."""

import argparse
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from biggan_jax.errors import UserError
from biggan_jax.runtime import startup


class Parser(argparse.ArgumentParser):
    """A parser that raises a mistake as a UserError. Its subparsers do the same."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see --help")


def command(main: Callable[[Sequence[str]], int]) -> Callable[[], NoReturn]:
    """Return the function that calls `main` with the arguments, exits with the status that it returns, and prints a UserError."""

    def run() -> NoReturn:
        startup.name_program(main.__module__)
        try:
            with startup.ends_with_its_reader():
                status = main(sys.argv[1:])
        except UserError as error:
            fail(error)
        raise SystemExit(status)

    return run


def flags_parser(arguments: Callable[[Sequence[str]], object]) -> Callable[[], None]:
    """Return the function that ends the process if the arguments are wrong; see `cli.flags_parser`."""

    def parse() -> None:
        try:
            with startup.ends_with_its_reader():  # argparse prints --help.
                arguments(sys.argv[1:])
        except UserError as error:
            fail(error)

    return parse


def fail(error: UserError) -> NoReturn:
    """Print the error as one line and exit with its status."""
    print(f"{pathlib.Path(sys.argv[0]).name}: error: {' '.join(str(error).split())}", file=sys.stderr)
    raise SystemExit(error.status)
