//! The table itself, in alphabetical order. Each code has a page in `docs/problems`.

use super::codes;

// For each code: its title, its cause, what to do next, and where a task can fail with it the text
// for end users in English and French.
codes! {
    ABANDONED = "abandoned", 409, retryable {
        "The caller left and the task was canceled";
        "All who waited for the answer hung up before it was there, nobody came back in time, and the \
         route cancels such tasks (`abandon = \"cancel\"` or `\"cancel after …\"`).";
        "Send the request again. A retry by hand is taken only if the request had no credentials \
         (`Authorization`, `Cookie`): a cancel erases them. To let tasks go on without their caller, \
         set `abandon = \"continue\"`, or give it more time to come back.";
        "The request was stopped because the caller left.";
        "La demande a été arrêtée, car l'appelant est parti.";
    }
    ALREADY_LIVE = "already-live", 409, final {
        "An answer was shown under this lease before";
        "`PUT /v1/leases/result?live` came a second time under one lease. Readers may have a part of the \
         first answer, which nothing else may take the place of. Nothing changed; the lease goes on.";
        "Settle with the first one's `result_id` if it was stored whole. Else store the result without \
         `?live` and settle with that, or release the task: the next attempt may show its own.";
    }
    ALREADY_SUCCEEDED = "already-succeeded", 409, final {
        "The task has already succeeded";
        "A task that succeeded was to be retried by hand.";
        "Read its result. To do the work once more, submit a new task.";
    }
    AMBIGUOUS_PATH = "ambiguous-path", 400, final {
        "The path can be read in more than one way";
        "The path has dot segments, an encoded slash (`%2f`) or an empty segment (`//`). Relais \
         and the upstream could read it differently, so that a rule for one path would be passed \
         by another.";
        "Send the path in its normal form. A route whose only rule is one catch-all passes such \
         paths untouched.";
    }
    ANSWER_REPLACED = "answer-replaced", 412, final {
        "The answer that was to be read on is not there any more";
        "`attempt` names the answer of another attempt than the latest: that one was broken off, its \
         outcome was tried again, or the task was retried by hand. What was read of it is no part of \
         any answer to come.";
        "Throw away what was read, and read from the start: `?live` without `after` and `attempt`.";
    }
    BATCH_TOO_LARGE = "batch-too-large", 413, final {
        "The batch has too many items";
        "A batch call has more items than the limit.";
        "Split it into several calls.";
    }
    BODY_DAMAGED = "body-damaged", 500, final {
        "A stored body cannot be read";
        "What was stored of the task, its input or its result, is damaged or missing on the disk of \
         Relais. Nothing of it is handed out; other tasks are not affected.";
        "Ask the operator, who finds it named by `relais check --deep` and in the log. Once it was \
         restored from a backup the task can be retried by hand; or hand the work in again.";
        "What was stored for this could not be read.";
        "Les données enregistrées n'ont pas pu être lues.";
    }
    BODY_TOO_LARGE = "body-too-large", 413, final {
        "The request's body is too large";
        "The body is larger than the limit of the route, or of this call. Nothing was stored.";
        "Send less, or have the operator raise the limit. A worker stores a large result with \
         `PUT /v1/leases/result`.";
    }
    CREDENTIALS_ERASED = "credentials-erased", 409, final {
        "The task's credentials are erased";
        "The task was canceled, and with that the sealed fields of its request (`Authorization`, \
         `Cookie`) were erased. It cannot be made again without them.";
        "Send the request again, with its credentials.";
    }
    CROSS_SITE = "cross-site", 403, final {
        "The request comes from another site";
        "Without API keys, Relais takes calls only from pages of its own origin; and what comes with \
         nothing but the cookie of a browser's session changes something only from there. `Origin` or \
         `Sec-Fetch-Site` does not say that this one did.";
        "Call with a ticket, from the same origin or not from a browser, or set up API keys.";
    }
    DEADLINE_EXCEEDED = "deadline-exceeded", 504, retryable {
        "The task was not done by its deadline";
        "The deadline of the task, or of its queue, passed before an attempt succeeded.";
        "Look at the task's events: it waited too long, or its attempts failed. Then retry it by \
         hand, with a later deadline if need be.";
        "It was not done in time.";
        "Le délai a été dépassé.";
    }
    FORBIDDEN = "forbidden", 403, final {
        "The credentials do not allow this";
        "The API key or ticket is valid, but lacks the scope for this call.";
        "Use a key with the scope: `submit` to submit, cancel and retry, `admin` to pause queues \
         and change policies; or a ticket that grants the action.";
    }
    FOREIGN_HOST = "foreign-host", 403, final {
        "The host is not one of ours";
        "Without API keys, Relais answers calls to `/v1` only under a loopback name. The `Host` \
         of this request is another one, which is how a web page would reach a local service \
         under a name of its own.";
        "Call `localhost`, `127.0.0.1` or `[::1]`, or set up API keys and `public_url`.";
    }
    HANDLER_FAILED = "handler-failed", 500, retryable {
        "The worker could not do the task";
        "A worker, or the queue's own handler, settled an attempt as failed and gave no code of its \
         own. A code that a worker gives is told in the task and in its events instead; metrics \
         and the log know all of these failures as `handler-failed`.";
        "Read `detail` and the task's events, mend the cause, and retry the task by hand.";
        "It could not be done.";
        "Le traitement a échoué.";
    }
    HEAD_TOO_LARGE = "head-too-large", 431, final {
        "The request's head is too large";
        "The request line and header fields are over the limit, in bytes or in number.";
        "Send fewer or shorter header fields.";
    }
    IDEMPOTENCY_KEY_REUSED = "idempotency-key-reused", 422, final {
        "The idempotency key belongs to another request";
        "The same `Idempotency-Key` came before with another target, media type or body.";
        "Use a new key for a new request. Repeat a request exactly to get its task back.";
    }
    INTERNAL = "internal", 500, retryable {
        "Relais made a mistake";
        "Something that should not happen did. It was logged with this request's id.";
        "Try again later. If it stays, report it with the time and `instance`.";
    }
    INVALID_FIELD = "invalid-field", 422, final {
        "A member of the body is not valid";
        "A member is missing, named twice, has a wrong type or a value that is not allowed, or \
         does not go with another one.";
        "Correct the members listed in `errors`.";
    }
    INVALID_HOST = "invalid-host", 400, final {
        "The host is missing or not valid";
        "The request has no `Host`, more than one, or one that is not a host.";
        "Send exactly one valid `Host`.";
    }
    INVALID_IDEMPOTENCY_KEY = "invalid-idempotency-key", 400, final {
        "The idempotency key is not valid";
        "`Idempotency-Key` is empty, too long, given twice or not a string.";
        "Send one key of 1 to 255 printable ASCII characters, with or without double quotes; a \
         UUID is a good one.";
    }
    INVALID_OPTION = "invalid-option", 400, final {
        "A Relais option is not valid";
        "A header field that sets an option of the task (`Relais-Delay`, `Relais-Deadline`…) has \
         a value that cannot be read, is none that there is, or is sent with a call that has its \
         options in its body.";
        "Correct the field named in `detail`, or leave it out.";
    }
    INVALID_PARAMETER = "invalid-parameter", 400, final {
        "A parameter of the URL is not valid";
        "A query parameter, or a part of the path, is unknown, given twice or has a value that is \
         not allowed.";
        "Correct the parameter named in `detail`.";
    }
    LOOP_DETECTED = "loop-detected", 508, final {
        "The request came back to where it was";
        "`Via` shows that this request has passed this Relais already: an upstream or a fallback \
         leads back to it.";
        "Correct the address of the upstream, or the routes.";
    }
    MALFORMED_JSON = "malformed-json", 400, final {
        "The body is not JSON";
        "The body cannot be read as JSON: a mistake of syntax, text that is not valid Unicode, or \
         nesting deeper than 128 levels.";
        "Correct the place named in `detail`. Send what is not JSON as `input_base64`.";
    }
    MALFORMED_REQUEST = "malformed-request", 400, final {
        "The request is not valid HTTP";
        "The request's head breaks the rules of HTTP in a way that others could read differently, \
         such as `Content-Length` together with `Transfer-Encoding`. The connection is closed.";
        "Correct the client, or the proxy before Relais.";
    }
    METHOD_NOT_ALLOWED = "method-not-allowed", 405, final {
        "The method is not allowed here";
        "The path exists, but not with this method.";
        "Use one of the methods in `Allow`.";
    }
    NOT_AVAILABLE = "not-available", 501, final {
        "This part of Relais is not available";
        "The request asks for something that this version, or this store, does not have. It was \
         refused, not ignored.";
        "Leave it out, or use a version that has it.";
    }
    NOT_FOUND = "not-found", 404, final {
        "There is nothing at this path";
        "No path of Relais, no route and no fallback takes this request. What is beneath Relais' own \
         paths and is no call of its goes to neither, and no request does whose query has a ticket.";
        "Check the path, and `api_prefix` if the operator set one.";
    }
    NOT_LOCAL = "not-local", 403, final {
        "The request did not come from this machine itself";
        "Without API keys, Relais takes calls to `/v1` without credentials from its own machine \
         only. This one came through a proxy: it carries `Forwarded`, `X-Forwarded-*`, \
         `X-Real-IP` or `Via`, or came by HTTP/1.0.";
        "Call Relais directly, with a ticket, with a lease's token, or with the field that the task is \
         bound to, as it was sent (`access = \"caller:…\"`); or set up API keys.";
    }
    OPTION_NOT_ALLOWED = "option-not-allowed", 403, final {
        "The route does not allow this option";
        "A header field sets an option of the task that the route does not let its callers set.";
        "Leave it out, or have the operator add it to the route's `allow`.";
    }
    OUTCOME_UNKNOWN = "outcome-unknown", 502, final {
        "Nobody knows whether the work was done";
        "The request was sent to the upstream, its answer was lost, and doing it twice might do \
         harm: its method is not idempotent and the upstream is not declared so. `detail` says how \
         the answer was lost: the connection broke, it took too long, or Relais itself was stopped or \
         died.";
        "Find out at the upstream whether it was done. If it was not, retry the task by hand; a \
         request that was only passed on is sent again. If repeating does no harm, set `idempotent \
         = true` on the route of a task.";
        "It is not known whether this was done. Please check before trying again.";
        "On ne sait pas si le traitement a eu lieu. Veuillez vérifier avant de recommencer.";
    }
    OVERLOADED = "overloaded", 503, retryable {
        "Relais has too much at once";
        "The requests that are not whole yet hold as many bytes as all of them together may, or \
         another settle of the same lease has the stored result just now. Nothing was stored.";
        "Send the request again after `Retry-After`.";
    }
    PRECONDITION_FAILED = "precondition-failed", 412, final {
        "The result is another version than the one that was named";
        "`If-Match` names other versions than the one there is: the task was retried by hand, or the \
         tag is one of the upstream's own.";
        "Read the result without `If-Match`; its `ETag` names this version.";
    }
    QUEUE_DEFINED_IN_FILE = "queue-defined-in-file", 409, final {
        "The queue is defined in the operator's file";
        "The policy of this queue comes from the configuration file, which would undo a change at \
         the next start.";
        "Change the `[queue]` section in the file.";
    }
    QUEUE_FULL = "queue-full", 429, retryable {
        "The queue is full";
        "The queue holds as many tasks that are not done as its `capacity` allows. Nothing was \
         stored.";
        "Send the request again after `Retry-After`.";
    }
    QUEUE_NOT_FOUND = "queue-not-found", 404, final {
        "There is no such queue";
        "No queue has this name, and there is no `[queue.\"*\"]` template to make it from.";
        "Check the name, or define the queue.";
    }
    RANGE_NOT_SATISFIABLE = "range-not-satisfiable", 416, final {
        "The result has no such bytes";
        "`Range` or `after` asks for bytes behind the end of the result, or for the last none.";
        "`Content-Range` says how long it is. A client that has that many bytes has all of it.";
    }
    RATE_LIMITED = "rate-limited", 429, retryable {
        "Too many requests";
        "This caller has sent more requests, or holds more open at once, than it may.";
        "Wait for `Retry-After`, then go on more slowly.";
    }
    REQUEST_TIMEOUT = "request-timeout", 408, retryable {
        "The request did not arrive in time";
        "The head or the body came too slowly. Nothing was stored.";
        "Send the request again, over a better connection or with a smaller body.";
    }
    SEAL_KEY_MISSING = "seal-key-missing", 500, final {
        "The key of the stored credentials is missing";
        "The credentials of the stored request are sealed with a key that this server does not have, \
         so that the request could not be sent. Nobody was asked.";
        "Put the right key back (`relais.key`, or `RELAIS_SEAL_KEY`; `detail` names its id), restart, \
         and retry the task by hand; or hand the work in again.";
        "It could not be done, because of a fault of ours.";
        "Le traitement n'a pas pu être fait, par une erreur de notre part.";
    }
    SERVER_DRAINING = "server-draining", 503, retryable {
        "The server is stopping";
        "This node takes nothing new, because it is about to stop. Nothing was stored. Tasks that are \
         there can still be polled, followed, reported on and settled.";
        "Send the request again after `Retry-After`; another node, or this one restarted, will \
         take it.";
    }
    STALE_LEASE = "stale-lease", 409, final {
        "The lease is over";
        "The token is unknown, its lease has ended, or another attempt has taken its place; or the \
         lease was settled before, with another outcome or another result. Nothing changed.";
        "Stop the work: another worker has the task, or it is done. Send heartbeats more often if \
         this happens to live workers.";
    }
    STORE_FULL = "store-full", 507, retryable {
        "The store is full";
        "The disk has little room left, so that no new task is accepted; tasks that exist are \
         still settled.";
        "Free or add disk space, or shorten `retention`; then send the request again.";
    }
    STORE_UNAVAILABLE = "store-unavailable", 503, retryable {
        "The store does not answer";
        "The database could not be reached, or did not answer in time; or its files were moved, \
         removed or replaced, so that no later start would find what is written (the log of Relais \
         names the file). Whether a request that changes something was stored is not known.";
        "Send the request again after `Retry-After`, with the same `Idempotency-Key`. Operators: put \
         a file that was moved back where it was, and the server goes on; otherwise stop it and \
         restore the store.";
    }
    TASK_CANCELED = "task-canceled", 409, final {
        "The task was canceled";
        "The task was canceled. A worker that settles it afterwards changes nothing; a follower \
         finds no result.";
        "Send the request again if the work is wanted after all. A retry by hand is taken only if the \
         request had no credentials (`Authorization`, `Cookie`): a cancel erases them. A worker that \
         still has the task stops.";
        "It was canceled.";
        "Le traitement a été annulé.";
    }
    TASK_GONE = "task-gone", 410, final {
        "The task is gone";
        "The task was erased, or its retention is over. Its ticket or idempotency key is still \
         known, so nothing runs again.";
        "Submit a new task, with a new idempotency key. To keep results longer, set `retention`.";
    }
    TASK_NOT_FOUND = "task-not-found", 404, final {
        "There is no such task";
        "No task of this tenant has this id, or these credentials may not see it.";
        "Check the id and the credentials.";
    }
    TASK_NOT_TERMINAL = "task-not-terminal", 409, retryable {
        "The task is not done yet";
        "Only a task that is done can be erased, and this one is not.";
        "Wait for its end, or cancel and erase it with `?cancel=true`.";
    }
    TENANT_FULL = "tenant-full", 429, retryable {
        "The tenant has too many tasks";
        "The tenant holds as many tasks as it may, in all its queues. Nothing was stored.";
        "Send the request again after `Retry-After`, shorten `retention`, or have the operator \
         raise the limit.";
    }
    TICKET_EXPIRED = "ticket-expired", 401, final {
        "The ticket has expired";
        "The ticket was valid until its task's deadline and retention, as they were when it was \
         handed out, and has ended since.";
        "Read the task with the ticket of its latest retry, or with an API key. If the task is \
         gone, too, submit a new one.";
    }
    TOO_MANY_EVENTS = "too-many-events", 409, final {
        "The task's log is full";
        "The task has as many events as it may, so that no more output is taken. Its outcome \
         still is.";
        "Send output in fewer and larger pieces, or store it elsewhere and put a link into the \
         result.";
    }
    TOO_MANY_QUEUES = "too-many-queues", 409, final {
        "The tenant has too many queues";
        "The task would make a queue, and its tenant has as many as it may. A queue is kept once \
         anything came into it.";
        "Use one of the queues there are; lanes and labels tell the tasks of one queue apart.";
    }
    TOO_MANY_TASKS = "too-many-tasks", 429, retryable {
        "This caller has too many tasks waiting";
        "This caller holds its whole share of the queue's capacity, which is bounded so that one \
         caller cannot fill it for all. Nothing was stored.";
        "Wait until some of its tasks are done; send the request again after `Retry-After`. Callers \
         with an API key are not counted by their address.";
    }
    UNAUTHORIZED = "unauthorized", 401, final {
        "Valid credentials are needed";
        "The call needs an API key, a ticket or a lease's token, and has none that is valid: it \
         is missing, unknown or revoked.";
        "Send the key as `Relais-Api-Key`, or the key or the ticket as `Authorization: Bearer`.";
    }
    UNKNOWN_FIELD = "unknown-field", 422, final {
        "The body has a member that is not known";
        "A member has a name that the contract does not have. It was refused rather than ignored, \
         because it is most often a typing mistake.";
        "Correct or remove the member named in `errors`.";
    }
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type", 415, final {
        "The media type is not supported here";
        "The body's `Content-Type`, or its content coding, is not one that this call reads.";
        "Send JSON as `application/json`. A batch may also be `application/x-ndjson`.";
    }
    UPGRADE_NOT_SUPPORTED = "upgrade-not-supported", 501, final {
        "The connection cannot be upgraded here";
        "The request asks for a WebSocket on a route that makes tasks of requests. Offers of other \
         protocols are ignored there.";
        "Use a route with `mode = \"sync\"` for such connections.";
    }
    UPGRADE_REQUIRED = "upgrade-required", 426, final {
        "This address speaks WebSocket alone";
        "What was sent is no handshake of a WebSocket: it is not HTTP/1.1, lacks `Upgrade: websocket` or \
         `Connection: Upgrade`, which a proxy may have taken away, or asks for another version than 13.";
        "Have the proxy before Relais pass both fields on (the guide has the lines), or follow the task \
         by an event stream, or by polling.";
    }
    UPSTREAM_ERROR = "upstream-error", 502, retryable {
        "The upstream answered with an error";
        "The upstream's final answer was an error, and it is the outcome: no attempt was left, or \
         repeating would have been wrong.";
        "Read the result: it is the upstream's own answer. Mend the cause there, then retry the \
         task by hand.";
        "The service could not do it.";
        "Le service n'a pas pu traiter la demande.";
    }
    UPSTREAM_MALFORMED = "upstream-malformed", 502, retryable {
        "The upstream's answer is not valid HTTP";
        "What the upstream sent back cannot be read as an HTTP answer, or ended before its end.";
        "Check that the address leads to an HTTP service, and what it logged.";
        "The service gave an answer that could not be read.";
        "Le service a donné une réponse illisible.";
    }
    UPSTREAM_RESPONSE_TOO_LARGE = "upstream-response-too-large", 502, final {
        "The upstream's answer is too large";
        "The answer is over the limit for results, or its head is over the limit of 64 KiB and 500 \
         fields; `detail` says which. It is not cut off but refused, and not asked for again: the \
         upstream has done the work.";
        "Have the upstream answer in parts or with a link, or have the operator raise the limit \
         for results. That for heads is fixed.";
        "The answer is too large.";
        "La réponse est trop volumineuse.";
    }
    UPSTREAM_TIMEOUT = "upstream-timeout", 504, retryable {
        "The upstream did not answer in time";
        "The upstream took longer than `attempt_timeout`, or than the time a synchronous call may \
         take.";
        "Retry later, or allow more time with `attempt_timeout`.";
        "The service did not answer in time.";
        "Le service n'a pas répondu à temps.";
    }
    UPSTREAM_UNREACHABLE = "upstream-unreachable", 502, retryable {
        "The upstream cannot be reached";
        "No connection to the upstream could be made, and `detail` says why: its name is unknown, it \
         refuses, its certificate is not trusted. Nothing was sent. Of a task that may be repeated \
         it also says that the connection broke.";
        "Check that the upstream runs and that its address is right; if it is the certificate, name \
         its authority with `ca` in the upstream's table of the configuration. Then retry.";
        "The service cannot be reached.";
        "Le service est injoignable.";
    }
    WORKER_LOST = "worker-lost", 500, retryable {
        "Whoever ran the task vanished";
        "Three attempts in a row ended without a word: the worker, or Relais itself where it calls \
         the upstream, crashed, was killed or lost its connection. The task itself may be the cause.";
        "Look for this task's id in the logs of the workers, or of Relais. When the cause is mended, retry the task \
         by hand.";
        "It could not be done.";
        "Le traitement a échoué.";
    }
}
