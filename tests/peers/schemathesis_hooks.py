"""Lets schemathesis (PyPI) reach every operation of a running Relais, and counts what it reached.

Generated ids name no task, so half of the cases get one that was just made; streams that never end by
themselves are read for a moment, and calls that wait do so for a second. At the end every operation must have had an answer of 2xx.

    relais serve &
    SCHEMATHESIS_HOOKS=tests/peers/schemathesis_hooks.py schemathesis run http://127.0.0.1:8080/v1/openapi.json
"""

import atexit
import collections
import json
import os
import sys
import time
import urllib.request

import requests
import schemathesis

BASE = None
# What a browser says of a call by a page of Relais itself.
OF_OUR_PAGE = {"Sec-Fetch-Site": "same-origin"}
SEEN = collections.Counter()
GOOD = collections.Counter()
CALLS = collections.Counter()


def api(method, path, body=None, headers=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(BASE + path, data=data, method=method)
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def new_task(is_over):
    task = api("POST", "/v1/tasks", {"queue": "hooks", "input": {"a": 1}})["id"]
    if is_over:
        api("POST", f"/v1/tasks/{task}/cancel")
    return task


def new_lease():
    # Of a type of its own: JSON would be judged as a document, while the description says bytes.
    task = {"queue": "hooks-leased", "input_base64": "AAEC", "content_type": "application/octet-stream"}
    api("POST", "/v1/tasks", task)
    leases = api("POST", "/v1/queues/hooks-leased/leases", {"max": 1})
    return leases["leases"][0]["token"]


def new_session():
    """A task, and the cookie of a browser that follows it."""
    task = new_task(False)
    join = urllib.request.Request(f"{BASE}/v1/session/{task}", method="POST", headers=OF_OUR_PAGE)
    with urllib.request.urlopen(join, timeout=30) as answer:
        return task, answer.headers["set-cookie"].split(";")[0]


def shorten(case):
    """What is to be tried is the answer, not the wait."""
    if isinstance(case.body, dict) and case.body.get("wait") in ("30s", "55s"):
        case.body["wait"] = "1s"
    for name, value in (case.headers or {}).items():
        if name.lower() == "prefer" and "wait=" in str(value):
            case.headers[name] = "wait=1"


def named(case):
    return f"{case.operation.method.upper()} {case.operation.path}"


@schemathesis.hook
def before_call(context, case, kwargs):
    global BASE
    if BASE is None:
        BASE = (kwargs.get("base_url") or case.operation.base_url or "").rstrip("/")
        BASE = BASE.split("/v1")[0]
    name = named(case)
    SEEN[name] += 1
    shorten(case)
    if SEEN[name] % 2:
        return
    if "id" in (case.path_parameters or {}):
        case.path_parameters["id"] = new_task(name.endswith("/retry") or name.startswith("DELETE"))
    if name in (
        "DELETE /v1/session",
        "POST /v1/session/forget",
        "DELETE /v1/session/{id}",
        "POST /v1/session/{id}/forget",
    ):
        task, cookie = new_session()
        if "id" in (case.path_parameters or {}):
            case.path_parameters["id"] = task
        case.headers = {**(case.headers or {}), **OF_OUR_PAGE, "Cookie": cookie}
    if name.endswith(("/leases/input", "/leases/result")) and "relais-lease" in {
        key.lower() for key in (case.headers or {})
    }:
        for key in [key for key in case.headers if key.lower() == "relais-lease"]:
            del case.headers[key]
        case.headers["Relais-Lease"] = new_lease()
    if name == "GET /problems/{code}":
        case.path_parameters["code"] = "queue-full"
    if name == "GET /v1/events":
        case.query = {"label": "order=A-1"}


@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    items = value if isinstance(value, list) else [value]
    return b"\n".join(json.dumps(item).encode() for item in items)


@schemathesis.hook
def after_call(context, case, response):
    CALLS[named(case)] += 1
    if 200 <= response.status_code < 300:
        GOOD[named(case)] += 1


send = requests.adapters.HTTPAdapter.send


def send_for_a_moment(self, request, **kwargs):
    """A stream ends after minutes: its first second is enough."""
    if "/events" not in request.url:
        return send(self, request, **kwargs)
    kwargs["stream"], kwargs["timeout"] = True, (10, 1)
    response = send(self, request, **kwargs)
    read, until = b"", time.monotonic() + 1
    try:
        for piece in response.iter_content(None):
            read += piece
            if time.monotonic() > until:
                break
    except requests.exceptions.RequestException:
        pass
    response._content, response._content_consumed = read, True
    return response


requests.adapters.HTTPAdapter.send = send_for_a_moment


@atexit.register
def tell():
    if not CALLS:
        return
    print("\nanswers of 2xx of all, by operation")
    for name in sorted(CALLS):
        print(f"  {GOOD[name]:5} of {CALLS[name]:5}  {name}")
    missing = [name for name in CALLS if not GOOD[name]]
    print("every operation had an answer of 2xx" if not missing else f"without any: {missing}")
    sys.stdout.flush()
    if missing:
        os._exit(1)
