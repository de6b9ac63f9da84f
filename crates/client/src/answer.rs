//! The result of a task: the outcome's own status, fields and bytes.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use hyper::body::Incoming;

use crate::client::Client;
use crate::error::Error;
use crate::view::Task;

/// What there is of a task's result.
#[derive(Debug)]
pub enum TaskResult {
    /// The outcome, good or bad.
    Ready(Box<Answer>),
    /// Not yet: the task as it is, and when to ask again.
    NotYet {
        /// The task as it is now.
        task: Box<Task>,
        /// When to ask again.
        retry_after: Duration,
    },
}

/// An outcome whose body is still to be read.
#[derive(Debug)]
pub struct Answer {
    client: Client,
    status: u16,
    fields: HeaderMap,
    body: Incoming,
}

impl Answer {
    pub(crate) fn new(client: Client, response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        Self { client, status: head.status.as_u16(), fields: head.headers, body }
    }

    /// The HTTP status of the outcome.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The header fields of the outcome.
    #[must_use]
    pub const fn fields(&self) -> &HeaderMap {
        &self.fields
    }

    /// The media type of the body.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.fields.get(http::header::CONTENT_TYPE)?.to_str().ok()
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// When the connection breaks: what was read so far is not the whole.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        self.client.piece(&mut self.body).await
    }

    /// The whole body.
    ///
    /// # Errors
    /// When it has more than `limit` bytes, or the connection breaks.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes, Error> {
        let mut bytes = bytes::BytesMut::new();
        while let Some(piece) = self.chunk().await? {
            if bytes.len() + piece.len() > limit {
                return Err(Error::TooLarge { limit });
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.freeze())
    }
}
