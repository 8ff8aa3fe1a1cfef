"""HTTP API of the page: images as they are drawn, downloads, and error messages."""

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
from starlette.datastructures import Headers
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

CLOSED = 499  # The status of a request that the client has given up, as nginx has it; nobody reads it.
STATIC = pathlib.Path(__file__).parent / "static"
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
        return parse(request.query_params, studio.gan.num_classes, studio.limit, zero=studio.kind == "w")

    async def batches(view: View, request: Request | None = None) -> AsyncIterator[np.ndarray]:
        drawn, count = studio.draw(view), 0
        while count < view.num:
            async with drawing:  # Released between batches, so that other requests get their turn.
                if request and await request.is_disconnected():  # The page has asked for a newer view.
                    return
                images = await run_in_threadpool(next, drawn)
            count += len(images)
            yield images

    async def stream(request: Request, view: View) -> AsyncIterator[str]:
        began = time.perf_counter()
        async for images in batches(view, request):
            pngs = [base64.b64encode(pictures.png(image)).decode() for image in images]
            yield "".join(json.dumps({"png": png}) + "\n" for png in pngs)
        yield json.dumps({"seconds": round(time.perf_counter() - began, 3)}) + "\n"

    async def whole(view: View, request: Request) -> np.ndarray:
        drawn = [images async for images in batches(view, request)]
        if sum(map(len, drawn)) < view.num:
            raise HTTPException(CLOSED, "the request was given up")
        return np.concatenate(drawn)

    def file(content: bytes, kind: str, view: View, suffix: str) -> Response:
        name = f"step{about['step']}-seed{view.start.seed}x{view.num}.{suffix}"
        return Response(content, media_type=kind, headers={"content-disposition": f'attachment; filename="{name}"'})

    async def images(request: Request) -> Response:
        return StreamingResponse(stream(request, view_of(request)), media_type="application/x-ndjson")

    async def grid(request: Request) -> Response:
        view = view_of(request)
        images = await whole(view, request)
        columns = min(view.num, 8) if view.goal else int(np.ceil(np.sqrt(view.num)))
        return file(pictures.png(pictures.enlarged(pictures.grid(images, columns))), "image/png", view, "png")

    async def arrays(request: Request) -> Response:
        view = view_of(request)
        drawn = await whole(view, request)
        z, y = await run_in_threadpool(studio.latents, view)
        if y.ndim == 2 and (y.max(axis=1) == 1).all():  # Each row is of one class.
            y = y.argmax(axis=1).astype(np.int32)
        content = io.BytesIO()
        arrays = sample_arrays(studio.sampler(view.truncation), drawn, z, y)
        np.savez(content, **arrays)  # type: ignore[arg-type]  # Its stub has allow_pickle among the arrays.
        return file(content.getvalue(), "application/x-npz", view, "npz")

    routes = [
        Route("/", lambda request: FileResponse(STATIC / "index.html")),
        Route("/api/model", lambda request: JSONResponse(about)),
        Route("/api/images", images),
        Route("/api/grid.png", grid),
        Route("/api/images.npz", arrays),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    # Otherwise, other sites' host names could be pointed here (DNS rebinding).
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"], www_redirect=False)
    own = Middleware(_from_this_site)
    errors = {UserError: _refuse, HTTPException: _refuse}
    return Starlette(routes=routes, middleware=[hosts, own, Middleware(_with_headers)], exception_handlers=errors)


def _refuse(request: Request, error: Exception) -> Response:
    status, headers = getattr(error, "status_code", 400), getattr(error, "headers", None)
    return JSONResponse({"error": getattr(error, "detail", str(error))}, status, headers)


def _from_this_site(app: ASGIApp) -> ASGIApp:
    """Refuse what pages of other sites ask of /api, also of other ports: it would draw, and they could measure how long."""

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/api/"):
            headers = Headers(scope=scope)
            own = {f"{scheme}://{headers.get('host', '')}" for scheme in ("http", "https")}
            other_site = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
            if other_site or ("origin" in headers and headers["origin"] not in own):
                refused = JSONResponse({"error": "requests of other sites are refused; open the page itself"}, 403)
                return await refused(scope, receive, send)
        await app(scope, receive, send)

    return respond


def _with_headers(app: ASGIApp) -> ASGIApp:
    """Add HEADERS to every response: the page loads nothing from other sites, and cannot be framed."""

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in HEADERS.items())]
            await send(message)

        await app(scope, receive, send_with)

    return respond
