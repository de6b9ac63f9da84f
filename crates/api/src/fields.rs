//! Names of header fields that are Relais' own, or that the field's standard crates do not name. In lower
//! case, as HTTP/2 has them.

/// An API key.
pub const API_KEY: &str = "relais-api-key";
/// The task that an answer is about, or that a request to an upstream runs.
pub const TASK: &str = "relais-task";
/// To an upstream: which attempt this is, from 1 on.
pub const ATTEMPT: &str = "relais-attempt";
/// The token of a lease.
pub const LEASE: &str = "relais-lease";
/// Of which run and attempt an answer is, as `R.A`: what a client that reads on names.
pub const RESULT_VERSION: &str = "relais-result-version";
/// The first byte of the part of an answer that follows, for a client that reads on.
pub const OFFSET: &str = "relais-offset";
/// Who made an error: `relais`, `upstream` or `worker`.
pub const ORIGIN: &str = "relais-origin";
/// The status of a stored answer that is shown as part of another.
pub const UPSTREAM_STATUS: &str = "relais-upstream-status";
/// The entity tag that an upstream gave its answer.
pub const UPSTREAM_ETAG: &str = "relais-upstream-etag";
/// Where the state of a task is, for clients that know this field from elsewhere.
pub const OPERATION_LOCATION: &str = "operation-location";
/// The key that makes a repeated request the same request.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Says that an earlier request with the same key made the task.
pub const IDEMPOTENT_REPLAYED: &str = "idempotent-replayed";
/// Asks whoever stands between to pass a message on as it comes (draft-ietf-httpbis-incremental).
pub const INCREMENTAL: &str = "incremental";
/// Asks nginx, and those that took it over from there, not to collect an answer.
pub const X_ACCEL_BUFFERING: &str = "x-accel-buffering";
/// What a client would like (RFC 7240).
pub const PREFER: &str = "prefer";
/// What was done of it.
pub const PREFERENCE_APPLIED: &str = "preference-applied";

/// Fields that ask for something that the contract names and this version does not have.
pub const LATER: [&str; 3] = ["relais-await", "relais-callback", "relais-webhook"];

/// Fields of Relais' own that a request may carry and that are no options: credentials, and what one
/// Relais says to the next.
pub const KNOWN: [&str; 4] = [API_KEY, TASK, ATTEMPT, LEASE];
