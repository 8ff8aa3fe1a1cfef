"""The command that opens a page on a checkpoint: `python -m biggan_jax.tools.app --checkpoint=DIR [--port=N] [--open]`.

The page is served on this machine alone. From another one: `ssh -L 8000:localhost:8000 HOST`, then the same address.
"""

import importlib.util
import logging
import socket
import time
import webbrowser
from typing import Any

from absl import flags
from etils import epath

from biggan_jax.checkpoint import TrainedGenerator
from biggan_jax.runtime import cli
from biggan_jax.sampling import flags as sampling_flags
from biggan_jax.tools.app import studio as studios
from biggan_jax.tools.app.moments import LIMITS
from biggan_jax.tools.app.studio import Studio
from biggan_jax.tools.app.views import MOST, MOST_MIXED
from biggan_jax.tools.edit.classes import names_of
from biggan_jax.types import UserError

logger = logging.getLogger("biggan_jax.tools.app")

HOST = "127.0.0.1"
PORT = flags.DEFINE_integer("port", 8000, "Where the page is served; 0: any that is free.", 0, 65535)
OPEN = flags.DEFINE_bool("open", False, "Open the page in this machine's browser.")
NAMES = flags.DEFINE_string(
    "class_names", None, "A text file with a class's name a line. Default: as the data say that it was trained on."
)
flags.set_default(sampling_flags.PASSES, 4)


def main() -> None:
    if not sampling_flags.CHECKPOINT.value:
        raise UserError("--checkpoint is needed, such as --checkpoint=runs/demo")
    if not all(importlib.util.find_spec(package) for package in ("starlette", "uvicorn")):
        raise UserError(
            "the page is served by starlette and uvicorn, which are not installed: pip install 'biggan-jax[explore]'"
        )
    bound = bind(PORT.value)  # First, since what follows takes a while.
    began = time.monotonic()
    trained = sampling_flags.load()
    names = class_names(trained)
    kind = sampling_flags.truncation_of(trained, threshold=1.0).kind
    check_truncation(sampling_flags.TRUNCATION.value, kind, trained.gan.prior)
    studio = studios.ready(trained, kind, sampling_flags.STATISTICS.value, sampling_flags.PASSES.value)
    about = describe(trained, studio, names)
    logger.info("ready after %.0f s", time.monotonic() - began)
    serve(bound, studio, about)


def bind(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
    except OSError as error:
        bound.close()
        raise UserError(
            f"--port={port} cannot be had ({error.strerror}); give another, or 0 for any that is free"
        ) from error
    return bound


def check_truncation(threshold: float | None, kind: str, prior: str) -> None:
    if threshold is not None and prior != "normal":
        raise UserError(f"--truncation is defined for model.prior normal; this model's is {prior}")
    if threshold is not None and threshold > LIMITS[kind]:
        raise UserError(
            f"--truncation={threshold:g}: the page reaches up to {LIMITS[kind]:g} for truncation of kind {kind}"
        )


def class_names(trained: TrainedGenerator) -> list[str]:
    """By id; empty where nobody says."""
    count = trained.gan.num_classes
    if NAMES.value:
        try:
            names = [line.strip() for line in epath.Path(NAMES.value).read_text().splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--class_names={NAMES.value} cannot be read: {error}") from error
        if len(names) != count:
            raise UserError(f"--class_names={NAMES.value} names {len(names)} classes, and this model has {count}")
        return names
    try:
        names = names_of(trained.config) if count else ()
    except UserError as error:
        logger.info("classes go by their ids: %s", error)
        return []
    return list(names) if len(names) == count else []


def describe(trained: TrainedGenerator, studio: Studio, names: list[str]) -> dict[str, Any]:
    """What the page says of the model, and what it may ask for."""
    return {
        "name": trained.path.parent.parent.name or "checkpoint",
        "step": trained.step,
        "resolution": trained.config.model.resolution,
        "family": trained.config.model.family,
        "weights": "live" if trained.live else "averaged",
        "num_classes": trained.gan.num_classes,
        "class_names": names,
        "kind": studio.kind,
        "limit": studio.limit,
        "truncation": sampling_flags.TRUNCATION.value,
        "seed": sampling_flags.SEED.value,
        "statistics": studio.moments.said,
        "most": MOST,
        "most_mixed": MOST_MIXED,
    }


def serve(bound: socket.socket, studio: Studio, about: dict[str, Any]) -> None:
    """Until Ctrl-C, which uvicorn hands on as it found it."""
    import uvicorn

    from biggan_jax.tools.app.app import make_app

    app = make_app(studio, about)
    url = f"http://{HOST}:{bound.getsockname()[1]}/"
    bound.listen()
    print(f"the page is at {url} (Ctrl-C ends it)", flush=True)
    if OPEN.value:
        webbrowser.open(url)
    config = uvicorn.Config(
        app, lifespan="off", log_level="warning", access_log=False, timeout_graceful_shutdown=1, limit_concurrency=64
    )
    uvicorn.Server(config).run(sockets=[bound])


def run() -> None:
    cli.run(main)


if __name__ == "__main__":
    run()
