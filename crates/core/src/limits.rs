//! Every limit of Relais, in one place. `relais limits` and the documentation print [`LIMITS`].
//!
//! A limit refuses early and clearly; nothing is truncated silently.

use std::time::Duration;

/// Longest tenant name, bytes.
pub const TENANT_NAME_BYTES_MAX: usize = 64;
/// Longest queue name, bytes.
pub const QUEUE_NAME_BYTES_MAX: usize = 64;
/// Longest lane value, bytes.
pub const LANE_BYTES_MAX: usize = 128;
/// Most labels on one task.
pub const LABELS_MAX: usize = 16;
/// Longest label key, and longest label value, bytes.
pub const LABEL_BYTES_MAX: usize = 128;
/// Longest name of an operator on its pages, characters.
pub const PAGE_NAME_CHARS_MAX: usize = 60;
/// Largest logo on pages, bytes.
pub const PAGE_LOGO_BYTES_MAX: usize = 64 << 10;
/// Largest request body, bytes: the hard maximum and the default.
pub const REQUEST_BODY_BYTES_MAX: u64 = 64 << 20;
/// Largest result, bytes: the hard maximum and the default.
pub const RESULT_BODY_BYTES_MAX: u64 = 256 << 20;
/// Largest body kept inside the store; larger ones are spilled to files.
pub const INLINE_BODY_BYTES_MAX: usize = 64 << 10;
/// How long a client may pause in the middle of a body.
pub const BODY_PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long a body may take, however little of it comes.
pub const BODY_GRACE: Duration = Duration::from_secs(60);
/// Bytes a second that must have come on average once that is over.
pub const BODY_RATE_MIN: u64 = 512;
/// Largest body that is read whole, and compared with its checksum, before the first byte of it
/// goes out: every input, and most results.
pub const BODY_VERIFIED_BYTES_MAX: u64 = REQUEST_BODY_BYTES_MAX;
/// Largest request or response head, bytes.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// Most header fields in a head.
pub const HEAD_FIELDS_MAX: usize = 100;
/// Longest path that a task tells of its request, bytes; a lease tells it whole.
pub const PATH_TOLD_BYTES_MAX: usize = 2_048;
/// Most header fields in an upstream's answer. More than [`HEAD_FIELDS_MAX`]: `Link`, `Set-Cookie`
/// and traces come in hundreds.
pub const UPSTREAM_FIELDS_MAX: usize = 500;
/// Longest that name, connection and TLS handshake of an upstream may take together.
pub const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Longest that an idle connection to an upstream is kept; less where its
/// `Keep-Alive: timeout` says so.
pub const IDLE_CONNECTION_MAX: Duration = Duration::from_secs(30);
/// How long a connection may have been idle that is trusted with a request
/// that cannot be sent twice.
pub const TRUSTED_CONNECTION_MAX: Duration = Duration::from_secs(1);
/// Idle connections kept for one upstream.
pub const IDLE_CONNECTIONS_MAX: usize = 256;
/// Upstreams that idle connections are kept for: callers may name as many webhooks as they like.
pub const IDLE_UPSTREAMS_MAX: usize = 1_000;
/// Names that are looked up at the same time: a name server that does not answer holds a thread.
pub const LOOKUPS_MAX: usize = 128;
/// Addresses that are tried of one name that callers may have called, half of them of each family: its
/// owner may write any number of other people's into it.
pub const ADDRESSES_MAX: usize = 8;
/// Longest template of a webhook's body, bytes.
pub const TEMPLATE_BYTES_MAX: usize = 8 << 10;
/// Longest body that a template makes, and longest value that it prints, bytes.
pub const TEMPLATE_OUTPUT_BYTES_MAX: usize = 64 << 10;
/// Work that a template may take: a step is one, and so are 64 bytes that it makes.
pub const TEMPLATE_FUEL: u64 = 50_000;
/// Longest URL of a webhook, bytes.
pub const WEBHOOK_URL_BYTES_MAX: usize = 2_048;
/// Largest JSON envelope of a batch, bytes.
pub const BATCH_BODY_BYTES_MAX: u64 = 64 << 20;
/// Largest JSON envelope of a lease call that has no key where there are keys, bytes: its
/// tokens are known only once it is read. Larger results are stored by `PUT /v1/leases/result`,
/// whose token is in its head.
pub const KEYLESS_BATCH_BODY_BYTES_MAX: u64 = 1 << 20;
/// Bytes of request bodies held in memory that are not whole yet, or not decoded.
pub const UNFINISHED_MEMORY_BYTES_MAX: u64 = 512 << 20;
/// Bytes of request bodies and results that are on their way into the store and not whole yet.
pub const UNFINISHED_STORE_BYTES_MAX: u64 = 8 << 30;
/// What part of these bytes one tenant's keys may send at once, and all addresses without
/// a key together: half, so that nobody alone keeps the others out, and those without a
/// key never those with one.
pub const UNFINISHED_SHARE_DIVISOR: u64 = 2;
/// Most tasks, leases or settles in one call.
pub const BATCH_MAX: usize = 1_000;
/// Most items in a page of a list.
pub const LIST_PAGE_MAX: usize = 500;
/// Most events in a page of the JSON log.
pub const EVENT_PAGE_MAX: usize = 500;
/// Largest page of JSON, bytes, however few its items are then: one item always fits.
pub const PAGE_BYTES_MAX: usize = 1 << 20;
/// Largest part of an event stream that is made at once, bytes; the event
/// that passes it is its last.
pub const STREAM_CHUNK_BYTES_MAX: usize = 64 << 10;
/// Bytes of inputs in one answer to a lease call; the others are fetched by `input_url`.
pub const LEASE_INPUTS_BYTES_MAX: u64 = 8 << 20;
/// Longest a request may wait for something to happen.
pub const WAIT_MAX: Duration = Duration::from_secs(55);
/// Most events in one task's log.
pub const EVENTS_MAX: u64 = 10_000;
/// From this number on, progress is kept in the task but no longer logged:
/// room is left for outcomes.
pub const EVENTS_PROGRESS_MAX: u64 = 9_000;
/// Most progress events a second and task.
pub const PROGRESS_PER_SECOND_MAX: u32 = 10;
/// Longest progress or error message, bytes.
pub const MESSAGE_BYTES_MAX: usize = 2_048;
/// Longest name a worker gives itself, bytes.
pub const WORKER_NAME_BYTES_MAX: usize = 128;
/// Longest media type of an input or a result, bytes.
pub const CONTENT_TYPE_BYTES_MAX: usize = 256;
/// Largest body of a call that says little: cancel, retry, lease, a queue's policy.
pub const SMALL_BODY_BYTES_MAX: u64 = 64 << 10;
/// Largest JSON result that rides in the terminal event, bytes.
pub const EVENT_RESULT_BYTES_MAX: usize = 4 << 10;
/// Results stored ahead of their settle, on all nodes together; each may be a file.
pub const UPLOADS_MAX: usize = 1_000;
/// Of these, those of one tenant's leases.
pub const UPLOADS_PER_TENANT_MAX: usize = 250;
/// Longest ticket, bytes: what is longer is none.
pub const TICKET_BYTES_MAX: usize = 64;
/// Largest checkpoint or output, bytes.
pub const CHECKPOINT_BYTES_MAX: usize = 64 << 10;
/// Largest problem document a worker may settle with, bytes.
pub const PROBLEM_BYTES_MAX: usize = 16 << 10;
/// The shortest lease that a policy may give.
pub const LEASE_MIN: Duration = Duration::from_secs(1);
/// The longest lease that a policy may give.
pub const LEASE_MAX: Duration = Duration::from_secs(12 * 3600);
/// Changes that are in no log (of settings, keys and slots, and erasures) that a store keeps for nodes
/// which have not learned of them yet.
pub const CHANGES_KEPT: usize = 1_024;
/// Shortest silence of an event stream after which it gets a comment.
pub const KEEPALIVE_MIN: Duration = Duration::from_secs(1);
/// Shortest grace of a task that everybody has left: in less, nobody comes back.
pub const GRACE_MIN: Duration = Duration::from_secs(3);
/// How often a node gives a sign of life.
pub const NODE_BEAT_EVERY: Duration = Duration::from_secs(10);
/// How long a node counts as alive after one: then another takes back what it held.
pub const NODE_ALIVE_FOR: Duration = Duration::from_secs(30);
/// How long an attempt of Relais itself that was told to stop keeps its slot at most: it stops at
/// once, or its process is dead, or its handler never yields.
pub const ABORT_GRACE: Duration = Duration::from_secs(10);
/// How long the pipes of a worker's program are read once it has ended, when a child that it left
/// behind still holds them.
pub const PIPES_GRACE: Duration = Duration::from_secs(2);
/// Crashes in a row after which a task fails as `worker-lost`.
pub const CRASHES_MAX: u32 = 3;
/// Most attempts a retry policy may allow.
pub const ATTEMPTS_MAX: u32 = 100;
/// Lowest and highest priority.
pub const PRIORITY_RANGE: std::ops::RangeInclusive<i8> = -10..=10;
/// What one level of priority is worth in waiting: a task overtakes those of the next higher level
/// that came this much later, so that none starves.
pub const AGEING_PER_LEVEL: Duration = Duration::from_secs(600);
/// How many turns of its lane one level of priority is worth.
pub const TURNS_PER_LEVEL: i64 = 100;
/// Longest pause of an origin that a `Retry-After` may ask for.
pub const ORIGIN_PAUSE_MAX: Duration = Duration::from_secs(300);
/// Most lanes of one queue that are paused by themselves, because each claim passes over all of
/// them; more pause the queue's calls of that upstream.
pub const PAUSED_LANES_MAX: usize = 100;
/// Longest duration or most distant date anybody may ask for: ten years, as far as a
/// duration can be written.
pub const HORIZON_MAX: Duration = Duration::from_secs(3_650 * 86_400);
/// How long an idempotency key is kept at least.
pub const IDEMPOTENCY_MIN: Duration = Duration::from_secs(24 * 3600);
/// Longest idempotency key, bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// From this length on, a key is taken for unguessable: attaching by it alone is trusted.
pub const IDEMPOTENCY_KEY_UNGUESSABLE_BYTES: usize = 22;
/// Longest window in which two requests without a key are taken for one.
pub const DOUBLE_SUBMIT_MAX: Duration = Duration::from_secs(3_600);
/// Most tickets one request for a stream over many tasks may carry.
pub const STREAM_TASKS_MAX: usize = 50;
/// Most tasks in the session of a browser: one more takes the place of the oldest that is over, else of
/// the oldest.
pub const SESSION_TASKS_MAX: usize = 50;
/// Longest life of a ticket that a browser asks for by its session alone.
pub const TICKET_BY_SESSION_MAX: Duration = Duration::from_secs(3_600);
/// Sessions of browsers that are kept.
pub const SESSIONS_MAX: u64 = 1_000_000;
/// Of them, those that began with the same task: whoever has its link can begin one again and again.
pub const SESSIONS_PER_TASK_MAX: u64 = 100;
/// Of them, those that began from one network (of IPv6, 64 bits): nobody alone takes them from everybody.
pub const SESSIONS_PER_NETWORK_MAX: u64 = 10_000;
/// How long a session is kept whose cookie never came back: whoever throws cookies away keeps no room.
pub const SESSION_UNSEEN_MAX: Duration = Duration::from_secs(3_600);
/// How long after the page of a task has shown the end it may return to its own address.
pub const RETURN_WITHIN: Duration = Duration::from_secs(60);
/// Longest life of a stream of events, drawn between half of it and all:
/// then the client comes back.
pub const STREAM_LIFETIME_MAX: Duration = Duration::from_secs(600);
/// Largest message on a WebSocket, whatever frames it comes in.
pub const SOCKET_MESSAGE_BYTES_MAX: usize = 128 << 10;
/// Most bytes of the fields of its handshake that may say who asks, which it keeps for each call.
pub const SOCKET_FIELDS_BYTES_MAX: usize = 16 << 10;
/// Most watches of one WebSocket.
pub const SOCKET_WATCHES_MAX: usize = 100;
/// Most calls of one WebSocket that are not answered yet: the next ones are not read.
pub const SOCKET_CALLS_MAX: usize = 16;
/// Most bytes that wait for a client which does not read its WebSocket.
pub const SOCKET_WAITING_BYTES_MAX: usize = 1 << 20;
/// Most frames that the client of a WebSocket sends within [`SOCKET_FRAMES_WITHIN`].
pub const SOCKET_FRAMES_MAX: u32 = 2_000;
/// See [`SOCKET_FRAMES_MAX`].
pub const SOCKET_FRAMES_WITHIN: Duration = Duration::from_secs(10);
/// How long a WebSocket may last until it is known who asks.
pub const SOCKET_AUTH_WITHIN: Duration = Duration::from_secs(5);
/// Largest message on a WebSocket until then: a key or a ticket is all that is said.
pub const SOCKET_AUTH_BYTES_MAX: usize = 4 << 10;
/// Most WebSockets by the keys of one tenant, so that others of the process have room.
pub const SOCKETS_PER_TENANT_MAX: usize = 9_000;
/// Most WebSockets of one address without a key.
pub const SOCKETS_PER_ADDRESS_MAX: usize = 1_000;
/// Most events kept at hand for the followers of one task, or of one selection of tasks: whoever is
/// further behind reads the log.
pub const RECENT_EVENTS_MAX: usize = 1_024;
/// Most bytes that these events carry together.
pub const RECENT_BYTES_MAX: usize = 1 << 20;
/// Most erasures kept for the streams over many tasks that did not read them yet.
pub const ERASED_WAITING_MAX: usize = 1_024;
/// Most estimates kept for the followers of queued tasks.
pub const ESTIMATES_MAX: usize = 10_000;
/// Most commits gathered into one durable write.
pub const COMMITS_PER_WRITE_MAX: usize = 4_096;
/// Most requests waiting for the writer of the store; more wait at the door.
pub const WRITER_QUEUE_MAX: usize = 4_096;
/// Tasks that one queue may hold by default.
pub const QUEUE_CAPACITY: u64 = 1_000_000;
/// Largest capacity a queue may be given: no tenant may hold more in all its queues together.
pub const QUEUE_CAPACITY_MAX: u64 = TENANT_CAPACITY;
/// What part of its queue's capacity one address holds by default: a quarter, so that no one of the
/// callers without a key fills a queue for all.
pub const SOURCE_SHARE_DIVISOR: u64 = 4;
/// Most attempts at the same time that a queue, or a lane, may be given.
pub const CONCURRENCY_MAX: u32 = i32::MAX as u32;
/// Heaviest weight that a lane may be given: beyond it the others would hardly ever have a turn.
pub const LANE_WEIGHT_MAX: u32 = 1_000;
/// Largest growth of a retry's wait: beyond it the second wait is the longest one already.
pub const RETRY_FACTOR_MAX: f64 = 1_000.0;
/// Shortest time that an attempt, a task or its retention may be given.
pub const SPAN_MIN: Duration = Duration::from_millis(1);
/// Endpoints of webhooks that one tenant may have: each event of the tenant is compared with all of them.
pub const ENDPOINTS_MAX: usize = 100;
/// Longest description of an endpoint, bytes.
pub const WEBHOOK_DESCRIPTION_BYTES_MAX: usize = 256;
/// Queues that the filter of an endpoint may name.
pub const WEBHOOK_QUEUES_MAX: usize = 100;
/// Secrets of one endpoint that sign at the same time: the newest, and those before it while they overlap.
pub const WEBHOOK_SECRETS_MAX: usize = 4;
/// Longest that the secret before goes on signing after a rotation.
pub const WEBHOOK_OVERLAP_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// Deliveries of one endpoint that wait for it; beyond, the oldest are dropped.
pub const DELIVERIES_WAITING_MAX: u64 = 100_000;
/// Longest that a delivery waits for its endpoint.
pub const DELIVERY_WAIT_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// How often an endpoint's dropped deliveries are told of.
pub const DROPPED_TOLD_EVERY: Duration = Duration::from_secs(3600);
/// Ranges of dropped deliveries that an endpoint lists; beyond, the oldest two become one.
pub const DROPPED_RANGES_MAX: usize = 20;
/// Deliveries of one endpoint that are made into tasks before one of them has had its first attempt.
pub const DELIVERIES_AT_ONCE: usize = 64;
/// Largest data of an event that is sent to a webhook; of a larger one only its task and number are.
pub const WEBHOOK_DATA_BYTES_MAX: usize = 16 << 10;
/// Bytes of a receiver's answer that the log of deliveries keeps.
pub const DELIVERY_ANSWER_BYTES_MAX: usize = 4 << 10;
/// Longest that a receiver may take for an answer.
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(20);
/// Queues that metrics tell each for itself: all others of a tenant are told together.
pub const METRIC_QUEUES_MAX: usize = 200;
/// Of them, those of one tenant.
pub const METRIC_QUEUES_PER_TENANT_MAX: usize = 100;
/// Queues that one tenant may have; a queue is kept once anything came into it.
pub const QUEUES_PER_TENANT_MAX: usize = 10_000;
/// Tasks that one tenant may hold, all queues together.
pub const TENANT_CAPACITY: u64 = 10_000_000;
/// Bytes of log lines that wait to be written: nobody waits for who reads them.
pub const LOG_WAITING_BYTES_MAX: usize = 1 << 20;
/// How long a client may read nothing of what was written, send nothing of what is wanted, or, where its
/// system answers nothing at all, be taken for one that is there.
pub const CLIENT_SILENCE_MAX: Duration = Duration::from_secs(60);
/// Connections of one process, below the usual limit of open files.
pub const CONNECTIONS_MAX: usize = 18_000;
/// Connections that wait in the system's queue until they are accepted, for each listener.
pub const BACKLOG_MAX: u32 = 4_096;

