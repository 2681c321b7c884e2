"""The server of the viewer. It listens on 127.0.0.1 alone, and all of its addresses start with a secret token.

Other programs on this machine, and pages of other sites in the same browser, can reach the port as well. They do not
know the token. A page whose name was made to lead to 127.0.0.1 (DNS rebinding) sends that name as ``Host``, which is
refused, and so is a question to the decoder from a page of any other origin.
"""

import asyncio
import hmac
import secrets
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from acdc_medsam.acdc.labels import COLORS, LABELS, STRUCTURE_NAMES
from acdc_medsam.encoders.decoder import PROMPT_SIZE
from acdc_medsam.errors import AcdcError, DatasetError, describe_os_error
from acdc_medsam.formats.png import Gray
from acdc_medsam.project import PROJECT
from acdc_medsam.view.dataset import ViewedDataset
from acdc_medsam.view.decoding import UNKNOWN, Decoder, Prompt, answer, parse_prompt

ADDRESS = "127.0.0.1"
NAMES = (ADDRESS, "localhost")
"""Names of this machine that a request may ask for."""

MAX_BODY = 2**14
"""Largest body of a request in bytes. The longest prompt takes a quarter of this."""

PAGE = PROJECT / "workflow/view"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
FILES = {
    "": PAGE / "page.html",
    "style.css": PROJECT / "workflow/report/page/style.css",
    **{name: PAGE / name for name in ("page.css", "fetching.js", "page.js", "picture.js", "pointer.js")},
}
"""Name in the address -> file. The style is that of the report."""

