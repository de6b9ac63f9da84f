//! Signatures of Standard Webhooks 1.0.0, symmetric (`v1`).

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What is signed: the id, the time of the attempt in seconds, and the bytes that are sent.
fn content(id: &str, timestamp: i64, body: &[u8]) -> Vec<u8> {
    [id.as_bytes(), b".", timestamp.to_string().as_bytes(), b".", body].concat()
}

/// The value of `webhook-signature`: one signature of each key, the newest first.
pub(super) fn signatures<'a>(
    keys: impl Iterator<Item = &'a [u8]>,
    id: &str,
    timestamp: i64,
    body: &[u8],
) -> String {
    let content = content(id, timestamp, body);
    let sign = |key: &[u8]| {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &content);
        format!("v1,{}", STANDARD.encode(tag))
    };
    keys.map(sign).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's libraries.
    #[test]
    fn a_signature_is_that_of_the_standard() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64");
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", br#"{"test": 2432232314}"#);
        let signed = signatures([&key[..]].into_iter(), id, 1_614_265_330, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let both = signatures([&key[..], b"other"].into_iter(), id, 1_614_265_330, body);
        let (first, second) = both.split_once(' ').expect("two");
        assert!(first == signed && second.starts_with("v1,") && second != first, "{both}");
    }
}