const _: () = assert!(LEASE_MIN.as_millis() < LEASE_MAX.as_millis());
const _: () = assert!(2 * NODE_BEAT_EVERY.as_millis() < NODE_ALIVE_FOR.as_millis());
const _: () = assert!(EVENTS_PROGRESS_MAX < EVENTS_MAX);
const _: () = assert!((INLINE_BODY_BYTES_MAX as u64) < REQUEST_BODY_BYTES_MAX);
const _: () = assert!(CHECKPOINT_BYTES_MAX <= INLINE_BODY_BYTES_MAX);

/// One limit as people read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The stable name that `relais limits` shows.
    pub name: &'static str,
    /// The value, in `unit`.
    pub value: u64,
    /// What is counted.
    pub unit: &'static str,
    /// What happens at the limit.
    pub refusal: &'static str,
}

const fn limit(name: &'static str, value: u64, unit: &'static str, refusal: &'static str) -> Limit {
    Limit { name, value, unit, refusal }
}

/// All limits, for `relais limits` and the documentation.
pub const LIMITS: &[Limit] = &[
    limit("request body", REQUEST_BODY_BYTES_MAX, "bytes", "413 body-too-large"),
    limit("result", RESULT_BODY_BYTES_MAX, "bytes", "failed upstream-response-too-large"),
    limit("pause in a body", BODY_PAUSE_MAX.as_secs(), "seconds", "408 request-timeout"),
    limit("body at any rate", BODY_GRACE.as_secs(), "seconds", "408 request-timeout"),
    limit("then its rate", BODY_RATE_MIN, "bytes a second", "408 request-timeout"),
    limit("inline body", INLINE_BODY_BYTES_MAX as u64, "bytes", "spilled to a file"),
    limit(
        "body checked before it is sent",
        BODY_VERIFIED_BYTES_MAX,
        "bytes",
        "sent at once, cut off at its end if it is damaged",
    ),
    limit("head", HEAD_BYTES_MAX as u64, "bytes", "431 head-too-large"),
    limit("head fields", HEAD_FIELDS_MAX as u64, "fields", "431 head-too-large"),
    limit("path that a task tells", PATH_TOLD_BYTES_MAX as u64, "bytes", "cut, and ends with …"),
    limit("head of an upstream", HEAD_BYTES_MAX as u64, "bytes", "502 upstream-response-too-large"),
    limit(
        "head fields of an upstream",
        UPSTREAM_FIELDS_MAX as u64,
        "fields",
        "502 upstream-response-too-large",
    ),
    limit("connecting to an upstream", CONNECT_MAX.as_secs(), "seconds", "upstream-unreachable"),
    limit("idle connection", IDLE_CONNECTION_MAX.as_secs(), "seconds", "closed"),
    limit("idle connections of an upstream", IDLE_CONNECTIONS_MAX as u64, "connections", "closed"),
    limit("upstreams with idle connections", IDLE_UPSTREAMS_MAX as u64, "upstreams", "closed"),
    limit("template", TEMPLATE_BYTES_MAX as u64, "bytes", "422 invalid-field"),
    limit("body of a template", TEMPLATE_OUTPUT_BYTES_MAX as u64, "bytes", "the delivery fails"),
    limit("work of a template", TEMPLATE_FUEL, "steps", "the delivery fails"),
    limit("names looked up at once", LOOKUPS_MAX as u64, "names", "waits"),
    limit("addresses of a name of a caller's", ADDRESSES_MAX as u64, "addresses", "not tried"),
    limit("labels", LABELS_MAX as u64, "labels", "422 invalid-field"),
    limit("label key or value", LABEL_BYTES_MAX as u64, "bytes", "422 invalid-field"),
    limit("lane", LANE_BYTES_MAX as u64, "bytes", "422 invalid-field"),
    limit("queue name", QUEUE_NAME_BYTES_MAX as u64, "bytes", "422 invalid-field"),
    limit("tenant name", TENANT_NAME_BYTES_MAX as u64, "bytes", "refused by check"),
    limit("name on pages", PAGE_NAME_CHARS_MAX as u64, "characters", "refused by check"),
    limit("logo on pages", PAGE_LOGO_BYTES_MAX as u64, "bytes", "refused by check"),
    limit("batch", BATCH_MAX as u64, "items", "413 batch-too-large"),
    limit("lease call without a key", KEYLESS_BATCH_BODY_BYTES_MAX, "bytes", "413 body-too-large"),
    limit("unfinished bodies in memory", UNFINISHED_MEMORY_BYTES_MAX, "bytes", "503 overloaded"),
    limit(
        "the same per tenant or address",
        UNFINISHED_MEMORY_BYTES_MAX / UNFINISHED_SHARE_DIVISOR,
        "bytes",
        "429 rate-limited",
    ),
    limit("unfinished bodies to store", UNFINISHED_STORE_BYTES_MAX, "bytes", "503 overloaded"),
    limit(
        "these per tenant or address",
        UNFINISHED_STORE_BYTES_MAX / UNFINISHED_SHARE_DIVISOR,
        "bytes",
        "429 rate-limited",
    ),
    limit("list page", LIST_PAGE_MAX as u64, "items", "400 invalid-parameter"),
    limit("event page", EVENT_PAGE_MAX as u64, "events", "400 invalid-parameter"),
    limit("page", PAGE_BYTES_MAX as u64, "bytes", "ends early, `next` goes on"),
    limit("inputs in leases", LEASE_INPUTS_BYTES_MAX, "bytes", "the others by `input_url`"),
    limit("wait", WAIT_MAX.as_secs(), "seconds", "shortened"),
    limit("events of a task", EVENTS_MAX, "events", "409 too-many-events"),
    limit("progress", PROGRESS_PER_SECOND_MAX as u64, "events/s", "coalesced, the last kept"),
    limit("message", MESSAGE_BYTES_MAX as u64, "bytes", "422 invalid-field"),
    limit("name of a worker", WORKER_NAME_BYTES_MAX as u64, "bytes", "422 invalid-field"),
    limit("media type", CONTENT_TYPE_BYTES_MAX as u64, "bytes", "422 invalid-field"),
    limit("body of a small call", SMALL_BODY_BYTES_MAX, "bytes", "413 body-too-large"),
    limit("result in an event", EVENT_RESULT_BYTES_MAX as u64, "bytes", "left out, to be fetched"),
    limit("results before settles", UPLOADS_MAX as u64, "results", "429 rate-limited"),
    limit("these per tenant", UPLOADS_PER_TENANT_MAX as u64, "results", "429 rate-limited"),
    limit("ticket", TICKET_BYTES_MAX as u64, "bytes", "401 unauthorized"),
    limit("checkpoint", CHECKPOINT_BYTES_MAX as u64, "bytes", "422 invalid-field"),
    limit("problem of a worker", PROBLEM_BYTES_MAX as u64, "bytes", "422 invalid-field"),
    limit("lease", LEASE_MAX.as_secs(), "seconds", "refused by check"),
    limit("least keepalive", KEEPALIVE_MIN.as_secs(), "seconds", "refused by check"),
    limit(
        "least grace of a task that all have left",
        GRACE_MIN.as_secs(),
        "seconds",
        "refused by check",
    ),
    limit("aborted attempt", ABORT_GRACE.as_secs(), "seconds", "its slot is taken back"),
    limit("pipes of an ended program", PIPES_GRACE.as_secs(), "seconds", "closed, its exit counts"),
    limit("crashes in a row", CRASHES_MAX as u64, "crashes", "failed worker-lost"),
    limit("attempts", ATTEMPTS_MAX as u64, "attempts", "refused by check"),
    limit("pause of an origin", ORIGIN_PAUSE_MAX.as_secs(), "seconds", "shortened"),
    limit("paused lanes of a queue", PAUSED_LANES_MAX as u64, "lanes", "the queue is paused"),
    limit("horizon", HORIZON_MAX.as_secs(), "seconds", "422 invalid-field"),
    limit(
        "idempotency key",
        IDEMPOTENCY_KEY_BYTES_MAX as u64,
        "bytes",
        "400 invalid-idempotency-key",
    ),
    limit("double submit", DOUBLE_SUBMIT_MAX.as_secs(), "seconds", "refused by check"),
    limit("tasks of a stream", STREAM_TASKS_MAX as u64, "tasks", "400 invalid-parameter"),
    limit("tasks of a session", SESSION_TASKS_MAX as u64, "tasks", "the oldest is forgotten"),
    limit("ticket by a session", TICKET_BY_SESSION_MAX.as_secs(), "seconds", "shortened"),
    limit("sessions of browsers", SESSIONS_MAX, "sessions", "429 rate-limited"),
    limit("these by one task", SESSIONS_PER_TASK_MAX, "sessions", "429 rate-limited"),
    limit("these from one network", SESSIONS_PER_NETWORK_MAX, "sessions", "429 rate-limited"),
    limit("session without a return", SESSION_UNSEEN_MAX.as_secs(), "seconds", "ends"),
    limit("return of a page", RETURN_WITHIN.as_secs(), "seconds", "a request of its own"),
    limit("life of a stream", STREAM_LIFETIME_MAX.as_secs(), "seconds", "closed, to be resumed"),
    limit("message on a WebSocket", SOCKET_MESSAGE_BYTES_MAX as u64, "bytes", "closed with 1009"),
    limit(
        "fields that a WebSocket keeps",
        SOCKET_FIELDS_BYTES_MAX as u64,
        "bytes",
        "431 head-too-large",
    ),
    limit("watches of a WebSocket", SOCKET_WATCHES_MAX as u64, "watches", "429 rate-limited"),
    limit("unanswered calls of a WebSocket", SOCKET_CALLS_MAX as u64, "calls", "the next wait"),
    limit(
        "what waits for a WebSocket's client",
        SOCKET_WAITING_BYTES_MAX as u64,
        "bytes",
        "closed with 4100",
    ),
    limit("frames of a WebSocket in 10 s", SOCKET_FRAMES_MAX as u64, "frames", "closed with 4101"),
    limit(
        "a WebSocket of nobody known",
        SOCKET_AUTH_WITHIN.as_secs(),
        "seconds",
        "closed with 4001",
    ),
    limit("message of nobody known", SOCKET_AUTH_BYTES_MAX as u64, "bytes", "closed with 1009"),
    limit(
        "WebSockets of a tenant",
        SOCKETS_PER_TENANT_MAX as u64,
        "connections",
        "429 rate-limited",
    ),
    limit(
        "WebSockets of an address without a key",
        SOCKETS_PER_ADDRESS_MAX as u64,
        "connections",
        "429 rate-limited",
    ),
    limit("events at hand for followers", RECENT_EVENTS_MAX as u64, "events", "read from the log"),
    limit("bytes of them", RECENT_BYTES_MAX as u64, "bytes", "read from the log"),
    limit("erasures not yet read", ERASED_WAITING_MAX as u64, "erasures", "the latest not told"),
    limit("estimates kept", ESTIMATES_MAX as u64, "tasks", "made anew"),
    limit("log lines not yet read", LOG_WAITING_BYTES_MAX as u64, "bytes", "lost, counted, told"),
    limit("queue capacity", QUEUE_CAPACITY, "tasks", "429 queue-full"),
    limit(
        "queue capacity per address",
        QUEUE_CAPACITY / SOURCE_SHARE_DIVISOR,
        "tasks",
        "429 too-many-tasks",
    ),
    limit("capacity of a policy", QUEUE_CAPACITY_MAX, "tasks", "422 invalid-field"),
    limit("weight of a lane", LANE_WEIGHT_MAX as u64, "turns", "422 invalid-field"),
    limit("concurrency", CONCURRENCY_MAX as u64, "attempts", "422 invalid-field"),
    limit("queues of a tenant", QUEUES_PER_TENANT_MAX as u64, "queues", "409 too-many-queues"),
    limit("endpoints of a tenant", ENDPOINTS_MAX as u64, "endpoints", "409 too-many-webhooks"),
    limit("URL of a webhook", WEBHOOK_URL_BYTES_MAX as u64, "bytes", "422 invalid-field"),
    limit(
        "description of an endpoint",
        WEBHOOK_DESCRIPTION_BYTES_MAX as u64,
        "bytes",
        "422 invalid-field",
    ),
    limit("queues of an endpoint", WEBHOOK_QUEUES_MAX as u64, "queues", "422 invalid-field"),
    limit("secrets of an endpoint", WEBHOOK_SECRETS_MAX as u64, "secrets", "the oldest ends"),
    limit("overlap of secrets", WEBHOOK_OVERLAP_MAX.as_secs(), "seconds", "422 invalid-field"),
    limit(
        "deliveries that wait for an endpoint",
        DELIVERIES_WAITING_MAX,
        "deliveries",
        "the oldest dropped",
    ),
    limit("a delivery that waits", DELIVERY_WAIT_MAX.as_secs(), "seconds", "dropped"),
    limit("data of an event to a webhook", WEBHOOK_DATA_BYTES_MAX as u64, "bytes", "left out"),
    limit("answer of a receiver", DELIVERY_ANSWER_BYTES_MAX as u64, "bytes", "cut in the log"),
    limit("receiver of a delivery", DELIVERY_TIMEOUT.as_secs(), "seconds", "tried again"),
    limit("queues in metrics", METRIC_QUEUES_MAX as u64, "queues", "told together"),
    limit("these per tenant", METRIC_QUEUES_PER_TENANT_MAX as u64, "queues", "told together"),
    limit("tenant capacity", TENANT_CAPACITY, "tasks", "429 tenant-full"),
    limit("silence of a client", CLIENT_SILENCE_MAX.as_secs(), "seconds", "closed, it has left"),
    limit("connections", CONNECTIONS_MAX as u64, "connections", "waits to be accepted"),
    limit("connections to be accepted", BACKLOG_MAX as u64, "connections", "tries again later"),
];
