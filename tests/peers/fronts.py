"""Proxies in front of a Relais: nginx, Caddy and HAProxy, each with the configuration that a script gives it."""

import os
import re
import socket
import subprocess
import time

from peer import call, free_port, temporary

NGINX = lambda path, folder: ["nginx", "-c", path, "-p", folder, "-g", f"daemon off; pid {folder}/pid; error_log stderr;"]
COMMANDS = {
    "nginx": NGINX,
    "caddy": lambda path, folder: ["caddy", "run", "--config", path, "--adapter", "caddyfile"],
    "haproxy": lambda path, folder: ["haproxy", "-f", path, "-db"],
}
# What one writes who tells a proxy nothing but where to go. The times of HAProxy are those of the file that Debian brings: without
# any it warns, and waits for ever.
FILES = {"nginx": "nginx.conf", "caddy": "Caddyfile", "haproxy": "haproxy.cfg"}


def bare(program):
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "bare", FILES[program])) as text:
        return text.read()


BARE = {program: bare(program) for program in FILES}


class Proxy:
    """A proxy until it is left; in `code` 127.0.0.1:8443 is where it listens, 127.0.0.1:8080 the Relais, FOLDER its own folder."""

    def __init__(self, program, code, relais, name=None):
        self.name, self.port, self.folder = name or program, free_port(), temporary("proxy")
        # nginx that root starts works as somebody else, who keeps answers in here.
        os.chmod(self.folder, 0o711)
        path = os.path.join(self.folder, "configuration")
        with open(path, "w") as out:
            text = code.replace("8443", str(self.port)).replace("127.0.0.1:8080", f"127.0.0.1:{relais.port}")
            out.write(text.replace("FOLDER", self.folder))
        environment = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin", "HOME": self.folder}
        self.log = open(os.path.join(self.folder, "log"), "wb")
        self.process = subprocess.Popen(COMMANDS[program](path, self.folder), stdout=self.log, stderr=self.log, env=environment)
        for _ in range(400):
            try:
                if call(self.port, "GET", "/readyz")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        with open(self.log.name) as text:
            raise RuntimeError(f"{self.name} does not answer: {text.read()[-1000:]}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()


class Stream:
    """An answer that is read as it comes, by a client that knows nothing but HTTP/1.1 as it is on the wire."""

    def __init__(self, port, path, headers=None, method="GET", body=b""):
        self.began = time.monotonic()
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=40)
        lines = {"host": f"127.0.0.1:{port}", "connection": "close", **(headers or {})}
        if body:
            lines["content-length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.socket.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        self.rest, self.is_cut = b"", False
        while b"\r\n\r\n" not in self.rest:
            if not self._more():
                raise RuntimeError(f"no head: {self.rest!r}")
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        self.fields = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        self.head_after = self.after()
        self.length = int(self.fields["content-length"]) if "content-length" in self.fields else None
        self.is_chunked = "chunked" in self.fields.get("transfer-encoding", "")
        self.body = b""

    def after(self):
        """Seconds since it was asked for."""
        return time.monotonic() - self.began

    def pieces(self):
        """What comes, piece by piece, each when it is there; `is_cut` says afterwards whether the end was missing."""
        while True:
            data, is_over = self._unframed()
            if data:
                self.body += data
                yield data
            if is_over:
                return
            if not data and not self._more():
                # Without a length and without chunks the end of the connection is the end.
                self.is_cut |= self.is_chunked or self.length is not None
                return

    def until(self, text):
        """Reads until `text` has come; answers whether it has."""
        return text in self.body or any(text in self.body for _ in self.pieces())

    def rest_of_it(self):
        for _ in self.pieces():
            pass
        return self.body

    def close(self):
        self.socket.close()

    def _more(self):
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            self.is_cut = True
            return False
        self.rest += data
        return bool(data)

    def _unframed(self):
        """Data without its framing, and whether that was the end."""
        if not self.is_chunked:
            data, self.rest = self.rest, b""
            return data, self.length is not None and len(self.body) + len(data) >= self.length
        found = re.match(rb"([0-9a-fA-F]+)[^\r\n]*\r\n", self.rest)
        if not found:
            return b"", False
        size, start = int(found[1], 16), found.end()
        if len(self.rest) < start + size + 2:
            return b"", False
        data, self.rest = self.rest[start:start + size], self.rest[start + size + 2:]
        return data, size == 0
