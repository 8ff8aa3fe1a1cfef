"""Read configs from Python files, which are executed, and from JSON, which is untrusted; write and compare them.

Reading JSON executes nothing, takes little memory, and fails with one sentence.
"""

import json
import pathlib
import runpy
from collections.abc import Iterator
from typing import Any

import ml_collections
from etils import epath

from biggan_jax.config.defaults import base, table
from biggan_jax.config.families import SECTIONS, section_of
from biggan_jax.config.keys import Key, closest, flatten, is_auto, nearest_keys, short_repr
from biggan_jax.errors import UserError
from biggan_jax.runtime.files import expand_home

MAX_BYTES = 2**20  # A longer file is refused after reading this much. A whole config has 4 kB.

RUN_KEYS = {"seed", "num_steps", "batch_size", "model", "mesh", "regularizer", "optimizer", "ema", "augment", "data"}
"""A run's stored config has all of these; a file written by hand has only the keys that differ from the defaults."""


def of_run(workdir: str) -> ml_collections.ConfigDict:
    """Return the config of a run's workdir. Raises UserError."""
    path = epath.Path(expand_home(workdir)) / "config.json"
    if not workdir or not path.exists():
        ours = workdir.isidentifier() and (pathlib.Path(__file__).parent.parent / "pretrained" / workdir).is_dir()
        packaged = f"; the model {workdir} of the package has weights for sampling alone" if ours else ""
        raise UserError(
            f"{path} does not exist; name the folder of a run, as in --config=finetune:runs/converted{packaged}"
        )
    return of_file(path)


def of_file(path: epath.PathLike) -> ml_collections.ConfigDict:
    """Return the config of a JSON file, complete or only the keys that differ from the defaults. Raises UserError."""
    if not path:
        hint = "give a run's config.json, or one with the keys that differ from the defaults"
        raise UserError(f"--config_json names no file; {hint}")
    return from_plain(read(path), str(path))


def presets() -> dict[str, pathlib.Path]:
    """Return {name: file} of the configs that ship with the package."""
    package = pathlib.Path(__file__).parent.parent
    # In a wheel the folder is inside the package, in a checkout beside it.
    folder = next(f for f in (package / "configs", package.parent / "configs") if f.is_dir())
    return {p.relative_to(folder).with_suffix("").as_posix(): p for p in sorted(folder.rglob("[a-z]*.py"))}


def config_path(name: str) -> pathlib.Path:
    """Return the file of a preset, named with or without its folder. Raises UserError."""
    wanted = name.removesuffix(".py").removeprefix("configs/")
    named = {path.stem: path for path in presets().values()} | presets()
    if wanted in named:
        return named[wanted]
    near = closest(wanted, named)
    hint = f"did you mean {near}?" if near else "give a file, or a name from `biggan-config list`"
    raise UserError(f"config {wanted!r:.80} is unknown; {hint}")


def load(name: str) -> ml_collections.ConfigDict:
    """Return the config of a Python file or a preset; `NAME:ARGUMENT` for one that takes an argument. Raises UserError."""
    name, _, argument = expand_home(name).partition(":")
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


def read(path: epath.PathLike) -> Any:
    """Return what a JSON file holds, local or gs://. Raises UserError."""
    try:
        with epath.Path(expand_home(str(path))).open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except Exception as error:  # Object stores raise errors of their own, also if their package is missing.
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(raw) > MAX_BYTES:
        raise UserError(f"{path} is no config: it has more than {MAX_BYTES:,} bytes")
    return parse(raw, str(path))


