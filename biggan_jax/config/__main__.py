"""List, show and compare configs, by biggan-config or python -m biggan_jax.config:

biggan-config list | show NAME | diff A B
"""

import ast
import json
from collections.abc import Sequence

from biggan_jax.config import differences, flatten, load, to_json, validate
from biggan_jax.config.defaults import meanings
from biggan_jax.config.loading import presets
from biggan_jax.runtime import subcommands


def main(argv: Sequence[str]) -> int:
    """Run the subcommand in `argv` and return its exit status. Raises UserError."""
    parser = subcommands.Parser("biggan-config", description="List, show and compare configs.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="print the presets, one line each")
    show = commands.add_parser("show", help="print a config's keys, values and meanings")
    which = "a preset, a .py file, or plain:FILE for JSON, such as a run's config.json"
    show.add_argument("name", metavar="NAME", help=which)
    show.add_argument(
        "--json", action="store_true", help="print JSON; the flag --config_json of other commands reads it"
    )
    diff = commands.add_parser("diff", help="print the keys in which two configs differ; exit with 1 if there are any")
    diff.add_argument("a", metavar="A", help=which)
    diff.add_argument("b", metavar="B", help="another, given in the same way")
    flags = parser.parse_args(argv)
    if flags.command == "list":
        titles = {name: ast.get_docstring(ast.parse(path.read_text())) or "" for name, path in presets().items()}
        print_table([(name, text.partition("\n")[0]) for name, text in titles.items()])
        return 0
    if flags.command == "show":
        config = load(flags.name)
        validate(config)
        if flags.json:
            print(to_json(config))
        else:
            values, said = flatten(json.loads(to_json(config))), meanings(config.model.family)
            print_table([(f"{key} = {json.dumps(values[key])}", f"# {text}") for key, text in said.items()])
        return 0
    changed = differences(*(load(name).to_dict() for name in (flags.a, flags.b)))
    print_table([(key, json.dumps(a), json.dumps(b)) for key, (a, b) in changed.items()])
    return 1 if changed else 0


def print_table(rows: list[tuple[str, ...]]) -> None:
    """Print rows with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


run = subcommands.command(main)

if __name__ == "__main__":
    run()
