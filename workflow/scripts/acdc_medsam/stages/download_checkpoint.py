"""Stage download_checkpoint: an address -> a file of weights, which is checked, and complete or absent.

The part that has arrived is kept beside the file under a hidden name, with the version that the server gave it. A
transfer that breaks off therefore continues where it stopped, even in a later run. A lock beside the file keeps two
runs from writing to it at the same time.
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
from typing import BinaryIO

from filelock import FileLock, Timeout

from acdc_medsam.errors import CheckpointError
from acdc_medsam.formats.files import atomic_path, sha256_file
from acdc_medsam.runtime.progress import BYTES, Progress

logger = logging.getLogger(__name__)

ATTEMPTS = 6
FIRST_PAUSE = 1.0
"""Seconds before the second attempt; each further pause is twice as long."""

STALL_SECONDS = 60.0
"""Seconds of silence after which a server has stalled."""

MIN_BYTES_PER_SECOND = 1024
"""Average speed of an attempt below which it is given up."""

POLL_SECONDS = 1.0
"""Seconds between two checks whether another run has finished its download."""

MAX_CHECKPOINT_BYTES = 8 * 2**30
"""Size of the largest file that is downloaded; the largest checkpoint, SAM's ViT-H, has 2.4 GB."""

BLOCK_BYTES = 2**18

TRANSIENT_STATUSES = (408, 425, 429, 500, 502, 503, 504)
"""HTTP statuses after which another attempt may succeed."""


class InterruptedTransfer(Exception):
    """A transfer broke off in a way that another attempt may overcome."""


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to another scheme."""

    def redirect_request(  # type: ignore[no-untyped-def]
        self, req, fp, code, msg, headers, newurl
    ) -> urllib.request.Request | None:
        if req.type == "https" and not newurl.startswith("https://"):
            raise urllib.error.URLError("it redirects from https to an address that is not")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@dataclass(frozen=True)
class PartialDownload:
    """The part of a download that has arrived.

    Attributes:
        url: Address that the part comes from.
        file: File with the bytes that have arrived.
        note: File with the address and the version of these bytes.
    """

    url: str
    file: Path
    note: Path

    def find_start(self, sha256: str | None) -> tuple[int, str | None]:
        """Return where to continue.

        Args:
            sha256: Expected hex sha256 of the whole file, if it is known.

        Returns:
            Number of bytes that can be kept, and their version, None if the server named none.
        """
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            note = json.loads(self.note.read_text(encoding="utf-8"))
            # Without a version, only the sha256 can tell in the end whether the two parts belong together.
            if note["url"] == self.url and (note["version"] or sha256):
                return self.file.stat().st_size, note["version"]
        return 0, None

    def remove(self) -> None:
        """Remove both files."""
        self.file.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def download_checkpoint(url: str, sha256: str | None, path: Path) -> None:
    """Download ``url`` to ``path``, where nothing appears before the whole file has arrived and been checked.

    If another run is downloading to the same path, wait for it. A file that exists and has the right sha256 is kept.

    Args:
        url: Address of the file on a web server.
        sha256: Expected hex sha256 of the file; None accepts any.
        path: Path to download to; its folder is made.

    Raises:
        CheckpointError: The address cannot be reached, or the file has another sha256 or is too large.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with download_lock(path):
        if path.is_file() and (sha256 is None or sha256_file(path) == sha256.lower()):
            logger.info("%s has been downloaded by another run", path)
            return

        part = PartialDownload(url, path.with_name(f".{path.name}.part"), path.with_name(f".{path.name}.part.json"))
        _complete(part, sha256, path)
        with atomic_path(path) as temporary:
            part.file.replace(temporary)
        part.remove()
        logger.info("downloaded %s to %s", url, path)


