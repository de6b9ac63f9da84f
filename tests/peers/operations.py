"""A client made for other asynchronous services follows a 202 of Relais: the poller of azure-core, unchanged.

It reads `Operation-Location`, compares the words of `status`, heeds `Retry-After`, and fetches the result at the end. It
knows nothing of Relais.
"""

import time

from azure.core import PipelineClient
from azure.core.exceptions import HttpResponseError
from azure.core.polling import LROPoller
from azure.core.polling.base_polling import LROBasePolling
from azure.core.rest import HttpRequest
from peer import Relais, Upstream, check, verdict


def answer(request):
    if request.path.endswith("/broken"):
        return 422, {"content-type": "application/json"}, b'{"error": {"code": "NoSuchSupplier", "message": "unknown"}}'
    time.sleep(1.2)
    return 200, {"content-type": "application/json"}, b'{"imported": 3}'


def poll(client, method, path):
    request = HttpRequest(method, client.format_url(path), json={"lines": 3}, headers={"prefer": "respond-async"})
    first = client._pipeline.run(request)
    check(first.http_response.status_code == 202, f"{method} {path}: the first answer is a 202")
    read = lambda response: response.http_response.json()
    return LROPoller(client, first, read, LROBasePolling(timeout=0.2))


with Upstream(answer) as upstream, Relais(f"""
[[route]]
path = "/{{*rest}}"
upstream = "{upstream.url}"
mode = "auto"
""") as relais, PipelineClient(relais.url) as client:
    for method in ("POST", "PUT"):
        poller = poll(client, method, "/imports/7")
        check(poller.result(30) == {"imported": 3}, f"{method}: the poller ends with the service's own answer")
        check(poller.status().lower() == "succeeded", f"{method}: and says that it succeeded")
    poller = poll(client, "POST", "/imports/broken")
    try:
        poller.result(30)
        check(False, "a failure is told as one")
    except HttpResponseError:
        check(poller.status().lower() == "failed", "a failure is told as one")
verdict()
