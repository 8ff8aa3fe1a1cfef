"""Owns what all command lines share: how flags are read, how a user's mistake is said, and which status a process ends with.

It must not know what any command does.
"""

import contextlib
import difflib
import logging
import os
import pathlib
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

from biggan_jax.config import base, config_path, flatten
from biggan_jax.types import UserError

SUCCESS, DIFFERENT, USER_ERROR, COLLAPSED, RUN_AGAIN = 0, 1, UserError.status, 3, 75
"""Exit statuses. RUN_AGAIN (EX_TEMPFAIL): not at its end, through no mistake; the same command goes on with what was saved."""


flags.disclaim_key_flags()  # Those that are defined here for a command are the command's in its --help.


def define_config(said: str) -> flags.FlagHolder:
    """--config, and --config_json, which is read in its place: see `_parse`."""
    flags.DEFINE_string(
        "config_json",
        None,
        "Instead of --config, which is Python that is run: a config as JSON, such as a run's config.json.",
    )
    return config_flags.DEFINE_config_file("config", None, said, lock_config=True)


_is_command = False


def run(main: Callable[[], int | None]) -> None:
    """Parses the flags, calls `main` and exits with what it returns (None: 0); a UserError is printed and exits with 2."""
    global _is_command
    _is_command = True
    _help_as_of(main.__module__)
    log_to_stderr()
    app.run(lambda argv: _explained(main), flags_parser=_parse)


def _help_as_of(module: str) -> None:
    """--help tells of the flags of the command's module and of the files of flags that it imports.

    As absl has it, of the main module's alone; which in an installed command is a script of the installer's, and says nothing.
    """
    if module != "__main__":
        sys.modules["__main__"].__doc__ = sys.modules[module].__doc__
    shared = [name for name in sys.modules if name.startswith("biggan_jax.") and name.endswith(".flags")]
    for name in [module, *shared]:
        for flag in flags.FLAGS.get_key_flags_for_module(name):
            flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


class _Stderr(logging.StreamHandler):
    """Writes to what sys.stderr is at the time: a live progress line replaces it for a while."""

    stream = property(lambda self: sys.stderr, lambda self, _: None)


