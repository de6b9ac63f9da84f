#!/usr/bin/env python3
"""Puts Relais in front of a service nobody here wrote (httpbin), and compares byte for byte.

Between the two stands a tee that records what the upstream really sent. For every case the client's answer,
synchronously and asynchronously, must equal the recorded one as docs/protocol.md defines it.
"""

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

from peer import Relais, check as expect, free_port, verdict

HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-connection"}
ADDED = {"relais-task", "relais-result-version", "operation-location", "preference-applied", "relais-origin"}
REPLAY_DROPS = {"retry-after", "age", "expires", "cache-control", "etag", "accept-ranges"}
REPLAY_ADDS = {"cache-control", "referrer-policy", "x-content-type-options", "content-security-policy", "relais-upstream-status", "relais-upstream-etag"}


class Tee(threading.Thread):
    """Forwards connections to the upstream and keeps each answer, in order."""

    def __init__(self, upstream):
        super().__init__(daemon=True)
        self.upstream = upstream
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.answers = {}
        self.open_calls = 0
        self.lock = threading.Condition()

    def run(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        """One request per connection: the answer is recorded whole under its target."""
        with client:
            request = read_message(client, is_request=True)
            if request is None:
                return
            with self.lock:
                self.open_calls += 1
            try:
                self.forward(client, request)
            finally:
                with self.lock:
                    self.open_calls -= 1
                    self.lock.notify_all()

    def forward(self, client, request):
        start, fields, body = request
        method, target, _ = start.split(" ", 2)
        lines = [f"{method} {target} HTTP/1.1"]
        lines += [f"{n}: {v}" for n, v in fields if n.lower() not in ("connection", "transfer-encoding", "content-length")]
        lines += ["Connection: close"]
        if body or method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(body)}")
        raw = b""
        with socket.create_connection(self.upstream) as server:
            server.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
            while chunk := server.recv(65536):
                raw += chunk
                client.sendall(chunk)
        with self.lock:
            self.answers.setdefault((method, target), []).append(parse_answer(raw, method))

    def last(self, method, target):
        """The upstream's last answer; a client may have it before the upstream hung up."""
        with self.lock:
            self.lock.wait_for(lambda: self.open_calls == 0, timeout=10)
            return self.answers[(method, target)][-1]


def read_message(sock, is_request):
    raw = b""
    while b"\r\n\r\n" not in raw:
        chunk = sock.recv(65536)
        if not chunk:
            return None
        raw += chunk
    head, body = raw.split(b"\r\n\r\n", 1)
    start, fields = parse_head(head)
    length = next((int(v) for n, v in fields if n.lower() == "content-length"), 0)
    if any(n.lower() == "transfer-encoding" for n, _ in fields):
        while not body.endswith(b"0\r\n\r\n"):
            body += sock.recv(65536)
        body = dechunk(body)
    else:
        while len(body) < length:
            body += sock.recv(65536)
    return start, fields, body


def parse_head(head):
    lines = head.decode("latin-1").split("\r\n")
    return lines[0], [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:]]


def dechunk(raw):
    body = b""
    while True:
        size, rest = raw.split(b"\r\n", 1)
        size = int(size.split(b";")[0], 16)
        if size == 0:
            return body
        body, raw = body + rest[:size], rest[size + 2:]


def parse_answer(raw, method):
    head, body = raw.split(b"\r\n\r\n", 1)
    start, fields = parse_head(head)
    status = int(start.split(" ")[1])
    if any(n.lower() == "transfer-encoding" for n, _ in fields):
        body = dechunk(body)
    if method == "HEAD" or status in (204, 304):
        body = b""
    return status, fields, body


