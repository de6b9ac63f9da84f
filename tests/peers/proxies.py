"""Relais behind nginx, Caddy and HAProxy, each with the configuration of docs/guide/proxies.md, taken from the page; then each
with nothing but the line that says where Relais is.

Through each: a request becomes a ticket whose links are the public ones, the answer comes, events arrive one by one, a large
body passes, the upstream learns who called, a long-poll is held, and without a key nobody drives Relais. With nothing but the
line, too, what comes bit by bit does, heads come at once, and an end is an end.
"""

import hashlib
import os
import queue
import re
import threading
import time
from urllib.parse import urlsplit

from fronts import BARE, Proxy, Stream
from peer import BrokenOff, Relais, Upstream, call, check, verdict

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/guide/proxies.md")
PUBLIC = "https://api.example.com"
LARGE = b"x" * (20 << 20)
PROGRAMS = {"nginx.conf": "nginx", "Caddyfile": "caddy", "haproxy.cfg": "haproxy"}
SSE = {"accept": "text/event-stream"}
GO = threading.Event()
SEEN = []
PIECES = [b"1" * 100, b"2" * 5000, b"3" * 7]
# The upstream sends the next piece for each; it breaks off where None is taken out.
NEXT = queue.Queue()


def pieces():
    for piece in PIECES:
        if NEXT.get(timeout=30) is None:
            raise BrokenOff
        yield piece


def answer(request):
    SEEN.append([request.headers.get_all(name) for name in ("forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")])
    if request.path.startswith("/live"):
        fields = {"content-type": "text/event-stream" if "events" in request.path else "application/octet-stream"}
        if "length" in request.path:
            fields["content-length"] = str(sum(map(len, PIECES)))
        return 200, fields, pieces()
    if request.path.startswith("/slow"):
        GO.wait(30)
    body = hashlib.sha256(request.body).hexdigest().encode()
    return 200, {"content-type": "text/plain"}, body


def configurations():
    with open(PAGE) as text:
        found = dict(re.findall(r"(?ms)^```\w+\n# (\S+)\n(.*?)^```$", text.read()))
    return {name: code for name, code in found.items() if name in PROGRAMS}


def as_they_happen(name, stream):
    """Reads the events of a task whose upstream is let go a second after it has begun."""
    check(stream.status == 200 and stream.head_after < 0.7, f"{name}: the head of a stream comes at once: {stream.head_after:.2f} s")
    times, seen = {}, b""
    for piece in stream.pieces():
        seen += piece
        for event in re.findall(rb"event: (\S+)\n", seen):
            if event not in times and event == b"started":
                threading.Timer(1.0, GO.set).start()
            times.setdefault(event, stream.after())
    check(b"started" in times and b"succeeded" in times, f"{name}: the events come: {times}")
    check(times.get(b"succeeded", 0) - times.get(b"started", 0) > 0.8, f"{name}: each when it happens: {times}")
    check(not stream.is_cut, f"{name}: the end of a stream is one")
    stream.close()


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
    as_they_happen(name, Stream(port, without_origin(task["links"]["events"]), SSE))
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


def as_it_comes(proxy):
    """What passes through a proxy that was told nothing of streams."""
    port, name = proxy.port, proxy.name
    ask = {"prefer": "respond-async", "content-type": "text/plain"}
    for what in ("events of one task", "events of many tasks"):
        GO.clear()
        _, _, task = call(port, "POST", "/slow", b"x", ask)
        path = without_origin(task["links"]["events"])
        if what == "events of many tasks":
            path = f"/v1/events?ticket={task['ticket']}"
        stream = Stream(port, path, SSE)
        check(stream.fields.get("incremental") == "?1", f"{name}: {what} ask to be passed on: {stream.fields}")
        if what == "events of one task":
            as_they_happen(f"{name}: {what}", stream)
            continue
        check(stream.head_after < 0.7, f"{name}: {what}: the head comes at once: {stream.head_after:.2f} s")
        check(stream.until(b"event: started"), f"{name}: {what} come")
        began = stream.after()
        threading.Timer(1.0, GO.set).start()
        check(stream.until(b"event: succeeded") and stream.after() - began > 0.8, f"{name}: {what}: each when it happens")
        stream.close()
    GO.clear()
    _, fields, task = call(port, "POST", "/slow", b"y", ask)
    threading.Timer(6.0, GO.set).start()
    poll = Stream(port, without_origin(fields["location"]), {"prefer": "wait=30"})
    body = poll.rest_of_it().decode()
    check(poll.head_after > 4 and body == hashlib.sha256(b"y").hexdigest(), f"{name}: a long-poll is held until the answer is there: {poll.status}")
    check(not poll.is_cut, f"{name}: and its end is one")


