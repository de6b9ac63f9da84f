//! The access log: a line for each request once its answer stands, if the operator wants one.

use relais_api::fields;
use std::net::IpAddr;
use std::time::Duration;

use axum::response::Response;
use http::{Method, Request};

use crate::observe::logged;
use crate::proxy::source::Source;
use crate::request::sent_by::SentBy;

/// A request that is to have its line.
pub(crate) struct Asked {
    method: Method,
    /// Without the query: a ticket may be in it.
    path: String,
    /// Who called, as far as it can be told.
    client: Option<IpAddr>,
    /// The trusted proxy at the other end of the connection, if it was one that called for another.
    peer: Option<IpAddr>,
    /// When it came, by the clock that nobody can set: else a clock that is set would look like a
    /// slow answer.
    since: Duration,
}

impl Asked {
    pub(crate) fn by<B>(request: &Request<B>, now: Duration) -> Self {
        let source = request.extensions().get::<SentBy>().map(|sent_by| &sent_by.source);
        Self {
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            client: source.map(|source| source.client),
            peer: source.and_then(Source::proxy),
            since: now,
        }
    }

    /// Logs what was answered. A body, or a stream of events, may go on for long after that.
    pub(crate) fn answered(&self, response: &Response, now: Duration) {
        let task = response.headers().get(fields::TASK).and_then(|task| task.to_str().ok());
        let took = now.saturating_sub(self.since);
        let path = logged::path(&self.path);
        let [client, peer] = [self.client, self.peer].map(|one| one.map(tracing::field::display));
        tracing::info!(
            target: "relais::access",
            method = %self.method, path = &*path, status = response.status().as_u16(),
            took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX), client, peer, task,
            "answered"
        );
    }
}
