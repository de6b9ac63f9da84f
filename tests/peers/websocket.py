"""The WebSocket by `websockets` of PyPI, as it is: at Relais itself, and through nginx, Caddy and HAProxy with the configurations of
docs/guide/proxies.md. nginx without its three lines takes the offer away: the client learns it at once, and has the event stream.
"""

import json
import os
import re

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from fronts import BARE, Proxy, Stream
from peer import Relais, Upstream, call, check, verdict

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/guide/proxies.md")
PROGRAMS = {"nginx.conf": "nginx", "Caddyfile": "caddy", "haproxy.cfg": "haproxy"}
ASK = {"prefer": "respond-async", "content-type": "text/plain"}


def opened(port, token=None, **more):
    protocols = ["relais.v1.json"] + ([f"relais.bearer.{token}"] if token else [])
    return connect(f"ws://127.0.0.1:{port}/v1/ws", subprotocols=protocols, **more)


def hear(ws):
    return json.loads(ws.recv(timeout=20))


def events_of(ws, task, after=0, ticket=None):
    ask = {"op": "watch", "watch": "w", "task": task, "after": after}
    ws.send(json.dumps(ask | ({"ticket": ticket} if ticket else {})))
    seen = []
    while True:
        said = hear(ws)
        if said.get("op") == "end":
            return seen, said
        if "event" in said:
            seen.append(said["event"])


def through(port, name):
    _, _, task = call(port, "POST", "/work", b"x", ASK)
    with opened(port, task["ticket"]) as ws:
        check(ws.subprotocol == "relais.v1.json", f"{name}: the subprotocol: {ws.subprotocol}")
        check(hear(ws)["op"] == "ready", f"{name}: who asks is known")
        seen, end = events_of(ws, task["id"])
        kinds = [event["type"] for event in seen]
        check(kinds == ["accepted", "started", "succeeded"] and end["reason"] == "over", f"{name}: the log: {kinds} {end}")
        again, _ = events_of(ws, task["id"], after=1)
        check(again == seen[1:], f"{name}: it goes on behind what one has: {again}")
        path = "/v1" + task["links"]["events"].split("/v1", 1)[1]
        _, _, page = call(port, "GET", path, headers={"accept": "application/json"})
        check(page["events"] == seen, f"{name}: as every other way tells it")
        check(ws.ping(b"x").wait(10), f"{name}: a ping of the protocol is answered")


def calls(port):
    """Submit, cancel and retry without credentials, on this machine."""
    with opened(port) as ws:
        check(hear(ws)["op"] == "ready", "a call of this machine is known")
        ws.send(json.dumps({"op": "submit", "id": "1", "task": {"queue": "q", "input": "é" * 20_000}}))
        reply = hear(ws)
        check(reply["status"] == 202, f"a task is handed in: {reply}")
        for op, status in (("cancel", 200), ("retry", 202)):
            ws.send(json.dumps({"op": op, "id": op, "task": reply["task"]["id"]}))
            said = hear(ws)
            check((said["id"], said["status"]) == (op, status), f"{op}: {said}")
        ws.send("{")
        try:
            hear(ws)
        except ConnectionClosed as closed:
            check(closed.rcvd.code == 4000, f"what cannot be read closes with 4000: {closed}")
    for origin in ("https://evil.example", "null"):
        try:
            opened(port, origin=origin).close()
            check(False, f"{origin} opens none")
        except InvalidStatus as refused:
            check(refused.response.status_code == 403, f"{origin} opens none: {refused}")


def without_the_lines(proxy):
    """The client's fall-back: 426 at once, and events come by the stream."""
    _, _, task = call(proxy.port, "POST", "/work", b"x", ASK)
    try:
        opened(proxy.port, task["ticket"]).close()
        check(False, f"{proxy.name}: the offer does not pass")
    except InvalidStatus as refused:
        check(refused.response.status_code == 426, f"{proxy.name}: the client learns it: {refused}")
    path = "/v1" + task["links"]["events"].split("/v1", 1)[1]
    stream = Stream(proxy.port, path, {"accept": "text/event-stream"})
    check(stream.until(b"event: succeeded"), f"{proxy.name}: the event stream is there")
    stream.close()


RELAIS = """
[queue."*"]
[[route]]
path = "/{*rest}"
mode = "auto"
upstream = "%s"
"""
with open(PAGE) as text:
    PAGES = dict(re.findall(r"(?ms)^```\w+\n# (\S+)\n(.*?)^```$", text.read()))
with Upstream(lambda request: (200, {"content-type": "text/plain"}, b"done")) as upstream:
    with Relais(RELAIS % upstream.url) as relais:
        through(relais.port, "Relais itself")
        calls(relais.port)
        for program, code in BARE.items():
            with Proxy(program, code, relais, f"{program} with its default lines") as proxy:
                if program == "nginx":
                    without_the_lines(proxy)
                else:
                    through(proxy.port, proxy.name)
    public = 'public_url = "https://api.example.com"\ntrusted_proxies = ["127.0.0.0/8"]'
    with Relais(RELAIS % upstream.url, public) as relais:
        for name, program in PROGRAMS.items():
            with Proxy(program, PAGES[name], relais, name) as proxy:
                through(proxy.port, name)
verdict()
