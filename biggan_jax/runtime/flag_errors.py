"""One sentence for each mistake in flags, config keys and config files."""

import re
import traceback

from absl import flags

from biggan_jax.config import SECTIONS, nearest_keys, table
from biggan_jax.config.defaults import meanings
from biggan_jax.config.keys import KINDS, OR_AUTO, choose
from biggan_jax.errors import UserError

_FLAG = re.compile(r"flag --(?P<name>[\w.-]+)=(?P<value>.*?): (?P<reason>.*)", re.DOTALL)
_KIND = re.compile(r"\W*(invalid literal for int|could not convert string to float|Non-boolean argument)")
_KINDS = {"invalid literal for int": int, "could not convert string to float": float, "Non-boolean argument": bool}
"""How Python and absl begin to refuse a text that is no value of these types."""


def sentence(error: Exception, argv: list[str], file: str = "", family: str = "") -> str:
    """Describe an error of parsing `argv`. file: the config file that was read, if any; family: that of its config."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, flags.UnrecognizedFlagError):
        return f"{error}{_as_key(error.flagname)}"
    if isinstance(error, flags.Error):
        return _of_flag(str(error), family)
    frames = traceback.extract_tb(error.__traceback__)
    in_library = "ml_collections" in frames[-1].filename and not any(frame.filename == file for frame in frames)
    if isinstance(error, (AttributeError, KeyError)) and in_library:  # An override.
        keys = [text.partition("=")[0].removeprefix("--config.") for text in argv if "--config." in text]
        if wrong := next((key for key in keys if key not in table(family or "biggan")), ""):
            return _of_key(wrong, family)
    if isinstance(error, SyntaxError):
        return f"the config file failed with SyntaxError: {error}"
    frame = next((frame for frame in reversed(frames) if frame.filename == file), frames[-1])
    return f"the config file failed with {type(error).__name__}: {error} ({frame.filename}, line {frame.lineno})"


def _of_flag(message: str, family: str) -> str:
    """Replace absl's or Python's own words for a value that is not accepted."""
    found = _FLAG.fullmatch(message)
    if not found:
        return message
    name, value, reason = found.groups()
    what = f"config key {name.removeprefix('config.')}" if name.startswith("config.") else f"--{name}"
    if one_of := re.fullmatch("value should be one of <(.*)>", reason):
        try:
            choose(dict.fromkeys(one_of[1].split("|")), what, value)
        except UserError as error:
            return str(error)
    if kind := _KIND.match(reason):
        key = table(family or "biggan").get(name.removeprefix("config.")) if name.startswith("config.") else None
        return f"{what} must be {KINDS[_KINDS[kind[1]]]}, not {value!r}{OR_AUTO if key and key.auto else ''}"
    if "as a ConfigDict" in reason:
        section = name.removeprefix("config.")
        inside = next((key for key in table(family or "biggan") if key.startswith(f"{section}.")), "")
        return f"{what} is a section; set one of its keys, such as --config.{inside}"
    return f"{what} is {value!r}: {reason}" if name.startswith("config.") else message


def _of_key(wrong: str, family: str) -> str:
    """Describe a key that this family's configs lack: name the families that have it, or near keys."""
    if having := [other for other in SECTIONS if wrong in table(other)]:
        return f"config key {wrong} does not exist for model.family {family}; it does for {', '.join(having)}"
    near = " or ".join(_near(wrong))
    return f"config key {wrong} is unknown" + (f"; did you mean {near}?" if near else "")


def _as_key(flag: str) -> str:
    """Say how an unknown flag of a command with a config is given, if it is the name of a key or near to one."""
    if "config" not in flags.FLAGS or not (keys := _near(flag)):
        return ""
    return f"; keys of the config are given as {' or '.join(f'--config.{key}=' for key in keys)}"


def _near(unknown: str) -> list[str]:
    known = sorted({key for family in SECTIONS for key in table(family)})
    return [unknown] if unknown in known else _meant(unknown) or nearest_keys(unknown, known)


def _meant(unknown: str) -> list[str]:
    """Return up to three keys whose description has the words of a key such as learning_rate."""
    words = unknown.rpartition(".")[2].lower().replace("_", " ")
    described = {key: text.lower() for family in SECTIONS for key, text in meanings(family).items()}
    return [key for key, text in described.items() if " " in words and words in text][:3]
