//! What makes the story true: expectations, and waits that end.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

/// Something in the story was not as it is told.
#[derive(Debug)]
pub(super) struct Untrue {
    expected: String,
    found: String,
}

impl fmt::Display for Untrue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected: {}\nfound:    {}", self.expected, self.found)
    }
}

impl std::error::Error for Untrue {}

/// Goes on only if `holds`; `found` is what is shown otherwise.
pub(super) fn ensure(
    holds: bool,
    expected: impl Into<String>,
    found: impl fmt::Display,
) -> anyhow::Result<()> {
    if holds {
        return Ok(());
    }
    Err(Untrue { expected: expected.into(), found: found.to_string() }.into())
}

/// Goes on only if both are the same.
pub(super) fn ensure_same<T: PartialEq + fmt::Debug>(
    what: &str,
    found: &T,
    expected: &T,
) -> anyhow::Result<()> {
    ensure(found == expected, format!("{what}: {expected:?}"), format_args!("{found:?}"))
}

/// The same for documents, which are shown as they travel.
pub(super) fn ensure_same_json(what: &str, found: &Value, expected: &Value) -> anyhow::Result<()> {
    ensure(found == expected, format!("{what}: {expected}"), found)
}

/// Waits for `what`, and says so when it does not come.
pub(super) async fn within<T>(
    patience: Duration,
    what: &str,
    awaited: impl Future<Output = T>,
) -> anyhow::Result<T> {
    match tokio::time::timeout(patience, awaited).await {
        Ok(came) => Ok(came),
        Err(_) => {
            let found = format!("nothing within {} s", patience.as_secs_f64());
            Err(Untrue { expected: what.to_owned(), found }.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_untruth_says_both_sides() {
        let error = ensure_same("lines", &3, &4).unwrap_err();
        assert_eq!(error.to_string(), "expected: lines: 4\nfound:    3");
        assert!(ensure(true, "", "").is_ok());
    }

    #[tokio::test]
    async fn a_wait_ends_and_says_for_what() {
        let never = std::future::pending::<()>();
        let error = within(Duration::from_millis(1), "an answer", never).await.unwrap_err();
        assert_eq!(error.to_string(), "expected: an answer\nfound:    nothing within 0.001 s");
    }
}
