"""An S3 server in memory, path style, with injected faults of real stores.

It speaks GET with ranges and If-Match, HEAD, PUT with If-None-Match, DELETE and
ListObjectsV2 in pages. Its faults are those that emulators do not have.
"""

import hashlib
import re
import socket
import struct
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_PAGE = 1000
_NEVER = "Thu, 01 Jan 2026 00:00:00 GMT"
_XML = "<?xml version='1.0' encoding='UTF-8'?>"


class FaultServer:
    """The objects, pending faults and received requests.

    `fail` injects faults into the next requests with a matching method and key: a
    status, "reset" (the connection breaks), "short" (it breaks after half of the body),
    "slow" (no byte for `slow_s`) or "lost" (it breaks after a completed put).
    """

    def __init__(self, bucket, *, page=_PAGE, slow_s=1.5):
        self.bucket, self.page, self.slow_s = bucket, page, slow_s
        self.address = ""
        self.objects = {}
        self.asked = []
        self.headers = []  # of each request, names in lower case
        self.denied = ""  # a method that is not allowed
        self.storm = iter(())  # what befalls requests in turn, None: nothing
        self.storm_methods = {"GET", "HEAD", "PUT"}
        self.met = Counter()  # faults of the storm: (method, kind) → requests
        self._faults = []
        self._lock = threading.Lock()

    def fail(self, kind, *, method="GET", key=".*", times=1):
        """Add faults, which occur in this order."""
        self._faults += [(kind, method, re.compile(key))] * times

    def take_fault(self, method, key):
        """Return and remove the first fault that matches a request."""
        with self._lock:
            self.asked.append((method, key))
            for number, (kind, of_method, of_key) in enumerate(self._faults):
                if of_method == method and of_key.fullmatch(key):
                    del self._faults[number]
                    return kind
            if method not in self.storm_methods:
                return None
            if (kind := next(self.storm, None)) is not None:
                self.met[method, kind] += 1
            return kind

    @property
    def num_waiting(self):
        """Count the pending faults."""
        return len(self._faults)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    state: FaultServer

    def log_message(self, *_):
        pass

    def _answer(self, status, body=b"", **headers):
        self.send_response(status)
        self.send_header("content-length", headers.pop("length", len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _error(self, status, code, **headers):
        text = f"{_XML}<Error><Code>{code}</Code><Message>{code}</Message></Error>"
        self._answer(status, text.encode(), **headers)

    def _break(self):
        """Reset the connection instead of closing it."""
        hard = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, hard)
        self.connection.close()
        self.close_connection = True

    def _start(self):
        """Read the request; return its key and query, or None after a fault."""
        parts = urlsplit(self.path)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        query = {n: v[0] for n, v in parse_qs(parts.query).items()}
        length = int(self.headers.get("content-length") or 0)
        self.sent = self.rfile.read(length)
        self.short = False
        self.state.headers.append({k.lower(): v for k, v in self.headers.items()})
        fault = self.state.take_fault(self.command, key)
        if self.command == self.state.denied:
            self._error(403, "AccessDenied")
        elif bucket != self.state.bucket:
            self._error(404, "NoSuchBucket")
        elif fault == "reset":
            self._break()
        elif isinstance(fault, int):
            retry = {"retry_after": "1"} if fault == 429 else {}
            self._error(fault, "SlowDown", **retry)
        else:
            if fault == "slow":
                time.sleep(self.state.slow_s)
            self.short = fault == "short"
            self.lost = fault == "lost"
            return key, query
        return None, query

    def do_GET(self):
        key, query = self._start()
        if key is None:
            return None
        if not key:
            return self._answer(200, self._list(query).encode())
        data = self.state.objects.get(key)
        if data is None:
            return self._error(404, "NoSuchKey")
        tag = f'"{hashlib.md5(data).hexdigest()}"'
        if self.headers.get("if-match", tag) != tag:
            return self._error(412, "PreconditionFailed")
        status, extra = 200, {}
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range", "")):
            first, last = int(wanted[1]), min(int(wanted[2]), len(data) - 1)
            if first >= len(data):
                return self._error(416, "InvalidRange")
            status = 206
            extra["content_range"] = f"bytes {first}-{last}/{len(data)}"
            data = data[first : last + 1]
        length = len(data)
        if self.short:
            data = data[: length // 2]
        extra |= {"length": length, "etag": tag, "last_modified": _NEVER}
        self._answer(status, data, **extra)
        return self._break() if self.short else None

    do_HEAD = do_GET  # noqa: N815  # as http.server calls it

    def do_PUT(self):
        key, _ = self._start()
        if key is None:
            return None
        if "if-none-match" in self.headers and key in self.state.objects:
            return self._error(412, "PreconditionFailed")
        self.state.objects[key] = self.sent
        if self.lost:
            return self._break()
        return self._answer(200, etag=f'"{hashlib.md5(self.sent).hexdigest()}"')

    def do_POST(self):
        """Delete several objects."""
        if self._start()[0] is None:
            return
        keys = re.findall(r"<Key>(.*?)</Key>", self.sent.decode())
        for key in keys:
            self.state.objects.pop(key, None)
        gone = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        self._answer(200, f"{_XML}<DeleteResult>{gone}</DeleteResult>".encode())

    def _list(self, query):
        prefix, after = query.get("prefix", ""), query.get("continuation-token", "")
        names = {}
        for key in sorted(self.state.objects):
            rest = key.removeprefix(prefix)
            if key.startswith(prefix):
                is_inside = "delimiter" in query and "/" in rest
                name = f"{prefix}{rest.split('/')[0]}/" if is_inside else key
                names[name] = is_inside
        wanted = [name for name in sorted(names) if name > after]
        page, more = wanted[: self.state.page], wanted[self.state.page :]
        items = "".join(
            f"<CommonPrefixes><Prefix>{escape(n)}</Prefix></CommonPrefixes>"
            if names[n]
            else f"<Contents><Key>{escape(n)}</Key><Size>{len(self.state.objects[n])}"
            "</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for n in page
        )
        if more:
            token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>"
            items += f"<IsTruncated>true</IsTruncated>{token}"
        return f"{_XML}<ListBucketResult>{items}</ListBucketResult>"


@contextmanager
def run(bucket, **settings):
    """Run the server; yield its address and its state."""
    state = FaultServer(bucket, **settings)
    handler = type("Handler", (_Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # broken connections are what it is for
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        state.address = f"http://127.0.0.1:{server.server_address[1]}"
        yield state.address, state
    finally:
        server.shutdown()
        server.server_close()
