"""Try every tool on every family, and write the table of docs/families.md.

`python -m tests.families.table [FAMILY ...]` prints the table; tests/families/test_tools.py compares each family's column with
the page. Each cell is yes, or the sentence with which the tool refuses the family.
"""

import json
import pathlib
import re
import sys
import tempfile
import time

import jax
import numpy as np

from biggan_jax import config as configs
from biggan_jax import sharding
from biggan_jax.checkpoint import load_arrays
from biggan_jax.models import FAMILIES, build_gan
from biggan_jax.partitioning import compile_step, sharded_init_state
from biggan_jax.sampling import pictures
from biggan_jax.train import train
from tests import cli
from tests.conftest import leaves, random_batch

SMALL = {
    "biggan": {"model.resolution": 16, "model.ch": 4, "model.dim_z": 12, "model.shared_dim": 8}
    | {"model.num_classes": 10},
    "gan": {"model.image_shape": (16, 16, 1), "model.hidden": 12, "model.units": 4, "model.pieces": 2},
    "cgan": {"model.image_shape": (16, 16, 1), "model.hidden": 12, "model.units": 4, "model.num_classes": 10},
    "dcgan": {"model.image_shape": (16, 16, 3), "model.ch": 4, "loss": "non_saturating"},
    "wgan": {
        "d_steps": 1,
        "model.image_shape": (16, 16, 3),
        "model.ch": 4,
        "loss": "wasserstein",
        "regularizer.clip": 0.01,
    },
    "wgan_gp": {
        "model.ch": 4,
        "loss": "wasserstein",
        "regularizer.gp": 10.0,
        "model.num_classes": 10,
        "condition.d": "ac",
    },
    "sngan": {"model.ch": 2, "model.num_classes": 10},
    "sagan": {"model.image_shape": (32, 32, 3), "model.ch": 8, "model.g_attention": (16,), "model.d_attention": (16,)},
    "r3gan": {
        "model.image_shape": (16, 16, 1),
        "model.widths": (8, 8, 4),
        "model.groups": (4, 4, 2),
        "model.blocks": (1, 1, 1),
        "model.num_classes": 10,
        "loss": "relativistic_pairs",
        "g_real": "own",
        "condition.labels": "paired",
        "regularizer.r1": 0.1,
        "regularizer.r2": 0.1,
    },
    "progan": {
        "model.image_shape": (16, 16, 1),
        "model.fmap_base": 32,
        "model.fmap_max": 8,
        "model.dim_z": 8,
        "model.train_images": 16,
        "model.fade_images": 160,
        "model.num_classes": 10,
        "condition.d": "ac",
        "condition.labels": "real",
        "loss": "wasserstein",
        "regularizer.gp": 10.0,
        "regularizer.drift": 0.001,
    },
    "stylegan": {
        "model.image_shape": (16, 16, 1),
        "model.fmap_base": 32,
        "model.fmap_max": 8,
        "model.dim_z": 8,
        "model.dim_w": 8,
        "model.mapping_layers": 2,
        "model.train_images": 16,
        "model.fade_images": 160,
        "model.num_classes": 10,
        "loss": "non_saturating",
        "regularizer.r1": 0.1,
    },
    "stylegan2": {
        "model.image_shape": (16, 16, 1),
        "model.channel_base": 64,
        "model.channel_max": 8,
        "model.dim_z": 8,
        "model.dim_w": 8,
        "model.mapping_layers": 2,
        "model.d_mapping_layers": 2,
        "model.num_classes": 10,
        "model.path_every": 2,
        "loss": "non_saturating",
        "regularizer.r1": 0.1,
        "regularizer.every": 2,
    },
    "cogan": {
        "model.ch": 2,
        "model.dim_z": 8,
        "loss": "non_saturating",
        "data.name": "digit_edges",
    },
    "vgan": {
        "model.image_shape": (16, 16, 1),
        "model.frames": 4,
        "model.ch": 2,
        "model.dim_z": 8,
        "loss": "non_saturating",
        "data.name": "moving_digits",
    },
    "cyclegan": {
        "model.image_shape": (16, 16, 1),
        "model.input_channels": 1,
        "model.ch": 4,
        "model.blocks": 1,
        "model.d_ch": 4,
        "model.d_layers": 1,
        "model.pool": 4,
        "loss": "least_squares",
        "data.name": "digit_edges",
    },
    "pix2pix": {
        "model.image_shape": (16, 16, 1),
        "model.input_channels": 1,
        "model.ch": 4,
        "model.d_ch": 4,
        "model.d_layers": 1,
        "model.g_dropout": 0.0,
        "loss": "non_saturating",
        "data.name": "digit_edges",
    },
    "text_to_image": {
        "model.image_shape": (16, 16, 3),
        "model.ch": 4,
        "model.d_ch": 4,
        "model.text_dim": 4,
        "model.dim_z": 8,
        "model.captions": 2,
        "model.text_length": 24,
        "model.embed_dim": 8,
        "model.text_ch": 4,
        "loss": "non_saturating",
        "data.name": "digit_captions",
    },
}
"""Changes of each family's defaults that make it small. The data are digits, of 32 pixels where the networks need that."""
SMALL["biggan"] |= {"model.g_attention": (8,), "model.d_attention": (8,)}
SMALL["biggan_deep"] = SMALL["biggan"]
SMALL["sagan"] |= {"model.num_classes": 10}


