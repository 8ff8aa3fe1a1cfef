"""Serve a local page that draws from a checkpoint: the work of biggan-explore."""

import logging
import socket
import time
import webbrowser
from typing import Any

from etils import epath

from biggan_jax.checkpoint import TrainedGenerator
from biggan_jax.flags.explore import NAMES, OPEN, PORT
from biggan_jax.latents import allowed
from biggan_jax.runtime import cli
from biggan_jax.runtime.text import escape
from biggan_jax.sampling import flags as sampling_flags
from biggan_jax.tools.app.studio import LIMITS, Studio
from biggan_jax.tools.app.views import MAX_IMAGES, MAX_MIXED
from biggan_jax.tools.classes import find_names
from biggan_jax.types import UserError

logger = logging.getLogger("biggan_jax.tools.app")

HOST = "127.0.0.1"


def main() -> None:
    try:
        import uvicorn

        from biggan_jax.tools.app.app import make_app
        from biggan_jax.tools.app.protocol import Protocol
    except ModuleNotFoundError as error:
        raise UserError(f"the page needs {error.name}, which is missing: pip install 'biggan-jax[explore]'") from None
    bound = bind(PORT.value)  # First, to fail before any slow work.
    began = time.monotonic()
    trained = sampling_flags.load()
    sampling_flags.check_shown(trained)
    names = class_names(trained)
    kind, threshold = sampling_flags.truncation_of(trained, threshold=1.0).kind, sampling_flags.TRUNCATION.value
    if threshold is not None and not allowed(threshold, kind):
        raise UserError(f"--truncation={threshold:g} of kind {kind} must be greater than 0")
    if threshold is not None and trained.gan.prior != "normal" and kind != "w":
        raise UserError(f"--truncation is defined for model.prior normal; this model's is {trained.gan.prior}")
    if threshold is not None and threshold > LIMITS[kind]:
        raise UserError(f"--truncation={threshold:g}: the largest of the page for kind {kind} is {LIMITS[kind]:g}")
    studio = Studio.from_checkpoint(trained, kind, sampling_flags.STATISTICS.value, sampling_flags.PASSES.value)
    about = {
        "name": trained.workdir.name or "checkpoint",
        "step": trained.step,
        "size": list(studio.gan.image_shape[:2]),
        "family": trained.config.model.family,
        "weights": "live" if trained.live else "averaged",
        "num_classes": trained.gan.num_classes,
        "class_names": names,
        "kind": studio.kind,
        "limit": studio.limit,
        "truncation": threshold,
        "seed": sampling_flags.SEED.value,
        "statistics": studio.batch_stats.description,
        "max_images": MAX_IMAGES,
        "max_mixed": MAX_MIXED,
    }
    logger.info("ready after %.0f s", time.monotonic() - began)
    url = f"http://{HOST}:{bound.getsockname()[1]}/"
    bound.listen()
    print(f"the page is at {url} (stop with Ctrl-C)", flush=True)
    if OPEN.value:
        webbrowser.open(url)
    limits: dict[str, Any] = {"timeout_graceful_shutdown": 1, "limit_concurrency": 64}
    limits |= {"lifespan": "off", "http": Protocol, "ws": "none"}
    config = uvicorn.Config(make_app(studio, about), log_level="warning", access_log=False, **limits)
    uvicorn.Server(config).run(sockets=[bound])  # Until Ctrl-C, which it raises again as KeyboardInterrupt.


def bind(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
    except OSError as error:
        hint = "give another, or 0 for any free one"
        raise UserError(f"--port={port} is not available ({error.strerror}); {hint}") from error
    return bound


def class_names(trained: TrainedGenerator) -> list[str]:
    """Return names by id, or [] if they are unknown."""
    if not NAMES.value:
        return list(find_names(trained))
    try:
        names = [escape(line.strip()) for line in epath.Path(NAMES.value).read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--class_names={NAMES.value} cannot be read: {error}") from error
    if len(names) != (count := trained.gan.num_classes):
        raise UserError(f"--class_names={NAMES.value} has {len(names)} names, but this model has {count} classes")
    return names


run = cli.command(main, compiles=True)

if __name__ == "__main__":
    run()
