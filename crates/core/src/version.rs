//! Which answer a result is: answers of one version are the same bytes under the same head.

use std::fmt;
use std::str::FromStr;

use crate::task::{Life, State};

/// The version of an answer: the run and the attempt that brought it. Written `R.A`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResultVersion {
    /// The run of its task.
    pub run: u32,
    /// The attempt.
    pub attempt: u32,
}

/// It is no version of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a run and an attempt, as in `1.2`")]
pub struct InvalidVersion;

/// What became of an answer that is shown while it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its attempt runs: it may still come to be the result.
    Open,
    /// It is the result of its task.
    Kept,
    /// It will never be: its attempt ended in another way.
    Gone,
}

impl fmt::Display for ResultVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.run, self.attempt)
    }
}

impl FromStr for ResultVersion {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let number = |text: &str| text.parse().map_err(|_| InvalidVersion);
        let (run, attempt) = text.split_once('.').ok_or(InvalidVersion)?;
        let version = Self { run: number(run)?, attempt: number(attempt)? };
        // One version has one name: no sign, no leading zeros.
        if version.to_string() == text { Ok(version) } else { Err(InvalidVersion) }
    }
}

impl Life {
    /// The version that an answer of the latest attempt has.
    #[must_use]
    pub const fn result_version(&self) -> ResultVersion {
        ResultVersion { run: self.run, attempt: self.attempt }
    }

    /// What has become of the answer of this version.
    #[must_use]
    pub fn fate_of(&self, version: ResultVersion) -> Fate {
        if version != self.result_version() {
            return Fate::Gone;
        }
        match &self.state {
            State::Running { .. } => Fate::Open,
            State::Succeeded { .. } => Fate::Kept,
            State::Failed { failure, .. } if failure.has_result => Fate::Kept,
            State::Failed { .. }
            | State::Queued { .. }
            | State::Waiting { .. }
            | State::Canceled { .. } => Fate::Gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_one_name() {
        let version = ResultVersion { run: 2, attempt: 13 };
        assert_eq!(version.to_string(), "2.13");
        assert_eq!("2.13".parse(), Ok(version));
        for text in
            ["", "2", "2.", ".13", "2.13.1", "02.13", "+2.13", " 2.13", "2.99999999999", "a.b"]
        {
            assert_eq!(text.parse::<ResultVersion>(), Err(InvalidVersion), "{text}");
        }
    }
}
