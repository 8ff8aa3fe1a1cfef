"""Watch Google Cloud's metadata server for notices that this machine will be stopped.

The server of a Compute Engine or Cloud TPU machine announces a preemption 30 s ahead, and maintenance 60 s ahead (60 min on
machines with GPUs). SIGTERM comes later, or never to a process that no service manager started. On GKE the server may
hide these values; pods get SIGTERM there.
"""

import contextlib
import functools
import http.client
import logging
import os
import pathlib
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

logger = logging.getLogger(__name__)

RESPONSE_TIMEOUT = 60  # Seconds after which the server responds even if the value has not changed.
PAUSE, PAUSE_AFTER_ERROR = 1.0, 10.0  # Seconds between requests: a server that does not wait must not be flooded.
_PRODUCT_NAME = pathlib.Path("/sys/class/dmi/id/product_name")
_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # The server belongs to this machine.

Fetch = Callable[[str | None], tuple[str, str]]
"""Get a value and its etag: at once if the argument is None, otherwise as soon as the etag differs from it."""


@contextlib.contextmanager
def watch_notices(on_notice: Callable[[str], None]) -> Iterator[None]:
    """While entered on a Google machine, call `on_notice` with a description of each notice, from a thread."""
    ended = threading.Event()
    if server := _server():
        for key in ("preempted", "maintenance-event"):
            fetch = functools.partial(_fetch, server, key)
            threading.Thread(target=_watch, args=(key, fetch, on_notice, ended.wait), daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _server() -> str | None:
    """The metadata server's address. GCE_METADATA_HOST overrides it, as in Google's own libraries."""
    if host := os.environ.get("GCE_METADATA_HOST"):
        return host
    with contextlib.suppress(OSError):
        if _PRODUCT_NAME.read_text().startswith("Google"):
            return "metadata.google.internal"
    return None


def _watch(key: str, fetch: Fetch, on_notice: Callable[[str], None], pause: Callable[[float], bool]) -> None:
    """Watch one value of the metadata server until `pause`, which waits for some seconds, returns True."""
    etag = last = None
    while not pause(0 if etag is None else PAUSE):
        try:
            value, etag = fetch(etag)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code == http.HTTPStatus.NOT_FOUND:
                return
            pause(PAUSE_AFTER_ERROR)
            continue
        if value == last or pause(0):
            continue
        if key == "preempted" and value == "TRUE":
            on_notice("notice of preemption")
        elif key == "maintenance-event" and value.startswith("TERMINATE"):
            if last is None:
                # This notice already ended the run before this one: to end each rerun, too, would be an endless loop.
                logger.info("this machine will be stopped for maintenance; training continues until then")
            else:
                on_notice("notice of maintenance")
        last = value


def _fetch(server: str, key: str, etag: str | None) -> tuple[str, str]:
    query = f"?wait_for_change=true&timeout_sec={RESPONSE_TIMEOUT}&last_etag={etag}" if etag else ""
    url = f"http://{server}/computeMetadata/v1/instance/{key}{query}"
    request = urllib.request.Request(url, headers={"Metadata-Flavor": "Google"})
    with _NO_PROXY.open(request, timeout=RESPONSE_TIMEOUT + 10) as response:
        if response.headers.get("Metadata-Flavor") != "Google":
            raise OSError(f"{server} is not a metadata server")
        return response.read().decode().strip(), response.headers.get("ETag") or "0"