HEADERS = {
    # The page loads nothing from elsewhere, sends nothing elsewhere, and is shown in no frame.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    # The address, with its token, must not reach other sites; and a browser must not keep images of patients.
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Headers of every response."""


@dataclass(frozen=True)
class Viewer:
    """What the server shows.

    Attributes:
        dataset: The dataset.
        decoder: The decoder that answers prompts, or the reason why there is none.
    """

    dataset: ViewedDataset
    decoder: Decoder | str

    def describe(self) -> dict[str, Any]:
        """Describe the dataset and the decoder, once for a page."""
        decoder = self.decoder
        return {
            "volumes": self.dataset.volumes(),
            "structures": [
                {"key": key, "value": value, "name": STRUCTURE_NAMES[key], "color": COLORS[key]}
                for key, value in LABELS.items()
            ],
            "unknown": UNKNOWN,
            "promptSize": PROMPT_SIZE,
            "decoder": None if isinstance(decoder, str) else {"name": decoder.name, "fineTuned": decoder.fine_tuned},
            "reason": decoder if isinstance(decoder, str) else None,
        }

    def answer(self, name: str, prompt: Prompt) -> dict[str, Any]:
        """Ask the decoder about a slice.

        Raises:
            DatasetError: There is no decoder, or a file of the slice is missing or damaged.
        """
        if isinstance(self.decoder, str):
            raise DatasetError(self.decoder)
        found = answer(self.decoder, self.dataset.embedding(name), self.dataset.label(name), prompt)
        return {"mask": run_lengths(found.label), "dice": found.dice}


def run_lengths(label: Gray) -> dict[str, Any]:
    """Describe labels (S, S) by their ``size`` S, and by the ``lengths`` and ``values`` of their runs, row by row."""
    pixels = label.ravel()
    starts = np.concatenate([[0], np.flatnonzero(np.diff(pixels)) + 1])
    lengths = np.diff(starts, append=len(pixels))
    return {"size": len(label), "lengths": lengths.tolist(), "values": pixels[starts].tolist()}


def make_app(viewer: Viewer, token: str) -> web.Application:
    """Make the application that answers requests.

    Args:
        viewer: What it shows.
        token: The first part of every path.
    """
    app = web.Application(middlewares=[_make_guard(token), explain], client_max_size=MAX_BODY)
    app.on_response_prepare.append(_add_headers)
    slices = "/{token}/slices/{name}"
    dataset = viewer.dataset
    # PyTorch keeps threads of its own for each thread that calls it, so one calls it for all requests.
    decoding = ThreadPoolExecutor(1)

    async def describe(request: web.Request) -> web.Response:
        return web.json_response(viewer.describe())

    async def ask(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        try:
            prompt = parse_prompt(await request.read())
        except ValueError as error:
            return _refuse(400, str(error))
        loop = asyncio.get_running_loop()
        return web.json_response(await loop.run_in_executor(decoding, viewer.answer, name, prompt))

    app.router.add_get("/{token}/dataset", describe)
    app.router.add_get(f"{slices}/image", _of_slice(viewer, dataset.image))
    app.router.add_get(f"{slices}/embedding", _of_slice(viewer, dataset.embedding_picture))
    app.router.add_get(f"{slices}/mask", _of_slice(viewer, lambda name: run_lengths(dataset.label(name))))
    app.router.add_post(f"{slices}/answer", _only_slices(viewer, ask))
    for name, path in FILES.items():
        app.router.add_get(f"/{{token}}/{name}", _of_file(path))
    return app


def _of_slice(viewer: Viewer, read: Callable[[str], bytes | Mapping[str, Any]]) -> Handler:
    """Make a handler that returns what ``read`` returns for a slice: a PNG file, or values."""

    async def handle(request: web.Request) -> web.Response:
        content = await asyncio.to_thread(read, request.match_info["name"])
        if isinstance(content, bytes):
            return web.Response(body=content, content_type="image/png")
        return web.json_response(content)

    return _only_slices(viewer, handle)


def _only_slices(viewer: Viewer, handler: Handler) -> Handler:
    """Make a handler that refuses names which are none of the dataset's slices."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.match_info["name"] not in viewer.dataset.rows:
            return _refuse(404, "the dataset has no slice of this name")
        return await handler(request)

    return handle


def _of_file(path: Path) -> Handler:
    """Make a handler that returns a file of the page."""

    async def handle(request: web.Request) -> web.Response:
        return web.Response(body=path.read_bytes(), content_type=TYPES[path.suffix], charset="utf-8")

    return handle


def _make_guard(token: str) -> Middleware:
    """Make the middleware that refuses requests which the page of the viewer would not make."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        assert request.transport is not None  # noqa: S101 - there is one until the response is sent
        port = request.transport.get_extra_info("sockname")[1]
        hosts = request.headers.getall("Host", [])
        if len(hosts) != 1 or hosts[0] not in {f"{name}:{port}" for name in NAMES}:
            return _refuse(403, "this is the viewer of another machine")

        given = request.path.lstrip("/").partition("/")[0]
        if not hmac.compare_digest(given.encode(errors="replace"), token.encode()):
            return _refuse(403, "the address is not the one that the viewer has printed")
        if request.method == "POST" and request.headers.get("Origin") != f"http://{hosts[0]}":
            return _refuse(403, "only the page of the viewer may ask its decoder")
        return await handler(request)

    return guard


@web.middleware
async def explain(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Return errors in words, for the page to show; the server goes on."""
    try:
        return await handler(request)
    except AcdcError as error:
        return _refuse(500, str(error))
    except OSError as error:
        return _refuse(500, describe_os_error(error))


def _refuse(status: int, reason: str) -> web.Response:
    return web.json_response({"error": reason}, status=status)


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


def listen() -> tuple[socket.socket, str, str]:
    """Choose a port and a token.

    Returns:
        The socket, which listens already; the token; and the address of the page.
    """
    listener = socket.create_server((ADDRESS, 0))
    token = secrets.token_urlsafe(32)
    return listener, token, f"http://{ADDRESS}:{listener.getsockname()[1]}/{token}/"


def serve(viewer: Viewer, listener: socket.socket, token: str) -> None:
    """Serve the page until Ctrl-C or SIGTERM."""
    # There is no log of requests, because their paths have the token.
    web.run_app(make_app(viewer, token), sock=listener, print=None, access_log=None, shutdown_timeout=1)
