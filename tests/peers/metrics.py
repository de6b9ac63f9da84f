"""`/metrics` is read without a complaint by the programs that it is for: promtool judges the text format, and Prometheus' own
reader of OpenMetrics takes the other in. After a little of everything, so that each family has samples.
"""

import os
import subprocess
import tempfile
import urllib.request

from peer import Relais, Upstream, call, check, verdict

OPEN_METRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
FAMILIES = """build_info store_ready draining followers sessions tasks_accepted_total tasks_attached_total tasks_erased_total tasks_expired_total
settles_stale_total attempts_started_total attempts_failed_total runs_succeeded_total runs_failed_total runs_canceled_total
wait_duration_seconds attempt_duration_seconds queue_tasks queue_scheduled queue_leases queue_paused queue_oldest_seconds upstream_paused
requests_refused_total disk_free_bytes store_size_bytes certificate_end_seconds""".split()


def read(relais, accept):
    request = urllib.request.Request(relais.admin_url + "/metrics", headers={"accept": accept} if accept else {})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.headers["content-type"], answer.read().decode()


def answer(request):
    return (422, {}, b"no") if request.path == "/fails" else (200, {}, b"ok")


with Upstream(answer) as upstream, Relais('[queue."*"]', server=f'fallback = "{upstream.url}"') as relais:
    for path in ("/works", "/fails"):
        call(relais.port, "POST", path, {"x": 1})
    call(relais.port, "POST", "/v1/tasks", {"queue": 'imports', "input": 1})
    call(relais.port, "POST", "/v1/tasks", {"queue": 'later', "input": 1, "delay": "1h"})
    call(relais.port, "GET", "/v1/tasks/none")
    kind, text = read(relais, None)
    check(kind == "text/plain; version=0.0.4; charset=utf-8", f"who asks for nothing gets the text format: {kind}")
    said = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    check(said.returncode == 0 and not said.stdout + said.stderr, f"promtool finds nothing to say: {said.stdout}{said.stderr}")
    described = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    missing = [name for name in FAMILIES if f"relais_{name}" not in described]
    check(not missing, f"every family of the page is there: {missing} are not")
    page = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/guide/operations.md")
    with open(page) as lines:
        told = lines.read()
    unsaid = sorted(name for name in described if f"`{name}`" not in told)
    check(not unsaid, f"the page names every family: {unsaid} are not there")

    kind, text = read(relais, OPEN_METRICS)
    check(kind.startswith("application/openmetrics-text; version=1.0.0"), f"who prefers OpenMetrics gets it: {kind}")
    # What imports old samples reads the format strictly, and wants to know when each was taken.
    stamped = "".join(f"{line}\n" if line.startswith("#") else f"{line} 1700000000\n" for line in text.splitlines())
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/text", "w") as out:
            out.write(stamped)
        imports = ["promtool", "tsdb", "create-blocks-from", "openmetrics", f"{folder}/text", f"{folder}/blocks"]
        said = subprocess.run(imports, capture_output=True, text=True, timeout=60)
    check(said.returncode == 0, f"Prometheus reads the OpenMetrics text: {said.stdout[-500:]}{said.stderr[-500:]}")
verdict()
