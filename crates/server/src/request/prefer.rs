//! `Prefer` (RFC 7240): what the client would like. What is not understood is ignored.

use std::time::Duration;

use http::HeaderMap;

use crate::request::lists::split;

/// The preferences that Relais knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Prefer {
    /// `respond-async`: a ticket is welcome.
    pub(crate) respond_async: bool,
    /// `wait`: how long the client would wait.
    pub(crate) wait: Option<Duration>,
}

impl Prefer {
    /// Reads all `Prefer` lines of a request as one list. Of repeated preferences the first counts.
    #[must_use]
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut prefer = Self::default();
        let mut has_wait = false;
        for line in headers.get_all("prefer") {
            for preference in split(line.as_bytes(), b',') {
                // What follows the first `;` are parameters, of which none is known.
                let Some(preference) = split(preference, b';').next() else { continue };
                let (name, value) = match preference.iter().position(|byte| *byte == b'=') {
                    Some(at) => (&preference[..at], Some(&preference[at + 1..])),
                    None => (preference, None),
                };
                let name = name.trim_ascii();
                if name.eq_ignore_ascii_case(b"respond-async") {
                    prefer.respond_async = true;
                } else if name.eq_ignore_ascii_case(b"wait") && !has_wait {
                    has_wait = true;
                    prefer.wait = value.and_then(seconds);
                }
            }
        }
        prefer
    }

    /// How long to wait, at most `max`; `None` when the client did not say.
    #[must_use]
    pub(crate) fn wait_up_to(self, max: Duration) -> Option<Duration> {
        self.wait.map(|wait| wait.min(max))
    }
}

fn seconds(value: &[u8]) -> Option<Duration> {
    let value = value.trim_ascii();
    let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    if !is_number {
        return None;
    }
    // More digits than fit are a long time all the same.
    let seconds = std::str::from_utf8(value).ok()?.parse().unwrap_or(u64::from(u32::MAX));
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn prefer(lines: &[&'static str]) -> (bool, Option<u64>) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("prefer", HeaderValue::from_static(line));
        }
        let prefer = Prefer::of(&headers);
        (prefer.respond_async, prefer.wait.map(|wait| wait.as_secs()))
    }

    #[test]
    fn preferences_are_read_as_rfc_7240_says() {
        for (lines, expected) in [
            (&["respond-async"][..], (true, None)),
            (&["respond-async, wait=10"], (true, Some(10))),
            (&["respond-async", "wait=10"], (true, Some(10))),
            (&["Wait = 5 ; foo=\"a,b\", RESPOND-ASYNC;x"], (true, Some(5))),
            (&["wait=1, wait=2"], (false, Some(1))),
            (&["wait=abc, wait=2"], (false, None)),
            (&["wait=-1"], (false, None)),
            (&["wait=\"7\""], (false, Some(7))),
            (&["wait"], (false, None)),
            (&["x=\"respond-async, wait=3\", return=minimal"], (false, None)),
            (&["x=\"\\\", wait=3\", wait=4"], (false, Some(4))),
            (&["", ",;,=,"], (false, None)),
            (&["wait=99999999999999999999"], (false, Some(u64::from(u32::MAX)))),
        ] {
            assert_eq!(prefer(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_wait_is_shortened_never_refused() {
        let prefer = Prefer { wait: Some(Duration::from_secs(600)), ..Prefer::default() };
        let max = Duration::from_secs(55);
        assert_eq!(prefer.wait_up_to(max), Some(max));
        assert_eq!(Prefer::default().wait_up_to(max), None);
    }
}
