"""Writes the pages that are made of code: config_keys.md of the defaults' own comments, recipes.md of the configs' headers, and
what CONTRIBUTING.md says of the Makefile.

`make pages` after a change; a test holds all of them to what this writes.
"""

import ast
import pathlib
import re
import textwrap

from biggan_jax import config as configs
from biggan_jax.config import defaults

ROOT = pathlib.Path(__file__).parent.parent
FOLDER = ROOT / "configs"

SECTIONS = {
    "": "The run",
    "model": "Networks",
    "mesh": "Devices",
    "regularizer": "Penalties",
    "optimizer": "Optimisers",
    "ema": "G's average",
    "augment": "Augmentation",
    "data": "Data",
    "stability": "Watching for collapse",
    "score": "Scores in training",
}
HERE = ("digits", "quickstart")
"""Presets that train anywhere, within minutes; their commands are run by a test."""


def explanations() -> dict[str, str]:
    """{key: the comment above or behind its assignment}, in the order of the defaults."""
    source = pathlib.Path(defaults.__file__).read_text()
    lines = source.splitlines()
    found, function = {}, next(n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and n.name == "base")
    for node in function.body:
        if not isinstance(node, ast.Assign) or isinstance(node.value, ast.Call):  # A section.
            continue
        above = node.lineno - 1
        while lines[above - 1].lstrip().startswith("# "):
            above -= 1
        comment = [line.strip() for line in lines[above : node.lineno - 1]]
        behind = lines[node.end_lineno - 1][node.end_col_offset :].strip()
        found[ast.unparse(node.targets[0]).removeprefix("c.")] = " ".join(
            line.removeprefix("# ") for line in [*comment, behind] if line
        )
    return found


def config_keys() -> str:
    values, said = configs.flatten(configs.base().to_dict()), explanations()
    page = ["# Every key"]
    page.append(
        "`--config.KEY=VALUE` overrides any of these. In the last column: whether a run may go on with another value than it "
        "began with; `python -m biggan_jax.main` refuses a change of the others by name. How configs are read, and how they "
        "are overridden: [configs](configs.md). This page is made of the comments in\n"
        "[`config/defaults.py`](../biggan_jax/config/defaults.py) by `make pages`."
    )
    for section, title in SECTIONS.items():
        page.append(f"## {title}" + f": `{section}`" * bool(section))
        rows = [key for key in said if key.rpartition(".")[0] == section]
        page.append(
            table(
                ["key", "default", "type", "meaning, unit, source", "may change"],
                [
                    [
                        f"`{key}`",
                        f"`{values[key]!r}`",
                        type(values[key]).__name__,
                        said[key],
                        "yes" if key in configs.SAFE_TO_CHANGE else "",
                    ]
                    for key in rows
                ],
            )
        )
    return "\n\n".join(page) + "\n"


def recipes() -> str:
    page = ["# Recipes"]
    page.append(
        "A preset is a file in [configs/](../configs), and `--config` takes its name. Each says where its numbers come from, on "
        "what it runs, and what came of it: **with this code no score on ImageNet or CIFAR-10 has been measured yet**; what was\n"
        "measured is the demo's, in the [README](../README.md). How long the paper's games would take on which slice, by the "
        "TPU compiler's estimate: [plans](plans.md). In which keys two presets differ:"
    )
    page.append("```sh\npython -m biggan_jax.config diff biggan_imagenet128 peers/ajbrock_bs256x8\n```")
    presets = [p for p in sorted(FOLDER.rglob("[a-z]*.py")) if p.stem not in ("plain", "finetune")]
    names = {p.relative_to(FOLDER).with_suffix("").as_posix(): p for p in presets}
    order = sorted(names, key=lambda name: ("/" in name, "imagenet" in name or "jft" in name, name))
    page.append(
        table(
            ["preset", "family", "pixels", "ch", "batch", "D steps", "rounds", "rates of G, D"],
            [row(name) for name in order],
        )
    )
    page.append(
        "Batch is global, in real images for an update of D. How many parameters each game has: [numerics](numerics.md#parameters)."
    )
    page += [recipe(name, names[name]) for name in order]
    page.append(recipe("finetune", FOLDER / "finetune.py"))
    return "\n\n".join(page) + "\n"


def row(name: str) -> list[str]:
    c = configs.load(name)
    return [
        f"[`{name}`](#{anchor(name)})",
        c.model.family,
        str(c.model.resolution),
        str(c.model.ch),
        f"{c.batch_size:,}",
        str(c.d_steps),
        f"{c.num_steps:,}",
        f"{c.optimizer.g_lr:g}, {c.optimizer.d_lr:g}",
    ]


def recipe(name: str, path: pathlib.Path) -> str:
    """A section of the config's header: its title, its fields, its command, and what else it says."""
    title, fields, *rest = re.split(r"\n\n", ast.get_docstring(ast.parse(path.read_text())))
    said = dict(re.findall(r"^(\w[\w ]*): +(.*?)(?=\n\w[\w ]*: |\Z)", fields, re.M | re.S))
    command = re.sub(r"\n\s+", " \\\\\n    ", said.pop("Command"))
    reason = "" if name in HERE else "<!-- not run: needs its data, and days -->\n"
    return "\n\n".join(
        [
            f"## `{name}`",
            f"{title} [`configs/{name}.py`](../configs/{name}.py)",
            "\n".join(f"- {key}: {' '.join(text.split())}" for key, text in said.items()),
            f"{reason}```sh\n{command}\n```",
            *(textwrap.fill(" ".join(text.split()), 120) for text in rest),
        ]
    )


def anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def table(head: list[str], rows: list[list[str]]) -> str:
    escaped = [[cell.replace("|", "\\|") for cell in cells] for cells in rows]
    lines = [head, ["---"] * len(head), *escaped]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def contributing() -> str:
    """The page as it is, with the Makefile's targets as they are now."""
    helped = re.findall(r"^([a-z-]+):.*## (.*)$", (ROOT / "Makefile").read_text(), re.M)
    rows = table(["command", "what"], [[f"`make {target}`", text] for target, text in helped])
    before, begin, rest = (ROOT / "CONTRIBUTING.md").read_text().partition("of the Makefile -->\n")
    return f"{before}{begin}{rows}\n<!-- end -->{rest.partition('<!-- end -->')[2]}"


PAGES = {"docs/config_keys.md": config_keys, "docs/recipes.md": recipes, "CONTRIBUTING.md": contributing}

if __name__ == "__main__":
    for name, write in PAGES.items():
        (ROOT / name).write_text(write())
