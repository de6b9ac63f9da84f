//! What arguments must be: judged while the command line is read, before anything is done.
//!
//! The server judges all of it again; here a mistake is named by its argument, and ends with exit
//! status 2.

use std::fmt;

use http::HeaderValue;
use relais_core::name::free_text;
use relais_core::options::check_label;
use relais_core::{TaskId, limits};

use crate::config::{self, StoreUrl};

/// A command line that is wrong, where clap cannot see it: in what arguments mean together, and in
/// values that may hold a secret, which clap would repeat.
#[derive(Debug)]
pub(super) struct Usage(String);

impl Usage {
    /// Says what is wrong; names the argument.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A value is wrong; it is not repeated unless `why` does.
    pub(super) fn value(argument: &str, why: impl fmt::Display) -> Self {
        Self(format!("invalid value for '{argument}': {why}"))
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The exit status of a command line that is wrong, as of clap.
pub(super) const WRONG: u8 = 2;

pub(super) fn task_id(text: &str) -> Result<String, String> {
    match text.parse::<TaskId>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("a task's id is task_ and 26 letters and digits, as submit prints it".into()),
    }
}

pub(super) fn label(text: &str) -> Result<(String, String), String> {
    let Some((name, value)) = text.split_once('=') else {
        return Err("write NAME=VALUE".to_owned());
    };
    check_label(name, value)?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) fn media_type(text: &str) -> Result<String, String> {
    let fits = (1..=limits::CONTENT_TYPE_BYTES_MAX).contains(&text.len());
    let is_plain = text.is_ascii() && HeaderValue::from_str(text).is_ok();
    if fits && is_plain && text.contains('/') {
        return Ok(text.to_owned());
    }
    let max = limits::CONTENT_TYPE_BYTES_MAX;
    Err(format!("a media type is for example text/csv, of at most {max} bytes"))
}

pub(super) fn idempotency_key(text: &str) -> Result<String, String> {
    let max = limits::IDEMPOTENCY_KEY_BYTES_MAX;
    let fits = (1..=max).contains(&text.len());
    if fits && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Ok(text.to_owned());
    }
    Err(format!("a key has 1 to {max} visible ASCII characters"))
}

pub(super) fn worker_name(text: &str) -> Result<String, String> {
    let fits = free_text(text, limits::WORKER_NAME_BYTES_MAX);
    fits.map(|()| text.to_owned()).map_err(|error| error.to_string())
}

pub(super) fn scope(text: &str) -> Result<String, String> {
    let known = config::add_scope(&mut relais_server::config::Scopes::default(), text);
    known.map(|()| text.to_owned())
}

/// A store; what is wrong is said without a password that may be in it.
pub(super) fn store(text: &str) -> Result<StoreUrl, Usage> {
    text.parse().map_err(|error: String| Usage::value("--store <URL>", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_judged_at_their_limits() {
        assert!(label(&format!("{}={}", "n".repeat(128), "v".repeat(128))).is_ok());
        assert!(label(&format!("{}=v", "n".repeat(129))).is_err());
        assert!(label(&format!("n={}", "v".repeat(129))).is_err());
        assert_eq!(label("a=").unwrap(), ("a".to_owned(), String::new()));
        assert_eq!(label("a=b=c").unwrap().1, "b=c");
        assert!(idempotency_key(&"k".repeat(255)).is_ok());
        assert!(idempotency_key(&"k".repeat(256)).is_err());
        assert!(worker_name(&"w".repeat(128)).is_ok());
        assert!(worker_name(&"w".repeat(129)).is_err());
        assert!(media_type("text/csv; charset=utf-8").is_ok());
        assert!(media_type(&format!("a/{}", "b".repeat(limits::CONTENT_TYPE_BYTES_MAX))).is_err());
    }
}
