"""Write the generated pages: config_keys.md from the comments in the table of keys, recipes.md from the presets' docstrings.

Run `make pages` after a change; a test compares the pages with what this writes.
"""

import ast
import pathlib
import re
import textwrap

from biggan_jax import config as configs
from biggan_jax.config.defaults import meanings
from biggan_jax.data.dataset import image_shape

ROOT = pathlib.Path(__file__).parent.parent
FOLDER = ROOT / "configs"

SECTIONS = {
    "": "The run",
    "model": "The model",
    "mesh": "Devices",
    "regularizer": "Penalties",
    "condition": "Losses of classes",
    "optimizer": "Optimizers",
    "ema": "Moving average of G's weights",
    "schedule": "Schedules over the images seen",
    "augment": "Augmentation",
    "data": "Data",
    "stability": "Collapse monitor",
    "score": "Scores during training",
}
UNMEASURED = "With this code: not yet measured."
PLAIN_COMMAND = r"python -m biggan_jax\.main --config=\S+ --workdir=\S+( --multihost)?"


def config_keys() -> str:
    page = ["# Every key"]
    page.append(
        "This page lists each key of a config: its default, meaning, unit and source. `--config.KEY=VALUE` sets a key\n"
        "([configs](configs.md)). To print the keys of a preset:"
    )
    page.append("```sh\nbiggan-config show quickstart\n```")
    page.append(
        "A value has the type of its default. A resumed run may change only the keys marked in the last column. `make pages`\n"
        "writes this page from the comments in [`config/defaults.py`](../biggan_jax/config/defaults.py) and\n"
        "[`config/families.py`](../biggan_jax/config/families.py)."
    )
    shared = {key: text for key, text in meanings("biggan").items() if key == "model.family" or "model." not in key}
    for section, title in SECTIONS.items():
        page.append(f"## {title}" + f": `{section}`" * bool(section))
        page.append(keys_table("biggan", [key for key in shared if key.rpartition(".")[0] == section]))
    by_section: dict = {}
    for family, section in shipped_sections().items():
        by_section.setdefault(section, []).append(family)
    for families in by_section.values():
        page.append(f"## Keys of `model` with family {' or '.join(f'`{family}`' for family in families)}")
        page.append(keys_table(families[0], [key for key in configs.table(families[0]) if key not in shared]))
    return "\n\n".join(page) + "\n"


def shipped_sections() -> dict:
    """{family: its section} of the families in the package; a test may have registered others."""
    return {name: section for name, section in configs.SECTIONS.items() if section.__module__.startswith("biggan_jax.")}


def keys_table(family: str, names: list[str]) -> str:
    keys, said = configs.table(family), meanings(family)
    rows = [
        [
            f"`{name}`",
            f"`{keys[name].default!r}`",
            said[name] + " May be `auto`." * keys[name].auto,
            "yes" * keys[name].safe,
        ]
        for name in names
    ]
    return table(["key", "default", "meaning", "may change"], rows)


def recipes() -> str:
    page = ["# Recipes"]
    page.append(
        "This page lists the presets: the paper's recipes, those of other projects, and small ones. `--config` takes a preset's\n"
        "name, which is a file in [configs/](../configs):"
    )
    page.append("```sh\nbiggan-train --config=digits --workdir=runs/digits\n```")
    page.append(
        "On several hosts, add `--multihost`. [Configs](configs.md#a-config-of-your-own) shows how to list, print and compare\n"
        "presets."
    )
    page.append(
        "**No score on ImageNet or CIFAR-10 has been measured with this code yet**, and hours only for `digits` and\n"
        "`quickstart`. Figures below are the paper's or other projects'; the paper's hardware is from notes, not its text.\n"
        "[Plans](plans.md) has the TPU compiler's estimates of hours, the [README](../README.md#results) results on digits."
    )
    presets = [p for p in sorted(FOLDER.rglob("[a-z]*.py")) if p.stem not in ("plain", "finetune", "auto")]
    names = {p.relative_to(FOLDER).with_suffix("").as_posix(): p for p in presets}
    order = sorted(names, key=lambda name: ("/" in name, "imagenet" in name or "jft" in name, name))
    page.append(
        table(
            ["preset", "family", "pixels", "ch", "batch", "D updates", "steps", "learning rates of G, D"],
            [row(name) for name in order],
        )
    )
    page.append(
        "Batch is global, in real images per D update; D updates are per step. For the number of parameters of each model see\n"
        "[numerics](numerics.md#parameters)."
    )
    remarks: dict = {}
    page += [recipe(name, names[name], remarks) for name in order]
    page += [recipe(name, FOLDER / f"{name}.py", remarks) for name in ("auto", "finetune")]
    return "\n\n".join(page) + "\n"


def widest(model) -> int:
    """Return the number that says how wide networks without a channel multiplier are."""
    return model.get("fmap_max") or model.get("channel_base") or model.widths[0]


def shape_of(c) -> str:
    """Return the shape of an image, or the number of frames and the shape of each."""
    frames = c.model.get("frames", 0)
    of_image = image_shape(c)
    shape = (of_image[0] // frames, *of_image[1:]) if frames else of_image
    return f"{frames} x " * bool(frames) + "x".join(map(str, shape))


def row(name: str) -> list[str]:
    c = configs.load(name)
    return [
        f"[`{name}`](#{anchor(name)})",
        c.model.family,
        shape_of(c),
        str(c.model.get("ch") or c.model.get("hidden") or widest(c.model)),
        f"{c.batch_size:,}",
        str(c.d_steps),
        f"{c.num_steps:,}",
        f"{c.optimizer.g_lr:g}, {c.optimizer.d_lr:g}",
    ]


def recipe(name: str, path: pathlib.Path, remarks: dict) -> str:
    """Return a preset's section: title, fields and remarks of its docstring; `remarks` maps each to the first such preset.

    Omits what the head of the page says of all presets: the plain command, and that nothing was measured.
    """
    title, fields, *rest = re.split(r"\n\n", ast.get_docstring(ast.parse(path.read_text())))
    said = dict(re.findall(r"^(\w[\w ]*): +(.*?)(?=\n\w[\w ]*: |\Z)", fields, re.M | re.S))
    command = re.sub(r"\n\s+", " \\\\\n    ", said.pop("Command"))
    said = {key: " ".join(text.split()).removesuffix(UNMEASURED).strip() for key, text in said.items()}
    section = [
        f"## `{name}`",
        f"{wrapped(title)}\n[`configs/{name}.py`](../configs/{name}.py)",
        "\n".join(wrapped(f"- {key}: {text}", "  ") for key, text in said.items() if text not in ("", "none.")),
    ]
    if not re.fullmatch(PLAIN_COMMAND, command):
        section.append(f"<!-- not run: needs its data and days -->\n```sh\n{command}\n```")
    for text in rest:
        first = remarks.setdefault(text, name)
        section.append(wrapped(text) if first == name else f"The remarks on [`{first}`](#{anchor(first)}) hold.")
    return "\n\n".join(section)


def wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(
        " ".join(text.split()), 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def table(head: list[str], rows: list[list[str]]) -> str:
    escaped = [[cell.replace("|", "\\|") for cell in cells] for cells in rows]
    first, *others = [f"| {' | '.join(cells)} |" for cells in [head, *escaped]]
    return "\n".join([first, "|" + "---|" * len(head), *others])


PAGES = {"docs/config_keys.md": config_keys, "docs/recipes.md": recipes}

if __name__ == "__main__":
    for name, write in PAGES.items():
        (ROOT / name).write_text(write())
