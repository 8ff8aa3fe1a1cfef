"""Owns the notices by which Google's cloud says that this machine is about to be stopped. Must not know what is stopped.

The metadata server, which only Compute Engine and Cloud TPU machines have, knows of a Spot machine's end 30 s before, of
maintenance 60 s before (of one with GPUs, 60 min). SIGTERM follows late, or, to what no service manager started, never.
On GKE the server may hide these values; pods get SIGTERM there.
"""

import contextlib
import http.client
import logging
import os
import pathlib
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

logger = logging.getLogger(__name__)

ANSWER_WITHIN = 60
"""Seconds after which the server answers although nothing has changed."""

PAUSE, PAUSE_AFTER_ERROR = 1.0, 10.0
"""Seconds between questions, lest a server that does not wait for changes be asked without end."""

_PRODUCT = pathlib.Path("/sys/class/dmi/id/product_name")
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # The server is the machine's own: no proxy.


@contextlib.contextmanager
def watched(notice: Callable[[str], None]) -> Iterator[None]:
    """While entered, calls `notice`, from a thread, with the words of each notice. Does nothing elsewhere than at Google's."""
    over = threading.Event()
    if server := _server():
        for key in ("preempted", "maintenance-event"):
            threading.Thread(target=_watch, args=(server, key, notice, over), daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _server() -> str | None:
    """GCE_METADATA_HOST overrides, as in Google's own libraries."""
    if host := os.environ.get("GCE_METADATA_HOST"):
        return host
    with contextlib.suppress(OSError):
        if _PRODUCT.read_text().startswith("Google"):
            return "metadata.google.internal"
    return None


def _watch(server: str, key: str, notice: Callable[[str], None], over: threading.Event) -> None:
    etag = last = None
    while not over.wait(0 if etag is None else PAUSE):
        try:
            value, etag = _ask(server, key, etag)
        except urllib.error.HTTPError as error:
            if error.code == http.HTTPStatus.NOT_FOUND:
                return
            over.wait(PAUSE_AFTER_ERROR)
            continue
        except (OSError, http.client.HTTPException):
            over.wait(PAUSE_AFTER_ERROR)
            continue
        if over.is_set() or value == last:
            continue
        if key == "preempted" and value == "TRUE":
            notice("notice of preemption")
        elif key == "maintenance-event" and value.startswith("TERMINATE"):
            if last is None:
                # It made the run before this one stop; one that is started all the same would stop without end.
                logger.info("this machine will be stopped for maintenance; training goes on until it is")
            else:
                notice("notice of maintenance")
        last = value


def _ask(server: str, key: str, etag: str | None) -> tuple[str, str]:
    """(value, its tag): at once without `etag`, else when the value is no longer that one's, or after ANSWER_WITHIN."""
    waiting = f"?wait_for_change=true&timeout_sec={ANSWER_WITHIN}&last_etag={etag}" if etag else ""
    request = urllib.request.Request(
        f"http://{server}/computeMetadata/v1/instance/{key}{waiting}", headers={"Metadata-Flavor": "Google"}
    )
    with _DIRECT.open(request, timeout=ANSWER_WITHIN + 10) as answer:
        if answer.headers.get("Metadata-Flavor") != "Google":
            raise OSError(f"{server} is no metadata server")
        return answer.read().decode().strip(), answer.headers.get("ETag") or "0"
