//! What travels between Relais and its clients: JSON bodies, events, problems, OpenAPI.
//!
//! Each type here is one document of the contract (`docs/protocol.md`). Shapes and spelling are
//! checked here; names, limits and policy are not: `relais-core` decides those, and the server
//! turns its refusals into a [`Problem`]. Nothing here does I/O or reads a clock.
//!
//! Two rules hold for every document. Absent values are left out and `null` is refused where no
//! value was asked for. Requests refuse members they do not know; answers ignore them, so that an
//! older client can talk to a newer server.

#![warn(missing_docs)]

mod bounded;
mod object;
mod words;

pub mod asyncapi;
pub mod bulk;
pub mod codes;
pub mod decode;
pub mod event;
pub mod fields;
pub mod health;
pub mod lease;
pub mod openapi;
pub mod paths;
pub mod problem;
pub mod queue;
pub mod raw;
pub mod sse;
pub mod submit;
pub mod task;
pub mod ticket;
pub mod time;
pub mod webhook;
pub mod why;
pub mod ws;

pub use bounded::ENTRIES_MAX;
pub use bulk::{BulkRequest, BulkResponse};
pub use codes::{CODES, Code};
pub use decode::{DecodeError, DecodeKind, Item, decode, decode_batch};
pub use event::{After, Event, EventPage, EventType, Notice};
pub use lease::{
    Heartbeat, HeartbeatRequest, HeartbeatResponse, Lease, LeaseRequest, LeaseResponse, Outcome,
    Settle, SettleRequest, SettleResponse,
};
pub use problem::{FieldError, Problem};
pub use queue::{Counts, Order, Policy, Queue, QueueList, Rate, RetryPolicy};
pub use raw::RawJson;
pub use sse::{SseFrame, SseParser};
pub use submit::{BatchItem, BatchRequest, BatchResponse, Deadline, SubmitRequest};
pub use task::{Accepted, Eta, LastFailure, Links, Message, Progress, Status, Task, TaskList};
pub use time::{Span, Time};
pub use webhook::{Exchange, WebhookEvent, WebhookNews};
pub use why::{Reason, WaitingFor, Why};
