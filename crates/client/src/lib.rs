//! The Rust client of Relais: submit, wait, follow, work.
//!
//! ```no_run
//! use relais_client::{Client, Credentials, RawJson, SubmitRequest};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new("http://127.0.0.1:8080", Credentials::Nobody)?;
//! let input = RawJson::parse(r#"{"order": "A-1"}"#)?;
//! let request =
//!     SubmitRequest { queue: "imports".to_owned(), input: Some(input), ..Default::default() };
//! let accepted = client.submit(request).await?;
//! // Whoever has the ticket may follow the task: keep it before anything else.
//! println!("{} {:?}", accepted.task.id, accepted.ticket);
//! let task = client.following(&accepted).wait(&accepted.task.id).await?;
//! assert!(task.terminal);
//! # Ok(())
//! # }
//! ```
//!
//! Three rules hold everywhere. What may safely be repeated is repeated (a submit carries an
//! idempotency key, so that a lost answer never makes a second task), with full jitter and at the
//! pace the server asks for. Only `terminal` says that a task is done, never the name of a status,
//! so that this client survives words it does not know. Nothing is buffered without a limit.
//!
//! Not here: the rules of the server, and names or limits checked ahead of it.

#![warn(missing_docs)]

mod answer;
mod backoff;
mod body;
mod client;
mod credentials;
mod error;
mod follow;
mod limits;
mod send;
mod submit;
mod transport;
mod trust;
mod view;
mod work;
mod worker;

pub use answer::{Answer, TaskResult};
pub use client::{Client, ListQuery};
pub use credentials::Credentials;
pub use error::{Distrust, Error, InvalidAuthorities, InvalidUrl};
pub use follow::Follow;
pub use relais_api::lease::RequestHead;
pub use relais_api::task::RequestLine;
pub use relais_api::ticket::{Grant, TicketRequest};
pub use relais_api::{
    BulkRequest, BulkResponse, Code, Deadline, Message, Problem, Progress, Queue, RawJson, Span,
    SubmitRequest, Time, Why,
};
pub use submit::{Accepted, SubmitOptions};
pub use view::{Event, Task, TaskList, Ticket};
pub use work::{
    Heartbeat, Lease, LeaseNext, LeaseRequest, ResultSource, Settle, SettleItem, SettleRequest,
    SettleResponse,
};
pub use worker::{Ended, Handler, Input, LeasedTask, Outcome, Output, Reporter, Stop, Worker};
