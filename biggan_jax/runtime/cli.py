"""What all commands share: flags, logging, error messages, exit statuses."""

import contextlib
import logging
import os
import pathlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

from biggan_jax.config import AUTO_OF_TYPE, config_path, normalize
from biggan_jax.errors import InterruptedRunError, UserError
from biggan_jax.runtime import flag_errors, startup
from biggan_jax.runtime.files import expand_home
from biggan_jax.runtime.text import escape

SUCCESS, DIFFERENT, USER_ERROR, COLLAPSED, RUN_AGAIN = 0, 1, UserError.status, 3, InterruptedRunError.status
"""Exit statuses. RUN_AGAIN (EX_TEMPFAIL): interrupted; rerun the same command to resume."""

flags.disclaim_key_flags()  # A command's --help then lists the flags defined here, too.


class _NumberOrAuto(flags.FloatParser):
    """Parse a number, or auto, which keys that cannot be computed then refuse."""

    def convert(self, argument: Any) -> float:
        return AUTO_OF_TYPE[float] if argument == "auto" else super().convert(argument)


class _WholeNumberOrAuto(flags.IntegerParser):
    """Parse a whole number, or auto."""

    def convert(self, argument: Any) -> int:
        return AUTO_OF_TYPE[int] if argument == "auto" else super().convert(argument)


config_flags.register_flag_parser_for_type(float, _NumberOrAuto())
config_flags.register_flag_parser_for_type(int, _WholeNumberOrAuto())


class _ConfigParser(flags.ArgumentParser):
    """Parse --config or --config_json; one of them is given, once. file, family: of the config, for errors in its overrides."""

    file = family = ""

    def __init__(self, parse: Callable[[str], Any]):
        self._parse = parse

    def parse(self, text: str) -> Any:
        if flags.FLAGS["config"].present or flags.FLAGS["config_json"].present:
            raise UserError("one of --config and --config_json is given, once")
        return self._parse(text)


class _PathParser(flags.ArgumentParser):
    """Parse a path."""

    def parse(self, text: str) -> str:
        return expand_home(text)


def define_config(help_text: str) -> flags.FlagHolder:
    """Define --config=FILE, or the NAME of a preset, each with or without :ARGUMENT; and --config_json=FILE for plain:FILE."""
    known = flags.FLAGS
    holder = config_flags.DEFINE_config_file("config", None, help_text, flag_values=known, lock_config=True)
    parse_file = known["config"].parser.parse

    def parse(path: str) -> Any:
        path = expand_home(path)
        name, colon, argument = path.partition(":")
        parser.file = name if os.path.exists(name) else str(config_path(name))
        try:
            config = parse_file(f"{parser.file}{colon}{argument}")
        except SystemExit as end:
            raise UserError(
                f"the config file ended the program, with status {end.code}; it has to return a config"
            ) from end
        parser.family = config.model.family if config else ""
        return config

    def parse_json(path: str) -> str:
        known["config"].parse(f"{config_path('plain')}:{path}")
        return path

    known["config"].parser = parser = _ConfigParser(parse)
    json_help = "Instead of --config, which runs Python: a config as JSON, such as a run's config.json."
    flags.DEFINE(_ConfigParser(parse_json), "config_json", None, json_help, flag_values=known)
    return holder


def is_preset(name: str) -> bool:
    """Return whether --config is the preset of that name."""
    parser = flags.FLAGS["config"].parser
    return isinstance(parser, _ConfigParser) and pathlib.Path(parser.file).resolve() == config_path(name).resolve()


def given_keys() -> set[str]:
    """Return the dotted keys that --config.KEY=VALUE flags set."""
    return set(config_flags.get_override_values(flags.FLAGS["config"]))


def define_path(name: str, default: str | None, help_text: str) -> flags.FlagHolder[Any]:
    """Define a flag for a file or folder, local or gs://; ~ at its start becomes the home folder."""
    return flags.DEFINE(_PathParser(), name, default, help_text)


is_command = False  # Whether this process is one of our commands, which may exit; a notebook's process must not.


_threads_hang = False


def leave_threads() -> None:
    """Let this command end though a thread hangs, such as one that reads from a disk that does not answer."""
    global _threads_hang
    _threads_hang = True


