"""Say in one sentence why there are no devices, or why XLA does not start."""

import importlib.util
import os
import re
import select
import signal
import traceback
import warnings

import jax

from biggan_jax.errors import UserError

EXTRAS = {"cuda": ("cuda", "jax_cuda12_plugin"), "gpu": ("cuda", "jax_cuda12_plugin"), "tpu": ("tpu", "libtpu")}
"""Platform to the extra of this package that supports it, and the module that the extra installs."""

SECONDS = 20  # After which the trial of XLA_FLAGS is given up.


def user_error(error: Exception) -> UserError | None:
    """Return the sentence on devices that JAX cannot find or use; None for another error."""
    text = str(error)
    # For a platform whose package is missing, some versions of JAX only fail an assertion.
    asserted = (
        isinstance(error, AssertionError) and "xla_bridge" in traceback.extract_tb(error.__traceback__)[-1].filename
    )
    if not asserted and not (isinstance(error, RuntimeError) and text.startswith("Unable to initialize backend")):
        return None
    named, failed = (
        _platforms(),
        re.search(r"backend '(\w+)': (.*?)( \(set JAX_PLATFORMS|$)", text, re.S),
    )
    platform = named.split(",")[0] or (failed[1] if failed else "default")
    asked = f"JAX_PLATFORMS={named}: " if named else ""
    if platform not in (*EXTRAS, "cpu", "rocm", "default"):
        return UserError(f"{asked}{platform} is not a platform of jax; known are cpu, cuda and tpu")
    extra, module = EXTRAS.get(platform, ("", ""))
    if extra and importlib.util.find_spec(module) is None:
        how = f"pip install 'biggan-jax[{extra}]', or unset JAX_PLATFORMS to use the devices that there are"
        return UserError(f"{asked}this jax has no support for {platform}; {how}")
    why = f": {' '.join(failed[2].split())}" if failed else ""
    return UserError(
        f"{asked}no {platform} device can be used{why}; unset JAX_PLATFORMS to use the devices that there are"
    )


def _platforms() -> str:
    return jax.config.jax_platforms or ""  # type: ignore[attr-defined]  # Set from JAX_PLATFORMS.


def check_xla_flags() -> None:
    """Raise UserError, which names them, for flags in XLA_FLAGS that this version does not know.

    XLA would abort the process, with its list of a thousand flags. So a fork of this process reads the flags first.
    """
    if not os.environ.get("XLA_FLAGS") or not hasattr(os, "fork"):
        return
    complaint = _complaint()
    if unknown := re.search(r"Unknown flags? in XLA_FLAGS: (.*)", complaint):
        hint = "remove it; flags of the TPU's compiler belong in LIBTPU_INIT_ARGS"
        raise UserError(f"XLA_FLAGS: {unknown[1].strip()} is unknown to jax {jax.__version__}; {hint}")
    if wrong := re.search(r"(Couldn't interpret value .*)|(Could not open file .*?) to read flags", complaint):
        raise UserError(f"XLA_FLAGS={os.environ['XLA_FLAGS']}: {(wrong[1] or wrong[2]).strip(' .')}; give --NAME=VALUE")


def _complaint() -> str:
    """Return what XLA writes to stderr as it reads XLA_FLAGS in a fork."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX warns of forks; this one ends before it computes anything.
        child = os.fork()
    if child == 0:
        os.dup2(writing, 2)
        try:
            from jaxlib import xla_client

            _ = xla_client.CompileOptions().executable_build_options.debug_options
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, errors="replace") as stream:
        text = stream.read() if select.select([stream], [], [], SECONDS)[0] else ""
        if not text:
            os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return text