def call(port, method, target, headers=None, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest(method, target, skip_accept_encoding=True)
    for name, value in (headers or {}).items():
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response.status, response.getheaders(), data


def by_name(fields, drop):
    found = {}
    for name, value in fields:
        if name.lower() not in drop:
            found.setdefault(name.lower(), []).append(value)
    return found


def without_prefer(vary):
    """`Vary: Prefer` is ours; what the upstream varied by stays."""
    names = [name.strip() for value in vary for name in value.split(",")]
    return [name for name in names if name.lower() != "prefer"]


def without_way_back(found):
    """The link to the task is ours; what the upstream linked to stays."""
    links = [link for link in found.pop("link", []) if not link.endswith('; rel="monitor"')]
    return found | {"link": links} if links else found


def compare(upstream, client, replayed, method):
    status, fields, body = upstream
    got_status, got_fields, got_body = client
    problems = []
    expected_status = 200 if replayed and status == 202 else status
    if got_status != expected_status:
        problems.append(f"status {got_status}, upstream sent {status}")
    if got_body != body:
        problems.append(f"body of {len(got_body)} bytes, upstream sent {len(body)}: {got_body[:80]!r}")
    drop = HOP | ADDED | {"content-length"}
    if replayed:
        drop = drop | REPLAY_DROPS | REPLAY_ADDS
    wanted, found = by_name(fields, drop), without_way_back(by_name(got_fields, drop))
    wanted_vary, found_vary = wanted.pop("vary", []), found.pop("vary", [])
    if without_prefer(found_vary) != without_prefer(wanted_vary):
        problems.append(f"vary {found_vary}, upstream sent {wanted_vary}")
    if replayed:
        for name in ("location", "content-location"):
            wanted_value, found_value = wanted.pop(name, None), found.pop(name, None)
            if wanted_value and not (found_value and urlsplit(found_value[0]).scheme and found_value[0].endswith(wanted_value[0].lstrip("."))):
                problems.append(f"{name} {found_value}, upstream sent {wanted_value}")
    if wanted != found:
        problems.append(f"fields differ: {set_of(found) ^ set_of(wanted)}")
    lengths = [v for n, v in got_fields if n.lower() == "content-length"]
    if method != "HEAD" and got_status not in (204, 304) and lengths and lengths != [str(len(got_body))]:
        problems.append(f"content-length {lengths} for {len(got_body)} bytes")
    return problems


def set_of(fields):
    return {(name, value) for name, values in fields.items() for value in values}


def cases():
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        body = b'{"a": 1}' if method in ("POST", "PUT", "PATCH") else None
        yield method, "/anything", body
        yield method, "/anything/x%20y?b=2&a=1&a=3", body
    for target in ("/bytes/100000?seed=1", "/gzip", "/brotli", "/deflate", "/image/png", "/redirect/2",
                   "/relative-redirect/1", "/absolute-redirect/1", "/cookies/set?a=b", "/drip?duration=1&numbytes=5&delay=0",
                   "/stream-bytes/5000?seed=2", "/stream/3", "/html", "/encoding/utf8", "/response-headers?X-A=1&X-A=2",
                   "/etag/abc", "/range/1000", "/xml"):
        yield "GET", target, None
    for status in list(range(201, 209)) + [226] + list(range(300, 309)) + list(range(400, 430)) + [431, 451] + list(range(500, 512)) + [599]:
        yield "GET", f"/status/{status}", None
        yield "POST", f"/status/{status}", b"x"


def wait_for(port, path):
    for _ in range(200):
        try:
            if call(port, "GET", path)[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    sys.exit(f"nothing answers on {port}{path}")


def fetch(port, location):
    parts = urlsplit(location)
    target = parts.path + ("?" + parts.query if parts.query else "")
    while True:
        answer = call(port, "GET", target, {"Prefer": "wait=20"})
        names = {n.lower() for n, _ in answer[1]}
        if answer[0] != 202 or "relais-upstream-status" in names:
            return answer


def compared(port, tee, method, target, body):
    problems = []
    headers = {"Content-Type": "application/json"} if body else {}
    client = call(port, method, target, headers, body)
    problems += [f"sync: {p}" for p in compare(tee.last(method, target), client, False, method)]
    client = call(port, method, target, headers | {"Prefer": "respond-async"}, body)
    fields = {n.lower(): v for n, v in client[1]}
    if client[0] != 202 or "location" not in fields:
        return problems + [f"async: {client[0]} instead of a ticket"]
    answer = fetch(port, fields["location"])
    return problems + [f"async: {p}" for p in compare(tee.last(method, target), answer, True, method)]


def slow_cases(port):
    """A slow request gives a ticket in milliseconds; a failing one ends with the upstream's own answer."""
    began = time.monotonic()
    status, fields, _ = call(port, "GET", "/delay/5", {"Prefer": "respond-async"})
    took = (time.monotonic() - began) * 1000
    location = dict((n.lower(), v) for n, v in fields)["location"]
    print(f"/delay/5 with respond-async: {status} in {took:.1f} ms")
    answer = fetch(port, location)
    return [] if status == 202 and took < 1000 and answer[0] == 200 and b"/delay/5" in answer[2] else ["/delay/5"]


def main():
    bin_port = free_port()
    gunicorn = os.path.join(os.path.dirname(sys.executable), "gunicorn")
    arguments = ["-b", f"127.0.0.1:{bin_port}", "-k", "gthread", "--threads", "16", "--log-level", "warning", "httpbin:app"]
    upstream = subprocess.Popen([gunicorn, *arguments], stderr=subprocess.DEVNULL)
    tee = Tee(("127.0.0.1", bin_port))
    tee.start()
    config = f"""
[queue.default]
retry = {{ max_attempts = 2, initial = "10ms", max = "20ms" }}
[[route]]
path = "/{{*rest}}"
methods = ["GET", "HEAD", "OPTIONS"]
upstream = "http://127.0.0.1:{tee.port}"
mode = "prefer"
queue = "default"
[[route]]
path = "/{{*rest}}"
upstream = "http://127.0.0.1:{tee.port}"
mode = "auto"
queue = "default"
"""
    try:
        wait_for(bin_port, "/get")
        with Relais(config) as relais:
            for method, target, body in cases():
                problems = compared(relais.port, tee, method, target, body)
                expect(not problems, f"{method} {target}: {'; '.join(problems)}")
            problems = slow_cases(relais.port)
            expect(not problems, f"slow: {problems}")
    finally:
        upstream.terminate()
    verdict()


if __name__ == "__main__":
    main()
