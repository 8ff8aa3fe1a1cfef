"""Start a command: until its work begins, Ctrl-C ends it at once with one sentence and status 130.

While libraries are imported, a KeyboardInterrupt would print a long traceback, or would be dropped by a callback of jax's
garbage collector. So this module comes before them, and imports only what every Python process has.
"""

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

INTERRUPTED = 128 + signal.SIGINT
"""The exit status of a command that Ctrl-C ended."""


UNUSABLE = 2
"""The exit status of a command whose environment is of no use."""


def end_on_ctrl_c() -> None:
    """Let Ctrl-C end this process at once, unless the process ignores or handles it in its own way."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def raise_on_ctrl_c() -> None:
    """Undo `end_on_ctrl_c`: Ctrl-C raises KeyboardInterrupt, so that unfinished files are removed."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def runs_as_module() -> bool:
    """Whether this process is `python -m biggan_jax...`. Ask while the package is imported: later, argv holds the module's path."""
    if sys.argv[:1] != ["-m"]:
        return False
    module = sys.orig_argv[-len(sys.argv)].removeprefix("-m")
    return module.partition(".")[0] == "biggan_jax"


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
        print(f"error: {wrong[0]} is not a value that jax takes: {error}", file=sys.stderr)
        raise SystemExit(UNUSABLE) from None


def _end(*_) -> NoReturn:
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)


def _command(module: str) -> Callable[[], None]:
    def run() -> None:
        end_on_ctrl_c()
        import_jax()
        importlib.import_module(module).run()

    return run


# The installed commands; see setup.cfg.
train = _command("biggan_jax.main")
sample = _command("biggan_jax.sample")
evaluate = _command("biggan_jax.evaluate")
demo = _command("biggan_jax.demo")
prepare = _command("biggan_jax.data.prepare")
sheets = _command("biggan_jax.tools.grids.__main__")
edit = _command("biggan_jax.tools.edit.__main__")
export = _command("biggan_jax.tools.export.__main__")
explore = _command("biggan_jax.tools.app.__main__")
stability = _command("biggan_jax.stability.__main__")
plan = _command("biggan_jax.plan.__main__")
convert = _command("biggan_jax.convert.__main__")
checkpoint = _command("biggan_jax.checkpoint.__main__")
config = _command("biggan_jax.config.__main__")
validate = _command("biggan_jax.data.validate")
