import ast
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / "biggan_jax"

# Each row may import from the rows above it, and within its own room; see docs/design.md.
ORDER = [
    ["types"],
    ["files", "memory", "plain", "progress"],
    ["config", "sharding", "json_lines"],
    ["cli"],
    ["layers", "losses", "augment", "latents"],
    ["regularizers"],
    ["gan"],
    ["state"],
    ["models"],
    ["train_step", "sampling"],
    ["checkpoint", "data", "writers", "interrupt", "preemption", "hosts"],
    ["sampler", "convert", "hooks", "notebook", "finetune", "lease", "stability"],
    ["evaluation", "latent_files", "sampler_flags", "cluster_flags"],
    ["sheets", "edit", "train", "evaluator_flags"],
    ["main", "sample", "evaluate", "export", "explore", "demo", "plan"],
]
FLOOR = {room: number for number, rooms in enumerate(ORDER) for room in rooms}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room_of(path):
    parts = path.relative_to(PACKAGE).parts
    return parts[0].removesuffix(".py")


def imports(path):
    """Every biggan_jax room that the file imports, at its top or inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("biggan_jax."))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_from_the_floors_below(path):
    here = room_of(path)
    above = {room for room in imports(path) if room != here and FLOOR[room] >= FLOOR[here]}
    assert not above


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_imports_tensorflow_at_its_top(path):
    top = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [alias.name for node in top for alias in node.names] + [getattr(node, "module", "") or "" for node in top]
    assert not any(name.startswith(("tensorflow", "clu.metric_writers", "clu.periodic")) for name in names)
    assert not any(alias.name in ("metric_writers", "periodic_actions") for node in top for alias in node.names)


@pytest.mark.parametrize("path", sorted((PACKAGE.parent / "configs").rglob("*.py")), ids=lambda path: path.name)
def test_configs_import_only_the_base_config(path):
    assert set(imports(path)) <= {"config"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_file_opens_by_saying_what_it_owns(path):
    assert ast.get_docstring(ast.parse(path.read_text()))