@contextlib.contextmanager
def download_lock(path: Path) -> Iterator[None]:
    """Keep other runs from downloading to ``path``; wait while one of them does.

    Two outputs may share a checkpoint and be made at the same time.
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
        # The lock file is removed while the lock is held. Another run that opened it before then locks a file that has
        # no name any more; FileLock notices that from release 3.21 on, and tries again.
        name.unlink(missing_ok=True)
        lock.release()


def _complete(part: PartialDownload, sha256: str | None, path: Path) -> None:
    """Download what is missing, in as many attempts as needed, and check the sha256.

    Raises:
        CheckpointError: The download failed, see :func:`download_checkpoint`.
    """
    url = part.url
    for attempt in range(1, ATTEMPTS + 1):
        start, _ = part.find_start(sha256)
        try:
            _download_rest(part, sha256)
            if sha256 is None or (actual := sha256_file(part.file)) == sha256.lower():
                return

            part.remove()
            # Parts of two versions may have been joined. A file that came in one piece would be the same next time.
            if start == 0:
                raise CheckpointError(
                    f"{url} could not be used: its sha256 is {actual}, encoder.sha256 says {sha256}; "
                    f"check encoder.url and encoder.sha256, or download it by hand to {path}"
                )
            logger.warning("%s: the new part does not match the earlier one; starting over", url)
        except InterruptedTransfer as error:
            if attempt == ATTEMPTS:
                raise CheckpointError(
                    f"{url} could not be downloaded ({error}) in {ATTEMPTS} attempts; run the same command again to "
                    f"continue where it broke off, or download it by hand to {path}"
                ) from error
            pause = FIRST_PAUSE * 2 ** (attempt - 1)
            logger.warning("%s: %s; trying again in %g s", url, error, pause)
            time.sleep(pause)


def _download_rest(part: PartialDownload, sha256: str | None) -> None:
    """Make one attempt to download what is missing.

    Raises:
        InterruptedTransfer: The transfer broke off; the part that has arrived is kept.
        CheckpointError: Another attempt would fail too.
    """
    start, version = part.find_start(sha256)
    headers = {"Accept-Encoding": "identity", "User-Agent": "acdc-medsam"}
    if start:
        headers["Range"] = f"bytes={start}-"
    if start and version:
        headers["If-Range"] = version

    with _open_url(part, headers, start) as response:
        if response is None:
            return

        first, total = _parse_extent(response, start)
        if total is not None and total > MAX_CHECKPOINT_BYTES:
            raise CheckpointError(f"{part.url} is {total} bytes, more than any checkpoint; check encoder.url")

        # A server that ignores the range, or has a new version, sends the whole file.
        if first == 0:
            part.remove()
            part.note.write_text(json.dumps({"url": part.url, "version": _find_version(response.headers)}))
        progress = Progress(total, BYTES, first)
        try:
            with part.file.open("ab") as file:
                received = first + _copy(response, file, progress, part.url)
        finally:
            progress.close()
    if total is not None and received != total:
        raise InterruptedTransfer(f"{received} of {total} bytes arrived")


@contextlib.contextmanager
def _open_url(
    part: PartialDownload, headers: Mapping[str, str], start: int
) -> Iterator[http.client.HTTPResponse | None]:
    """Open the address of a download; yield None if the server says that nothing is left to download."""
    if not part.url.startswith(("http://", "https://")):
        raise CheckpointError(f"encoder.url is {part.url}; it must start with https:// or http://")

    request = urllib.request.Request(part.url, headers=dict(headers))  # noqa: S310 http and https alone
    try:
        response = urllib.request.build_opener(_SafeRedirects).open(request, timeout=STALL_SECONDS)
    except urllib.error.HTTPError as error:
        # 416: the range starts at or behind the end of the file.
        if error.code == 416 and start:
            if error.headers.get("Content-Range") == f"bytes */{start}":
                yield None
                return
            part.remove()
            raise InterruptedTransfer("the file on the server has changed") from error
        if error.code in TRANSIENT_STATUSES:
            raise InterruptedTransfer(f"the server says {error.code} {error.reason}") from error
        raise CheckpointError(
            f"{part.url} could not be downloaded: the server says {error.code} {error.reason}; check encoder.url"
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise InterruptedTransfer(str(getattr(error, "reason", error)) or type(error).__name__) from error

    with response:
        yield response


def _parse_extent(response: http.client.HTTPResponse, start: int) -> tuple[int, int | None]:
    """Return the position of the first byte in a response, and the size of the whole file, None if it is not given."""
    length = response.headers.get("Content-Length", "")
    if response.status != 206:
        return 0, int(length) if length.isdecimal() else None

    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", ""))
    if match is None or int(match[1]) != start:
        raise InterruptedTransfer("the server sent another part than the one requested")
    return start, int(match[3]) if match[3] != "*" else None


def _find_version(headers: http.client.HTTPMessage) -> str | None:
    """Return the server's name for this version of the file, if a download can be resumed by it (RFC 9110, 13.1.5)."""
    tag = headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")


def _copy(response: http.client.HTTPResponse, file: BinaryIO, progress: Progress, url: str) -> int:
    """Copy a response to a file while it arrives, and return the number of bytes."""
    first = progress.done
    received = 0
    started = time.monotonic()
    while True:
        try:
            block = response.read1(BLOCK_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise InterruptedTransfer(f"it broke off after {first + received} bytes ({error})") from error
        if not block:
            return received

        received += len(block)
        if first + received > MAX_CHECKPOINT_BYTES:
            raise CheckpointError(f"{url} sends more bytes than any checkpoint has; check encoder.url")
        file.write(block)
        progress.advance(len(block))

        # A server that sends a byte now and then never stalls, but would keep the run waiting for ever.
        seconds = time.monotonic() - started
        if seconds > STALL_SECONDS and received < MIN_BYTES_PER_SECOND * seconds:
            raise InterruptedTransfer(f"only {received} bytes arrived in {seconds:.0f} s")
