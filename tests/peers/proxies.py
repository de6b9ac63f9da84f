"""Relais behind nginx, Caddy and HAProxy, each with the configuration of docs/guide/proxies.md, taken from the page.

Through each: a request becomes a ticket whose links are the public ones, the answer comes, events arrive one by one, a large
body passes, the upstream learns who called, a long-poll is held, and without a key nobody drives Relais.
"""

import hashlib
import http.client
import os
import re
import subprocess
import threading
import time
from urllib.parse import urlsplit

from peer import Relais, Upstream, call, check, free_port, temporary, verdict

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/guide/proxies.md")
PUBLIC = "https://api.example.com"
LARGE = b"x" * (20 << 20)
COMMANDS = {
    "nginx.conf": lambda path, folder: ["nginx", "-c", path, "-p", folder, "-g", f"daemon off; pid {folder}/pid; error_log stderr;"],
    "Caddyfile": lambda path, folder: ["caddy", "run", "--config", path, "--adapter", "caddyfile"],
    "haproxy.cfg": lambda path, folder: ["haproxy", "-f", path, "-db"],
    # What nginx does if it is told nothing but where to go.
    "bare.conf": lambda path, folder: ["nginx", "-c", path, "-p", folder, "-g", f"daemon off; pid {folder}/pid; error_log stderr;"],
}
BARE = "events {}\nhttp {\n  server {\n    listen 127.0.0.1:8443;\n    location / { proxy_pass http://127.0.0.1:8080; }\n  }\n}\n"
GO = threading.Event()
SEEN = []


def answer(request):
    SEEN.append([request.headers.get_all(name) for name in ("forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")])
    if request.path.startswith("/slow"):
        GO.wait(30)
    body = hashlib.sha256(request.body).hexdigest().encode()
    return 200, {"content-type": "text/plain"}, body


def configurations():
    with open(PAGE) as text:
        found = dict(re.findall(r"(?ms)^```\w+\n# (\S+)\n(.*?)^```$", text.read()))
    return {name: code for name, code in found.items() if name in COMMANDS}


class Proxy:
    def __init__(self, name, code, relais):
        self.name, self.port, self.folder = name, free_port(), temporary("proxy")
        path = os.path.join(self.folder, name)
        with open(path, "w") as out:
            out.write(code.replace("8443", str(self.port)).replace("127.0.0.1:8080", f"127.0.0.1:{relais.port}"))
        environment = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin", "HOME": self.folder}
        self.log = open(os.path.join(self.folder, "log"), "wb")
        self.process = subprocess.Popen(COMMANDS[name](path, self.folder), stdout=self.log, stderr=self.log, env=environment)
        for _ in range(400):
            try:
                if call(self.port, "GET", "/readyz")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        with open(self.log.name) as text:
            raise RuntimeError(f"{name} does not answer: {text.read()[-1000:]}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()


def events(port, path):
    """Reads an event stream as it comes; yields (event, seconds since it was asked for)."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=40)
    connection.request("GET", path, headers={"accept": "text/event-stream"})
    answer = connection.getresponse()
    while line := answer.readline():
        if line.startswith(b"event: "):
            yield line[7:].strip().decode(), time.monotonic() - began
    connection.close()


def without_origin(link):
    parts = urlsplit(link)
    return parts.path + "?" + parts.query


def through(proxy, relais):
    port, name = proxy.port, proxy.name
    asked = {"prefer": "respond-async", "content-type": "text/plain", "x-forwarded-for": "6.6.6.6",
             "x-forwarded-host": "6.6.6.6", "forwarded": "for=6.6.6.6;host=6.6.6.6"}
    GO.clear()
    status, fields, task = call(port, "POST", "/slow", b"x", asked)
    if not check(status == 202, f"{name}: a request becomes a ticket: {status} {task}"):
        return
    check(fields["location"].startswith(PUBLIC + "/"), f"{name}: its links are the public ones: {fields['location']}")
    told = []
    for event, after in events(port, without_origin(task["links"]["events"])):
        told.append((event, after))
        if event == "started":
            threading.Timer(1.0, GO.set).start()
        if event == "succeeded":
            break
    times = dict(told)
    check("started" in times and "succeeded" in times, f"{name}: the events come: {told}")
    check(times.get("succeeded", 0) - times.get("started", 0) > 0.8, f"{name}: each when it happens: {told}")
    status, _, body = call(port, "GET", without_origin(fields["location"]))
    check(status == 200 and body.decode() == hashlib.sha256(b"x").hexdigest(), f"{name}: the answer is there: {status}")
    _, way, scheme, host = SEEN[-1]
    check(way == ["127.0.0.1, 127.0.0.1"] and scheme == ["http"], f"{name}: the upstream learns who called: {way} {scheme}")
    check(host == [f"127.0.0.1:{port}"], f"{name}: and under which name: {host}")
    check("6.6.6.6" not in str(SEEN[-1]), f"{name}: and nothing that the client claims: {SEEN[-1]}")
    status, _, body = call(port, "POST", "/large", LARGE, {"content-type": "application/octet-stream"})
    check(status == 200 and body.decode() == hashlib.sha256(LARGE).hexdigest(), f"{name}: 20 MiB pass: {status}")
    GO.clear()
    _, fields, task = call(port, "POST", "/slow", b"y", {"prefer": "respond-async", "content-type": "text/plain"})
    began = time.monotonic()
    threading.Timer(6.0, GO.set).start()
    status, _, _ = call(port, "GET", without_origin(fields["location"]), headers={"prefer": "wait=30"})
    check(status == 200 and time.monotonic() - began > 4, f"{name}: a long-poll is held until the answer is there: {status}")
    closed(proxy)


def closed(proxy):
    """Without a key nobody who reaches the proxy drives Relais."""
    for method, path, body in (("GET", "/v1/tasks", None), ("POST", "/v1/tasks", {"queue": "q", "input": 1}), ("POST", "/v1/queues/q/pause", None)):
        status, _, _ = call(proxy.port, method, path, body)
        check(status in (401, 403), f"{proxy.name}: {method} {path} without a key is refused: {status}")


RELAIS = """
[queue."*"]
[[route]]
path = "/{*rest}"
mode = "auto"
upstream = "%s"
"""
with Upstream(answer) as upstream:
    config = RELAIS % upstream.url
    with Relais(config, f'public_url = "{PUBLIC}"\ntrusted_proxies = ["127.0.0.0/8"]') as relais:
        found = configurations()
        check(sorted(found) == ["Caddyfile", "haproxy.cfg", "nginx.conf"], f"three configurations: {sorted(found)}")
        for name, code in found.items():
            with Proxy(name, code, relais) as proxy:
                through(proxy, relais)
    # A proxy that was put in front by somebody who told neither of the other.
    with Relais(config) as relais, Proxy("bare.conf", BARE, relais) as proxy:
        closed(proxy)
verdict()
