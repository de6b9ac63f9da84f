//! What a receiver's answer means.

use super::Heard;

/// What a receiver asks for beside its status, by `webhook-delivery`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Nothing is to be sent any more.
    Disable,
    /// This one is not to be sent again.
    AbortMessage,
}

impl Wish {
    /// From the value of the field.
    #[must_use]
    pub fn of(value: &[u8]) -> Option<Self> {
        match value.trim_ascii() {
            b"disable" => Some(Self::Disable),
            b"abort-message" => Some(Self::AbortMessage),
            _ => None,
        }
    }
}

/// What an answer means for the delivery, and for its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// For the endpoint.
    pub heard: Heard,
    /// Whether the delivery is tried again.
    pub again: bool,
}

/// Judges the status of an answer. A redirect is a failure like any other: it is not followed, because
/// whoever may send one from there is not the one that was named.
#[must_use]
pub const fn judge(status: u16, wish: Option<Wish>) -> Verdict {
    match (wish, status) {
        (Some(Wish::Disable), _) | (None, 410) => Verdict { heard: Heard::Gone, again: false },
        (_, 200..300) => Verdict { heard: Heard::Delivered, again: false },
        (Some(Wish::AbortMessage), _) => Verdict { heard: Heard::Failed, again: false },
        (None, _) => Verdict { heard: Heard::Failed, again: true },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P74: a receiver that redirects, or is gone, does not vanish in silence.
    #[test]
    fn only_a_2xx_is_taken_for_taken() {
        let heard = |status| judge(status, None);
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(heard(status), Verdict { heard: Heard::Delivered, again: false });
        }
        for status in [100, 199, 300, 301, 302, 307, 308, 400, 404, 413, 415, 429, 500, 502, 504] {
            assert_eq!(heard(status), Verdict { heard: Heard::Failed, again: true }, "{status}");
        }
        assert_eq!(heard(410), Verdict { heard: Heard::Gone, again: false });
    }

    #[test]
    fn a_receiver_may_say_that_it_wants_no_more() {
        let said = |value: &[u8], status| judge(status, Wish::of(value));
        assert_eq!(said(b" disable ", 200).heard, Heard::Gone);
        let aborted = Verdict { heard: Heard::Failed, again: false };
        assert_eq!(said(b"abort-message", 500), aborted);
        assert_eq!(said(b"abort-message", 200).heard, Heard::Delivered);
        assert_eq!(said(b"later", 500), judge(500, None));
    }
}
