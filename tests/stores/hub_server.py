"""A server that speaks those endpoints of the Hugging Face Hub that readers use.

Revisions, trees in pages with Link headers, and files that redirect to another host,
which serves ranges and must not see the token. Its faults are those of the Hub: gated
and missing datasets, missing revisions and 429 with Retry-After.
"""

import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

REPO, TOKEN = "ILSVRC/imagenet-1k", "hf_of_somebody"


class HubServer:
    """One dataset with its commits and branches, and the received requests."""

    def __init__(self, *, page=3, is_gated=False):
        self.page, self.is_gated = page, is_gated
        self.address = ""
        self.commits = {}  # name → files by path
        self.branches = {}
        self.num_limited = 0  # of the next requests, which get 429
        self.asked = []  # (path, range)
        self.num_bytes = 0  # of files that were served

    def commit(self, files, branch="main"):
        """Add a commit and move a branch to it; return its name."""
        described = {
            path: hashlib.sha256(data).hexdigest() for path, data in files.items()
        }
        name = hashlib.sha1(json.dumps(described).encode()).hexdigest()
        self.commits[name] = dict(files)
        self.branches[branch] = name
        return name

    def answer(self, path, headers):  # noqa: PLR0911  # one for each kind of request
        """Return status, headers and body of a request."""
        split = urlsplit(path)
        self.asked.append((unquote(split.path), headers.get("Range")))
        if self.num_limited:
            self.num_limited -= 1
            return 429, {"Retry-After": "0"}, b""
        if match := re.fullmatch(r"/cdn/(\w+)/(.+)", unquote(split.path)):
            assert "Authorization" not in headers, "the token left the Hub"
            return self._send_file(self.commits[match[1]][match[2]], headers)
        name = f"(?:api/)?datasets/{REPO}/(revision|tree|resolve)"
        if not (match := re.fullmatch(rf"/{name}/([^/]+)(?:/(.*))?", split.path)):
            return _fail(401, "RepoNotFound")
        kind, revision, rest = match[1], unquote(match[2]), unquote(match[3] or "")
        commit = self.branches.get(revision, revision)
        if commit not in self.commits:
            return _fail(404, "RevisionNotFound")
        if kind == "revision":
            return 200, {}, json.dumps({"id": REPO, "sha": commit}).encode()
        if kind == "tree":
            return self._list(self.commits[commit], rest, split)
        given = headers.get("Authorization")
        if self.is_gated and given != f"Bearer {TOKEN}":
            return _fail(403 if given else 401, "GatedRepo")
        if rest not in self.commits[commit]:
            return _fail(404, "EntryNotFound")
        host = self.address.replace("127.0.0.1", "localhost")
        return 302, {"Location": f"{host}/cdn/{commit}/{rest}?signature=x"}, b""

    def _send_file(self, data, headers):
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("Range", ""))
        if match:
            start, last = int(match[1]), int(match[2])
            if start >= len(data):
                return 416, {}, b""
            data = data[start : last + 1]
        self.num_bytes += len(data)
        return (206 if match else 200), {}, data

    def _list(self, files, folder, split):
        prefix = f"{folder}/" if folder else ""
        items = {}
        for path, data in sorted(files.items()):
            if path.startswith(prefix):
                name, _, rest = path[len(prefix) :].partition("/")
                digest = hashlib.sha256(data).hexdigest()
                lfs = {"oid": digest, "size": len(data), "pointerSize": 134}
                file = {"type": "file", "oid": digest[:40], "size": len(data)}
                kind = {"type": "directory", "oid": "0" * 40} if rest else file
                items[name] = {"path": prefix + name, **kind}
                if not rest and name.endswith(".parquet"):
                    items[name]["lfs"] = lfs
        if not items:
            return _fail(404, "EntryNotFound")
        query = parse_qs(split.query)
        start = int(query.get("cursor", ["0"])[0])
        end = start + self.page
        headers = {}
        if end < len(items):
            url = f"{self.address}{split.path}?cursor={end}&recursive=False"
            headers = {"Link": f'<{url}>; rel="next"'}
        return 200, headers, json.dumps([*items.values()][start:end]).encode()


def _fail(status, code):
    return status, {"X-Error-Code": code}, b""


@contextmanager
def run(server):
    """Serve on a free port of this machine while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            status, headers, body = server.answer(self.path, self.headers)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": len(body)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.address = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
