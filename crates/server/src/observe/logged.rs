//! What of a request may stand in the log.

use std::borrow::Cow;

/// Where the outcomes of waiting tasks are handed in. What follows is a
/// secret: whoever knows it may.
const CALLBACKS: &str = "/v1/callbacks";

/// The path of a request, without a secret that is part of it, wherever Relais' own paths begin and
/// whether or not the path leads anywhere: a secret that was sent to a wrong one is still a secret.
#[must_use]
pub(crate) fn path(path: &str) -> Cow<'_, str> {
    let Some(at) = path.find(CALLBACKS) else { return path.into() };
    let (shown, secret) = path.split_at(at + CALLBACKS.len());
    if secret.is_empty() { path.into() } else { format!("{shown}/…").into() }
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn a_token_in_a_path_is_not_shown() {
        for (whole, shown) in [
            ("/v1/callbacks/secret", "/v1/callbacks/…"),
            ("/relais/v1/callbacks/secret/more", "/relais/v1/callbacks/…"),
            ("/v1/callbacks%2fsecret", "/v1/callbacks/…"),
            ("/v1/callbacks", "/v1/callbacks"),
            ("/v1/tasks/x/result", "/v1/tasks/x/result"),
        ] {
            assert_eq!(path(whole), shown);
        }
    }
}