class _Harmless(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return harmless(super().format(record))


def log_to_stderr() -> None:
    """Shows this package's own log lines; the libraries' only from warnings on, since Orbax tells each thread's tale."""
    handler = _Stderr()
    handler.setFormatter(_Harmless("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    logger = logging.getLogger("biggan_jax")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # Else it tells of every read that fails beside the first.
    sys.unraisablehook = _unraisable


def _unraisable(error) -> None:
    """What cannot be raised is printed, but for what threads of libraries have to say once the first error has ended their loop."""
    if not (isinstance(error.exc_value, RuntimeError) and "Event loop is closed" in str(error.exc_value)):
        sys.__unraisablehook__(error)


def _explained(main: Callable[[], int | None]) -> int:
    if not flags.FLAGS["verbosity"].present:
        absl_logging.set_verbosity(absl_logging.WARNING)
    try:
        return main() or SUCCESS
    except UserError as error:
        fail(error)
    except KeyboardInterrupt:
        # Before or after the loop that saves on Ctrl-C: nothing is lost, and a traceback helps nobody.
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def _parse(argv: Sequence[str]) -> list[str]:
    try:
        # Where a config is asked for by ml_collections, it is read, and the overrides are applied, during parsing.
        sys.argv[:] = argv = [_resolve_config(argument) for argument in _in_one_word(argv)]
        left = flags.FLAGS(argv)
        if len(left) > 1:
            raise UserError(f"unexpected argument {left[1]!r}; every option is given as --name=value")
        if "config_json" in flags.FLAGS and flags.FLAGS["config_json"].present:
            raise UserError("--config_json is read from the command line alone; name it there")
        return left
    except SystemExit:  # Of --help alone, which absl takes for a mistake.
        raise SystemExit(SUCCESS) from None
    except BrokenPipeError:  # Who reads its --help has seen enough; what is left would be tried once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise SystemExit(SUCCESS) from None
    except Exception as e:  # A config file is Python: it may fail in any way.
        fail(e)


def _in_one_word(argv: Sequence[str]) -> list[str]:
    """`--config NAME` as `--config=NAME`, and `--config_json=FILE`, in one word or two, as `--config=plain:FILE`."""
    joined, rest = [], iter(argv)
    for argument in rest:
        flag = argument.replace("--", "-", 1)
        joined.append(f"{argument}={next(rest, '')}" if flag in ("-config", "-config_json") else argument)
    files = [argument for argument in joined if argument.replace("--", "-", 1).startswith("-config_json=")]
    if "config" not in flags.FLAGS or not files:
        return joined
    if len(files) > 1 or any(argument.startswith(("--config=", "-config=")) for argument in joined):
        raise UserError("one of --config and --config_json is given, once")
    plain = f"--config={config_path('plain')}:{files[0].partition('=')[2]}"
    return [plain if argument is files[0] else argument for argument in joined]


def fail(error: Exception) -> NoReturn:
    """Prints the error as one line and exits with USER_ERROR, or the status that it carries."""
    text = str(error)
    if isinstance(error, (AttributeError, KeyError)) and _raised_in(error, "ml_collections"):
        text = _unknown_key(sys.argv)
    elif not isinstance(error, (UserError, flags.Error)):
        text = f"the config file failed with {type(error).__name__}: {text} ({_where(error)})"
    complain(f"error: {text}")
    # Threads of libraries may still be failing on the same damage, and would bury the sentence under tracebacks.
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    raise SystemExit(getattr(error, "status", USER_ERROR))


def complain(sentence: str) -> None:
    """Prints it as one line, after the program's name."""
    print(_line(sentence), file=sys.stderr, flush=True)


def _line(sentence: str) -> str:
    program = pathlib.Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name
    return f"{name}: {harmless(' '.join(sentence.split()))}"


def is_command() -> bool:
    """Whether this process is one of our commands, which may be ended; else it is a notebook's, say, which may not."""
    return _is_command


def end_at_once(sentence: str, status: int) -> NoReturn:
    """Says it as one line and ends the process, from any thread, whatever the others are at: there is no clean-up."""
    # Past sys.stderr, whose locks another thread may hold; a progress line has hidden the terminal's cursor.
    before = "\n\x1b[?25h" if os.isatty(2) else ""
    with contextlib.suppress(OSError):
        os.write(2, f"{before}{_line(sentence)}\n".encode())
    os._exit(status)


def harmless(text: str) -> str:
    """The text with what a terminal would obey shown instead: names in data sets and files are anybody's."""
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


def _unknown_key(argv: Sequence[str]) -> str:
    """Names the first overridden key that no config has, and the nearest that is there."""
    known = flatten(base().to_dict())
    for key in (argument.partition("=")[0].removeprefix("--config.") for argument in argv if "--config." in argument):
        if key not in known:
            same_name = [k for k in known if k.rpartition(".")[2] == key.rpartition(".")[2]]
            near = same_name or difflib.get_close_matches(key, known, 1)
            return f"config key {key} is unknown" + (f"; did you mean {near[0]}?" if near else "")
    return "a config key is unknown"


def _where(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}, line {frame.lineno}"


def _raised_in(error: Exception, package: str) -> bool:
    return package in _where(error)


def _resolve_config(argument: str) -> str:
    """`--config=quickstart` means the config of that name that ships with the package; `NAME:ARGUMENT` gives it an argument."""
    flag, _, name = argument.partition("=")
    name, colon, rest = name.partition(":")
    if flag not in ("--config", "-config") or not name or os.path.exists(name):
        return argument
    return f"{flag}={config_path(name)}{colon}{rest}"