def run(main: Callable[[], int | None], *, compiles: bool = False) -> None:
    """Parse the flags, call `main` and exit with its return value (None: 0). Print a UserError and exit with 2.

    compiles: whether compiled programs are worth keeping; see `compilation_cache`.
    """
    global is_command
    is_command = True
    startup.end_on_ctrl_c()
    file = sys.argv[0]
    startup.name_program(main.__module__)
    if not startup.parse_flags(main.__module__):  # A script with flags of its own.
        _show_help_of(main.__module__, file)
        log_to_stderr()
    with startup.ends_with_its_reader():
        app.run(lambda argv: _end(_call(main, compiles=compiles)), flags_parser=lambda argv: _left or _parse(argv))


_left: list[str] = []  # The name of the program, once its flags are parsed.


def flags_parser(module: str, check: Callable[[], None] = lambda: None, *, word: str = "") -> Callable[[], None]:
    """Return the function that parses the flags of a command and refuses, in one sentence, what they alone show to be wrong.

    It does so once in a process, and imports no jax. module: the one with the flags, whose docstring --help shows. check: what
    raises UserError. word: the flag whose value may be given as the first argument, alone.
    """

    def parse() -> None:
        global _left
        if _left:
            return
        if word and sys.argv[1:2] and not sys.argv[1].startswith("-"):
            sys.argv[1] = f"--{word}={sys.argv[1]}"
        _show_help_of(module, module)
        log_to_stderr()
        app.define_help_flags()
        _left = _parse(sys.argv)
        try:
            check()
        except UserError as error:
            fail(error)

    return parse


def _end(status: int) -> int:
    """Return the exit status, or end the process with it if the interpreter would wait for a thread that hangs."""
    if _threads_hang:
        logging.shutdown()
        for stream in sys.stdout, sys.stderr:
            with contextlib.suppress(OSError, ValueError, AttributeError):  # Its reader has quit, or it is closed.
                stream.flush()
        os._exit(status)
    return status


def command(main: Callable[[], int | None], *, compiles: bool = False) -> Callable[[], None]:
    """Return the function that runs `main` as a command; see `run`."""
    return lambda: run(main, compiles=compiles)


def _show_help_of(module: str, file: str) -> None:
    """Let --help show the docstring and flags of the module, and the flags of all imported modules in `flags`.

    file: argv[0] while the module was imported: absl's name of the module __main__.
    """
    # absl shows those of __main__, which for an installed command is the installer's script.
    if module != "__main__":
        sys.modules["__main__"].__doc__ = sys.modules[module].__doc__
    shared = [name for name in sys.modules if name.startswith("biggan_jax.flags.")]
    for name in [module, file, *shared]:
        for flag in flags.FLAGS.get_key_flags_for_module(name):
            flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


class _Stderr(logging.StreamHandler):
    """Write to the current sys.stderr, which a progress line replaces for a while; escape control characters."""

    stream = property(lambda self: sys.stderr, lambda self, _: None)

    def format(self, record: logging.LogRecord) -> str:
        return escape(super().format(record))


def log_to_stderr() -> None:
    """Show this package's log from INFO on. Libraries log from WARNING on: Orbax reports each thread."""
    handler = _Stderr()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    logger = logging.getLogger("biggan_jax")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # It reports every read that fails after the first.
    sys.unraisablehook = _unraisable


def _unraisable(error) -> None:
    if isinstance(error.exc_value, KeyboardInterrupt):
        _repeat_ctrl_c()
    # Library threads raise this after the first error.
    elif not (isinstance(error.exc_value, RuntimeError) and "Event loop is closed" in str(error.exc_value)):
        sys.__unraisablehook__(error)


def _repeat_ctrl_c() -> None:
    """Repeat a Ctrl-C that a callback has dropped, such as that of jax's garbage collector, when the callback has ended."""
    main_thread = threading.main_thread().ident
    assert main_thread is not None

    def handle(*_) -> NoReturn:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt

    def send() -> None:
        time.sleep(0.05)
        signal.pthread_kill(main_thread, signal.SIGINT)
        time.sleep(0.05)
        while signal.getsignal(signal.SIGINT) is handle:  # A signal just before a system call does not end the call.
            signal.pthread_kill(main_thread, signal.SIGINT)
            time.sleep(0.05)

    while True:
        try:
            signal.signal(signal.SIGINT, handle)
            return threading.Thread(target=send, daemon=True).start()
        except KeyboardInterrupt:  # On a busy machine it comes before `start` returns, and would be dropped again.
            continue


