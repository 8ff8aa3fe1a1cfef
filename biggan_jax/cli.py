"""Owns what all command lines share: how flags are read, how a user's mistake is said, and which status a process ends with.

It must not know what any command does.
"""

import difflib
import logging
import os
import pathlib
import signal
import sys
import traceback
from collections.abc import Callable, Sequence

from absl import app, flags
from absl import logging as absl_logging

from biggan_jax.config import base, config_path, flatten
from biggan_jax.types import UserError

SUCCESS, DIFFERENT, USER_ERROR, RUN_AGAIN = 0, 1, 2, 75
"""Exit statuses. RUN_AGAIN (EX_TEMPFAIL): not at its end, through no mistake; the same command goes on with what was saved."""


def run(main: Callable[[], int | None]) -> None:
    """Parses the flags, calls `main` and exits with what it returns (None: 0); a UserError is printed and exits with 2."""
    log_to_stderr()
    app.run(lambda argv: _explained(main), flags_parser=_parse)


class _Stderr(logging.StreamHandler):
    """Writes to what sys.stderr is at the time: a live progress line replaces it for a while."""

    stream = property(lambda self: sys.stderr, lambda self, _: None)


def log_to_stderr() -> None:
    """Shows this package's own log lines; the libraries' only from warnings on, since Orbax tells each thread's tale."""
    handler = _Stderr()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    logger = logging.getLogger("biggan_jax")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # Else it tells of every read that fails beside the first.


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
    argv = list(argv)
    if "--config" in argv[:-1]:  # --config NAME, in two words.
        i = argv.index("--config")
        argv[i : i + 2] = [f"--config={argv[i + 1]}"]
    argv = [_resolve_config(argument) for argument in argv]
    # Where a config is asked for by ml_collections, it is read, and the overrides are applied, during parsing.
    sys.argv[:] = argv
    try:
        left = flags.FLAGS(argv)
        if len(left) > 1:
            raise UserError(f"unexpected argument {left[1]!r}; every option is given as --name=value")
        return left
    except Exception as e:  # A config file is Python: it may fail in any way.
        fail(e)


def fail(error: Exception) -> None:
    """Prints the error as one line and exits with USER_ERROR."""
    text = str(error)
    if isinstance(error, (AttributeError, KeyError)) and _raised_in(error, "ml_collections"):
        text = _unknown_key(sys.argv)
    elif not isinstance(error, (UserError, flags.Error)):
        text = f"the config file failed with {type(error).__name__}: {text} ({_where(error)})"
    complain(f"error: {text}")
    # Threads of libraries may still be failing on the same damage, and would bury the sentence under tracebacks.
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    raise SystemExit(USER_ERROR)


def complain(sentence: str) -> None:
    """Prints it as one line, after the program's name."""
    program = pathlib.Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name
    print(f"{name}: {' '.join(sentence.split())}", file=sys.stderr, flush=True)


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
    try:
        return f"{flag}={config_path(name)}{colon}{rest}"
    except UserError as error:
        fail(error)
