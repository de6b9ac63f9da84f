//! The one conversion of errors to HTTP: what was refused, why, and what to do next (RFC 9457).
//!
//! A handler fails with a [`Refusal`]. It becomes a document only at the door, where the address of
//! Relais and the path of the request are known. Internal text goes to the log, never to a client.

use axum::response::{IntoResponse, Response};
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER,
    SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE,
};
use http::{HeaderValue, StatusCode};
use relais_api::codes::{self, Code};
use relais_api::{DecodeError, DecodeKind, ENTRIES_MAX, FieldError, Problem, Span, fields};
use relais_core::{Refused, TaskId, limits};
use relais_engine::EngineError;
use relais_store::{Rejected, StoreError};

use crate::auth::{BadTicket, Scope};

const _: () = assert!(ENTRIES_MAX == limits::BATCH_MAX);

/// A request that is refused.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    parts: Box<Parts>,
}

#[derive(Debug, Clone)]
struct Parts {
    code: &'static Code,
    detail: Option<String>,
    errors: Vec<FieldError>,
    limit: Option<u64>,
    task: Option<TaskId>,
    retry_after_s: Option<u32>,
    allow: Option<String>,
    challenge: Option<&'static str>,
    length: Option<u64>,
    closes: bool,
    /// For the log alone.
    inside: Option<String>,
}

impl Refusal {
    /// A refusal of which only the kind is known.
    #[must_use]
    pub(crate) fn new(code: &'static Code) -> Self {
        let parts = Parts {
            code,
            detail: None,
            errors: Vec::new(),
            limit: None,
            task: None,
            retry_after_s: default_retry_after_s(code),
            allow: None,
            challenge: (code.status == 401).then_some("Bearer realm=\"relais\""),
            length: None,
            closes: false,
            inside: None,
        };
        Self { parts: Box::new(parts) }
    }

    /// New work at a server that is about to stop: the connection ends, too, so that the client
    /// does not come back to this one.
    #[must_use]
    pub(crate) fn draining() -> Self {
        Self::new(&codes::SERVER_DRAINING).closing()
    }

    /// A parameter of the URL that is refused.
    #[must_use]
    pub(crate) fn parameter(name: &str, why: impl std::fmt::Display) -> Self {
        Self::new(&codes::INVALID_PARAMETER).because(format!("`{name}`: {why}"))
    }

    /// A member of the body that is refused; `pointer` is its JSON pointer.
    #[must_use]
    pub(crate) fn field(pointer: &str, why: impl std::fmt::Display) -> Self {
        Self::from(DecodeError::invalid(pointer, why.to_string()))
    }

    /// Something that went wrong inside: the text is for the log, and not told.
    #[must_use]
    pub(crate) fn internal(text: impl std::fmt::Display) -> Self {
        Self::new(&codes::INTERNAL).caused_by(text)
    }

    /// Says for the log alone what went wrong inside. Nothing is written here: whoever repeats a
    /// request repeats its refusal.
    #[must_use]
    pub(crate) fn caused_by(mut self, text: impl std::fmt::Display) -> Self {
        self.parts.inside = Some(text.to_string());
        self
    }

    /// Says what happened this time, for the developer who called.
    #[must_use]
    pub(crate) fn because(mut self, detail: impl Into<String>) -> Self {
        self.parts.detail = Some(detail.into());
        self
    }

    /// Names the limit that was passed.
    #[must_use]
    pub(crate) fn limit(mut self, limit: u64) -> Self {
        self.parts.limit = Some(limit);
        self
    }

    /// Names the task that it is about.
    #[must_use]
    pub(crate) fn about(mut self, task: TaskId) -> Self {
        self.parts.task = Some(task);
        self
    }

