//! The access log: a line for each request once its answer stands, if the operator wants one.

use std::net::IpAddr;
use std::time::Duration;

use axum::response::Response;
use http::{Method, Request};

use crate::connection::Peer;
use crate::logged;

/// A request that is to have its line.
pub(crate) struct Asked {
    method: Method,
    /// Without the query: a ticket may be in it.
    path: String,
    peer: Option<IpAddr>,
    /// When it came, of the time that is counted: nobody's setting of the clock makes it slow.
    since: Duration,
}

impl Asked {
    pub(crate) fn by<B>(request: &Request<B>, now: Duration) -> Self {
        let peer = request.extensions().get::<Peer>();
        Self {
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            peer: peer.map(|peer| peer.address.ip()),
            since: now,
        }
    }

    /// Logs what was answered. A body, or a stream of events, may go on for long after that.
    pub(crate) fn answered(&self, response: &Response, now: Duration) {
        let task = response.headers().get(TASK).and_then(|task| task.to_str().ok());
        let took = now.saturating_sub(self.since);
        let (peer, path) = (self.peer.map(tracing::field::display), logged::path(&self.path));
        tracing::info!(
            target: "relais::access",
            method = %self.method, path = &*path, status = response.status().as_u16(),
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX), peer, task, "answered"
        );
    }
}

/// Names the task that a request made or asked for.
const TASK: &str = "relais-task";
