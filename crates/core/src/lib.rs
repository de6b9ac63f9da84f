//! The rules of Relais: what a task is, what may happen to it, and when it may run.
//!
//! Deliberately not here: I/O, clocks, randomness, async, SQL, HTTP. Time and chance are arguments.

#![warn(missing_docs)]

pub mod address;
pub mod attendance;
pub mod cbor;
pub mod event;
pub mod failure;
pub mod id;
pub mod lane;
pub mod lease;
pub mod lifecycle;
pub mod limits;
pub mod name;
pub mod options;
pub mod outcome;
pub mod policy;
pub mod refusal;
pub mod retry;
pub mod runner;
pub mod session;
pub mod spec;
pub mod task;
pub mod time;
pub mod version;
pub mod webhook;

pub use address::Guard;
pub use attendance::{Attendance, Grace};
pub use event::{CancelReason, Cause, Entry, EventData, EventKind, RequeueReason};
pub use failure::{Failure, FailureCode, LastFailure};
pub use id::{InvalidId, LeaseToken, TaskId};
pub use lease::{Gone, Holder, Lease};
pub use lifecycle::{BodyKind, Command, Effect, Reply, Step, accept, step};
pub use name::{InvalidName, LaneKey, QueueName, TenantName};
pub use options::{Asked, Deadline, InvalidOption, OptionName, Options};
pub use policy::{Order, Policy, Rate};
pub use refusal::Refused;
pub use retry::RetryPolicy;
pub use runner::Runner;
pub use session::{
    Destination, Grants, Joined, Mark, Navigation, Session, SessionOp, SessionReply,
};
pub use spec::{Purpose, RequestLine, Source, Spec};
pub use task::{Credentials, Life, Priority, Progress, Settled, Settlement, State, Status, Task};
pub use time::Timestamp;
pub use version::{Fate, InvalidVersion, ResultVersion};
pub use webhook::{
    DeliveryId, Endpoint, EndpointChange, EndpointId, EndpointOp, EndpointStep, Filter, Heard,
    News, Notice, OwnWebhook, Standing, Topic, Topics,
};