    /// Says when to try again, in seconds.
    #[must_use]
    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.parts.retry_after_s = Some(seconds);
        self
    }

    /// Lists the methods that are allowed.
    #[must_use]
    pub(crate) fn allow(mut self, methods: impl Into<String>) -> Self {
        self.parts.allow = Some(methods.into());
        self
    }

    /// An API key was sent, and is none (RFC 6750, 3.1).
    #[must_use]
    pub(crate) fn invalid_key() -> Self {
        Self::invalid_token(
            "the API key that was sent is not valid: unknown here, or revoked; ask the \
             operator for another",
        )
    }

    fn invalid_token(why: &str) -> Self {
        Self::new(&codes::UNAUTHORIZED).because(why).with_invalid_token()
    }

    /// The credentials that were sent are not valid now (RFC 6750, 3.1).
    fn with_invalid_token(mut self) -> Self {
        self.parts.challenge = Some("Bearer realm=\"relais\", error=\"invalid_token\"");
        self
    }

    /// The API key is valid and lacks a scope (RFC 6750, 3.1).
    #[must_use]
    pub(crate) fn missing_scope(scope: Scope) -> Self {
        let why = format!("the API key lacks the scope `{}`", scope.as_str());
        Self::insufficient_scope().because(why)
    }

    /// The ticket is valid and does not grant this; a key with the scope would do (RFC 6750, 3.1).
    #[must_use]
    pub(crate) fn not_granted(scope: Scope) -> Self {
        let scope = scope.as_str();
        let why =
            format!("the ticket does not grant this: it takes a key with the scope `{scope}`");
        Self::insufficient_scope().because(why)
    }

    /// A call that changes something came with nothing but the cookie of a session, and not from a page
    /// of our own: any page can make a browser send that.
    #[must_use]
    pub(crate) fn cookie_alone() -> Self {
        let why = "by the cookie of a session alone only pages of Relais' own origin change something: \
                   `Sec-Fetch-Site: same-origin`, or without it an `Origin` that is equal";
        Self::new(&codes::CROSS_SITE).because(why)
    }

    fn insufficient_scope() -> Self {
        let mut refusal = Self::new(&codes::FORBIDDEN);
        refusal.parts.challenge = Some("Bearer realm=\"relais\", error=\"insufficient_scope\"");
        refusal
    }

    /// Says how long the whole is of which a part was wanted that is not there (RFC 9110, 15.5.17).
    #[must_use]
    pub(crate) fn of_length(mut self, length: u64) -> Self {
        self.parts.length = Some(length);
        self
    }

    /// The connection is of no further use.
    #[must_use]
    pub(crate) fn closing(mut self) -> Self {
        self.parts.closes = true;
        self
    }

    /// Which kind it is.
    #[must_use]
    pub(crate) fn code(&self) -> &'static Code {
        self.parts.code
    }

    /// What went wrong inside, for the log.
    #[must_use]
    pub(crate) fn inside(&self) -> Option<&str> {
        self.parts.inside.as_deref()
    }

    /// When to try again, in seconds.
    #[must_use]
    pub(crate) fn retry_after_s(&self) -> Option<u32> {
        self.parts.retry_after_s
    }

    /// Whether the same request may be served a little later: what an event stream may not answer
    /// with an error status, because browsers would never come back.
    #[must_use]
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self.parts.code.status, 408 | 429 | 500 | 503 | 507)
    }

    /// The document. `base` is where Relais' own paths are; `instance` is the path of the request.
    #[must_use]
    pub(crate) fn problem(&self, base: &str, instance: Option<&str>) -> Problem {
        let parts = &self.parts;
        let mut problem = parts.code.problem(base);
        // Without words of its own it says what to do next.
        let detail = parts.detail.as_deref().unwrap_or(parts.code.what_to_do);
        problem.detail = Some(detail.to_owned());
        problem.errors.clone_from(&parts.errors);
        problem.instance = instance.map(str::to_owned);
        if let Some(limit) = parts.limit {
            problem = problem.with_limit(limit);
        }
        if let Some(task) = parts.task {
            problem = problem.with_task(task.to_string());
        }
        if let Some(seconds) = parts.retry_after_s {
            problem = problem.with_retry_after(Span::from_secs(u64::from(seconds)));
        }
        problem
    }

    #[must_use]
    pub(crate) fn response(&self, base: &str, instance: Option<&str>) -> Response {
        let parts = &self.parts;
        let mut response = problem_response(&self.problem(base, instance), "relais");
        let headers = response.headers_mut();
        if let Some(seconds) = parts.retry_after_s {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(allow) = &parts.allow
            && let Ok(allow) = HeaderValue::from_str(allow)
        {
            headers.insert(ALLOW, allow);
        }
        if let Some(challenge) = parts.challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(length) = parts.length
            && let Ok(range) = HeaderValue::try_from(format!("bytes */{length}"))
        {
            headers.insert(CONTENT_RANGE, range);
        }
        if *parts.code == codes::UPGRADE_REQUIRED {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        if parts.closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// A problem document as an answer; `origin` is who made the error.
#[must_use]
pub(crate) fn problem_response(problem: &Problem, origin: &'static str) -> Response {
    let body = serde_json::to_vec(problem).expect("a problem is plain data");
    let mut response = Response::new(body.into());
    *response.status_mut() =
        StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(relais_api::problem::MEDIA_TYPE));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(fields::ORIGIN, HeaderValue::from_static(origin));
    response
}

/// Carries the refusal to the door, where it becomes a document: see `Answers::finish`.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::from_u16(self.parts.code.status)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.extensions_mut().insert(self);
        response
    }
}

