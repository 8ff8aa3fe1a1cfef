"""Requests of other sites, requests that are given up, and connections that send nothing."""

import asyncio
import types

import httpx2
import numpy as np
import pytest

pytest.importorskip("starlette")
from starlette.testclient import TestClient
from uvicorn import Config
from uvicorn.server import ServerState

from biggan_jax.tools.app.app import make_app
from biggan_jax.tools.app.protocol import Protocol

HOST = "http://127.0.0.1:8000"


@pytest.fixture
def studio():
    """A studio of constant images, which counts the batches that it draws."""
    made = types.SimpleNamespace(gan=types.SimpleNamespace(num_classes=0), limit=None, kind="scale", drawn=0)

    def draw(view):
        for _ in range(0, view.num, 2):
            made.drawn += 1
            yield np.zeros((2, 4, 4, 3), np.uint8)

    made.draw = draw
    return made


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://127.0.0.1:9000"},
        {"origin": "null"},
    ],
    ids=str,
)
def test_requests_of_other_sites_are_refused_before_drawing(studio, headers):
    client = TestClient(make_app(studio, {"step": 0}), base_url=HOST)
    for path in ("model", "images?num=2", "grid.png?num=2", "images.npz?num=2"):
        assert client.get(f"/api/{path}", headers=headers).status_code == 403
    assert studio.drawn == 0
    assert client.get("/", headers=headers).status_code == 200, "a link to the page"
    own = {"sec-fetch-site": "same-origin", "origin": HOST}
    assert client.get("/api/grid.png?num=2", headers=own).status_code == 200 and studio.drawn == 1


@pytest.mark.parametrize("path", ["/api/grid.png", "/api/images.npz", "/api/images"])
def test_a_request_that_is_given_up_is_not_drawn_to_its_end(studio, path):
    app, sent = make_app(studio, {"step": 0}), []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    headers = [(b"host", b"127.0.0.1")]
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"num=32", "headers": headers}
    asyncio.run(app(scope | {"http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 80)}, receive, send))
    assert studio.drawn == 0


def test_fifty_requests_at_once_are_all_answered(studio):
    app = make_app(studio, {"step": 0})

    async def ask():
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url=HOST) as client:
            return await asyncio.gather(*(client.get("/api/grid.png?num=8") for _ in range(50)))

    assert {answer.status_code for answer in asyncio.run(ask())} == {200} and studio.drawn == 200


class Transport(asyncio.Transport):
    """Records what is written, and whether the connection was closed."""

    def __init__(self):
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.closed, self.written = False, b""

    def write(self, data):
        self.written += data

    def close(self):
        self.closed = True

    def is_closing(self):
        return self.closed


def connection(monkeypatch, app, data):
    """Return the transport of a connection that sent `data`, after its time."""
    monkeypatch.setattr(Protocol, "SECONDS", 0.02)

    async def serve():
        config = Config(app, lifespan="off", ws="none", http=Protocol)
        config.load()
        transport, protocol = Transport(), Protocol(config, ServerState(), {})
        protocol.connection_made(transport)
        for part in data:
            protocol.data_received(part)
            await asyncio.sleep(0.012)
        await asyncio.sleep(0.05)
        return transport

    return asyncio.run(serve())


SLOW = b"GET / HTTP/1.1\r\n", b"host: 127.0.0.1\r\n", b"a: b\r\n", b"c: d\r\n"


@pytest.mark.parametrize("data", [(), (b"GET / HT",), SLOW], ids=["nothing", "half a line", "slow headers"])
def test_a_connection_without_a_request_is_closed(monkeypatch, data):
    assert connection(monkeypatch, None, data).closed


def test_a_slow_answer_is_not_cut_off(monkeypatch):
    async def app(scope, receive, send):
        await asyncio.sleep(0.03)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    whole = b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    assert connection(monkeypatch, app, (whole,)).written.endswith(b"ok")
