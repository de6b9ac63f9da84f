"""What the scripts of this folder share: a Relais of their own, an upstream, and a verdict.

A script calls `check(holds, what)` for each thing that must hold and ends with `verdict()`, whose line and exit status
the test beside it reads (`src/lib.rs`). The program is the one that `RELAIS` names.
"""

import atexit
import http.client
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading

RELAIS = os.path.abspath(os.environ.get("RELAIS", "target/debug/relais"))
_held = 0
_failed = []


def check(holds, what):
    """Notes whether something that must hold does."""
    global _held
    if holds:
        _held += 1
    else:
        _failed.append(what)
        print("does not hold:", what, flush=True)
    return bool(holds)


def verdict():
    """Prints what the test reads, and ends the script."""
    print(f"{_held} passed, {len(_failed)} failed", flush=True)
    sys.exit(1 if _failed else 0)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def temporary(name):
    """A folder that is gone when the script has ended."""
    folder = tempfile.mkdtemp(prefix=f"relais-{name}-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


class Relais:
    """A server in a folder of its own; `config` is the text of relais.toml without ports and store."""

    def __init__(self, config="", server="", args=()):
        self.folder = tempfile.mkdtemp(prefix="relais-peer-")
        self.file = os.path.join(self.folder, "relais.toml")
        with open(self.file, "w") as out:
            out.write(f"""[server]
listen = "127.0.0.1:0"
admin_listen = "127.0.0.1:0"
{server}
[store]
url = "sqlite:{self.folder}/relais.db"
{config}
""")
        self.log = open(os.path.join(self.folder, "log"), "wb")
        command = [RELAIS, "serve", "--config", self.file, *args]
        self.process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, stderr=self.log, text=True)
        ready = self.process.stdout.readline()
        found = re.search(r"api https?://[^ ]*?:(\d+) admin https?://[^ ]*?:(\d+)", ready)
        if not found:
            raise RuntimeError(f"relais did not start: {ready} {self.said()}")
        self.port, self.admin = int(found[1]), int(found[2])
        self.url, self.admin_url = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.admin}"

    def said(self):
        with open(os.path.join(self.folder, "log"), errors="replace") as text:
            return text.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class BrokenOff(Exception):
    """Raised by the pieces of a body: the connection ends in the middle of it."""


class Upstream:
    """A service of its own: `answer(request)` gets the handler of http.server and answers (status, fields, body).

    A body that is an iterator of pieces is sent piece by piece, in chunks unless the fields say its length; one that fails breaks
    the connection off.
    """

    def __init__(self, answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                self.body = self.rfile.read(int(self.headers.get("content-length") or 0))
                status, fields, body = answer(self)
                self.send_response(status)
                is_whole = isinstance(body, bytes)
                is_chunked = not is_whole and "content-length" not in fields
                framing = {"content-length": str(len(body))} if is_whole else {"transfer-encoding": "chunked"} if is_chunked else {}
                for name, value in {**framing, **fields}.items():
                    self.send_header(name, value)
                self.end_headers()
                for piece in [body] if is_whole else body:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if is_chunked else piece)
                if is_chunked:
                    self.wfile.write(b"0\r\n\r\n")

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = do_QUERY = handle_any

            def handle(self):
                try:
                    super().handle()
                except BrokenOff:
                    self.close_connection = True

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def call(port, method, path, body=None, headers=None, timeout=60):
    """Answers (status, fields in lower case, body); JSON is parsed."""
    headers = dict(headers or {})
    if body is not None and not isinstance(body, (bytes, str)):
        body = json.dumps(body)
        headers.setdefault("content-type", "application/json")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        data = answer.read()
        fields = {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()
    if "json" in fields.get("content-type", "") and data:
        data = json.loads(data)
    return answer.status, fields, data
