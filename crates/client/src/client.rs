//! The client: one server, one caller. Cheap to clone; clones share their connections.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ETAG, IF_NONE_MATCH};
use relais_api::bulk::{RetryFrom, RetryRequest};
use relais_api::ticket::TicketRequest;
use relais_api::{BulkRequest, BulkResponse, Queue, Why, paths};

use crate::answer::{Answer, TaskResult};
use crate::backoff::Backoff;
use crate::credentials::Credentials;
use crate::error::{Error, InvalidAuthorities, InvalidUrl};
use crate::follow::Follow;
use crate::limits;
use crate::send::{self, Call, escaped};
use crate::submit::Accepted;
use crate::transport::{Origin, Transport};
use crate::trust;
use crate::view::{Task, TaskList, Ticket};

/// One server, one caller. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Client {
    transport: Arc<Transport>,
    credentials: Credentials,
    attempts: u32,
}

/// Which tasks to list. All members given must fit.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// Of this queue.
    pub queue: Option<String>,
    /// In this status.
    pub status: Option<String>,
    /// With this label, as `name=value`.
    pub label: Option<String>,
    /// Of this lane.
    pub lane: Option<String>,
    /// From where the page before left off: its `next`.
    pub after: Option<String>,
    /// How many at most.
    pub limit: Option<u32>,
}

impl Client {
    /// A client of the server at `base_url`: scheme, host and, if the server has one, its
    /// `api_prefix`. Over `https` its certificate must be of an authority that everybody trusts
    /// (Mozilla's roots, which are part of the program), or this machine.
    ///
    /// # Errors
    /// When the text is not such a URL.
    pub fn new(base_url: &str, credentials: Credentials) -> Result<Self, InvalidUrl> {
        let origin = Origin::parse(base_url)?;
        let tls = trust::config(origin.is_tls(), Vec::new());
        let transport = Arc::new(Transport::new(origin, tls));
        Ok(Self { transport, credentials, attempts: ATTEMPTS })
    }

    /// The same client, over connections of its own, where the certificates of this PEM text are
    /// trusted as well: those of authorities, or the server's own.
    ///
    /// # Errors
    /// When there is no certificate in it, or something else.
    pub fn with_authorities(&self, pem: &[u8]) -> Result<Self, InvalidAuthorities> {
        let origin = self.transport.origin().clone();
        let tls = trust::config(origin.is_tls(), trust::authorities(pem)?);
        Ok(Self { transport: Arc::new(Transport::new(origin, tls)), ..self.clone() })
    }

    /// The same client, calling as somebody else.
    #[must_use]
    pub fn with_credentials(&self, credentials: Credentials) -> Self {
        Self { credentials, ..self.clone() }
    }

    /// The same client, as the bearer of a ticket.
    #[must_use]
    pub fn with_ticket(&self, ticket: impl Into<String>) -> Self {
        self.with_credentials(Credentials::Ticket(ticket.into()))
    }

    /// The same client, fit to follow a task just accepted: with its ticket, unless it has a key.
    #[must_use]
    pub fn following(&self, accepted: &Accepted) -> Self {
        match (&self.credentials, &accepted.ticket) {
            (Credentials::Nobody, Some(ticket)) => self.with_ticket(ticket),
            _ => self.clone(),
        }
    }

    /// The same client, sending what may be repeated at most so many times; 5 unless said.
    #[must_use]
    pub fn with_attempts(&self, attempts: u32) -> Self {
        Self { attempts: attempts.max(1), ..self.clone() }
    }

    /// The same caller with connections of its own, which belong to another runtime.
    pub(crate) fn on_its_own(&self) -> Self {
        Self { transport: Arc::new(self.transport.on_its_own()), ..self.clone() }
    }

    /// One task as it is now.
    ///
    /// # Errors
    /// When there is none that this caller may see, or the server cannot be reached.
    pub async fn task(&self, id: &str) -> Result<Task, Error> {
        self.document(&Call::get(path_of(id, ""))).await
    }

