"""Start a command: until its work begins, Ctrl-C ends it at once with one sentence and status 130.

While libraries are imported, a KeyboardInterrupt would print a long traceback, or would be dropped by a callback of jax's
garbage collector. So this module comes before them, and imports only what every Python process has.
"""

import contextlib
import importlib
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

INTERRUPTED = 128 + signal.SIGINT
"""The exit status of a command that Ctrl-C ended."""

READER_QUIT = 128 + signal.SIGPIPE
"""The exit status of a command whose output nobody reads to its end, as shells report it."""

UNUSABLE = 2
"""The exit status of a command whose environment is of no use: cli.USER_ERROR, which cannot be imported before jax."""

WITHOUT_JAX = "biggan_jax", "biggan_jax.config", "biggan_jax.plan.slices"
"""Commands that need no jax."""

_commands: dict[str, str] = {}  # {module: installed command}.


def end_on_ctrl_c() -> None:
    """Let Ctrl-C end this process at once, unless the process ignores or handles it in its own way."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def raise_on_ctrl_c() -> None:
    """Undo `end_on_ctrl_c`: Ctrl-C raises KeyboardInterrupt, so that unfinished files are removed."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def module_that_runs() -> str:
    """Return the module of ours that `python -m` runs, else "". Ask while the package is imported: later, argv holds its path."""
    if sys.argv[:1] != ["-m"]:
        return ""
    module = sys.orig_argv[-len(sys.argv)].removeprefix("-m")
    return module if module.partition(".")[0] == "biggan_jax" else ""


def name_program(module: str) -> None:
    """Let errors and --help of a command begin with its installed name, however it was started. module: that of its `main`."""
    sys.argv[0] = _commands.get(_named(module), sys.argv[0])


@contextlib.contextmanager
def ends_with_its_reader() -> Iterator[None]:
    """End the command silently, with READER_QUIT, if the reader of stdout has quit, as in `biggan-config list | head`.

    What is printed is flushed here: at its exit, Python would print an error. A failure keeps its status and message. SIGPIPE keeps
    Python's action, not the system's: an event loop of Orbax writes to its closed socket where a checkpoint is damaged, which would
    end the command before it has said so.
    """
    try:
        yield
    except BrokenPipeError:
        stdout = select.poll()
        stdout.register(1, 0)
        if not (_lost_output() or any(event & (select.POLLERR | select.POLLHUP) for _, event in stdout.poll(0))):
            raise  # Another pipe or socket.
        _drop_output()
        raise SystemExit(READER_QUIT) from None
    except BaseException as error:
        if isinstance(error, SystemExit) and not error.code:
            if _lost_output():
                raise SystemExit(READER_QUIT) from None
        else:
            with contextlib.suppress(OSError):  # Such as a full disk: the failure counts.
                _lost_output()
        raise
    if _lost_output():
        raise SystemExit(READER_QUIT)


def _lost_output() -> bool:
    """Flush stdout; return whether its reader has quit. What is printed then goes nowhere, as Python flushes again at exit."""
    if sys.stdout is None or sys.stdout.closed:
        return False
    try:
        sys.stdout.flush()
    except (BrokenPipeError, ConnectionResetError):
        _drop_output()
        return True
    return False


def _drop_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def begin(module: str) -> None:
    """Parse and check the flags of a command, then import jax, so that --help and mistakes take no time for libraries.

    module: that of its `main`, which may import jax, or whose package may. Ends the process after --help and after a mistake.
    """
    end_on_ctrl_c()
    name_program(module)
    if _named(module) not in WITHOUT_JAX:
        parse_flags(module)
        import_jax()


def parse_flags(module: str) -> bool:
    """Parse and check the flags of a command, as its module in `flags` does, once in a process. Return False for a script."""
    command = _commands.get(_named(module), "")
    if command:
        importlib.import_module(f"biggan_jax.flags.{command.removeprefix('biggan-')}").parse()
    return bool(command)


def warn_of_old_name(old: str, new: str) -> None:
    """Print that a module has another name. old: the module. new: the command."""
    version = sys.modules["biggan_jax"].__version__
    print(f"{new}: this is version {version}; version 0.3.0 drops the old name python -m {old}", file=sys.stderr)


def import_jax() -> None:
    """Import jax. If one of its environment variables has a value that it does not take, print that and end with status 2."""
    try:
        importlib.import_module("jax")
    except ValueError as error:
        settings = {name: value for name, value in os.environ.items() if name.startswith("JAX_")}
        wrong = [
            f"{name}={value}" for name, value in settings.items() if name in str(error) or name.lower() in str(error)
        ]
        if not wrong:
            raise
        name = os.path.basename(sys.argv[0])
        print(f"{name}: error: {wrong[0]} is not a value that jax takes: {error}", file=sys.stderr)
        raise SystemExit(UNUSABLE) from None


def _end(*_) -> NoReturn:
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)


def _named(module: str) -> str:
    """Return the name by which `python -m` starts a module."""
    if module == "__main__":  # Started by `python -m`.
        module = getattr(sys.modules[module].__spec__, "name", "")
    return module.removesuffix(".__main__")


def _command(name: str, module: str) -> Callable[[], None]:
    _commands[module.removesuffix(".__main__")] = name

    def run() -> None:
        begin(module)
        importlib.import_module(module).run()

    return run


# The installed commands; see setup.cfg.
train = _command("biggan-train", "biggan_jax.main")
sample = _command("biggan-sample", "biggan_jax.sample")
translate = _command("biggan-translate", "biggan_jax.translate")
evaluate = _command("biggan-evaluate", "biggan_jax.evaluate")
demo = _command("biggan-demo", "biggan_jax.demo")
prepare = _command("biggan-prepare", "biggan_jax.data.prepare")
sheets = _command("biggan-sheets", "biggan_jax.tools.grids.__main__")
edit = _command("biggan-edit", "biggan_jax.tools.edit.__main__")
dream = _command("biggan-dream", "biggan_jax.tools.dream.__main__")
export = _command("biggan-export", "biggan_jax.tools.export.__main__")
explore = _command("biggan-explore", "biggan_jax.tools.app.__main__")
report = _command("biggan-report", "biggan_jax.tools.report.__main__")
stability = _command("biggan-stability", "biggan_jax.stability.__main__")
plan = _command("biggan-plan", "biggan_jax.plan.__main__")
convert = _command("biggan-convert", "biggan_jax.convert.__main__")
checkpoint = _command("biggan-checkpoint", "biggan_jax.checkpoint.__main__")
config = _command("biggan-config", "biggan_jax.config.__main__")
validate = _command("biggan-validate", "biggan_jax.data.validate")
