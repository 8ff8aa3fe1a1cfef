"""Owns where a config comes from: a name, a file of Python, which is run, a file of plain data, or a run. Must not know any key."""

import difflib
import pathlib
import runpy

import ml_collections
from etils import epath

from biggan_jax.config import strict_json
from biggan_jax.config.text import from_plain
from biggan_jax.types import UserError


def of_run(workdir: str) -> ml_collections.ConfigDict:
    """The config of a run's folder. Raises UserError if there is none."""
    path = epath.Path(workdir) / "config.json"
    if not workdir or not path.exists():
        raise UserError(f"{path} does not exist; name the folder of a run, as in --config=finetune:runs/converted")
    return of_file(path)


def of_file(path: epath.PathLike) -> ml_collections.ConfigDict:
    """The config of a JSON file, whole or only what differs from the defaults. Nothing in it is run. Raises UserError."""
    if not path:
        raise UserError(
            "--config_json names no file; give a run's config.json, or one with the keys that differ from the defaults"
        )
    return from_plain(strict_json.read(path), str(path))


def config_path(name: str) -> pathlib.Path:
    """The file of a config that ships with the package, by its name, with or without its folder. Raises UserError."""
    package = pathlib.Path(__file__).parent.parent
    # Installed from a wheel it lies in the package; in a checkout beside it.
    folder = next(f for f in (package / "configs", package.parent / "configs") if f.is_dir())
    known = {p.relative_to(folder).with_suffix("").as_posix(): p for p in sorted(folder.rglob("[a-z]*.py"))}
    wanted = name.removesuffix(".py").removeprefix("configs/")
    for known_name, path in known.items():
        if wanted in (known_name, path.stem):
            return path
    near = difflib.get_close_matches(wanted, [*known, *(path.stem for path in known.values())], 1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UserError(
        f"config {name!r} is neither a file nor a config that ships with the package; {hint}known: {', '.join(known)}"
    )


def load(name: str) -> ml_collections.ConfigDict:
    """The config of a file, or of a name of one that ships with the package; `NAME:ARGUMENT` for one that takes an argument."""
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
