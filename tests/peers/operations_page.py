"""docs/guide/operations.md is true: its files are read by the programs that they are for, and each of its commands is run, in order,
beside a server that is started as its unit says. Paths and ports are those of a scratch folder.
"""

import os
import re
import shutil
import subprocess
import time

from peer import RELAIS, call, check, free_port, temporary, verdict

HERE = os.path.dirname(os.path.abspath(__file__))
GUIDE = os.path.join(HERE, "../../docs/guide")
ROOT = temporary("operations")
LISTEN, ADMIN = free_port(), free_port()


def here(text):
    """A command or a file of the page, with the paths and ports of this run."""
    for path in ("/usr/local/bin", "/etc/relais", "/var/lib/relais", "/var/backups"):
        text = text.replace(path, ROOT + path)
    return text.replace("127.0.0.1:8080", f"127.0.0.1:{LISTEN}").replace("127.0.0.1:8081", f"127.0.0.1:{ADMIN}")


def file_of(page, name):
    return re.search(rf"(?ms)^```\w+\n# {re.escape(name)}\n(.*?)^```$", page)[1]


def run(line, **more):
    done = subprocess.run(["sh", "-euc", line], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, **more)
    check(done.returncode == 0, f"{line!r} ends well: {done.stdout[-500:]} {done.stderr[-500:]}")
    return done


with open(os.path.join(GUIDE, "operations.md")) as text:
    page = text.read()
environment = {**os.environ, "PATH": os.path.dirname(RELAIS) + os.pathsep + os.environ["PATH"], "RELAIS_URL": f"http://127.0.0.1:{LISTEN}"}
for folder in ("/usr/local/bin", "/etc", "/var/lib", "/var/backups"):
    os.makedirs(ROOT + folder)

run(f"promtool check rules {GUIDE}/alerts.yml")
run(f"promtool test rules {HERE}/alerts.yml")
shutil.copy(os.path.join(GUIDE, "alerts.yml"), ROOT)
with open(os.path.join(ROOT, "prometheus.yml"), "w") as out:
    out.write(file_of(page, "prometheus.yml"))
run("promtool check config prometheus.yml")

blocks = [here(block) for block in re.findall(r"(?ms)^```sh\n(.*?)^```$", page)]
run(blocks[0])
with open(os.path.join(ROOT, "etc/relais/relais.toml"), "w") as out:
    out.write(here(file_of(page, "/etc/relais/relais.toml")))
unit = file_of(page, "/etc/systemd/system/relais.service")
with open(os.path.join(ROOT, "relais.service"), "w") as out:
    # Users and folders of the page are not those of this machine.
    out.write(re.sub(r"(?m)^(User|WorkingDirectory|ReadWritePaths)=.*\n", "", here(unit)))
if shutil.which("systemd-analyze"):
    run("systemd-analyze verify ./relais.service")
run(here(re.search(r"(?m)^ExecStartPre=(.*)$", unit)[1]))
start = here(re.search(r"(?m)^ExecStart=(.*)$", unit)[1])
log = open(os.path.join(ROOT, "log"), "wb")
server = subprocess.Popen(start.split(" "), cwd=ROOT + "/var/lib/relais", env=environment, stdout=log, stderr=log)
try:
    for _ in range(400):
        try:
            if call(ADMIN, "GET", "/readyz")[0] == 200:
                break
        except OSError:
            time.sleep(0.05)
    status, _, task = call(LISTEN, "POST", "/v1/tasks", {"queue": "imports", "input": 1})
    check(status == 202, f"it takes a task: {status} {task}")
    for block in blocks[1:]:
        run(block)
    for line in re.findall(r"(?m)^ExecReload=(.*)$", unit):
        run(here(line).replace("$MAINPID", str(server.pid)))
    check(call(ADMIN, "GET", "/readyz")[0] == 200, "a reload leaves it at work")
finally:
    server.terminate()
    check(server.wait(60) == 0, "it stops as it is told")
    log.close()
    shutil.rmtree(ROOT, ignore_errors=True)
verdict()
