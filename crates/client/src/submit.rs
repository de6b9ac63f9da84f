//! Handing work in, so that a lost answer never makes a second task (P29).

use http::header::LINK;
use http::{HeaderMap, HeaderValue, Response};
use hyper::body::Incoming;
use relais_api::{SubmitRequest, paths};
use serde::{Deserialize, Serialize};

use crate::backoff;
use crate::client::Client;
use crate::error::Error;
use crate::send::{self, Call};
use crate::view::Task;

/// The answer to a submit: the task, and what it takes to follow it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Accepted {
    /// The task as it was when it was accepted, or is now if it had been accepted before.
    #[serde(flatten)]
    pub task: Task,
    /// The token that lets its bearer follow the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// Whether an earlier submit with the same idempotency key made the task.
    #[serde(skip)]
    pub replayed: bool,
}

/// How a submit is made.
#[derive(Clone, Debug, Default)]
pub struct SubmitOptions {
    /// The idempotency key; a new one unless given.
    pub idempotency_key: Option<String>,
}

impl Client {
    /// Hands in one task. Lost answers are made up for: the submit carries an idempotency key of
    /// its own, so that repeating it attaches to the task it made.
    ///
    /// # Errors
    /// When the server refuses it or cannot be reached.
    pub async fn submit(&self, request: SubmitRequest) -> Result<Accepted, Error> {
        self.submit_as(&request, &SubmitOptions::default()).await
    }

    /// Hands in one task under a key of the caller's own.
    ///
    /// # Errors
    /// When the server refuses it or cannot be reached.
    pub async fn submit_as(
        &self,
        request: &SubmitRequest,
        options: &SubmitOptions,
    ) -> Result<Accepted, Error> {
        let key = options.idempotency_key.clone().unwrap_or_else(backoff::new_key);
        if !key.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(Error::Invalid("an idempotency key has visible ASCII characters only"));
        }
        // A structured field's string: quotes around, backslashes before quotes.
        let quoted = format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""));
        let call = Call::post(paths::TASKS)
            .repeatable()
            .json(request)?
            .text_field(send::IDEMPOTENCY_KEY, &quoted)?
            .field(send::PREFER, HeaderValue::from_static("respond-async"));
        let response = self.send(&call).await?;
        if response.status().as_u16() == ACCEPTED {
            let replayed = response.headers().contains_key(send::IDEMPOTENT_REPLAYED);
            let mut accepted: Accepted = self.read(response).await?;
            accepted.replayed = replayed;
            return Ok(accepted);
        }
        self.attached(response).await
    }

    /// A repeated submit whose task is done already is answered with the result: the task itself is
    /// asked for.
    async fn attached(&self, response: Response<Incoming>) -> Result<Accepted, Error> {
        let fields = response.headers();
        let id = fields.get(send::TASK).and_then(|id| id.to_str().ok()).map(str::to_owned);
        let is_outcome =
            response.status().is_success() || fields.contains_key(send::IDEMPOTENT_REPLAYED);
        let Some(id) = id.filter(|_| is_outcome) else {
            return Err(if response.status().is_success() {
                Error::Unreadable(format!("status {} to a submit", response.status().as_u16()))
            } else {
                send::refused(response).await
            });
        };
        let ticket = monitor_ticket(fields);
        let reader = match &ticket {
            Some(ticket) => self.with_ticket(ticket),
            None => self.clone(),
        };
        let task = reader.task(&id).await?;
        Ok(Accepted { task, ticket, replayed: true })
    }
}

const ACCEPTED: u16 = 202;

/// The ticket in the link to the task, where the caller has no key.
fn monitor_ticket(fields: &HeaderMap) -> Option<String> {
    let links = fields.get_all(LINK).iter().filter_map(|link| link.to_str().ok());
    let mut links = links.flat_map(|links| links.split(','));
    let monitor = links.find(|link| link.contains("rel=\"monitor\""))?;
    let (_, query) = monitor.split('>').next()?.split_once('?')?;
    let ticket = query.split('&').find_map(|pair| pair.strip_prefix("ticket="))?;
    Some(ticket.to_owned())
}
