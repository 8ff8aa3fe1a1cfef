import ast
import pathlib

PACKAGE = pathlib.Path(__file__).parent.parent / "biggan_jax"

# Each row may import from the rows above it, and within its own package; see docs/design.md.
ORDER = [
    ["errors", "runtime.startup"],
    ["types"],
    [
        "runtime.files",
        "runtime.heap",
        "runtime.text",
        "runtime.progress",
        "runtime.lazy_metrics",
        "runtime.devices",
        "runtime.numerics",
        "runtime.subcommands",
    ],
    ["config", "sharding", "runtime.jsonl", "runtime.compilation_cache"],
    ["runtime.flag_errors", "schedules", "growth"],
    ["runtime.cli", "runtime.pretrained", "sampling.labels", "sampling.ranges", "plan.slices", "plan.gpu_table"],
    ["flags"],
    ["layers", "losses", "augment", "latents", "checkpoint.safetensors"],
    ["penalties", "conditioning"],
    ["terms"],
    ["regularizers", "family"],
    ["state"],
    ["gradients"],
    ["chunks"],
    ["gan", "train_step"],
    ["models", "sampling.generate", "sampling.pictures"],
    ["sampling.image_files"],
    ["partitioning"],
    ["checkpoint", "data", "runtime.metric_writer", "runtime.interrupt", "runtime.preemption", "runtime.distributed"],
    ["evaluation.cache"],
    ["sampling.kept_statistics"],
    ["sampling.sampler", "sampling.translations"],
    [
        "sampling.training_data",
        "sampling.styles",
        "convert",
        "tools.notebook",
        "tools.layout",
        "tools.classes",
        "runtime.workdir_lock",
        "stability",
    ],
    ["evaluation", "sampling.latent_files", "sampling.flags", "sampling.seeds", "runtime.flags", "runtime.supervised"],
    ["tools.grids", "tools.edit", "hooks", "settling", "evaluation.flags"],
    ["train"],
    [
        "main",
        "sample",
        "translate",
        "evaluate",
        "demo",
        "plan",
        "tools.dream",
        "tools.export",
        "tools.app",
        "tools.report",
    ],
    ["__main__", "sheets", "edit", "export", "explore"],
]
ROW = {entry: number for number, entries in enumerate(ORDER) for entry in entries}
PACKAGES = {entry.split(".")[0] for entry in ROW if "." in entry}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def entry_of(name):
    """Return the entry of ORDER that contains a dotted module name."""
    parts = name.split(".")
    return name_of(parts)


def name_of(parts):
    two = ".".join(parts[:2])
    return two if two in ROW else parts[0]


def module_of(path):
    return path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")


def imports(path):
    """Yield each entry of ORDER that the file imports, at its top or inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (entry_of(name.removeprefix("biggan_jax.")) for name in names if name.startswith("biggan_jax."))


def test_a_file_imports_only_from_the_rows_above():
    wrong = []
    for path in FILES:
        here = entry_of(module_of(path))
        if here in PACKAGES:
            continue  # An __init__ without imports.
        wrong += [(module_of(path), entry) for entry in imports(path) if entry != here and ROW[entry] >= ROW[here]]
    assert not wrong


def test_no_file_imports_tensorflow_at_its_top():
    wrong = []
    for path in FILES:
        top = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = [alias.name for node in top for alias in node.names]
        names += [getattr(node, "module", "") or "" for node in top]
        wrong += [module_of(path) for name in names if name.startswith("tensorflow")]
    assert not wrong


def test_configs_import_only_the_base_config():
    configs = sorted((PACKAGE.parent / "configs").rglob("*.py"))
    assert configs and not [path.name for path in configs if not set(imports(path)) <= {"config"}]


def test_every_module_has_a_docstring():
    assert not [module_of(path) for path in FILES if not ast.get_docstring(ast.parse(path.read_text()))]
