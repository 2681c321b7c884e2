"""A viewer of a small dataset, served by a thread, with a decoder whose weights are random."""

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import torch
from aiohttp import web
from torch import nn

from acdc_medsam.encoders import positional_encoding
from acdc_medsam.encoders.sam import PromptedModel
from acdc_medsam.view.decoding import Decoder
from acdc_medsam.view.server import Viewer, listen, make_app


def random_decoder(fine_tuned: bool = False) -> Decoder:
    """Make a decoder with SAM's architecture and random weights, the same each time."""
    with torch.random.fork_rng():
        torch.manual_seed(2026)
        model = PromptedModel(nn.Identity(), 256).eval().requires_grad_(False)
    return Decoder("lite_medsam", model, positional_encoding(model), fine_tuned)


@dataclass(frozen=True)
class Served:
    """A viewer that answers requests.

    Attributes:
        viewer: What it shows.
        address: Address of its page, with the token.
    """

    viewer: Viewer
    address: str

    @property
    def host(self) -> str:
        """Host and port."""
        return urlsplit(self.address).netloc

    def request(
        self,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        method: str | None = None,
    ) -> tuple[int, Mapping[str, str], Any]:
        """Send a request, exactly as it is given.

        Args:
            path: Path below the token; or, if it starts with a slash, the whole path.
            body: Body of a question, as bytes or as what becomes JSON; None for a GET.
            headers: Headers; by default those that the page sends.
            method: The method, if it is neither GET nor POST.

        Returns:
            Status, headers and content, which is parsed if it is JSON.
        """
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        given = {"Origin": f"http://{self.host}"} if headers is None else headers
        connection = http.client.HTTPConnection(self.host, timeout=60)
        whole = path if path.startswith("/") else urlsplit(self.address).path + path
        connection.putrequest(method or ("GET" if data is None else "POST"), whole, skip_host="Host" in given)
        for name, value in given.items():
            connection.putheader(name, value)
        if data is not None:
            connection.putheader("Content-Length", str(len(data)))
        connection.endheaders(data)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        is_json = response.headers["Content-Type"].startswith("application/json")
        return response.status, response.headers, json.loads(content) if is_json else content


@contextmanager
def serving(viewer: Viewer) -> Iterator[Served]:
    """Serve a viewer during a ``with`` block."""
    listener, token, address = listen()
    loop = asyncio.new_event_loop()
    stopped = asyncio.Event()

    async def serve() -> None:
        runner = web.AppRunner(make_app(viewer, token), access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        await stopped.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        # The socket listens already, so a request waits for the thread.
        yield Served(viewer, address)
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()
        loop.close()
