//! What the log says of requests that are refused: one line for each kind now and then, with how
//! many there were, so that whoever sends the most cannot fill the log.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use relais_api::Code;

use crate::answer::problem::Refusal;
use crate::observe::logged;

/// How long a kind of refusal keeps silent after a line.
const EVERY: Duration = Duration::from_secs(10);

/// What is refused to somebody whose request is answered.
const NO_SESSION: &str = "no session";
/// The kinds of connections that are refused before there is a request, and so without a code.
const NOT_TLS: &str = "not TLS";
const NOT_ACCEPTED: &str = "not accepted";

/// When each kind was told last. There are as many kinds as codes, and three more.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    told: Mutex<HashMap<&'static str, Told>>,
}

#[derive(Debug)]
struct Told {
    /// By the clock that nobody can set: else a clock that is set would silence a kind, or let it
    /// speak.
    at: Duration,
    /// Refusals of the kind since.
    since: u64,
}

impl Refusals {
    /// Logs a refusal, if it is of a kind that operators look for and its kind's turn. `path` is
    /// that of the request, where it is known.
    pub(crate) fn note(&self, refusal: &Refusal, path: Option<&str>, now: Duration) {
        let code = refusal.code();
        if !is_worth_a_line(code) {
            return;
        }
        let Some(count) = self.turn(code.code, now) else { return };
        let (status, cause) = (code.status, refusal.inside());
        let path = path.map(logged::path);
        let path = path.as_deref();
        tracing::warn!(code = code.code, status, count, path, cause, "a request was refused");
    }

    /// Logs that a browser was given no session, if that is due: it goes on by its ticket.
    pub(crate) fn note_no_session(&self, refusal: &Refusal, now: Duration) {
        if let Some(count) = self.turn(NO_SESSION, now) {
            let (code, cause) = (refusal.code().code, refusal.inside());
            tracing::warn!(code, count, cause, "a browser was given no session");
        }
    }

    /// Logs that a connection came without TLS to a port that speaks it, if that is due.
    pub(crate) fn note_not_tls(&self, client: SocketAddr, now: Duration) {
        if let Some(count) = self.turn(NOT_TLS, now) {
            tracing::info!(%client, count, "plain HTTP came to a port that speaks HTTPS");
        }
    }

    /// Logs that a connection could not be accepted, if that is due.
    pub(crate) fn note_not_accepted(&self, error: &io::Error, now: Duration) {
        if let Some(count) = self.turn(NOT_ACCEPTED, now) {
            tracing::warn!(%error, count, "could not accept a connection");
        }
    }

    /// How many refusals of this kind a line now stands for; `None` if none is due.
    fn turn(&self, kind: &'static str, now: Duration) -> Option<u64> {
        let mut told = self.told.lock().expect("nothing panics while it is held");
        let Some(last) = told.get_mut(kind) else {
            told.insert(kind, Told { at: now, since: 0 });
            return Some(1);
        };
        last.since += 1;
        if now < last.at + EVERY {
            return None;
        }
        last.at = now;
        Some(std::mem::take(&mut last.since))
    }
}

/// Faults of ours, limits that were reached, and doors that stay closed; what a client got wrong by
/// itself is between it and its answer.
const fn is_worth_a_line(code: &Code) -> bool {
    matches!(code.status, 401 | 403 | 429 | 500..)
}

#[cfg(test)]
mod tests {
    use relais_api::codes;

    use super::*;

    #[test]
    fn a_kind_has_a_line_now_and_then_which_counts_the_others() {
        let refusals = Refusals::default();
        let queue_full = codes::QUEUE_FULL.code;
        let at = Duration::from_secs;
        assert_eq!(refusals.turn(queue_full, at(100)), Some(1));
        for _ in 0..1_000 {
            assert_eq!(refusals.turn(queue_full, at(101)), None);
        }
        assert_eq!(refusals.turn(codes::STORE_FULL.code, at(101)), Some(1), "another kind");
        assert_eq!(refusals.turn(queue_full, at(110)), Some(1_001));
        assert_eq!(refusals.turn(queue_full, at(119)), None);
    }

    #[test]
    fn what_a_client_got_wrong_is_not_logged() {
        assert!(is_worth_a_line(&codes::UNAUTHORIZED) && is_worth_a_line(&codes::QUEUE_FULL));
        assert!(is_worth_a_line(&codes::SERVER_DRAINING) && is_worth_a_line(&codes::INTERNAL));
        assert!(!is_worth_a_line(&codes::NOT_FOUND) && !is_worth_a_line(&codes::TASK_GONE));
    }
}
