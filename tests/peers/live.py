"""The programs of docs/guide/live.md are cut off in the middle of an answer and read on; and curl reads one of a worker live."""

import http.client
import os
import re
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from peer import Relais, call, check, temporary, verdict

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/guide/live.md")
RUN = {"py": [sys.executable], "sh": ["sh"], "mjs": ["node"]}
PIECES = [f"id: {number}\ndata: {{\"t\": \"pièce {number}\"}}\n\n".encode() for number in range(8)]
WHOLE = b"".join(PIECES)
calls = []


class Teller(BaseHTTPRequestHandler):
    """Tells an answer bit by bit, for two seconds."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        calls.append(self.path)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for piece in PIECES:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            time.sleep(0.25)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):
        pass


def programs(page):
    found = {}
    for code in re.findall(r"(?ms)^```\w+\n(.*?)^```$", page):
        name = re.match(r"(?:#|//) (\S+\.(?:py|sh|mjs))\n", code)
        if name:
            found[name[1]] = code
    return found


def worker(port, id):
    """Leases a task, and shows a result of three pieces; each once the one before was read."""
    _, _, leased = call(port, "POST", "/v1/queues/q/leases", {"wait": "20s"})
    token = leased["leases"][0]["token"]
    read = threading.Event()

    def pieces():
        yield b"one "
        read.wait(20)
        yield b"two "
        yield b"three"

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    fields = {"relais-lease": token, "content-type": "text/plain", "transfer-encoding": "chunked"}
    stored = {}

    def put():
        connection.request("PUT", "/v1/leases/result?live", pieces(), fields, encode_chunked=True)
        stored["answer"] = connection.getresponse().read()

    putting = threading.Thread(target=put)
    putting.start()
    curl = subprocess.Popen(
        ["curl", "-sN", "-i", "-H", "Prefer: wait=50", f"http://127.0.0.1:{port}/v1/tasks/{id}/result?live"],
        stdout=subprocess.PIPE,
    )
    while curl.stdout.readline().strip():
        pass
    check(curl.stdout.read(4) == b"one ", "curl -N reads the first piece while the worker holds the others")
    read.set()
    putting.join(60)
    name = re.search(rb'"result_id":"([^"]+)"', stored["answer"])[1].decode()
    settle = {"items": [{"token": token, "outcome": "succeed", "result_id": name}]}
    check(call(port, "POST", "/v1/leases/settle", settle)[2]["items"][0]["status"] == 200, "the settle names what was shown")
    check(curl.stdout.read() == b"two three" and curl.wait(60) == 0, "and it ends cleanly with the settle")


upstream = ThreadingHTTPServer(("127.0.0.1", 0), Teller)
upstream.daemon_threads = True
threading.Thread(target=upstream.serve_forever, daemon=True).start()
folder = temporary("live")
with open(PAGE) as text:
    files = programs(text.read())
check(sorted(files) == ["live.mjs", "live.py", "live.sh"], f"three programs: {sorted(files)}")
with Relais('[queue."*"]', args=["--upstream", f"http://127.0.0.1:{upstream.server_address[1]}"]) as relais:
    running = {}
    for name, code in files.items():
        path = os.path.join(folder, name)
        with open(path, "w") as out:
            out.write(code)
        environment = {**os.environ, "RELAIS_URL": relais.url}
        command = [*RUN[name.rsplit(".", 1)[1]], path]
        running[name] = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for name, program in running.items():
        said, complained = program.communicate(timeout=60)
        check(said == WHOLE, f"{name} reads each byte once: {said!r} {complained[-500:]!r}")
    check(len(calls) == len(files), f"the service was called once for each: {calls}")
    _, _, task = call(relais.port, "POST", "/v1/tasks", {"queue": "q", "input": 1})
    worker(relais.port, task["id"])
verdict()
