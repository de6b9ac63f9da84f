//! `Idempotency-Key`: the same request twice is one task.

use aws_lc_rs::digest;
use http::HeaderMap;
use relais_api::{codes, fields};
use relais_core::{TenantName, limits};
use relais_engine::Claim;

use crate::answer::problem::Refusal;
use crate::auth::{Caller, CallerMac};

/// The key of a request, if it has one.
///
/// # Errors
/// When there are several, or it is not a string of 1 to 255 printable characters.
pub(crate) fn key_of(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let mut lines = headers.get_all(fields::IDEMPOTENCY_KEY).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Ok(None),
        (Some(line), None) => key_from(line.as_bytes()).map(Some),
        (Some(_), Some(_)) => Err(Refusal::new(&codes::INVALID_IDEMPOTENCY_KEY)),
    }
}

/// The key that one line says.
///
/// # Errors
/// When it is not a string of 1 to 255 printable characters.
pub(crate) fn key_from(line: &[u8]) -> Result<String, Refusal> {
    let fits = |key: &String| (1..=limits::IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len());
    let key = parse(line).filter(fits);
    key.ok_or_else(|| Refusal::new(&codes::INVALID_IDEMPOTENCY_KEY))
}

/// A string of RFC 8941 in double quotes, or the bare token that many clients send.
fn parse(line: &[u8]) -> Option<String> {
    let line = line.trim_ascii();
    let Some(quoted) = line.strip_prefix(b"\"") else {
        let is_bare = line.iter().all(|byte| byte.is_ascii_graphic() && !b"\",;".contains(byte));
        return is_bare.then(|| String::from_utf8_lossy(line).into_owned());
    };
    let quoted = quoted.strip_suffix(b"\"")?;
    let mut key = String::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => match bytes.next()? {
                escaped @ (b'"' | b'\\') => key.push(char::from(*escaped)),
                _ => return None,
            },
            b'"' => return None,
            b' '..=b'~' => key.push(char::from(*byte)),
            _ => return None,
        }
    }
    Some(key)
}

/// Who sends a key: two callers never share one.
///
/// An API key, else the HMAC that the task's access is bound to, else one of whatever
/// credentials came along; `None` is nobody, who is trusted with an attached task only if
/// the key cannot be guessed.
#[must_use]
pub(crate) fn caller_of(
    mac: &CallerMac,
    caller: &Caller,
    access: Option<[u8; 32]>,
    headers: &HeaderMap,
) -> Option<[u8; 32]> {
    match caller {
        Caller::Key(key) => Some(key.hash),
        Caller::Nobody => access.or_else(|| mac.of_credentials(headers)),
    }
}

/// Whether an attached task may be shown to whoever sent the key, wherever that was: somebody known,
/// or nobody with a key that cannot be guessed.
#[must_use]
pub(crate) fn is_trusted(caller: Option<[u8; 32]>, key: &str) -> bool {
    caller.is_some() || key.len() >= limits::IDEMPOTENCY_KEY_UNGUESSABLE_BYTES
}

/// What makes two requests with a key the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keyed<'a> {
    pub(crate) tenant: &'a TenantName,
    /// Who sends it.
    pub(crate) caller: Option<[u8; 32]>,
    pub(crate) method: &'a str,
    /// Path and query.
    pub(crate) target: &'a str,
    pub(crate) key: &'a str,
    /// `Content-Type`, as it was sent.
    pub(crate) content_type: &'a [u8],
    /// SHA-256 of the body.
    pub(crate) body_sha256: [u8; 32],
}

/// The claim of a request with a key: its scope says which key it is, its fingerprint whether it is
/// the same request.
#[must_use]
pub(crate) fn claim(keyed: &Keyed<'_>) -> Claim {
    let path = keyed.target.split('?').next().unwrap_or_default();
    let caller = keyed.caller.as_ref().map_or(&[][..], |caller| &caller[..]);
    let scope = sha256(&[
        keyed.tenant.as_str().as_bytes(),
        caller,
        keyed.method.as_bytes(),
        path.as_bytes(),
        keyed.key.as_bytes(),
    ]);
    let fingerprint = sha256(&[
        keyed.method.as_bytes(),
        keyed.target.as_bytes(),
        keyed.content_type,
        &keyed.body_sha256,
    ]);
    Claim { scope, fingerprint, window: None }
}

/// SHA-256 of parts, each with its length, so that no two lists of parts look alike.
fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// SHA-256 of a body at hand.
#[must_use]
pub(crate) fn body_sha256(body: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, body).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_key_is_a_string_or_a_bare_token() {
        for (line, expected) in [
            ("\"8e03978e-40d5\"", Some("8e03978e-40d5")),
            ("8e03978e-40d5", Some("8e03978e-40d5")),
            ("  abc  ", Some("abc")),
            ("\"a \\\"b\\\\\"", Some("a \"b\\")),
            ("\"a", None),
            ("a b", None),
            ("a,b", None),
            ("\"a\"b\"", None),
            ("\"a\\n\"", None),
            ("\"a\"; q=1", None),
            ("", None),
            ("\"\"", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(fields::IDEMPOTENCY_KEY, HeaderValue::from_str(line).expect("a field"));
            let key = key_of(&headers).ok().flatten();
            assert_eq!(key.as_deref(), expected, "{line:?}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(
            fields::IDEMPOTENCY_KEY,
            HeaderValue::from_bytes(b"caf\xc3\xa9").expect("a field"),
        );
        assert!(key_of(&headers).is_err(), "only ASCII");
        headers.insert(fields::IDEMPOTENCY_KEY, "a".repeat(255).parse().expect("a field"));
        assert!(key_of(&headers).is_ok());
        headers.append(fields::IDEMPOTENCY_KEY, "b".parse().expect("a field"));
        assert!(key_of(&headers).is_err(), "only one");
        headers.insert(fields::IDEMPOTENCY_KEY, "a".repeat(256).parse().expect("a field"));
        assert!(key_of(&headers).is_err(), "only up to 255");
    }

    #[test]
    fn scope_and_fingerprint_tell_apart_what_they_should() {
        let tenant = "default".parse().expect("a name");
        let first = Keyed {
            tenant: &tenant,
            caller: None,
            method: "POST",
            target: "/v1/tasks?x=1",
            key: "k",
            content_type: b"application/json",
            body_sha256: [1; 32],
        };
        let Claim { scope, fingerprint, .. } = claim(&first);
        let other = claim(&Keyed { target: "/v1/tasks?x=2", ..first });
        assert_eq!(scope, other.scope);
        assert_ne!(fingerprint, other.fingerprint);
        let other = claim(&Keyed { caller: Some([0; 32]), ..first });
        assert_ne!(scope, other.scope);
        assert_eq!(fingerprint, other.fingerprint);
        assert_ne!(claim(&Keyed { body_sha256: [2; 32], ..first }).fingerprint, fingerprint);
        assert_ne!(claim(&Keyed { key: "l", ..first }).scope, scope);
    }
}