    /// Waits until a task is done, however long that takes, across restarts of the server.
    ///
    /// # Errors
    /// When there is no such task, or the server was away for too long.
    pub async fn wait(&self, id: &str) -> Result<Task, Error> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        let mut etag = None;
        loop {
            let mut call = Call::get(path_of(id, "")).waiting(limits::POLL_WAIT);
            if let Some(etag) = etag.clone() {
                call = call.field(IF_NONE_MATCH, etag);
            }
            let pause = match self.wait_once(&call, &mut etag).await {
                Ok(Seen::Task(task)) if task.terminal => return Ok(*task),
                Ok(Seen::Task(_) | Seen::Same(None)) => {
                    backoff.succeeded();
                    continue;
                }
                // The server does not hold requests: ask at the pace it gives.
                Ok(Seen::Same(pause)) => pause.unwrap_or(Duration::from_secs(1)),
                Err(error) if error.is_transient() && backoff.failures() < FAILURES_MAX => {
                    backoff.failed(error.retry_after())
                }
                Err(error) => return Err(error),
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn wait_once(
        &self,
        call: &Call,
        etag: &mut Option<http::HeaderValue>,
    ) -> Result<Seen, Error> {
        let response = self.with_attempts(1).send(call).await?;
        let fields = response.headers();
        // Without it the server did not wait, and asking at once would be a busy loop.
        let waited = fields.contains_key(send::PREFERENCE_APPLIED);
        let pause = send::retry_after(fields).unwrap_or(Duration::from_secs(1));
        let seen = fields.get(ETAG).cloned();
        if response.status().as_u16() == NOT_MODIFIED {
            return Ok(Seen::Same((!waited).then_some(pause)));
        }
        let is_first = etag.is_none();
        *etag = seen;
        let task: Task = self.read(response).await?;
        // The first answer comes at once: it is what the next ones are compared with.
        let at_pace = !task.terminal && !waited && (!is_first || etag.is_none());
        Ok(if at_pace { Seen::Same(Some(pause)) } else { Seen::Task(Box::new(task)) })
    }

    /// The result of a task, or the task if it is not done.
    ///
    /// # Errors
    /// When there is no such task, or the server cannot be reached. An outcome that is an error is
    /// not one of this call.
    pub async fn result(&self, id: &str) -> Result<TaskResult, Error> {
        let response = self.send(&Call::get(path_of(id, "/result"))).await?;
        let status = response.status();
        if status.as_u16() == 202 {
            let retry_after = send::retry_after(response.headers());
            let task = Box::new(self.read(response).await?);
            let retry_after = retry_after.unwrap_or(Duration::from_secs(1));
            return Ok(TaskResult::NotYet { task, retry_after });
        }
        let is_outcome = status.is_success()
            || status.is_redirection()
            || response.headers().contains_key(send::TASK);
        if !is_outcome {
            return Err(send::refused(response).await);
        }
        Ok(TaskResult::Ready(Box::new(Answer::new(self.clone(), response))))
    }

    /// Follows the events of a task after the one numbered `after` (0: all of them), across lost
    /// connections and restarts of the server.
    #[must_use]
    pub fn follow(&self, id: &str, after: u64) -> Follow {
        Follow::new(self, id, after)
    }

    /// Why a task waits.
    ///
    /// # Errors
    /// When there is no such task, or the server cannot be reached.
    pub async fn why(&self, id: &str) -> Result<Why, Error> {
        self.document(&Call::get(path_of(id, "/why"))).await
    }

    /// Calls a task off; one that is canceled already stays so.
    ///
    /// # Errors
    /// When it is done, or this caller may not.
    pub async fn cancel(&self, id: &str) -> Result<Task, Error> {
        self.document(&Call::post(path_of(id, "/cancel")).repeatable()).await
    }

    /// Runs a failed or canceled task again, from its checkpoint or from the start. The answer
    /// holds a fresh ticket.
    ///
    /// # Errors
    /// When it succeeded, or this caller may not.
    pub async fn retry(&self, id: &str, from_start: bool) -> Result<Accepted, Error> {
        let from = if from_start { RetryFrom::Start } else { RetryFrom::Checkpoint };
        let call = Call::post(path_of(id, "/retry")).json(&RetryRequest { from: Some(from) })?;
        // A second one finds the task not terminal, and changes nothing.
        self.document(&call.repeatable()).await
    }

    /// Another ticket for a task: one with fewer grants or a shorter life to pass on, or one that lasts
    /// longer than the client's own. It grants no more than the client may do itself.
    ///
    /// # Errors
    /// When the client's own ticket has ended, or this caller may not.
    pub async fn renew_ticket(&self, id: &str, request: &TicketRequest) -> Result<Ticket, Error> {
        let call = Call::post(path_of(id, "/tickets")).json(request)?;
        // A second one is as good as the first.
        self.document(&call.repeatable()).await
    }

    /// Erases a task that is done; with `cancel` also one that is not.
    ///
    /// # Errors
    /// When it is not done, or this caller may not.
    pub async fn erase(&self, id: &str, cancel: bool) -> Result<(), Error> {
        self.done(&Call::delete(path_of(id, if cancel { "?cancel=true" } else { "" }))).await
    }

    /// A page of tasks, newest first.
    ///
    /// # Errors
    /// When the filter is refused, or the server cannot be reached.
    pub async fn list(&self, query: &ListQuery) -> Result<TaskList, Error> {
        let limit = query.limit.map(|limit| limit.to_string());
        let members = [
            ("queue", &query.queue),
            ("status", &query.status),
            ("label", &query.label),
            ("lane", &query.lane),
            ("after", &query.after),
            ("limit", &limit),
        ];
        let given = members.iter().filter_map(|(name, value)| {
            value.as_ref().map(|value| format!("{name}={}", escaped(value)))
        });
        let given = given.collect::<Vec<_>>().join("&");
        let mark = if given.is_empty() { "" } else { "?" };
        self.document(&Call::get(format!("{}{mark}{given}", paths::TASKS))).await
    }

    /// Cancels many tasks at once, up to the limit of one call; go on with `next`.
    ///
    /// # Errors
    /// When the filter is empty or refused.
    pub async fn cancel_many(&self, filter: &BulkRequest) -> Result<BulkResponse, Error> {
        self.document(&Call::post(paths::TASK_CANCEL_MANY).repeatable().json(filter)?).await
    }

    /// Retries many tasks at once, up to the limit of one call; go on with `next`.
    ///
    /// # Errors
    /// When the filter is empty or refused.
    pub async fn retry_many(&self, filter: &BulkRequest) -> Result<BulkResponse, Error> {
        self.document(&Call::post(paths::TASK_RETRY_MANY).repeatable().json(filter)?).await
    }

    /// All queues that this caller may see.
    ///
    /// # Errors
    /// When the server cannot be reached, or this caller may not.
    pub async fn queues(&self) -> Result<Vec<Queue>, Error> {
        let mut queues = Vec::new();
        let first = [paths::QUEUES, "?limit=500"].concat();
        let mut path = first.clone();
        loop {
            let page: QueueList = self.document(&Call::get(path)).await?;
            queues.extend(page.items);
            let Some(next) = page.next else { return Ok(queues) };
            path = format!("{first}&after={}", escaped(&next));
        }
    }

    /// One queue.
    ///
    /// # Errors
    /// When there is no such queue.
    pub async fn queue(&self, name: &str) -> Result<Queue, Error> {
        self.document(&Call::get(paths::QUEUE.replace("{queue}", &escaped(name)))).await
    }

    /// Lets no attempt of a queue start until it is resumed.
    ///
    /// # Errors
    /// When there is no such queue, or this caller may not.
    pub async fn pause(&self, name: &str) -> Result<(), Error> {
        self.done(&Call::post(paths::QUEUE_PAUSE.replace("{queue}", &escaped(name))).repeatable())
            .await
    }

    /// Lets the attempts of a queue start again.
    ///
    /// # Errors
    /// When there is no such queue, or this caller may not.
    pub async fn resume(&self, name: &str) -> Result<(), Error> {
        self.done(&Call::post(paths::QUEUE_RESUME.replace("{queue}", &escaped(name))).repeatable())
            .await
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    pub(crate) const fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    pub(crate) const fn attempts(&self) -> u32 {
        self.attempts
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = &self.transport.origin().base;
        f.debug_struct("Client").field("at", at).field("as", &self.credentials).finish()
    }
}

#[derive(serde::Deserialize)]
struct QueueList {
    items: Vec<Queue>,
    next: Option<String>,
}

/// What one long-poll brought.
enum Seen {
    Task(Box<Task>),
    /// Nothing new; how long to wait before asking again, if the server did not wait itself.
    Same(Option<Duration>),
}

pub(crate) fn path_of(id: &str, below: &str) -> String {
    format!("{}/{}{below}", paths::TASKS, escaped(id))
}

const NOT_MODIFIED: u16 = 304;
/// How often what may be repeated is sent.
const ATTEMPTS: u32 = 5;
/// Failures in a row after which waiting gives up: some three minutes.
pub(crate) const FAILURES_MAX: u32 = 40;
