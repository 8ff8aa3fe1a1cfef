"""Keep compiled programs between processes: the first step of the same config then starts sooner."""

import hashlib
import logging
import os
import pathlib
import platform
from typing import Any

import jax

from biggan_jax.runtime.files import cache_folder

logger = logging.getLogger(__name__)


def enable() -> None:
    """Let JAX keep compiled programs in the user's cache folder, unless its own settings say otherwise. Say so the first time."""
    settings: Any = jax.config  # Its stub lacks the names.
    if settings.jax_compilation_cache_dir or not settings.jax_enable_compilation_cache:
        return
    folder = pathlib.Path(cache_folder(local=True)) / "compiled" / processor()
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError("it may not be written")
    except OSError as error:
        logger.info("compiled programs are not kept, since %s cannot be used: %s", folder, error)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    if new:
        how = "JAX_COMPILATION_CACHE_DIR=DIR chooses another folder, JAX_ENABLE_COMPILATION_CACHE=false turns this off"
        logger.info("compiled programs are kept in %s, for faster starts; %s", folder, how)


def processor() -> str:
    """Return a name for this kind of processor. Programs for the CPU use its instructions, which decide last digits."""
    flags = platform.machine()
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        flags += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        pass  # Not Linux.
    return f"{platform.machine()}-{hashlib.sha256(flags.encode()).hexdigest()[:8]}"
