"""Generators make clients from the description of the interface whose calls are typed: what a small program that uses them
gets wrong is found by the checker of its language, and what it gets right is not complained about.

The clients are those of openapi-typescript, checked by tsc, and of openapi-python-client, checked by mypy and run."""

import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request

from peer import Relais, check, verdict

BIN = os.path.dirname(sys.executable)
NODE = os.path.join(os.getcwd(), "node_modules", ".bin")

# The generated clients know no call without credentials.
os.environ["TYPED_CLIENTS_KEY"] = SECRET = "rk_0123456789012345678901"
KEY = """
[[key]]
name = "typed"
secret_env = "TYPED_CLIENTS_KEY"
tenant = "default"
scopes = ["submit", "read"]
"""

TYPESCRIPT = """
import type { paths, components } from "./interface";

type Json<T> = T extends { content: { "application/json": infer Body } } ? Body : never;
type Submitted = Json<paths["/v1/tasks"]["post"]["responses"][202]>;
type Page = Json<paths["/v1/tasks/{id}/events"]["get"]["responses"][200]>;
type Leases = Json<paths["/v1/queues/{queue}/leases"]["post"]["responses"][200]>;
type Refused = paths["/v1/tasks"]["post"]["responses"][429]["content"]["application/problem+json"];

export const handedIn: components["schemas"]["SubmitRequest"] = { queue: "imports", input: { file: "orders.csv" } };
export const ticket = (answer: Submitted): string | undefined => answer.ticket;
export const path = (answer: Submitted): string | undefined => answer.request?.path;
export const last = (page: Page): number => page.events[page.events.length - 1].seq;
export const fields = (answer: Leases): string[][] => answer.leases[0].request?.headers ?? [];
export const limit = (problem: Refused): number | undefined => problem.limit;
export const stream = (text: paths["/v1/events"]["get"]["responses"][200]["content"]["text/event-stream"]): string => text;
// @ts-expect-error a status is one of six words
export const wrong: Submitted["status"] = "done";
// @ts-expect-error the queue is needed
export const missing: components["schemas"]["SubmitRequest"] = { lane: "c-17" };
"""

PYTHON = """
import sys

from relais_client import AuthenticatedClient
from relais_client.api.queues import read_queue
from relais_client.api.tasks import list_tasks, read_task, submit_task
from relais_client.models import Accepted, Queue, SubmitRequest, Task, TaskList

client = AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2])
accepted = submit_task.sync(client=client, body=SubmitRequest(queue="imports", lane="c-17"))
assert isinstance(accepted, Accepted)
identity: str = accepted.id
task = read_task.sync(client=client, id=identity)
assert isinstance(task, Task) and not task.terminal
version: int = task.version
listed = list_tasks.sync(client=client)
assert isinstance(listed, TaskList)
names: list[str] = [one.queue for one in listed.items]
queue = read_queue.sync(client=client, queue="imports")
assert isinstance(queue, Queue)
print(identity == listed.items[0].id, version, names, queue.counts.queued)
"""


def run(*command, **more):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, **more)
    return done.returncode, (done.stdout + done.stderr)[-2000:]


with Relais(KEY + '[queue."*"]') as relais, tempfile.TemporaryDirectory(prefix="relais-clients-") as folder:
    at = lambda name: os.path.join(folder, name)
    description = f"{relais.url}/v1/openapi.json"

    with urllib.request.urlopen(description) as answer:
        described = json.load(answer)
    failed, said = run(os.path.join(NODE, "openapi-typescript"), description, "-o", at("interface.d.ts"))
    check(not failed, f"openapi-typescript reads the description: {said}")
    with open(at("program.ts"), "w") as out:
        out.write(TYPESCRIPT)
    failed, said = run(os.path.join(NODE, "tsc"), "--noEmit", "--strict", "--skipLibCheck", "false", at("program.ts"))
    check(not failed, f"tsc finds what is wrong and nothing else: {said}")

    with open(at("config.yml"), "w") as out:
        out.write("package_name_override: relais_client\nproject_name_override: relais_client\npost_hooks: []\n")
    failed, said = run(
        os.path.join(BIN, "openapi-python-client"), "generate", "--url", description, "--config", at("config.yml"),
        "--meta", "none", "--output-path", at("relais_client"), cwd=folder,
    )
    check(not failed, f"openapi-python-client reads the description: {said}")
    # What has any media type is read as bytes there; nothing else is left out.
    made = {name[:-3] for _, _, names in os.walk(at("relais_client/api")) for name in names}
    wanted = [call["operationId"] for calls in described["paths"].values() for call in calls.values()]
    left_out = [name for name in wanted if re.sub("([A-Z])", r"_\1", name).lower().replace("_a_p_i", "_api") not in made]
    check(not left_out, f"it leaves no call out: {left_out}")
    with open(at("program.py"), "w") as out:
        out.write(PYTHON)
    failed, said = run(os.path.join(BIN, "mypy"), "--strict", "--follow-imports", "silent", "program.py", cwd=folder)
    check(not failed, f"mypy finds the program sound: {said}")
    failed, said = run(sys.executable, "program.py", relais.url, SECRET, cwd=folder)
    check(not failed and said.strip() == "True 1 ['imports'] 1", f"the program runs: {said}")
verdict()
