//! Relais' own paths, each written once: the server routes them, and the description and the clients
//! name them. A server with an `api_prefix` has them below it on its public listener.

/// Tasks: submit one, list them.
pub const TASKS: &str = "/v1/tasks";
/// Submit many tasks at once.
pub const TASK_BATCH: &str = "/v1/tasks/batch";
/// Cancel those that fit a filter.
pub const TASK_CANCEL_MANY: &str = "/v1/tasks/cancel";
/// Retry those that fit a filter.
pub const TASK_RETRY_MANY: &str = "/v1/tasks/retry";
/// One task: read it, erase it.
pub const TASK: &str = "/v1/tasks/{id}";
/// The result of a task.
pub const TASK_RESULT: &str = "/v1/tasks/{id}/result";
/// The events of a task.
pub const TASK_EVENTS: &str = "/v1/tasks/{id}/events";
/// Why a task waits.
pub const TASK_WHY: &str = "/v1/tasks/{id}/why";
/// Cancel a task.
pub const TASK_CANCEL: &str = "/v1/tasks/{id}/cancel";
/// Retry a task.
pub const TASK_RETRY: &str = "/v1/tasks/{id}/retry";
/// Tickets of a task: another one.
pub const TASK_TICKETS: &str = "/v1/tasks/{id}/tickets";
/// What a browser follows by its session.
pub const SESSION: &str = "/v1/session";
/// Ends it, for forms, which know no DELETE.
pub const SESSION_FORGET_ALL: &str = "/v1/session/forget";
/// One task of it.
pub const SESSION_TASK: &str = "/v1/session/{id}";
/// Takes one task out of it, for forms, which know no DELETE.
pub const SESSION_FORGET: &str = "/v1/session/{id}/forget";
/// Events of many tasks.
pub const EVENTS: &str = "/v1/events";
/// The same by WebSocket.
pub const SOCKET: &str = "/v1/ws";
/// The queues of a tenant.
pub const QUEUES: &str = "/v1/queues";
/// One queue: read it, define its policy.
pub const QUEUE: &str = "/v1/queues/{queue}";
/// Lease tasks of a queue.
pub const QUEUE_LEASES: &str = "/v1/queues/{queue}/leases";
/// Pause a queue.
pub const QUEUE_PAUSE: &str = "/v1/queues/{queue}/pause";
/// Resume a queue.
pub const QUEUE_RESUME: &str = "/v1/queues/{queue}/resume";
/// Keep leases, and report how far their attempts are.
pub const LEASES_HEARTBEAT: &str = "/v1/leases/heartbeat";
/// Say how leased attempts ended.
pub const LEASES_SETTLE: &str = "/v1/leases/settle";
/// The input of a leased task.
pub const LEASES_INPUT: &str = "/v1/leases/input";
/// The result of a leased task, before its settle.
pub const LEASES_RESULT: &str = "/v1/leases/result";
/// The description of the calls.
pub const OPENAPI: &str = "/v1/openapi.json";
/// Whether the process lives.
pub const HEALTH: &str = "/healthz";
/// Whether new work should come here.
pub const READY: &str = "/readyz";
/// The client for browsers, with its elements.
pub const SCRIPT: &str = "/v1/client.js";
/// What pages are made of beside themselves: the logo.
pub const PAGE_FILE: &str = "/v1/page/{file}";
/// What a problem means.
pub const PROBLEM: &str = "/problems/{code}";

/// What is Relais' own: these paths, and all beneath those that end with a catch-all, also what is not
/// there. A typing mistake in a task's address must not carry its ticket to an upstream. All other
/// paths are the front door's.
pub const OWN: [&str; 18] = [
    "/v1/tasks/{*rest}",
    "/v1/queues/{*rest}",
    "/v1/leases/{*rest}",
    "/v1/events/{*rest}",
    OPENAPI,
    HEALTH,
    READY,
    PROBLEM,
    SCRIPT,
    "/v1/page/{*rest}",
    "/v1/callbacks/{*rest}",
    "/v1/resources/{*rest}",
    "/v1/schedules/{*rest}",
    "/v1/webhooks/{*rest}",
    "/v1/push/{*rest}",
    SOCKET,
    "/v1/nodes/{*rest}",
    "/v1/session/{*rest}",
];

/// Paths that the contract names and this version does not have. They are refused by name, so that
/// nobody takes their absence for a typing mistake.
pub const LATER: [&str; 10] = [
    "/v1/callbacks/{token}",
    "/v1/resources/{name}",
    "/v1/schedules",
    "/v1/schedules/{name}",
    "/v1/webhooks",
    "/v1/webhooks/{id}",
    "/v1/push",
    "/v1/push/{id}",
    "/v1/nodes",
    "/v1/tasks/{id}/deliveries",
];
