//! The form of all tokens that Relais signs: a prefix that says what it is, and base64url of these bytes,
//! numbers with the highest byte first:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the version of this form |
//! | 4 | the name of the key that signed it |
//! | N | what it says |
//! | 16 | the first half of the HMAC of all of these for its purpose |
//!
//! Not here: what a token says (`ticket`, `session`).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::signing::{KeyId, MAC_BYTES, Purpose, SigningKeys};

/// The one version there is.
const VERSION: u8 = 1;
/// Version and key.
const HEAD_BYTES: usize = 5;
/// The bytes of the largest token, in whole groups of four characters.
const RAW_BYTES_MAX: usize = 48;

/// A kind of tokens, which say `N` bytes.
pub(super) struct Form<const N: usize> {
    /// What each begins with.
    pub(super) prefix: &'static str,
    pub(super) purpose: Purpose,
}

/// A token.
pub(super) struct Token {
    pub(super) text: String,
    /// The whole of its HMAC, which nobody can tell from its text.
    pub(super) mac: [u8; 32],
}

impl<const N: usize> Form<N> {
    /// What is signed.
    const CLAIMS_BYTES: usize = HEAD_BYTES + N;
    const RAW_BYTES: usize = Self::CLAIMS_BYTES + MAC_BYTES;

    /// The length of each.
    pub(super) const fn text_bytes(&self) -> usize {
        assert!(Self::RAW_BYTES <= RAW_BYTES_MAX);
        self.prefix.len() + (Self::RAW_BYTES * 4).div_ceil(3)
    }

    /// The token that says this, signed with the newest key.
    pub(super) fn write(&self, keys: &SigningKeys, says: &[u8; N]) -> Token {
        let mut raw = [VERSION; RAW_BYTES_MAX];
        raw[1..HEAD_BYTES].copy_from_slice(&keys.newest().to_be_bytes());
        raw[HEAD_BYTES..Self::CLAIMS_BYTES].copy_from_slice(says);
        let mac = keys.sign(self.purpose, &raw[..Self::CLAIMS_BYTES]);
        raw[Self::CLAIMS_BYTES..Self::RAW_BYTES].copy_from_slice(&mac[..MAC_BYTES]);
        let mut text = String::with_capacity(self.text_bytes());
        text.push_str(self.prefix);
        URL_SAFE_NO_PAD.encode_string(&raw[..Self::RAW_BYTES], &mut text);
        Token { text, mac }
    }

    /// What a token says that we signed, and the whole of its HMAC. A version or a key that is not known
    /// takes as long as a wrong signature.
    pub(super) fn read(&self, keys: &SigningKeys, text: &str) -> Option<([u8; N], [u8; 32])> {
        let raw = self.decode(text)?;
        let (claims, rest) = raw.split_at(Self::CLAIMS_BYTES);
        let signature = rest.first_chunk().expect("it is there");
        let mac = keys.verify(key_of(&raw), self.purpose, claims, signature)?;
        (raw[0] == VERSION).then(|| (Self::says(&raw), mac))
    }

    /// What a text says that has this form, and the name of the key that is said to have signed it.
    pub(super) fn read_unverified(&self, text: &str) -> Option<([u8; N], KeyId)> {
        let raw = self.decode(text).filter(|raw| raw[0] == VERSION)?;
        Some((Self::says(&raw), key_of(&raw)))
    }

    fn decode(&self, text: &str) -> Option<[u8; RAW_BYTES_MAX]> {
        let coded = text.strip_prefix(self.prefix).filter(|_| text.len() == self.text_bytes())?;
        let mut raw = [0; RAW_BYTES_MAX];
        let len = URL_SAFE_NO_PAD.decode_slice(coded, &mut raw).ok()?;
        (len == Self::RAW_BYTES).then_some(raw)
    }

    fn says(raw: &[u8; RAW_BYTES_MAX]) -> [u8; N] {
        *raw[HEAD_BYTES..].first_chunk().expect("it is there")
    }
}

fn key_of(raw: &[u8; RAW_BYTES_MAX]) -> KeyId {
    KeyId::from_be_bytes(*raw[1..].first_chunk().expect("it is there"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: Form<2> = Form { prefix: "rx_", purpose: Purpose::Session };

    #[test]
    fn what_was_written_is_read_and_each_purpose_and_prefix_for_itself() {
        let keys = SigningKeys::of(&[(7, b"a key")]);
        let token = FORM.write(&keys, b"hi");
        assert_eq!(token.text.len(), FORM.text_bytes());
        assert_eq!(FORM.read(&keys, &token.text), Some((*b"hi", token.mac)));
        assert_eq!(FORM.read_unverified(&token.text), Some((*b"hi", 7)));
        let other = Form::<2> { purpose: Purpose::Ticket, ..FORM };
        assert_eq!(other.read(&keys, &token.text), None);
        assert_eq!(Form::<2> { prefix: "rt_", ..FORM }.read(&keys, &token.text), None);
        assert_eq!(
            Form::<3> { prefix: "rx_", purpose: FORM.purpose }.read(&keys, &token.text),
            None
        );
    }
}