def live(proxy, kind):
    """An answer is read while it comes, and read on behind what one has."""
    port, name = proxy.port, f"{proxy.name}: a live answer ({kind})"
    ask = {"prefer": "respond-async", "content-type": "text/plain"}
    _, fields, _ = call(port, "POST", f"/live/{kind}", b"x", ask)
    path = without_origin(fields["location"]) + "&live"
    threading.Timer(0.5, NEXT.put, [True]).start()
    reader = Stream(port, path, {"prefer": "wait=30"})
    check(reader.status == 200 and reader.fields.get("incremental") == "?1", f"{name}: {reader.status} {reader.fields}")
    check(reader.until(PIECES[0]) and reader.head_after < 1.5 and reader.after() < 1.5,
          f"{name}: head and first piece come at once: {reader.head_after:.2f} s, {reader.after():.2f} s")
    # Cut, and read on by somebody who has all but a few bytes of it.
    attempt = reader.fields["relais-result-version"]
    reader.close()
    reader = Stream(port, f"{path}&after=90&attempt={attempt}")
    check(reader.fields.get("relais-offset") == "90", f"{name}: one reads on: {reader.fields}")
    check(reader.until(PIECES[0][90:]), f"{name}: behind what one has")
    for piece in PIECES[1:]:
        began = reader.after()
        NEXT.put(True)
        # Of an answer with a length the last byte waits for its outcome.
        check(reader.until(piece[:-1]) and reader.after() - began < 1, f"{name}: a piece comes when it is there: {reader.after() - began:.2f} s")
    check(reader.rest_of_it() == b"".join(PIECES)[90:] and not reader.is_cut, f"{name}: all of it, and its end")
    status, _, body = call(port, "GET", without_origin(fields["location"]))
    check((status, body) == (200, b"".join(PIECES)), f"{name}: it is kept")
    whole = sum(map(len, PIECES))
    status, told, body = call(port, "GET", f"{path}&after={whole}&attempt={attempt}")
    check((status, told.get("relais-offset"), body) == (200, str(whole), b""), f"{name}: who reads on behind its end learns that it is whole: {status}")


def held_back(proxy):
    """Caddy passes on what has a length once it has 4 KiB of it, or the end: see the page."""
    port, name = proxy.port, f"{proxy.name}: a live answer with a length"
    _, fields, _ = call(port, "POST", "/live/octets-with-length", b"x", {"prefer": "respond-async", "content-type": "text/plain"})
    for _ in PIECES:
        NEXT.put(True)
    reader = Stream(port, without_origin(fields["location"]) + "&live", {"prefer": "wait=30"})
    check(reader.rest_of_it() == b"".join(PIECES) and not reader.is_cut, f"{name}: passes whole")


def broken_off(proxy, is_hidden):
    """An answer that breaks off is never ended cleanly, not by HTTP/1.0 either; where a proxy hides that, whoever reads on learns it."""
    port, name = proxy.port, f"{proxy.name}: an answer that breaks off"
    ask = {"prefer": "respond-async", "content-type": "text/plain"}
    for kind in ("octets", "octets with a length"):
        _, fields, _ = call(port, "POST", f"/live/{kind.replace(' ', '-')}", b"x", ask)
        NEXT.put(True)
        threading.Timer(1.0, NEXT.put, [None]).start()
        reader = Stream(port, without_origin(fields["location"]) + "&live", {"prefer": "wait=30"})
        check(reader.rest_of_it() == PIECES[0], f"{name}: {kind}: begins: {reader.body}")
        check(reader.is_cut or (is_hidden and kind == "octets"), f"{name}: {kind}: is seen to")
        version = reader.fields["relais-result-version"]
        status, _, problem = call(port, "GET", f"{without_origin(fields['location'])}&live&after={len(reader.body)}&attempt={version}")
        check(status == 502 and problem["code"] == "outcome-unknown", f"{name}: {kind}: who reads on learns it: {status} {problem}")


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
        check(sorted(found) == sorted(PROGRAMS), f"three configurations: {sorted(found)}")
        for name, code in found.items():
            with Proxy(PROGRAMS[name], code, relais, name) as proxy:
                through(proxy, relais)
                for kind in ("octets", "octets-with-length"):
                    live(proxy, kind)
    # Proxies that were put in front by somebody who told neither of the other.
    with Relais(config) as relais:
        for program, code in BARE.items():
            with Proxy(program, code, relais, f"{program} with its default lines") as proxy:
                as_it_comes(proxy)
                is_caddy = program == "caddy"
                for kind in ("octets", "events") if is_caddy else ("octets", "events", "octets-with-length"):
                    live(proxy, kind)
                if is_caddy:
                    held_back(proxy)
                # Debian's Caddy (2.6) ends by itself what broke off before it, if it has no length.
                broken_off(proxy, is_caddy)
                # HAProxy says nothing of itself, so that a call through it looks like one of this machine: see the page.
                if program != "haproxy":
                    closed(proxy)
verdict()
