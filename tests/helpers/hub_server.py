"""A stand-in for the Hugging Face hub, on 127.0.0.1, with as much of its interface as pushing and loading takes."""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_secretTokenOfTheTests"

BINARY = (".png", ".pt")
"""Suffixes of the files that the hub keeps by their sha256, as its .gitattributes for datasets does."""

LIMIT = 100
"""Most files that this hub takes in one commit."""

Answer = tuple[int, Any]
"""HTTP status, and what the answer's JSON holds."""


@dataclass
class StoredRepository:
    """A repository: whether it is private, its files and the messages of its commits."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)

    @property
    def sha(self) -> str:
        """Name of the last commit, of 40 hexadecimal digits."""
        return hashlib.sha1(repr(self.commits).encode()).hexdigest()

    def describe(self, name: str) -> dict[str, Any]:
        """What the hub says of a repository."""
        siblings = [{"rfilename": path} for path in self.files]
        return {"_id": "0", "id": name, "private": self.private, "sha": self.sha, "siblings": siblings, "tags": []}

    def entry(self, path: str) -> dict[str, Any]:
        """What the hub says of a file."""
        data = self.files[path]
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        entry = {"type": "file", "path": path, "size": len(data), "oid": blob}
        if path.endswith(BINARY):
            entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        return entry


@dataclass
class Hub:
    """The state of the stand-in.

    Attributes:
        address: Its address, for HF_ENDPOINT.
        repositories: Name -> repository.
        blobs: Hex sha256 -> content of the binary files that were uploaded.
        requests: Method and path of every request.
        refuse: Function that returns the answer to a request that shall fail; None for all others.
    """

    address: str = ""
    repositories: dict[str, StoredRepository] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    refuse: Callable[[str], Answer | None] = lambda request: None
    lock: Lock = field(default_factory=Lock)

    def uploads(self) -> int:
        """Number of binary files that were sent."""
        return sum(request.startswith("PUT ") for request in self.requests)


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of the hub's client."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing on the screen."""

    def do_GET(self) -> None:
        self.respond()

    def do_HEAD(self) -> None:
        self.respond()

    def do_POST(self) -> None:
        self.respond()

    def do_PUT(self) -> None:
        self.respond()

    def respond(self) -> None:
        """Answer a request with JSON, or with a file."""
        path = unquote(urlsplit(self.path).path)
        request = f"{self.command} {path}"
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.hub.lock:
            self.hub.requests.append(request)
            refused = self.hub.refuse(request)
            if refused is None and self.headers.get("Authorization") != f"Bearer {TOKEN}" and self.command != "PUT":
                refused = 401, {"error": "Invalid credentials in Authorization header"}
            found = re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
            if refused is None and found is not None:
                self.send_file(found[1], found[3])
                return
            status, content = refused or self.answer(request, body)
        self.send(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        if status == HTTPStatus.NOT_FOUND and b"repository" in data.lower():
            self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def send_file(self, name: str, path: str) -> None:
        """Send a file of a repository."""
        repository = self.hub.repositories[name]
        if path not in repository.files:
            self.send(404, b'{"error": "Entry not found"}', {"X-Error-Code": "EntryNotFound"})
            return
        data = repository.files[path]
        etag = hashlib.sha256(data).hexdigest()
        self.send(200, data, {"ETag": f'"{etag}"', "X-Repo-Commit": repository.sha})

    def answer(self, request: str, body: bytes) -> Answer:
        """Do what a request asks for."""
        routes: dict[str, Callable[..., Answer]] = {
            r"GET /api/whoami-v2": lambda body: (200, {"name": "jane", "type": "user", "orgs": []}),
            r"POST /api/validate-yaml": lambda body: (200, {"errors": [], "warnings": []}),
            r"POST /api/repos/create": self.create,
            r"GET /api/datasets/([^/]+/[^/]+)(?:/revision/[^/]+)?": self.describe,
            r"GET /api/datasets/([^/]+/[^/]+)/tree/[^/]+(?:/(.+))?": self.list_tree,
            r"POST /api/datasets/([^/]+/[^/]+)/paths-info/[^/]+": self.list_paths,
            r"POST /api/datasets/([^/]+/[^/]+)/preupload/main": self.preupload,
            r"POST /datasets/([^/]+/[^/]+)\.git/info/lfs/objects/batch": self.start_uploads,
            r"PUT /blobs/(\w+)": self.receive,
            r"POST /api/datasets/([^/]+/[^/]+)/commit/main": self.commit,
        }
        for pattern, function in routes.items():
            found = re.fullmatch(pattern, request)
            if found is not None:
                if found.groups() and "/" in found[1] and found[1] not in self.hub.repositories:
                    return 404, {"error": "Repository not found"}
                return function(body, *found.groups())
        return 404, {"error": f"this stand-in knows no {request}"}

    def create(self, body: bytes) -> Answer:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        assert asked["type"] == "dataset"
        if name in self.hub.repositories:
            return 409, {"error": "You already created this dataset repo"}
        # Version 2 of the client may say it in either way.
        private = asked["private"] if "private" in asked else asked["visibility"] == "private"
        self.hub.repositories[name] = StoredRepository(private, {".gitattributes": b"*.png filter=lfs\n"})
        return 200, {"url": f"{self.hub.address}/datasets/{name}", "name": name}

    def describe(self, body: bytes, name: str) -> Answer:
        return 200, self.hub.repositories[name].describe(name)

    def list_tree(self, body: bytes, name: str, folder: str | None) -> Answer:
        repository = self.hub.repositories[name]
        prefix = f"{folder}/" if folder else ""
        below = [path for path in sorted(repository.files) if path.startswith(prefix)]
        folders = {parent for path in below for parent in parents(path) if parent.startswith(prefix)}
        entries = [{"type": "directory", "path": path, "size": 0, "oid": "0" * 40} for path in sorted(folders)]
        entries += [repository.entry(path) for path in below]
        if "recursive=true" not in self.path.lower():
            entries = [entry for entry in entries if "/" not in entry["path"].removeprefix(prefix)]
        return 200, entries

    def list_paths(self, body: bytes, name: str) -> Answer:
        repository = self.hub.repositories[name]
        sent = body.decode()
        asked = json.loads(sent)["paths"] if sent.startswith("{") else re.findall(r"paths=([^&]*)", unquote(sent))
        folders = {parent for path in repository.files for parent in parents(path)}
        entries = [repository.entry(path) for path in asked if path in repository.files]
        entries += [{"type": "directory", "path": path, "oid": "0" * 40} for path in asked if path in folders]
        return 200, entries

    def preupload(self, body: bytes, name: str) -> Answer:
        files = []
        for file in json.loads(body)["files"]:
            mode = "lfs" if file["path"].endswith(BINARY) else "regular"
            entry = {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}
            if file["path"] in self.hub.repositories[name].files:
                known = self.hub.repositories[name].entry(file["path"])
                entry["oid"] = known["lfs"]["oid"] if mode == "lfs" else known["oid"]
            files.append(entry)
        return 200, {"files": files}

    def start_uploads(self, body: bytes, name: str) -> Answer:
        objects = json.loads(body)["objects"]
        for entry in objects:
            if entry["oid"] not in self.hub.blobs:
                entry["actions"] = {"upload": {"href": f"{self.hub.address}/blobs/{entry['oid']}", "header": {}}}
        return 200, {"transfer": "basic", "objects": objects}

    def receive(self, body: bytes, oid: str) -> Answer:
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.blobs[oid] = body
        return 200, {}

    def commit(self, body: bytes, name: str) -> Answer:
        repository = self.hub.repositories[name]
        header, *operations = [json.loads(line) for line in body.splitlines()]
        if sum("deleted" not in operation["key"] for operation in operations) > LIMIT:
            return 413, {"error": "too many files in a commit"}
        for operation in operations:
            value = operation["value"]
            if operation["key"] == "deletedFile":
                del repository.files[value["path"]]
            elif operation["key"] == "lfsFile":
                repository.files[value["path"]] = self.hub.blobs[value["oid"]]
            else:
                repository.files[value["path"]] = base64.b64decode(value["content"])
        repository.commits.append(header["value"]["summary"])
        url = f"{self.hub.address}/datasets/{name}/commit/{repository.sha}"
        return 200, {"success": True, "commitUrl": url, "commitOid": repository.sha}


def parents(path: str) -> list[str]:
    """Folders above a path: ``a`` and ``a/b`` for ``a/b/c``."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


@contextmanager
def running_hub() -> Iterator[Hub]:
    """Start a stand-in on a free port, and stop it at the end."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
