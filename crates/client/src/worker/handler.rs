//! What a worker's program sees: the task it got, and how it says how that went.

use std::collections::BTreeMap;
use std::future::Future;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use relais_api::codes::HANDLER_FAILED;
use relais_api::lease::RequestHead;
use relais_api::{Lease, Message, Problem, RawJson, Span, Time};

use crate::answer::Answer;
use crate::client::Client;
use crate::error::Error;
use crate::worker::reporter::Reporter;

/// Does the work of one attempt. An async function of these two arguments is one.
pub trait Handler: Send + Sync + 'static {
    /// Runs one attempt. A panic is a failure that may be retried.
    fn run(
        &self,
        task: LeasedTask,
        reporter: Reporter,
    ) -> impl Future<Output = Outcome> + Send + 'static;
}

impl<F, Running> Handler for F
where
    F: Fn(LeasedTask, Reporter) -> Running + Send + Sync + 'static,
    Running: Future<Output = Outcome> + Send + 'static,
{
    fn run(
        &self,
        task: LeasedTask,
        reporter: Reporter,
    ) -> impl Future<Output = Outcome> + Send + 'static {
        self(task, reporter)
    }
}

/// One attempt of a task, leased by this worker.
#[derive(Clone, Debug)]
pub struct LeasedTask {
    client: Client,
    lease: Box<Lease>,
}

impl LeasedTask {
    pub(crate) fn new(client: Client, lease: Lease) -> Self {
        Self { client, lease: Box::new(lease) }
    }

    pub(crate) fn token(&self) -> &str {
        &self.lease.token
    }

    /// The task's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.lease.task
    }

    /// The task's queue.
    #[must_use]
    pub fn queue(&self) -> &str {
        &self.lease.queue
    }

    /// The task's lane.
    #[must_use]
    pub fn lane(&self) -> Option<&str> {
        self.lease.lane.as_deref()
    }

    /// The number of this attempt, from 1.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.lease.attempt
    }

    /// The task's run, from 1.
    #[must_use]
    pub const fn run(&self) -> u32 {
        self.lease.run
    }

    /// The client's own names and values.
    #[must_use]
    pub const fn labels(&self) -> &BTreeMap<String, String> {
        &self.lease.labels
    }

    /// Where to resume: the latest checkpoint of an earlier attempt.
    #[must_use]
    pub const fn checkpoint(&self) -> Option<&RawJson> {
        self.lease.checkpoint.as_ref()
    }

    /// When the task fails if it is not done.
    #[must_use]
    pub const fn deadline(&self) -> Option<Time> {
        self.lease.deadline
    }

    /// The media type of the input.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        let of_json = self.lease.input.as_ref().map(|_| "application/json");
        self.lease.content_type.as_deref().or(of_json)
    }

    /// What was asked, if the task came by the front door.
    #[must_use]
    pub const fn request(&self) -> Option<&RequestHead> {
        self.lease.request.as_ref()
    }

    /// The input, to be read piece by piece: a large one is not held in memory.
    ///
    /// # Errors
    /// When the lease is over, or the server cannot be reached.
    pub async fn input(&self) -> Result<Input, Error> {
        if let Some(json) = &self.lease.input {
            return Ok(Input::Whole(Bytes::copy_from_slice(json.as_bytes())));
        }
        if let Some(text) = &self.lease.input_base64 {
            let bytes = STANDARD.decode(text);
            let bytes = bytes.map_err(|_| Error::Unreadable("the input is not base64".into()))?;
            return Ok(Input::Whole(bytes.into()));
        }
        if self.lease.input_url.is_none() {
            return Ok(Input::Whole(Bytes::new()));
        }
        // The URL is for workers without a client; this one knows the way to its own server.
        Ok(match self.client.input(&self.lease.token).await? {
            Some(answer) => Input::Streamed(Box::new(answer)),
            None => Input::Whole(Bytes::new()),
        })
    }
}

/// The input of a task.
#[derive(Debug)]
pub enum Input {
    /// It came with the lease.
    Whole(Bytes),
    /// It is fetched as it is read.
    Streamed(Box<Answer>),
}

impl Input {
    /// The next piece; `None` at its end.
    ///
    /// # Errors
    /// When the connection breaks: what was read so far is not the whole.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        match self {
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                Ok((!bytes.is_empty()).then_some(bytes))
            }
            Self::Streamed(answer) => answer.chunk().await,
        }
    }

    /// The whole input.
    ///
    /// # Errors
    /// When it has more than `limit` bytes, or the connection breaks.
    pub async fn bytes(self, limit: usize) -> Result<Bytes, Error> {
        match self {
            Self::Whole(bytes) if bytes.len() > limit => Err(Error::TooLarge { limit }),
            Self::Whole(bytes) => Ok(bytes),
            Self::Streamed(answer) => answer.bytes(limit).await,
        }
    }
}

/// How an attempt ended.
#[derive(Debug)]
pub enum Outcome {
    /// It is done.
    Succeed(Output),
    /// It could not be done.
    Fail {
        /// Why; a problem without a code is `handler-failed`.
        problem: Box<Problem>,
        /// Whether another attempt makes sense.
        retryable: bool,
        /// Not before this long from now.
        retry_after: Option<Span>,
        /// For end users.
        message: Option<Message>,
    },
    /// It was not begun, or is given back untouched: no failure is counted.
    Release,
}

impl Outcome {
    /// Done, with a JSON result.
    #[must_use]
    pub const fn json(result: RawJson) -> Self {
        Self::Succeed(Output::Json(result))
    }

    /// A failure with a sentence for the developer.
    pub fn fail(detail: impl Into<String>, retryable: bool) -> Self {
        let mut problem = HANDLER_FAILED.problem("").with_detail(detail);
        problem.retryable = retryable;
        Self::Fail { problem: Box::new(problem), retryable, retry_after: None, message: None }
    }
}

/// The result of a success.
#[derive(Debug)]
pub enum Output {
    /// The task is done, and nothing came of it.
    Empty,
    /// JSON; its source bytes are kept.
    Json(RawJson),
    /// Bytes that are held in memory.
    Bytes {
        /// All of them.
        bytes: Bytes,
        /// Their media type.
        content_type: String,
    },
    /// A file, read from its start: for what should not be held in memory.
    File {
        /// The file, open for reading.
        file: tokio::fs::File,
        /// The media type of what it holds.
        content_type: String,
    },
}
