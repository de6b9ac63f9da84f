//! What an upstream's answer, or the want of one, means for a task. Work that may have been done is
//! asked for again only where that does no harm; else its task fails and says that nobody knows.

use std::time::Duration;

use crate::limits;

/// The methods that HTTP calls safe (RFC 9110, 9.2.1): they ask only. QUERY
/// (draft-ietf-httpbis-safe-method-w-body) asks by a body. TRACE is never forwarded.
pub const SAFE_METHODS: [&str; 4] = ["GET", "HEAD", "OPTIONS", "QUERY"];

/// Whether HTTP calls the method safe.
#[must_use]
pub fn is_safe_method(method: &str) -> bool {
    SAFE_METHODS.contains(&method)
}

/// Whether HTTP calls the method idempotent (RFC 9110, 9.2.2), so that a lost answer may be asked
/// again.
#[must_use]
pub fn is_idempotent_method(method: &str) -> bool {
    is_safe_method(method) || matches!(method, "PUT" | "DELETE")
}

/// What a complete answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The outcome is a success.
    Succeed,
    /// The outcome is a failure.
    Fail,
    /// The attempt failed; another may follow.
    Retry {
        /// How long the upstream wants to be left alone, bounded; more than nothing.
        pause: Option<Duration>,
    },
}

/// Judges a complete answer by its status.
///
/// `repeatable` is [`Runner::is_repeatable`](crate::Runner::is_repeatable): whether the request
/// may be sent again although it was carried out. Without it only 425, 429 and 503 are retried,
/// which say that it was not.
#[must_use]
pub fn judge(status: u16, repeatable: bool, retry_after: Option<Duration>) -> Verdict {
    let pause = retry_after.map(|pause| pause.min(limits::ORIGIN_PAUSE_MAX));
    // To come back at once is no pause: it must use attempts, or it would never end.
    let pause = pause.filter(|pause| !pause.is_zero());
    match status {
        ..400 => Verdict::Succeed,
        425 | 429 | 503 => Verdict::Retry { pause },
        408 | 500.. if repeatable => Verdict::Retry { pause },
        _ => Verdict::Fail,
    }
}

/// What stands still while an upstream wants to be left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseScope {
    /// All calls of the upstream, whoever makes them.
    Origin,
    /// Those of one queue of one tenant.
    Queue,
    /// Those of one lane of that queue.
    Lane,
}

impl PauseScope {
    /// The word of the configuration, and of the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Queue => "queue",
            Self::Lane => "lane",
        }
    }
}

/// What an answer with `Retry-After` is about, unless the configuration says it (`wished`).
///
/// A 429 is meant for whoever called (RFC 6585, 4), which Relais knows as the lane of the task or
/// else as the tenant's queue; everything else is said of the service (RFC 9110, 15.6.4).
#[must_use]
pub const fn pause_scope(status: u16, wished: Option<PauseScope>, has_lane: bool) -> PauseScope {
    let scope = match wished {
        Some(scope) => scope,
        None if status == 429 => PauseScope::Lane,
        None => PauseScope::Origin,
    };
    match scope {
        PauseScope::Lane if !has_lane => PauseScope::Queue,
        scope => scope,
    }
}

/// How much of a request may have reached its upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Nothing: there was no connection yet, or it was given up before the first byte.
    Nothing,
    /// Some or all of it: the upstream may have begun.
    Something,
}

/// What it means that an answer did not come, or not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The request may be sent again.
    Again,
    /// Nobody knows whether the work was done, and doing it twice might do harm.
    Unknown,
}

/// Judges a lost answer: the one place that decides it, for calls that broke off or took too long,
/// for a stop, for a process that died, and for the plain proxy.
///
/// `repeatable` is [`Runner::is_repeatable`](crate::Runner::is_repeatable), or for the plain proxy
/// [`is_idempotent_method`]. Who does not know how much was sent says [`Sent::Something`].
#[must_use]
pub const fn judge_lost(sent: Sent, repeatable: bool) -> Loss {
    match (sent, repeatable) {
        (Sent::Nothing, _) | (Sent::Something, true) => Loss::Again,
        (Sent::Something, false) => Loss::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_is_safe_and_names_are_as_they_are_written() {
        for (method, is_safe, is_idempotent) in [
            ("GET", true, true),
            ("HEAD", true, true),
            ("OPTIONS", true, true),
            ("QUERY", true, true),
            ("PUT", false, true),
            ("DELETE", false, true),
            ("POST", false, false),
            ("PATCH", false, false),
            // Methods are case-sensitive (RFC 9110, 9.1): this one is nobody's.
            ("query", false, false),
            ("", false, false),
        ] {
            let judged = (is_safe_method(method), is_idempotent_method(method));
            assert_eq!(judged, (is_safe, is_idempotent), "{method}");
        }
    }

    #[test]
    fn answers_are_judged_as_promised() {
        let again = Verdict::Retry { pause: None };
        for (status, repeatable, expected) in [
            (200, false, Verdict::Succeed),
            (204, true, Verdict::Succeed),
            (302, false, Verdict::Succeed),
            (304, true, Verdict::Succeed),
            (400, true, Verdict::Fail),
            (404, true, Verdict::Fail),
            (408, true, again),
            (408, false, Verdict::Fail),
            (425, false, again),
            (429, false, again),
            (500, true, again),
            (500, false, Verdict::Fail),
            (503, false, again),
            (504, false, Verdict::Fail),
            (599, true, again),
        ] {
            assert_eq!(judge(status, repeatable, None), expected, "{status} {repeatable}");
        }
    }

    #[test]
    fn only_what_was_sent_and_cannot_be_repeated_is_unknown() {
        assert_eq!(judge_lost(Sent::Nothing, false), Loss::Again);
        assert_eq!(judge_lost(Sent::Nothing, true), Loss::Again);
        assert_eq!(judge_lost(Sent::Something, true), Loss::Again);
        assert_eq!(judge_lost(Sent::Something, false), Loss::Unknown);
    }

    #[test]
    fn a_429_is_about_the_caller_and_a_503_about_the_service() {
        use PauseScope::{Lane, Origin, Queue};
        for (status, wished, has_lane, expected) in [
            (429, None, true, Lane),
            (429, None, false, Queue),
            (503, None, true, Origin),
            (500, None, false, Origin),
            (429, Some(Origin), true, Origin),
            (503, Some(Lane), true, Lane),
            (503, Some(Lane), false, Queue),
            (429, Some(Queue), true, Queue),
        ] {
            assert_eq!(pause_scope(status, wished, has_lane), expected, "{status} {wished:?}");
        }
    }

    #[test]
    fn to_come_back_at_once_is_no_pause() {
        assert_eq!(judge(429, false, Some(Duration::ZERO)), Verdict::Retry { pause: None });
    }

    #[test]
    fn an_absurd_retry_after_is_bounded() {
        // P53: absurd delays poisoned the store.
        let asked = Some(Duration::from_secs(u64::MAX));
        let pause = Some(limits::ORIGIN_PAUSE_MAX);
        assert_eq!(judge(503, false, asked), Verdict::Retry { pause });
    }
}
