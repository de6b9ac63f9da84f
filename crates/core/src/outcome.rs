//! What an upstream's answer means for a task (product.md, promise 2 and "Outcome").

use std::time::Duration;

use crate::limits;

/// Whether HTTP calls the method idempotent (RFC 9110, 9.2.2), so that a lost answer may be asked again.
/// TRACE is never forwarded.
#[must_use]
pub fn is_idempotent_method(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE")
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
        /// How long the origin wants to be left alone, bounded.
        pause: Option<Duration>,
    },
}

/// Judges a complete answer by its status.
///
/// `repeatable` is [`Runner::is_repeatable`](crate::Runner::is_repeatable): whether the request may be sent
/// again although it was carried out. Without it only 425, 429 and 503 are retried, which say that it was not.
#[must_use]
pub fn judge(status: u16, repeatable: bool, retry_after: Option<Duration>) -> Verdict {
    let pause = retry_after.map(|pause| pause.min(limits::ORIGIN_PAUSE_MAX));
    match status {
        ..400 => Verdict::Succeed,
        425 | 429 | 503 => Verdict::Retry { pause },
        408 | 500.. if repeatable => Verdict::Retry { pause },
        _ => Verdict::Fail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn an_absurd_retry_after_is_bounded() {
        // P53: absurd delays poisoned the store.
        let asked = Some(Duration::from_secs(u64::MAX));
        let pause = Some(limits::ORIGIN_PAUSE_MAX);
        assert_eq!(judge(503, false, asked), Verdict::Retry { pause });
    }
}
