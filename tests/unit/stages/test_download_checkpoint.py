"""Downloads from a local server that breaks off, stalls, lies and redirects."""

import hashlib
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from acdc_medsam.errors import CheckpointError
from acdc_medsam.stages import download_checkpoint as download
from acdc_medsam.stages.download_checkpoint import download_checkpoint

DATA = np.random.default_rng(0).bytes(600_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
CUT = 200_000


class Server(ThreadingHTTPServer):
    """Serves DATA, unless ``misbehave``, which is called first, returns that it has answered the request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.data = DATA
        self.tag = '"1"'
        self.ranges: list[str | None] = []
        self.misbehave: Callable[[Handler, int], bool] = lambda handler, count: False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights.pth"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers.get("Range"))
        if not self.server.misbehave(self, len(self.server.ranges)):
            self.serve()

    def serve(self, send: int | None = None, claim: int | None = None, ranges: bool = True) -> None:
        """Answer as a server should.

        Args:
            send: Number of bytes to send; None sends all.
            claim: Length to claim; None claims the true one.
            ranges: Whether to support ranges.
        """
        data = self.server.data
        first = 0
        wanted = self.headers.get("Range")
        condition = self.headers.get("If-Range")
        if ranges and wanted and condition in (None, self.server.tag):
            first = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if first >= len(data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return

        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        if self.server.tag:
            self.send_header("ETag", self.server.tag)
        self.send_header("Content-Length", str(len(data) - first if claim is None else claim))
        self.end_headers()
        self.wfile.write(data[first:][:send])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(download, "STALL_SECONDS", 0.3)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights" / "weights.pth"


def refusal(server: Server, path: Path, sha256: str | None = SHA256) -> str:
    with pytest.raises(CheckpointError) as caught:
        download_checkpoint(server.url, sha256, path)
    assert not path.exists()
    assert str(caught.value).startswith(server.url)
    return str(caught.value)


def assert_whole(path: Path) -> None:
    assert path.read_bytes() == DATA
    assert [file.name for file in path.parent.iterdir()] == [path.name]


class Waiting(logging.Handler):
    """Collects the messages that a run waits for another download."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []
        self.begun = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "waiting for" in record.getMessage():
            self.messages.append(record.getMessage())
            self.begun.set()


@pytest.fixture
def waiting() -> Iterator[Waiting]:
    handler = Waiting()
    download.logger.addHandler(handler)
    yield handler
    download.logger.removeHandler(handler)


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_the_second_of_two_runs_takes_the_file_of_the_first(
    sha256: str | None, server: Server, path: Path, waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "STALL_SECONDS", 60)
    monkeypatch.setattr(download, "POLL_SECONDS", 0.01)
    asked = threading.Event()

    def hold(handler: Handler, count: int) -> bool:
        asked.set()
        assert waiting.begun.wait(60)
        return False

    server.misbehave = hold
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(download_checkpoint, server.url, sha256, path)
        assert asked.wait(60)
        second = pool.submit(download_checkpoint, server.url, sha256, path)
        first.result()
        second.result()
    assert_whole(path)
    assert server.ranges == [None]
    assert waiting.messages == [f"waiting for another run, which is downloading {path}"]


def test_a_run_that_waited_for_another_file_downloads_its_own(
    server: Server, path: Path, waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "POLL_SECONDS", 0.01)
    path.parent.mkdir()
    with ThreadPoolExecutor(1) as pool:
        with download.download_lock(path):
            run = pool.submit(download_checkpoint, server.url, SHA256, path)
            assert waiting.begun.wait(60)
            path.write_bytes(b"another file")
        run.result()
    assert_whole(path)


def test_a_waiting_run_continues_when_the_other_is_killed(server: Server, path: Path) -> None:
    path.parent.mkdir()
    code = (
        "import sys, time; from pathlib import Path; from acdc_medsam.stages.download_checkpoint import download_lock\n"
    )
    code += "with download_lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    paths = [entry for entry in sys.path if entry]
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{code}", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        holder.kill()
    download_checkpoint(server.url, SHA256, path)
    assert_whole(path)


@pytest.mark.parametrize("sha256", [SHA256, SHA256.upper(), None])
def test_a_file_is_downloaded(sha256: str | None, server: Server, path: Path) -> None:
    download_checkpoint(server.url, sha256, path)
    assert_whole(path)
    assert server.ranges == [None]


def test_a_transfer_that_breaks_off_continues_where_it_stopped(server: Server, path: Path) -> None:
    server.misbehave = lambda handler, count: count < 3 and handler.serve(send=CUT) is None
    download_checkpoint(server.url, None, path)
    assert_whole(path)
    assert server.ranges == [None, f"bytes={CUT}-", f"bytes={2 * CUT}-"]


def test_a_later_run_continues_where_an_earlier_one_gave_up(server: Server, path: Path) -> None:
    server.misbehave = lambda handler, count: handler.serve(send=1000) is None
    message = refusal(server, path)
    assert f"6000 of {len(DATA)} bytes arrived) in 6 attempts; run the same command again to continue" in message
    server.misbehave = lambda handler, count: False
    download_checkpoint(server.url, SHA256, path)
    assert_whole(path)
    assert server.ranges[-1] == "bytes=6000-"


def test_a_file_that_changed_meanwhile_is_downloaded_anew(server: Server, path: Path) -> None:
    def change(handler: Handler, count: int) -> bool:
        if count > 1:
            server.tag, server.data = '"2"', DATA
            return False
        server.data = DATA[::-1]
        handler.serve(send=CUT)
        return True

    server.misbehave = change
    download_checkpoint(server.url, None, path)
    assert_whole(path)


@pytest.mark.parametrize("tag", ["", 'W/"1"'])
def test_without_a_strong_version_only_a_sha256_allows_resuming(tag: str, server: Server, path: Path) -> None:
    server.tag = tag
    server.misbehave = lambda handler, count: count == 1 and handler.serve(send=CUT) is None
    download_checkpoint(server.url, None, path)
    assert_whole(path)
    assert server.ranges == [None, None]
    path.unlink()
    server.ranges.clear()
    download_checkpoint(server.url, SHA256, path)
    assert_whole(path)
    assert server.ranges == [None, f"bytes={CUT}-"]


def test_parts_of_two_versions_are_detected_by_the_sha256(server: Server, path: Path) -> None:
    server.tag = ""

    def change(handler: Handler, count: int) -> bool:
        server.data = DATA[::-1] if count == 1 else DATA
        return count == 1 and handler.serve(send=CUT) is None

    server.misbehave = change
    download_checkpoint(server.url, SHA256, path)
    assert_whole(path)
    assert server.ranges == [None, f"bytes={CUT}-", None]


def test_a_server_without_ranges_starts_over(server: Server, path: Path) -> None:
    server.misbehave = lambda handler, count: handler.serve(send=CUT if count == 1 else None, ranges=False) is None
    download_checkpoint(server.url, SHA256, path)
    assert_whole(path)


def test_a_server_that_stalls_is_asked_again(server: Server, path: Path) -> None:
    def stall(handler: Handler, count: int) -> bool:
        if count == 1:
            handler.serve(send=CUT)
            time.sleep(0.6)
        return count == 1

    server.misbehave = stall
    download_checkpoint(server.url, SHA256, path)
    assert_whole(path)
    assert server.ranges == [None, f"bytes={CUT}-"]


def test_a_server_that_sends_too_slowly_is_given_up(
    server: Server, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "ATTEMPTS", 1)

    def drip(handler: Handler, count: int) -> bool:
        handler.serve(send=1)
        for _ in range(20):
            time.sleep(0.05)
            handler.wfile.write(b"x")
        return True

    server.misbehave = drip
    assert "bytes arrived in 0 s" in refusal(server, path)


def test_wrong_bytes_are_refused(server: Server, path: Path) -> None:
    server.data = b"<html>Sign in</html>"
    message = refusal(server, path)
    assert hashlib.sha256(server.data).hexdigest() in message and f"encoder.sha256 says {SHA256}" in message
    assert f"download it by hand to {path}" in message
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("claim", "message"), [(len(DATA) + 5, "bytes arrived) in 6 attempts"), (1000, "its sha256 is")]
)
def test_a_false_length_is_detected(claim: int, message: str, server: Server, path: Path) -> None:
    server.misbehave = lambda handler, count: handler.serve(claim=claim, ranges=False) is None
    assert message in refusal(server, path)