impl From<BadTicket> for Refusal {
    fn from(bad: BadTicket) -> Self {
        match bad {
            BadTicket::Unknown => Self::invalid_token(
                "the ticket that was sent is not valid: not whole, or of another server (a ticket \
                 begins with `rt_`, an API key with `rk_`); send it as it was handed out",
            ),
            BadTicket::Expired => Self::new(&codes::TICKET_EXPIRED).with_invalid_token(),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(text) => Self::new(&codes::STORE_UNAVAILABLE).caused_by(text),
            StoreError::Full => Self::new(&codes::STORE_FULL),
            StoreError::BodyDamaged(text) => Self::new(&codes::BODY_DAMAGED).caused_by(text),
            StoreError::Corrupt(text) => {
                Self::internal(format_args!("the store is corrupt: {text}"))
            }
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let code = match refused {
            Refused::StaleLease => &codes::STALE_LEASE,
            Refused::TaskCanceled => &codes::TASK_CANCELED,
            Refused::AlreadySucceeded => &codes::ALREADY_SUCCEEDED,
            Refused::CredentialsErased => &codes::CREDENTIALS_ERASED,
            Refused::NotTerminal => &codes::TASK_NOT_TERMINAL,
            Refused::TooManyEvents => &codes::TOO_MANY_EVENTS,
            Refused::SettledOtherwise => {
                let why = "this lease was settled before, and otherwise: what was recorded stays";
                return Self::new(&codes::STALE_LEASE).because(why);
            }
            // Whoever cancels what is over is shown it as it is.
            Refused::AlreadyTerminal => return Self::internal("a task is over"),
            Refused::NoSuchResult => {
                return Self::field("/result_id", "no result of this lease");
            }
            // Only a store that starts attempts is told so.
            Refused::AlreadyShown => &codes::ALREADY_LIVE,
            Refused::NotReady => return Self::internal("a task may not start now"),
        };
        Self::new(code)
    }
}

impl From<Rejected> for Refusal {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::Refused(refused) => refused.into(),
            Rejected::NotFound => Self::new(&codes::TASK_NOT_FOUND),
            Rejected::QueueFull => Self::new(&codes::QUEUE_FULL),
            Rejected::TenantFull => Self::new(&codes::TENANT_FULL),
            Rejected::SourceFull { capacity } => {
                let why = format!("this address holds {capacity} tasks of the queue");
                Self::new(&codes::TOO_MANY_TASKS).because(why).limit(capacity)
            }
            Rejected::TenantEarlyFull => {
                too_many_early("the workers of this tenant have", limits::UPLOADS_PER_TENANT_MAX)
            }
            Rejected::EarlyFull => too_many_early("all workers together have", limits::UPLOADS_MAX),
            Rejected::SessionsFull => {
                let why = "as many browsers follow tasks by sessions as may: use a ticket";
                Self::new(&codes::RATE_LIMITED).because(why)
            }
            Rejected::NoSuchEndpoint(_) | Rejected::EndpointsFull | Rejected::NotWaiting => {
                Self::internal("nobody asks for endpoints yet")
            }
        }
    }
}

fn too_many_early(whose: &str, max: usize) -> Refusal {
    let why = format!("{whose} stored as many results without a settle as may be: {max}");
    Refusal::new(&codes::RATE_LIMITED).because(why).limit(max as u64)
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Store(error) => error.into(),
            EngineError::Rejected(rejected) => rejected.into(),
            EngineError::UnknownQueue => Self::new(&codes::QUEUE_NOT_FOUND),
            EngineError::QueueIsConfigured => Self::new(&codes::QUEUE_DEFINED_IN_FILE),
            EngineError::TooManyQueues => {
                Self::new(&codes::TOO_MANY_QUEUES).limit(limits::QUEUES_PER_TENANT_MAX as u64)
            }
            EngineError::Draining => Self::draining(),
            EngineError::NoSealKey => Self::new(&codes::NOT_AVAILABLE).because(
                "credentials cannot be stored: the operator gave no key to seal them with",
            ),
        }
    }
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        let problem = error.problem("");
        let mut refusal = Self::new(error.code());
        refusal.parts.detail = problem.detail;
        refusal.parts.errors = problem.errors;
        match error.kind {
            DecodeKind::TooManyItems => refusal.limit(ENTRIES_MAX as u64),
            DecodeKind::Syntax | DecodeKind::UnknownField | DecodeKind::InvalidField => refusal,
        }
    }
}

/// What a refusal says about trying again when nothing better was computed.
fn default_retry_after_s(code: &Code) -> Option<u32> {
    match code.status {
        507 => Some(60),
        429 => Some(5),
        503 => Some(2),
        408 => Some(1),
        _ => None,
    }
}
