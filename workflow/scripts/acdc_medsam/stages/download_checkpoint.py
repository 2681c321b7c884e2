"""Stage download_checkpoint: an address -> a file of weights, checked, whole or not at all.

What has come so far is kept beside the file under a hidden name, with what the server called its version, so that a
transfer that breaks off goes on where it was, also in a later run. A lock beside it keeps two runs from writing to it
at once.
"""

import contextlib
import http.client
import json
import logging
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from acdc_medsam.errors import CheckpointError
from acdc_medsam.formats.files import atomic_path, sha256_file

logger = logging.getLogger(__name__)

ATTEMPTS = 6
FIRST_PAUSE = 1.0
"""Seconds before the second attempt; each further pause is twice as long."""

STALL_SECONDS = 60.0
"""A server that says nothing for so long has stalled."""

SLOWEST = 1024
"""Bytes a second, over a whole attempt, below which it is given up."""

POLL_SECONDS = 1.0
"""Seconds between two looks whether another run has ended its download."""

MAX_BYTES = 8 * 2**30
"""Largest file that is fetched; the largest checkpoint, SAM's ViT-H, takes 2.4 GB."""

BLOCK = 2**18
MAY_PASS = (408, 425, 429, 500, 502, 503, 504)
"""HTTP errors after which another attempt may succeed."""


