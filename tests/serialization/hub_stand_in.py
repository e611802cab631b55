"""A local stand-in of the Hugging Face Hub's API, in memory.

It serves the requests of `huggingface_hub` that create a repository, commit small files and
download them.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_stand_in"


class HubState:
    """Repositories: for each, the commits (identifier, files), newest last, and its access."""

    def __init__(self):
        self.commits = {}
        self.private = set()
        self.gated = set()
        self.read_only = set()
        self.requests = []

    def add(self, name, files):
        history = self.commits.setdefault(name, [])
        content = {**(history[-1][1] if history else {}), **files}
        oid = hashlib.sha1(repr((name, len(history), sorted(content))).encode()).hexdigest()
        history.append((oid, content))
        return oid

    def find(self, name, revision):
        """The commit of a revision; None if there is none."""
        for oid, files in self.commits.get(name, []):
            if revision in (oid, oid[:7]):
                return oid, files
        return self.commits[name][-1] if revision == "main" else None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    @property
    def state(self):
        return self.server.state

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def reply(self, status, content=b"", headers=None):
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def fail(self, status, code=None):
        headers = {} if code is None else {"X-Error-Code": code}
        self.reply(status, {"error": code or "no"}, headers)

    def is_logged_in(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_GET(self):
        self.state.requests.append((self.command, self.path))
        match = re.fullmatch(r"/([\w.-]+/[\w.-]+)/resolve/([^/]+)/([^?]+)", self.path)
        if match is None:
            return self.fail(404, "RepoNotFound")
        name, revision, file = match.groups()
        if name in self.state.gated:
            return self.fail(403, "GatedRepo")
        hidden = name in self.state.private and not self.is_logged_in()
        if name not in self.state.commits or hidden:
            return self.fail(401, "RepoNotFound")
        commit = self.state.find(name, revision)
        if commit is None:
            return self.fail(404, "RevisionNotFound")
        oid, files = commit
        if file not in files:
            return self.fail(404, "EntryNotFound")
        digest = hashlib.sha1(files[file]).hexdigest()
        return self.reply(200, files[file], {"ETag": f'"{digest}"', "X-Repo-Commit": oid})

    do_HEAD = do_GET

    def do_POST(self):
        self.state.requests.append((self.command, self.path))
        body = self.body()
        if self.path == "/api/validate-yaml":
            return self.reply(200, {"errors": [], "warnings": []})
        if not self.is_logged_in():
            return self.fail(401)
        if self.path == "/api/repos/create":
            return self.create(json.loads(body))
        match = re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)/(preupload|commit)/(\w+)", self.path)
        if match is None or match[1] in self.state.read_only:
            return self.fail(403)
        if match[2] == "preupload":
            files = json.loads(body)["files"]
            modes = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in files
            ]
            return self.reply(200, {"files": modes})
        return self.commit(match[1], body)

    def create(self, request):
        name = f"{request['organization']}/{request['name']}"
        if name in self.state.read_only:
            return self.fail(403)
        if name in self.state.commits:
            return self.reply(409, {"url": f"{self.address}/{name}"})
        self.state.add(name, {".gitattributes": b""})
        if request.get("visibility") == "private" or request.get("private"):
            self.state.private.add(name)
        return self.reply(200, {"url": f"{self.address}/{name}"})

    def commit(self, name, body):
        lines = [json.loads(line) for line in body.decode().splitlines()]
        files = {
            line["value"]["path"]: base64.b64decode(line["value"]["content"])
            for line in lines
            if line["key"] == "file"
        }
        oid = self.state.add(name, files)
        url = f"{self.address}/{name}/commit/{oid}"
        return self.reply(200, {"commitUrl": url, "commitOid": oid, "success": True})


@contextmanager
def hub_server() -> Iterator[tuple[str, HubState]]:
    """Serve an empty hub on this machine.

    Yields:
        Its address and its state.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.state = HubState()
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
