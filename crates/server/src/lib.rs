//! HTTP: the front door, the task API, the followers. The only crate that knows status codes.
//!
//! Read in this order: [`app`] (what all requests share), `routes` (the task API, one file per
//! resource), `problem` (the one conversion of errors to HTTP), `auth` and `ticket` (who calls),
//! `accepted` and `replay` (the two answers about a task), `watch` (its followers). Not here: what
//! may happen to a task (`relais-core`), and what makes it happen (`relais-engine`).

mod accept;
mod accepted;
mod access;
pub mod app;
pub mod auth;
mod bodies;
pub mod config;
mod connection;
mod cors;
mod etag;
mod front_door;
mod heavy;
mod idempotency;
mod incoming;
mod links;
mod listen;
mod logged;
mod metrics;
mod pace;
mod pages;
mod params;
mod part;
mod pieces;
mod prefer;
mod present;
mod problem;
mod proxy;
mod refusals;
mod replay;
mod routes;
mod run_to_end;
mod service;
mod stored;
mod submitted;
mod ticket;
mod tls;
mod uploads;
mod watch;
mod worker;

pub use app::{App, ServeError};
pub use listen::{listen, serve};
pub use service::{Door, RouteProblem, Rules, validate_routes};
pub use tls::{Certificates, TlsError, TlsFault, TlsFiles};
pub use watch::chunk::Chunk;
pub use watch::sse::{Follow, Following};
