"""The arguments of biggan-checkpoint."""

import argparse
from collections.abc import Sequence

from biggan_jax.runtime import subcommands


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments. Raises UserError."""
    description = "Compare two checkpoints, or verify one. A path is a workdir, its checkpoints folder or one step."
    parser = subcommands.Parser("biggan-checkpoint", description=description)
    commands = parser.add_subparsers(dest="command", required=True)
    pair = commands.add_parser("compare", help="are all arrays bitwise identical? exit with 0 for yes, 1 for no")
    pair.add_argument("a", metavar="A", help="the path of a checkpoint")
    pair.add_argument("b", metavar="B", help="another")
    one = commands.add_parser("check", help="does each step match its checksums? exit with 0 for yes, 1 for no")
    one.add_argument("path", metavar="PATH", help="a workdir, all of whose steps are checked, or one step")
    return parser.parse_args(argv)


parse = subcommands.flags_parser(arguments)
