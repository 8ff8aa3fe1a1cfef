"""Load a config by a preset's name, from a Python file (which is executed), from a JSON file, or from a run."""

import pathlib
import runpy

import ml_collections
from etils import epath

from biggan_jax.config import strict_json
from biggan_jax.config.keys import choose
from biggan_jax.types import UserError


def of_run(workdir: str) -> ml_collections.ConfigDict:
    """Return the config of a run's workdir. Raises UserError."""
    path = epath.Path(workdir) / "config.json"
    if not workdir or not path.exists():
        raise UserError(f"{path} does not exist; name the folder of a run, as in --config=finetune:runs/converted")
    return of_file(path)


def of_file(path: epath.PathLike) -> ml_collections.ConfigDict:
    """Return the config of a JSON file, complete or only the keys that differ from the defaults. Raises UserError."""
    if not path:
        raise UserError(
            "--config_json names no file; give a run's config.json, or one with the keys that differ from the defaults"
        )
    return strict_json.from_plain(strict_json.read(path), str(path))


def presets() -> dict[str, pathlib.Path]:
    """Return {name: file} of the configs that ship with the package."""
    package = pathlib.Path(__file__).parent.parent
    # In a wheel the folder is inside the package, in a checkout beside it.
    folder = next(f for f in (package / "configs", package.parent / "configs") if f.is_dir())
    return {p.relative_to(folder).with_suffix("").as_posix(): p for p in sorted(folder.rglob("[a-z]*.py"))}


def presets_of(family: str) -> list[str]:
    """Return the names of the presets of a family."""
    return [n for n in presets() if n not in WITH_ARGUMENT and load(n).model.family == family]


WITH_ARGUMENT = ("finetune", "plain")
"""Presets that take an argument, as in finetune:DIR."""


def config_path(name: str) -> pathlib.Path:
    """Return the file of a preset, named with or without its folder. Raises UserError."""
    wanted = name.removesuffix(".py").removeprefix("configs/")
    by_stem = {path.stem: path for path in presets().values()}
    return by_stem.get(wanted) or choose(presets(), "config", wanted)


def load(name: str) -> ml_collections.ConfigDict:
    """Return the config of a Python file or a preset; `NAME:ARGUMENT` for one that takes an argument. Raises UserError."""
    name, _, argument = name.partition(":")
    path = pathlib.Path(name) if name.endswith(".py") and pathlib.Path(name).exists() else config_path(name)
    try:
        get_config = runpy.run_path(str(path))["get_config"]
        config = get_config(argument) if argument else get_config()
        if not isinstance(config, ml_collections.ConfigDict):
            raise TypeError("get_config must return a ConfigDict")
        return config
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"the config file {path} failed with {type(error).__name__}: {error}") from error
