"""Every program of docs/guide/quickstart.md does what the page says: it is taken from the page and run, with other ports."""

import os
import re
import subprocess
import sys

from peer import RELAIS, Relais, check, free_port, temporary, verdict

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/guide/quickstart.md")
RUN = {"py": [sys.executable], "sh": ["sh"], "mjs": ["node"], "php": ["php"]}


def programs(page, ports):
    """The code blocks that name their file in a comment, by that name."""
    found = {}
    for code in re.findall(r"(?ms)^```\w+\n(.*?)^```$", page):
        name = re.match(r"(?:<\?php\n)?(?:#|//) (\S+\.(?:py|sh|mjs|php))\n", code)
        if name:
            for written, used in ports.items():
                code = code.replace(written, used)
            found[name[1]] = code
    return found


with open(PAGE) as text:
    page = text.read()
folder = temporary("quickstart")
slow = free_port()


def start(name, **more):
    return subprocess.Popen([*RUN[name.rsplit(".", 1)[1]], os.path.join(folder, name)], cwd=folder, **more)


# Without a file, as on the page, every queue is there.
with Relais('[queue."*"]', args=["--upstream", f"http://127.0.0.1:{slow}"]) as relais:
    files = programs(page, {"127.0.0.1:8080": f"127.0.0.1:{relais.port}", '"127.0.0.1", 9000': f'"127.0.0.1", {slow}'})
    for name, code in files.items():
        with open(os.path.join(folder, name), "w") as out:
            out.write(code)
    check("relais serve --upstream http://127.0.0.1:9000" in page, "the page starts Relais as this script does")
    environment = {
        **os.environ,
        "PATH": os.path.dirname(RELAIS) + os.pathsep + os.environ["PATH"],
        "RELAIS_URL": relais.url,
    }
    service, worker = start("slow.py"), start("worker.py", stderr=subprocess.DEVNULL)
    try:
        # The second run repeats the first, key and all, and broke all four once: a 202 without `Retry-After`.
        for run in ["first", "second"]:
            clients = {name: start(name, stdout=subprocess.PIPE, text=True) for name in sorted(files) if name.startswith("client.")}
            check(sorted(clients) == ["client.mjs", "client.php", "client.py", "client.sh"], f"four clients: {sorted(clients)}")
            for name, client in clients.items():
                said = client.communicate(timeout=60)[0].strip()
                check(said == '200 {"month": 11, "total": 1234}', f"{name}, {run} run, prints the service's answer: {said!r}")
        done = subprocess.run(
            ["sh", os.path.join(folder, "submit.sh")], env=environment, cwd=folder, capture_output=True, text=True, timeout=60,
        )
        check(done.returncode == 0 and '"imported":5' in done.stdout.replace(" ", ""), f"the worker's result: {done.stdout!r} {done.stderr[-500:]!r}")
    finally:
        service.kill()
        worker.kill()
verdict()
