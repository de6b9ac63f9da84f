//! What the scripted upstreams do with a request: its path says so.

use std::fmt;

/// A play in one act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Script {
    /// Answers at once.
    Ok,
    /// Answers after 50 to 300 ms.
    Slow,
    /// Answers 503 with `Retry-After` once or twice, then 200.
    Flaky,
    /// Reads the request and closes the connection without an answer; if it comes again, answers.
    Drop,
    /// Answers 500.
    Broken,
    /// Answers when as many of its group have arrived as it names, or after a while.
    Hold,
}

impl Script {
    /// All of them.
    pub(crate) const ALL: [Self; 6] =
        [Self::Ok, Self::Slow, Self::Flaky, Self::Drop, Self::Broken, Self::Hold];

    /// The segment of the path.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Slow => "slow",
            Self::Flaky => "flaky",
            Self::Drop => "drop",
            Self::Broken => "broken",
            Self::Hold => "hold",
        }
    }

    /// The script that a segment names.
    pub(crate) fn parse(segment: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|script| script.as_str() == segment)
    }
}

impl fmt::Display for Script {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}
