//! Why a call did not do what it was asked.

use std::time::Duration;

use relais_api::Problem;
use relais_api::codes::Code;

/// Why a call did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server said no.
    #[error("{}", says(.problem))]
    Refused {
        /// What the server said of it.
        problem: Box<Problem>,
        /// When it makes sense to ask again, if the server said.
        retry_after: Option<Duration>,
    },
    /// The server cannot be reached, or the connection broke.
    #[error("could not reach {at}: {source}")]
    Unreachable {
        /// Scheme and authority of the server.
        at: String,
        /// What happened to the connection.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server's certificate is not trusted.
    #[error("could not reach {at}: {why}")]
    Untrusted {
        /// Scheme and authority of the server.
        at: String,
        /// What is wrong with it.
        why: Distrust,
    },
    /// The server did not answer in time.
    #[error("{at} did not answer in time")]
    TimedOut {
        /// Scheme and authority of the server.
        at: String,
    },
    /// The server answered with something else than the contract says.
    #[error("could not read the server's answer: {0}")]
    Unreadable(String),
    /// The answer is larger than this client takes.
    #[error("the answer has more than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// What was to be sent cannot be sent.
    #[error("{0}")]
    Invalid(&'static str),
    /// What was to be sent could not be read.
    #[error("could not read what was to be sent: {0}")]
    Input(#[from] std::io::Error),
}

impl Error {
    /// The problem's stable code; empty when it is not a refusal.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Refused { problem, .. } => &problem.code,
            _ => "",
        }
    }

    /// The HTTP status of a refusal.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { problem, .. } => Some(problem.status),
            _ => None,
        }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused { problem, .. } => is_transient(problem.status),
            Self::Unreachable { .. } | Self::TimedOut { .. } => true,
            // Certificates are renewed, and clocks set.
            Self::Untrusted { why, .. } => matches!(why, Distrust::Ended | Distrust::NotYet),
            _ => false,
        }
    }

    /// How long the server asked to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Statuses that say "not now".
pub(crate) const fn is_transient(status: u16) -> bool {
    matches!(status, 429 | 502 | 503 | 504)
}

/// Text that is not the URL of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text} is not the URL of a server: {why}; write for example http://127.0.0.1:8080")]
pub struct InvalidUrl {
    pub(crate) text: String,
    pub(crate) why: &'static str,
}

/// Why a server's certificate is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Distrust {
    /// Nobody who vouches for it is trusted here.
    #[error("its certificate is of no authority that is trusted here")]
    Authority,
    /// The server is not called by a name that its certificate is for.
    #[error("its certificate is for another name")]
    Name,
    /// It is no longer valid.
    #[error("its certificate is no longer valid")]
    Ended,
    /// It is not valid yet.
    #[error("its certificate is not valid yet")]
    NotYet,
    /// It is none that could be trusted.
    #[error("its certificate is none that a server can use")]
    Form,
}

/// A text that certificates of authorities cannot be read from, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidAuthorities(pub(crate) &'static str);

fn says(problem: &Problem) -> String {
    let what = match problem.detail.as_deref() {
        // What to do alone does not say what happened.
        Some(to_do) if Code::find(&problem.code).is_some_and(|code| code.what_to_do == to_do) => {
            format!("{}: {to_do}", problem.title)
        }
        Some(detail) => detail.to_owned(),
        None => problem.title.clone(),
    };
    let code = if problem.code.is_empty() { "HTTP" } else { &problem.code };
    format!("{what} ({code}, {})", problem.status)
}
