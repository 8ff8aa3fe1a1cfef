"""Run the package's commands as processes, forked from a process that has imported the libraries.

A command started by `python -m` spends two seconds of CPU on imports; a fork has them already. Otherwise it is such a
process, with its own flags, environment, working folder, standard streams, signals, threads and exit status.
"""

import atexit
import gc
import multiprocessing
import os
import pathlib
import re
import runpy
import subprocess
import sys
from concurrent import futures
from unittest import mock

ROOT = pathlib.Path(__file__).parent.parent
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload([__name__, "biggan_jax.train", "biggan_jax.evaluation.evaluator"])


class Process:
    """A running command, with the part of subprocess.Popen that tests use. `stdout` and `stderr` are text streams.

    module: of biggan_jax, or the path of a script.
    """

    def __init__(self, module, *arguments, new_session=False, **environment):
        out, stdout = _SERVER.Pipe(duplex=False)
        err, stderr = _SERVER.Pipe(duplex=False)
        target = _name(module), [*map(str, arguments)], dict(os.environ) | environment, os.getcwd()
        self._process = _SERVER.Process(target=_run, args=(*target, stdout, stderr, new_session))
        # The server finds the package where pytest has found it.
        with mock.patch.dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])):
            self._process.start()
        self.pid = self._process.pid
        stdout.close(), stderr.close()
        self.stdout, self.stderr = (os.fdopen(os.dup(stream.fileno()), encoding="utf-8") for stream in (out, err))

    @property
    def returncode(self):
        """The exit status, minus the number of the signal that killed it, or None while it runs."""
        return self._process.exitcode

    def poll(self):
        return self._process.exitcode

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout)
        return self._process.exitcode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        self._process.kill()

    def communicate(self, timeout=None):
        """(stdout, stderr) of the command, to its end."""
        with futures.ThreadPoolExecutor(2) as readers:
            texts = [readers.submit(stream.read) for stream in (self.stdout, self.stderr)]
            if futures.wait(texts, timeout).not_done:
                self.kill()
                raise subprocess.TimeoutExpired(self._process.name, timeout)
        self.wait(timeout)
        return tuple(text.result() for text in texts)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.wait()
        self.stdout.close(), self.stderr.close()


def run(module, *arguments, limit=300, **environment):
    """Run `python -m biggan_jax.MODULE ARGUMENTS`, or a script; return its returncode, stdout and stderr."""
    # JAX reads these on import, so a fork has the server's.
    if any(name.startswith("JAX_") and environment[name] != os.environ.get(name) for name in environment):
        return run_alone(module, *arguments, limit=limit, **environment)
    with Process(module, *arguments, **environment) as process:
        stdout, stderr = process.communicate(limit)
    return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)


def run_alone(module, *arguments, limit=300, **environment):
    """Like `run`, in an interpreter of its own, as a user does: slow, for tests of imports and of JAX's settings."""
    name = _name(module)
    command = [sys.executable, *([name] if name.endswith(".py") else ["-m", name]), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=limit, env=os.environ | environment)


def devices(count):
    """The environment of a command with that number of devices; 0: as many as it makes itself."""
    flag = "--xla_force_host_platform_device_count="
    others = re.sub(rf"{flag}\d+", "", os.environ["XLA_FLAGS"])
    return {"XLA_FLAGS": f"{others} {flag}{count}" if count else others}


def refused(result, sentence):
    """Assert that the command reported a user error: status 2, and one line that contains the sentence."""
    assert result.returncode == 2, result.stderr
    errors = [line for line in result.stderr.splitlines() if "error:" in line]
    assert len(errors) == 1 and sentence in errors[0], result.stderr
    assert "Traceback" not in result.stderr


def _name(module):
    return str(module) if str(module).endswith(".py") else f"biggan_jax.{module}"


def _run(module, arguments, environment, folder, stdout, stderr, new_session):
    """Run the command in the fork."""
    gc.freeze()  # What the server imported is not garbage; passes over it take time and copy its pages.
    if new_session:
        os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(stdout.fileno(), 1)
    os.dup2(stderr.fileno(), 2)
    stdout.close(), stderr.close()
    sys.argv = [module, *arguments]
    try:
        if module.endswith(".py"):
            sys.path.insert(0, os.path.dirname(module))
            runpy.run_path(module, run_name="__main__")
        else:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()
