//! HTTP: the front door, the task API, the followers. The only crate that knows status codes.
//!
//! Read in this order: [`app`] (the parts that all requests share, each of them of one room),
//! `connection` (what comes in, and how it is bounded), `service` (who answers), `routes` (the task API,
//! one file per resource) and `front_door`,
//! `auth` (who calls), `request` (what is read), `answer` (what is said, with the one conversion of
//! errors to HTTP), `watch` (followers), `observe` (metrics and log). Not here: what may happen to a
//! task (`relais-core`), and what makes it happen (`relais-engine`).

mod answer;
pub mod app;
pub mod auth;
pub mod config;
mod connection;
mod front_door;
mod observe;
mod proxy;
mod request;
mod routes;
mod run_to_end;
mod service;
mod socket;
mod stop;
mod watch;

pub use app::{App, ServeError};
pub use connection::listen::{listen, serve};
pub use connection::tls::{Certificates, TlsError, TlsFault, TlsFiles};
pub use routes::{admin_router, api_router};
pub use service::{Door, RouteProblem, Rules, validate_routes};
pub use stop::Stop;
pub use watch::stream::{EventStream, Streaming};