def parse(text: str | bytes, where: str) -> Any:
    """Return what JSON `text` holds. Raises UserError, which calls it `where`, if it is invalid or repeats a key."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_int=_parse_int)
    except RecursionError as error:
        raise UserError(f"{where} is no config: it is nested too deeply") from error
    except ValueError as error:
        raise UserError(f"{where} is not JSON: {error}") from error


def to_json(config: ml_collections.ConfigDict | dict) -> str:
    """Return the config as JSON; tuples become lists."""
    tree = config.to_dict() if isinstance(config, ml_collections.ConfigDict) else config
    return json.dumps(_with_words(tree), indent=2, sort_keys=True)


def from_plain(given: Any, where: str) -> ml_collections.ConfigDict:
    """Return the defaults of the family that `given` names, overwritten by `given`, whose keys are nested or dotted.

    Raises UserError, which calls it `where`, for an unknown family or key and for a value of another type.
    """
    family = family_of(given, where)
    found = merge_into(table(family), given, where)
    if given.keys() >= RUN_KEYS:
        found.setdefault("data.order", "feistel")  # A run from before this key keeps its order of images.
    config = base(family)
    config.update_from_flattened_dict(found)
    return config


def normalize(config: ml_collections.ConfigDict) -> None:
    """Give each value of a config its one form, in place: its key's type, lists as tuples, paths without ~. Raises UserError."""
    plain, family = config.to_dict(), family_of(config.to_dict(), "the config")
    check_family(family, plain)
    found, given = merge_into(table(family), plain, "the config"), flatten(plain)
    config.update_from_flattened_dict({key: value for key, value in found.items() if value != given[key]})


def family_of(given: Any, where: str) -> str:
    """Return the family that a config's dict names, biggan if it names none. Raises UserError for an unknown one."""
    model = given.get("model") if isinstance(given, dict) else None
    nested = model.get("family") if isinstance(model, dict) else None
    name = nested if nested is not None or not isinstance(given, dict) else given.get("model.family")
    if not isinstance(name, str):
        return "biggan"  # If it names something else, its type is refused with that of all keys.
    section_of(name, f"{where}: model.family")
    return name


def check_family(family: str, plain: dict) -> None:
    """Raise UserError if the config has exactly the keys of another family, as after --config.model.family=OTHER."""
    own = plain["model"].keys() - {"family"} if isinstance(plain.get("model"), dict) else set()
    others = [other for other, section in SECTIONS.items() if own == section().keys()]
    if others and family not in others:
        complete = [
            name for name in presets() if name not in ("auto", "finetune", "plain")
        ]  # These need data or a run.
        found = [f"--config={name}" for name in complete if load(name).model.family == family][:3]
        start = f"a preset of that family, {' or '.join(found)}" if found else f"base({family!r}) in a config file"
        raise UserError(f"model.family is {family!r}, but the config has the keys of {others[0]!r}; start from {start}")


def merge_into(keys: dict[str, Key], given: Any, where: str) -> dict[str, Any]:
    """Return {dotted key: value} of what is given, each value in its key's type. Raises UserError."""
    if not isinstance(given, dict):
        raise UserError(f"{where} is no config: it holds {short_repr(given)}, not an object of keys")
    sections = {key[:dot] for key in keys for dot in range(len(key)) if key[dot] == "."}
    found: dict[str, Any] = {}
    for key, value in _values(given, sections):
        if key in sections:
            raise UserError(f"{where}: {key} must be an object of keys, not {short_repr(value)}")
        if key not in keys:
            near, short = " or ".join(nearest_keys(key, keys)), key if len(key) <= 40 else key[:40] + " ..."
            hint, what = f"did you mean {near}, or did" if near else "did", "which this version does not know"
            raise UserError(f"{where} has the key {short}, {what}; {hint} another version write it?")
        if key in found:
            raise UserError(f"{where} has the key {key} twice")
        found[key] = keys[key].convert(value, f"{where}: {key}")
    return found


def differences(a: dict, b: dict) -> dict[str, tuple]:
    """Return {dotted key: (value in a, value in b)} of the keys that differ; None where one config lacks it."""
    a, b = (flatten(json.loads(to_json(config))) for config in (a, b))
    return {key: (a.get(key), b.get(key)) for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)}


def _values(tree: dict[str, Any], sections: set[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        key = prefix + key
        if key in sections and isinstance(value, dict):
            yield from _values(value, sections, f"{key}.")
        else:
            yield key, value


def _with_words(tree: Any) -> Any:
    """Replace numbers that mean `auto` by the word."""
    if isinstance(tree, dict):
        return {key: _with_words(value) for key, value in tree.items()}
    return "auto" if type(tree) in (int, float) and is_auto(tree) else tree


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r:.60} is there twice")
        found[key] = value
    return found


def _parse_int(digits: str) -> int:
    if len(digits) > 20:
        raise ValueError(f"a whole number of {len(digits)} digits is more than 64 bits hold")
    return int(digits)