class Interrupted(Exception):
    """A transfer broke off in a way that another attempt may mend."""


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not from https to anything else."""

    def redirect_request(  # type: ignore[no-untyped-def]
        self, req, fp, code, msg, headers, newurl
    ) -> urllib.request.Request | None:
        if req.type == "https" and not newurl.startswith("https://"):
            raise urllib.error.URLError("it redirects from https to an address that is not")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@dataclass(frozen=True)
class Part:
    """What has come of a download so far: a file, and a note of what it is a part of."""

    file: Path
    note: Path
    url: str

    def begun(self, sha256: str | None) -> tuple[int, str | None]:
        """Bytes that can be kept, and the version that they are of, None where the server named none.

        Without a version only the sha256 tells in the end whether two halves belong together.
        """
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            note = json.loads(self.note.read_text(encoding="utf-8"))
            if note["url"] == self.url and (note["version"] or sha256):
                return self.file.stat().st_size, note["version"]
        return 0, None

    def forget(self) -> None:
        """Remove both files."""
        self.file.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def download_checkpoint(url: str, sha256: str | None, path: Path) -> None:
    """Download ``url`` to ``path``, which is not there until all of it has come and has the right sha256.

    Where another run is downloading to the same path, wait for it; a file that is there and fits is left as it is.

    Args:
        url: Address of the file, of a web server.
        sha256: What the file's sha256 must be, in hex; None to take any.
        path: Where the file is put; its folder is made.

    Raises:
        CheckpointError: the address cannot be reached, what came is not what ``sha256`` says, or it is too large.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with alone(path):
        if path.is_file() and (sha256 is None or sha256_file(path) == sha256.lower()):
            logger.info("%s has been downloaded by another run", path)
            return
        part = Part(path.with_name(f".{path.name}.part"), path.with_name(f".{path.name}.part.json"), url)
        _fetch_whole(part, sha256, path)
        with atomic_path(path) as temporary:
            part.file.replace(temporary)
        part.forget()
        logger.info("downloaded %s to %s", url, path)


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Have nobody else download to ``path`` in a ``with`` block; wait while somebody does.

    Two outputs may share a checkpoint, and run at the same time.
    """
    name = path.with_name(f".{path.name}.part.lock")
    lock = FileLock(name)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.warning("waiting for another run, which is downloading %s", path)
        lock.acquire(poll_interval=POLL_SECONDS)
    try:
        yield
    finally:
        # It is removed while it is held. Another run that has opened it before locks a file without a name, which
        # FileLock notices from release 3.21 on, and tries again.
        name.unlink(missing_ok=True)
        lock.release()


def _fetch_whole(part: Part, sha256: str | None, path: Path) -> None:
    """Fetch all of a part, in as many attempts as it takes, and check its sha256.

    Raises:
        CheckpointError: see :func:`download_checkpoint`.
    """
    url = part.url
    for attempt in range(1, ATTEMPTS + 1):
        resumed = part.begun(sha256)[0] > 0
        try:
            _fetch(part, sha256)
            if sha256 is None or (actual := sha256_file(part.file)) == sha256.lower():
                return
            part.forget()
            # Halves of two versions are put right by a whole new one; a whole file that is another one stays so.
            if not resumed:
                raise CheckpointError(
                    f"{url} could not be used: its sha256 is {actual}, encoder.sha256 says {sha256}; "
                    f"check encoder.url and encoder.sha256, or download it by hand to {path}"
                )
            logger.warning("%s: what came does not fit what was there; starting anew", url)
        except Interrupted as error:
            if attempt == ATTEMPTS:
                raise CheckpointError(
                    f"{url} could not be downloaded ({error}) in {ATTEMPTS} attempts; run the workflow again to go on "
                    f"from where it broke off, or download it by hand to {path}"
                ) from error
            pause = FIRST_PAUSE * 2 ** (attempt - 1)
            logger.warning("%s: %s; trying again in %g s", url, error, pause)
            time.sleep(pause)


def _fetch(part: Part, sha256: str | None) -> None:
    """Fetch what is missing of a part.

    Raises:
        Interrupted: it broke off; what came is kept.
        CheckpointError: there is no use in another attempt.
    """
    there, version = part.begun(sha256)
    headers = {"Accept-Encoding": "identity", "User-Agent": "acdc-medsam"}
    if there:
        headers |= {"Range": f"bytes={there}-"} | ({"If-Range": version} if version else {})
    with _answer(part, headers, there) as response:
        if response is None:
            return
        first, total = _extent(response, there)
        if total is not None and total > MAX_BYTES:
            raise CheckpointError(f"{part.url} is {total} bytes, more than any checkpoint; check encoder.url")
        if first == 0:
            part.forget()
            part.note.write_text(json.dumps({"url": part.url, "version": _version(response.headers)}))
        with part.file.open("ab") as file:
            received = first + _copy(response, file, first, part.url)
    if total is not None and received != total:
        raise Interrupted(f"{received} of {total} bytes came")


@contextlib.contextmanager
def _answer(part: Part, headers: Mapping[str, str], there: int) -> Iterator[http.client.HTTPResponse | None]:
    """Open the address; None where the server says that nothing is left to fetch."""
    if not part.url.startswith(("http://", "https://")):
        raise CheckpointError(f"encoder.url is {part.url}; it must start with https:// or http://")
    request = urllib.request.Request(part.url, headers=dict(headers))  # noqa: S310 http and https alone
    try:
        response = urllib.request.build_opener(_SafeRedirects).open(request, timeout=STALL_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416 and there:
            if error.headers.get("Content-Range") == f"bytes */{there}":
                yield None
                return
            part.forget()
            raise Interrupted("what was there is no part of it any more") from error
        if error.code in MAY_PASS:
            raise Interrupted(f"the server says {error.code} {error.reason}") from error
        raise CheckpointError(
            f"{part.url} could not be downloaded: the server says {error.code} {error.reason}; check encoder.url"
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Interrupted(str(getattr(error, "reason", error)) or type(error).__name__) from error
    with response:
        yield response


def _extent(response: http.client.HTTPResponse, there: int) -> tuple[int, int | None]:
    """First byte that the answer brings, and the size of the whole, None where the server does not say it."""
    length = response.headers.get("Content-Length", "")
    if response.status != 206:
        return 0, int(length) if length.isdecimal() else None
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", ""))
    if match is None or int(match[1]) != there:
        raise Interrupted("the server sent another part than was asked for")
    return there, int(match[3]) if match[3] != "*" else None


def _version(headers: http.client.HTTPMessage) -> str | None:
    """What the server calls this version of the file, if it is strong enough to resume by (RFC 9110, 13.1.5)."""
    tag = headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")


def _copy(response: http.client.HTTPResponse, file, first: int, url: str) -> int:  # type: ignore[no-untyped-def]
    """Copy an answer to a file as it comes; returns the number of bytes."""
    received, started = 0, time.monotonic()
    while True:
        try:
            block = response.read1(BLOCK)
        except (OSError, http.client.HTTPException) as error:
            raise Interrupted(f"it broke off after {first + received} bytes ({error})") from error
        if not block:
            return received
        received += len(block)
        if first + received > MAX_BYTES:
            raise CheckpointError(f"{url} sends more bytes than any checkpoint takes; check encoder.url")
        file.write(block)
        seconds = time.monotonic() - started
        if seconds > STALL_SECONDS and received < SLOWEST * seconds:
            raise Interrupted(f"only {received} bytes came in {seconds:.0f} s")
