"""HTTP API of the page: images as they are drawn, downloads, and error messages.

Only requests to localhost are accepted, so that no other site's host name can be pointed here (DNS rebinding).
"""

import asyncio
import base64
import io
import json
import pathlib
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from biggan_jax.sampling import pictures
from biggan_jax.sampling.latent_files import sample_arrays
from biggan_jax.tools.app.studio import Studio
from biggan_jax.tools.app.views import View, parse
from biggan_jax.types import UserError

STATIC = pathlib.Path(__file__).parent / "static"
HOSTS = ["127.0.0.1", "localhost"]
HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


def make_app(studio: Studio, about: dict[str, Any]) -> Starlette:
    """Make the app. about: the response of /api/model. One batch is drawn at a time, for all requests together."""
    drawing = asyncio.Lock()

    def view_of(request: Request) -> View:
        return parse(request.query_params, studio.gan.num_classes, studio.limit)

    async def stream(request: Request, view: View) -> AsyncIterator[str]:
        began = time.perf_counter()
        batches, count = studio.draw(view), 0
        while count < view.num:
            async with drawing:
                if await request.is_disconnected():  # The page has asked for a newer view.
                    return
                images = await run_in_threadpool(next, batches)
            count += len(images)
            yield "".join(json.dumps({"png": _base64(image)}) + "\n" for image in images)
        yield json.dumps({"seconds": round(time.perf_counter() - began, 3)}) + "\n"

    async def whole(view: View) -> np.ndarray:
        batches = studio.draw(view)
        parts: list[np.ndarray] = []
        while sum(len(part) for part in parts) < view.num:
            async with drawing:  # Released between batches, so that other requests get their turn.
                parts.append(await run_in_threadpool(next, batches))
        return np.concatenate(parts)

    async def model(request: Request) -> Response:
        return JSONResponse(about)

    async def images(request: Request) -> Response:
        return StreamingResponse(stream(request, view_of(request)), media_type="application/x-ndjson")

    async def grid(request: Request) -> Response:
        view = view_of(request)
        images = await whole(view)
        columns = min(view.num, 8) if view.goal else int(np.ceil(np.sqrt(view.num)))
        return _file(pictures.png(pictures.enlarged(pictures.grid(images, columns))), "image/png", about, view, "png")

    async def arrays(request: Request) -> Response:
        view = view_of(request)
        z, y = await run_in_threadpool(studio.latents, view)
        arrays = sample_arrays(studio.sampler(view.truncation), await whole(view), z, _labels(y))
        file = io.BytesIO()
        np.savez(file, **arrays)  # type: ignore[arg-type]  # Its stub has allow_pickle among the arrays.
        return _file(file.getvalue(), "application/x-npz", about, view, "npz")

    routes = [
        Route("/", lambda request: FileResponse(STATIC / "index.html")),
        Route("/api/model", model),
        Route("/api/images", images),
        Route("/api/grid.png", grid),
        Route("/api/images.npz", arrays),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False),
            Middleware(_WithHeaders),
        ],
        exception_handlers={UserError: _refuse, HTTPException: _refuse},
    )


def _refuse(request: Request, error: Exception) -> Response:
    status, headers = getattr(error, "status_code", 400), getattr(error, "headers", None)
    return JSONResponse({"error": getattr(error, "detail", str(error))}, status, headers)


def _file(content: bytes, kind: str, about: dict[str, Any], view: View, suffix: str) -> Response:
    name = f"step{about['step']}-seed{view.start.seed}x{view.num}.{suffix}"
    return Response(content, media_type=kind, headers={"content-disposition": f'attachment; filename="{name}"'})


def _labels(y: np.ndarray) -> np.ndarray:
    """Convert weights over classes to labels, int32 [N], if each row is of one class."""
    pure = y.ndim == 1 or (y.max(axis=1) == 1).all()
    return y.argmax(axis=1).astype(np.int32) if pure and y.ndim == 2 else y


def _base64(image: np.ndarray) -> str:
    return base64.b64encode(pictures.png(image)).decode()


class _WithHeaders:
    """Add HEADERS to every response: the page loads nothing from other sites, and cannot be framed."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in HEADERS.items())]
            await send(message)

        await self._app(scope, receive, send_with if scope["type"] == "http" else send)