SCORED_BY = {"text_to_image": "captions"}
"""Family to the network that scores its samples; that of others is fitted to classes."""


def config_of(family: str, steps: int = 3):
    """The small config of a family."""
    c = configs.base(family)
    c.update_from_flattened_dict(
        {"batch_size": 16, "d_steps": 1, "num_steps": steps, "log_every": 1, "checkpoint_every": 1, "sample_every": 0}
        | {"stability.every": 1, "stability.on_collapse": "ignore", "data.name": "digits"}
        | SMALL[family]
    )
    if build_gan(c).image_shape[0] == 32:
        c.data.name = "mnist5k"
    return c


class Failed(Exception):
    """A tool neither worked nor refused in one sentence."""


def command(module: str, *arguments: str) -> str:
    """Run a command: "yes", or the sentence of its refusal."""
    result = cli.run(module, *map(str, arguments))
    if result.returncode == 0:
        return "yes"
    errors = [line for line in result.stderr.splitlines() if "error: " in line]
    if result.returncode != 2 or len(errors) != 1 or "Traceback" in result.stderr:
        raise Failed(f"{module} {arguments}: {result.returncode}\n{result.stderr[-2000:]}")
    return errors[0].partition("error: ")[2]


def resume(family: str, run: pathlib.Path, scratch: pathlib.Path) -> str:
    """Stop after 2 steps, train on to 3, and compare every bit with the run of 3."""
    train(config_of(family, 2), scratch / "stopped")
    train(config_of(family), scratch / "stopped")
    a, b = load_arrays(run), load_arrays(scratch / "stopped")
    different = [name for name in a if a[name].tobytes() != b[name].tobytes()]
    if a.keys() != b.keys() or different:
        raise Failed(f"{family}: a resumed run differs in {different[:3]}")
    return "yes"


def devices(family: str, run: pathlib.Path, scratch: pathlib.Path) -> str:
    """A step of SGD on 1 and on 8 devices; Adam would turn rounding into steps."""
    states = []
    for count in (1, 8):
        c = config_of(family)
        c.optimizer.name, c.optimizer.g_lr, c.optimizer.d_lr = "sgd", 0.1, 0.1
        mesh = sharding.make_mesh(jax.devices()[:count])
        gan = build_gan(c, mesh)
        state, _ = compile_step(gan)(sharded_init_state(gan, 0), sharding.shard_batch(random_batch(gan, 16), mesh))
        states.append(leaves(state))
    one, eight = states
    for name in one:
        np.testing.assert_allclose(one[name], eight[name], rtol=1e-3, atol=1e-4, err_msg=f"{family} {name}")
    return "yes"


def guard(family: str, run: pathlib.Path, scratch: pathlib.Path) -> str:
    """The monitor has probed each step; its command reads the run."""
    if len((run / "stability.jsonl").read_text().splitlines()) < 3:
        raise Failed(f"{family}: probes are missing")
    result = cli.run("stability", f"--workdir={run}", f"--out={scratch / 'plots'}")
    if result.returncode not in (0, 1) or "Traceback" in result.stderr:  # 1: the run is not healthy.
        raise Failed(result.stderr)
    return "yes"


def explore(family: str, run: pathlib.Path, scratch: pathlib.Path) -> str:
    """The page opens."""
    with cli.Process("tools.app", f"--checkpoint={run}", "--port=0", "--passes=1") as process:
        for line in process.stdout:
            if "http://" in line:
                process.kill()
                return "yes"
        said = process.stderr.read()
    if "error: " not in said or "Traceback" in said:
        raise Failed(f"{family}: the page did not open: {said[-2000:]}")
    return said.partition("error: ")[2].strip()


def sheet(name: str, *more: str):
    return lambda family, run, scratch: command(
        "tools.grids", f"--checkpoint={run}", f"--sheet={name}", f"--out={scratch / f'{name}.png'}", "--passes=1", *more
    )


def edit(what: str, *more: str):
    return lambda family, run, scratch: command(
        "tools.edit", f"--do={what}", f"--checkpoint={run}", f"--out={scratch / what}", "--passes=1", *more
    )


def translate(family: str, run: pathlib.Path, scratch: pathlib.Path) -> str:
    """Two pictures of unlike sizes are translated."""
    folder = scratch / "pictures"
    folder.mkdir()
    for side in (16, 21):
        pictures.save_png(folder / f"{side}.png", np.zeros((side, side, 3), np.uint8), min_width=0)
    return command("translate", f"--checkpoint={run}", f"--in={folder}", f"--out={scratch / 'translated'}")