def require(*needed: flags.FlagHolder, example: str) -> None:
    """Raise UserError, which names those of the `needed` flags that are not given."""
    missing = [f"--{flag.name}" for flag in needed if flag.value is None or flag.value == ""]
    if missing:
        *others, last = missing
        named = f"{', '.join(others)} and {last} are" if others else f"{last} is"
        raise UserError(f"{named} needed, such as {example}")


def refuse(names: Iterable[str], context: str) -> None:
    """Raise UserError if one of these flags is given, because it has no effect in this context."""
    for name in sorted(names):
        if flags.FLAGS[name].present:
            raise UserError(f"--{name} has no effect {context}; see --help")


def _call(main: Callable[[], int | None], *, compiles: bool) -> int:
    if not flags.FLAGS["verbosity"].present:
        absl_logging.set_verbosity(absl_logging.WARNING)
    try:
        startup.import_jax()
        from biggan_jax.runtime import compilation_cache, devices, numerics  # Here, since they import jax.

        startup.raise_on_ctrl_c()
        numerics.pin()
        devices.check_xla_flags()
        if compiles:
            compilation_cache.enable()
        return main() or SUCCESS
    except UserError as error:
        fail(error)
    except (RuntimeError, AssertionError) as error:
        if no_devices := devices.user_error(error):
            fail(no_devices)
        raise
    except KeyboardInterrupt:
        # Ctrl-C before or after the training loop, which handles it: nothing is lost, and a traceback does not help.
        startup.end_on_ctrl_c()
        print("interrupted", file=sys.stderr)
        return startup.INTERRUPTED
    finally:
        startup.end_on_ctrl_c()  # Until the interpreter has ended.


def _parse(argv: Sequence[str]) -> list[str]:
    try:
        with startup.ends_with_its_reader():  # absl prints --help.
            left = flags.FLAGS(spelled(argv))
        if "config" in flags.FLAGS and flags.FLAGS["config"].value is not None:
            normalize(flags.FLAGS["config"].value)
        if len(left) > 1:
            raise UserError(f"unexpected argument {left[1]!r}; every option is given as --name=value")
        return left
    except SystemExit as end:
        if end.code == startup.READER_QUIT:
            raise
        raise SystemExit(SUCCESS) from None  # absl exits with 1 after --help.
    except Exception as e:  # A config file is Python: it may raise anything.
        fail(e)


def spelled(arguments: Sequence[str]) -> list[str]:
    """Write each flag as it is defined: --a-flag as --a_flag, --no-flag and --no_flag as --noflag."""
    known, found = flags.FLAGS, []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        bare = name.removeprefix("--").replace("-", "_")
        if name.startswith("--") and name.removeprefix("--") not in known:
            negated = bare.removeprefix("no_")
            if bare in known:
                name = f"--{bare}"
            elif bare != negated and negated in known and known[negated].boolean:
                name = f"--no{negated}"
        found.append(name + equals + value)
    return found


def fail(error: Exception) -> NoReturn:
    """Print the error as one line and exit with its `status`, by default USER_ERROR."""
    parser = flags.FLAGS["config"].parser if "config" in flags.FLAGS else None
    about_config = (parser.file, parser.family) if isinstance(parser, _ConfigParser) else ()
    complain(f"error: {flag_errors.sentence(error, sys.argv, *about_config)}")
    # Library threads may still fail for the same reason; their tracebacks would hide the message.
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    raise SystemExit(_end(getattr(error, "status", USER_ERROR)))


def complain(sentence: str) -> None:
    """Print the sentence to stderr as one line, after the program's name."""
    print(_line(sentence), file=sys.stderr, flush=True)


def _line(sentence: str) -> str:
    return f"{pathlib.Path(sys.argv[0]).name}: {escape(' '.join(sentence.split()))}"


def end_at_once(sentence: str, status: int) -> NoReturn:
    """Print the sentence and end the process without cleanup, from any thread."""
    # Other threads may hold the locks of sys.stderr. A progress line has hidden the terminal's cursor.
    before = "\n\x1b[?25h" if os.isatty(2) else ""
    with contextlib.suppress(OSError):
        os.write(2, f"{before}{_line(sentence)}\n".encode())
    os._exit(status)
