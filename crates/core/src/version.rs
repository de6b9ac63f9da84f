//! Which answer a result is: answers of one version are the same bytes under the same head.

use std::fmt;
use std::str::FromStr;

use crate::task::{Life, State};

/// The version of an answer: the run and the attempt that brought it. Written `R.A`, and `R.A.s` where the
/// attempt had shown another one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResultVersion {
    /// The run of its task.
    pub run: u32,
    /// The attempt.
    pub attempt: u32,
    /// Whether its attempt had shown another answer, and settled with this one.
    pub is_other: bool,
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
        let Self { run, attempt, is_other } = self;
        write!(out, "{run}.{attempt}{}", if *is_other { ".s" } else { "" })
    }
}

impl FromStr for ResultVersion {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let number = |text: &str| text.parse().map_err(|_| InvalidVersion);
        let (run, rest) = text.split_once('.').ok_or(InvalidVersion)?;
        let attempt = rest.strip_suffix(".s");
        let is_other = attempt.is_some();
        let attempt = number(attempt.unwrap_or(rest))?;
        let version = Self { run: number(run)?, attempt, is_other };
        // One version has one name: no sign, no leading zeros.
        if version.to_string() == text { Ok(version) } else { Err(InvalidVersion) }
    }
}

impl Life {
    /// The version that an answer of the latest attempt has.
    #[must_use]
    pub const fn result_version(&self) -> ResultVersion {
        let is_other = matches!(self.state, State::Succeeded { is_other: true, .. });
        ResultVersion { run: self.run, attempt: self.attempt, is_other }
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
        for (text, is_other) in [("2.13", false), ("2.13.s", true)] {
            let version = ResultVersion { run: 2, attempt: 13, is_other };
            assert_eq!(version.to_string(), text);
            assert_eq!(text.parse(), Ok(version));
        }
        for text in
            ["", "2", "2.", ".13", "2.13.1", "02.13", "+2.13", " 2.13", "2.99999999999", "a.b"]
        {
            assert_eq!(text.parse::<ResultVersion>(), Err(InvalidVersion), "{text}");
        }
    }
}