def invert(family: str, run: pathlib.Path, scratch: pathlib.Path) -> str:
    picture = scratch / "sample.png"
    if not picture.exists():  # Of a model that draws none.
        pictures.save_png(picture, np.zeros((16, 16, 3), np.uint8), min_width=0)
    more = (f"--picture={picture}", "--candidates=4", "--restarts=2", "--steps=2")
    return edit("invert", *more)(family, run, scratch)


TOOLS = {
    "train": lambda family, run, scratch: "yes",  # `run` was trained.
    "exact resume": resume,
    "8 devices = 1": devices,
    "sample": lambda family, run, scratch: command(
        "sample", f"--checkpoint={run}", f"--out={scratch / 'sample.png'}", "--num=4", "--passes=1"
    ),
    "translate": translate,
    "class sheet": sheet("classes"),
    "fixed z": sheet("fixed_z"),
    "interpolation": sheet("interpolation"),
    "truncation": sheet("truncation"),
    "style mixing": sheet("style_mixing", "--rows=2", "--columns=2"),
    "neighbours": sheet("neighbours", "--network=none", "--rows=1", "--columns=2"),
    "evaluate": lambda family, run, scratch: command(
        "evaluate",
        f"--checkpoint={run}",
        "--num=64",
        "--passes=1",
        f"--network={SCORED_BY.get(family, 'classifier')}",
        f"--out={scratch / 'scores.json'}",
    ),
    "guard": guard,
    "plan": lambda family, run, scratch: command(
        "plan", f"--config_json={run / 'config.json'}", "--devices=cpu:2", "--nocompile"
    ),
    "explore": explore,
    "edit: mix classes": edit("mix", "--y=3 - 5 + 8"),
    "edit: find": edit("find", "--attribute=brightness", "--num=16"),
    "edit: sefa": edit("sefa", "--components=2"),
    "edit: invert": invert,
    "export": lambda family, run, scratch: command(
        "tools.export", f"--checkpoint={run}", "--per_class=1", f"--out={scratch / 'export'}", "--passes=1"
    ),
    "fine-tune": lambda family, run, scratch: command(
        "main", f"--config=finetune:{run}", f"--workdir={scratch / 'tuned'}", "--config.num_steps=1"
    ),
}
"""Tool to a function of (family, folder of its run, empty folder) that returns the table's cell."""


def row(family: str) -> dict[str, str]:
    """Return {tool: cell} of one family."""
    with tempfile.TemporaryDirectory() as folder:
        run, scratch = pathlib.Path(folder) / "run", pathlib.Path(folder) / "scratch"
        scratch.mkdir()
        train(config_of(family), run)
        cells = {}
        for tool, function in TOOLS.items():
            began = time.monotonic()
            cells[tool] = cell(function, family, run, scratch)
            print(f"{family}, {tool}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        return cells


def cell(function, family: str, run: pathlib.Path, scratch: pathlib.Path) -> str:
    """Return what a tool says of a family; a failure begins with FAILED."""
    try:
        return reason(function(family, run, scratch))
    except (Failed, AssertionError) as error:
        return f"FAILED: {error}"


def reason(cell: str) -> str:
    """Leave out what differs from run to run: paths and what follows a semicolon."""
    return re.sub(r"/tmp/\S+", "FILE", cell).partition(";")[0]


def table(rows: dict[str, dict[str, str]]) -> str:
    """Return the table in Markdown; reasons are numbered below it."""
    reasons: dict[str, int] = {}
    lines = ["| | " + " | ".join(rows) + " |", "|---" * (len(rows) + 1) + "|"]
    for tool in TOOLS:
        cells = [
            "yes" if rows[family][tool] == "yes" else f"no ({reasons.setdefault(rows[family][tool], len(reasons) + 1)})"
            for family in rows
        ]
        lines.append(f"| {tool} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *(f"{number}. {text}." for text, number in reasons.items())]) + "\n"


def parse(text: str) -> dict[str, dict[str, str]]:
    """Return {family: {tool: cell}} of a table in Markdown, as `table` writes it."""
    lines = text.strip().splitlines()
    reasons = {number: reason for number, reason in re.findall(r"^(\d+)\. (.*)\.$", text, re.M)}
    split = lambda line: [cell.strip() for cell in line.strip("|").split("|")]
    families = [name.strip("`") for name in split(lines[0])[1:]]
    rows: dict[str, dict[str, str]] = {family: {} for family in families}
    for line in lines[2:]:
        if not line.startswith("|"):
            break
        tool, *cells = split(line)
        for family, found in zip(families, cells, strict=True):
            number = re.fullmatch(r"no \((\d+)\)", found)
            rows[family][tool] = reasons[number[1]] if number else found
    return rows


if __name__ == "__main__":
    found = {}
    for family in sys.argv[1:] or FAMILIES:
        began = time.monotonic()
        found[family] = row(family)
        print(family, f"{time.monotonic() - began:.0f} s", json.dumps(found[family]), file=sys.stderr, flush=True)
    print(table(found))
