"""A caching nginx in front of Relais: it never hands one client's ticket to the next.

Two caches: one by nginx' own rules, one that also keeps what says nothing of caches. Two clients ask for the same, one after the
other; whatever the second is given out of the cache has no ticket in it. And tickets do come, where nothing is kept.
"""

import http.client
import threading
from urllib.parse import parse_qsl, quote, urlsplit

from fronts import Proxy
from peer import Relais, Upstream, call, check, verdict

CACHE = """events {}
http {
  proxy_cache_path FOLDER/cache keys_zone=answers:1m;
  proxy_temp_path FOLDER/temporary;
  server {
    listen 127.0.0.1:8443;
    location / {
      proxy_pass http://127.0.0.1:8080;
      proxy_cache answers;
      MORE
      add_header X-Cache $upstream_cache_status always;
    }
  }
}
"""
GREEDY = "proxy_cache_valid any 1h;"
# What an answer says of caches (lines), and whether a link in it may carry a ticket.
CASES = [
    ([], False),
    (["cache-control: public, max-age=600"], False),
    (["cache-control: max-age=600"], False),
    (["cache-control: s-maxage=600"], False),
    (["cache-control: max-age=600", "cache-control: must-revalidate"], False),
    (["cache-control: private"], True),
    (["cache-control: PRIVATE, max-age=600"], True),
    (["cache-control: no-store"], True),
    (["cache-control: max-age=600", "cache-control: no-store"], True),
    (["cache-control: no-cache"], False),
    (["cache-control: private=\"set-cookie\", max-age=600"], False),
    (["cache-control: private", "x-accel-expires: 600"], False),
    # In this order nginx keeps it.
    (["x-accel-expires: 600", "cache-control: private"], False),
    (["cache-control: no-store", "x-accel-expires: 600"], False),
    (["cache-control: max-age=600, ext=\"private"], False),
    (["cache-control: private max-age=600"], False),
    (["cache-control: no-store, public"], False),
    (["cache-control: no-store", "cdn-cache-control: max-age=600"], False),
    (["expires: Thu, 01 Jan 2037 00:00:00 GMT"], False),
    (["expires: Thu, 01 Jan 2037 00:00:00 GMT", "cache-control: private"], True),
    (["etag: \"x\"", "cache-control: max-age=600"], False),
]
GO = threading.Event()


def answer(request):
    """Says of caches what the query asks for. http.server sends lines with one name as they are only where each has its own call."""
    query = dict(parse_qsl(urlsplit(request.path).query))
    if "slow" in query:
        GO.wait(30)
    lines = [line.split(": ", 1) for line in query.get("say", "").split("\n") if line]
    # In another case each is another key of the same field.
    fields = {"".join(c.upper() if i == at else c for i, c in enumerate(name)): value for at, (name, value) in enumerate(lines)}
    return 200, fields, b"seven"


def ask(port, path, method="GET"):
    """Answers (status, all lines of the head as one text, the cache's word, body)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path)
    found = connection.getresponse()
    body = found.read().decode()
    lines = found.getheaders()
    connection.close()
    word = dict((name.lower(), value) for name, value in lines).get("x-cache", "")
    return found.status, "\n".join(f"{name.lower()}: {value}" for name, value in lines), word, body


def two_clients(proxy):
    hits = tickets = 0
    for at, (lines, may) in enumerate(CASES):
        path = f"/{at}?say={quote(chr(10).join(lines))}"
        what = f"{proxy.name}: {lines}"
        status, head, word, _ = ask(proxy.port, path)
        check(status == 200 and "rel=\"monitor\"" in head, f"{what}: the answer leads back to its task: {status} {head}")
        check(("rt_" in head) == may, f"{what}: {'a' if may else 'no'} ticket: {head}")
        tickets += "rt_" in head
        for method in ("GET", "HEAD"):
            status, head, word, body = ask(proxy.port, path, method)
            hits += word == "HIT"
            check(status == 200, f"{what}: {method} again: {status}")
            check(word != "HIT" or "rt_" not in head + body, f"{what}: no ticket comes out of the cache: {head}")
        # What changes something is kept by none of nginx' own rules.
        status, head, word, _ = ask(proxy.port, path, "POST")
        check(status == 200 and word != "HIT", f"{what}: POST goes through: {status} {word}")
    return hits, tickets


def too_slow(proxy):
    """A 202 has a ticket, and is nobody else's."""
    GO.clear()
    path = "/slow?slow=1&say=" + quote("cache-control: public, max-age=600")
    seen = []
    for _ in range(2):
        status, head, word, body = ask(proxy.port, path)
        check(status == 202 and "rt_" in head and word != "HIT", f"{proxy.name}: too slow is a 202 of its own: {status} {word}")
        seen.append(body)
    check(seen[0] != seen[1], f"{proxy.name}: two tickets for two")
    GO.set()
    location = [line for line in head.split("\n") if line.startswith("location: ")][0][10:]
    result = urlsplit(location)
    status, head, word, body = ask(proxy.port, f"{result.path}?{result.query}")
    while status == 202:
        status, head, word, body = ask(proxy.port, f"{result.path}?{result.query}")
    again = ask(proxy.port, f"{result.path}?{result.query}")
    check(status == 200 and body == "seven" and again[2] != "HIT", f"{proxy.name}: a result is kept by no cache: {status} {again}")


RELAIS = """
[queue."*"]
[[route]]
path = "/{*rest}"
mode = "auto"
wait = "2s"
upstream = "%s"
"""
with Upstream(answer) as upstream, Relais(RELAIS % upstream.url) as relais:
    check(call(relais.port, "GET", "/readyz")[0] == 200, "Relais is there")
    for name, more, most in (("nginx by its own rules", "", 14), ("nginx that keeps what it may", GREEDY, 16)):
        with Proxy("nginx", CACHE.replace("MORE", more), relais, name) as proxy:
            hits, tickets = two_clients(proxy)
            check(hits >= most, f"{name}: it does keep answers: {hits}")
            check(tickets == sum(may for _, may in CASES), f"{name}: tickets come where nothing is kept: {tickets}")
            too_slow(proxy)
verdict()