def test_a_file_larger_than_any_checkpoint_is_not_downloaded(
    server: Server, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MAX_CHECKPOINT_BYTES", 100_000)
    assert f"is {len(DATA)} bytes, more than any checkpoint; check encoder.url" in refusal(server, path)

    def endless(handler: Handler, count: int) -> bool:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(DATA)
        return True

    server.misbehave = endless
    assert "sends more bytes than any checkpoint has" in refusal(server, path)


def test_a_part_that_is_already_complete_is_taken(server: Server, path: Path) -> None:
    server.misbehave = lambda handler, count: count == 1 and handler.serve(claim=len(DATA) + 5) is None
    download_checkpoint(server.url, SHA256, path)
    assert_whole(path)
    assert server.ranges == [None, f"bytes={len(DATA)}-"]


def redirect(location: str) -> Callable[[Handler, int], bool]:
    def answer(handler: Handler, count: int) -> bool:
        if handler.path == "/there" and location.endswith("/there"):
            return False
        handler.send_response(302)
        handler.send_header("Location", location)
        handler.end_headers()
        return True

    return answer


def test_redirects_are_followed_unless_endless_or_to_files(server: Server, path: Path, tmp_path: Path) -> None:
    server.misbehave = redirect("/there")
    download_checkpoint(server.url, SHA256, path)
    assert_whole(path)
    path.unlink()
    server.misbehave = redirect("/round")
    assert "redirect" in refusal(server, path)
    (tmp_path / "secret").write_text("secret")
    server.misbehave = redirect((tmp_path / "secret").as_uri())
    assert "could not be downloaded" in refusal(server, path)


def test_a_redirect_from_https_to_http_is_refused() -> None:
    request = download.urllib.request.Request("https://host/weights.pth")
    with pytest.raises(OSError, match="redirects from https"):
        download._SafeRedirects().redirect_request(request, None, 302, "", {}, "http://host/weights.pth")


@pytest.mark.parametrize(("code", "attempts"), [(404, 1), (403, 1), (503, 6), (429, 6)])
def test_only_transient_http_errors_are_retried(code: int, attempts: int, server: Server, path: Path) -> None:
    def answer(handler: Handler, count: int) -> bool:
        handler.send_response(code)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return True

    server.misbehave = answer
    assert f"the server says {code} " in refusal(server, path)
    assert len(server.ranges) == attempts


def test_a_refused_connection_is_reported(server: Server, path: Path) -> None:
    server.shutdown()
    server.server_close()
    assert "Connection refused" in refusal(server, path)


def test_only_web_addresses_are_accepted(path: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    with pytest.raises(CheckpointError, match="must start with https://"):
        download_checkpoint((tmp_path / "secret").as_uri(), None, path)
