//! Public identifiers: the id of a task and the token of a lease.
//!
//! Not here: drawing them. Randomness and time are the caller's.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};

const TASK_PREFIX: &str = "task_";
const LEASE_PREFIX: &str = "lease_";
/// 128 bits in base 32.
const BASE32_LEN: usize = 26;
/// Crockford's alphabet in lower case, as TypeID 0.3 demands.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The text is not an id of the expected kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid id")]
pub struct InvalidId;

/// The public id of a task: `task_` and a UUIDv7 in lower-case Crockford base 32 (TypeID).
///
/// An id is not a secret: it names a task and grants nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct TaskId(
    #[cbor(with = "crate::cbor::bits")]
    #[n(0)]
    u128,
);

impl TaskId {
    /// Wraps the 128 bits of a UUIDv7.
    #[must_use]
    pub const fn from_u128(bits: u128) -> Self {
        Self(bits)
    }

    /// The 128 bits of the UUIDv7.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(TASK_PREFIX)?;
        out.write_str(as_text(&encode(self.0)))
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for TaskId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let digits = text.strip_prefix(TASK_PREFIX).ok_or(InvalidId)?;
        decode(digits.as_bytes()).map(Self)
    }
}

/// The secret by which the holder of a lease proves its right: the task and a random nonce.
///
/// The nonce is the fence: each attempt has its own, and a settle with another one changes nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseToken {
    /// The leased task.
    pub task: TaskId,
    /// 128 random bits, new for each attempt.
    pub nonce: u128,
}

impl fmt::Display for LeaseToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(LEASE_PREFIX)?;
        out.write_str(as_text(&encode(self.task.0)))?;
        out.write_str(as_text(&encode(self.nonce)))
    }
}

impl fmt::Debug for LeaseToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A lease token is a secret: logs name the task only.
        write!(out, "LeaseToken({})", self.task)
    }
}

impl FromStr for LeaseToken {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let digits = text.strip_prefix(LEASE_PREFIX).ok_or(InvalidId)?.as_bytes();
        let (task, nonce) = digits.split_at_checked(BASE32_LEN).ok_or(InvalidId)?;
        Ok(Self { task: TaskId(decode(task)?), nonce: decode(nonce)? })
    }
}

fn encode(bits: u128) -> [u8; BASE32_LEN] {
    let mut text = [0; BASE32_LEN];
    let mut rest = bits;
    for slot in text.iter_mut().rev() {
        *slot = ALPHABET[(rest & 31) as usize];
        rest >>= 5;
    }
    text
}

/// 64 bits in the same alphabet.
pub(crate) fn encode_half(bits: u64) -> String {
    let text = encode(u128::from(bits));
    as_text(&text)[BASE32_LEN / 2..].to_owned()
}

/// Reads them back.
///
/// # Errors
/// When it is not what [`encode_half`] wrote.
pub(crate) fn decode_half(digits: &str) -> Result<u64, InvalidId> {
    let mut whole = [b'0'; BASE32_LEN];
    let half = whole.split_at_mut(BASE32_LEN / 2).1;
    if digits.len() != half.len() {
        return Err(InvalidId);
    }
    half.copy_from_slice(digits.as_bytes());
    decode(&whole)?.try_into().map_err(|_| InvalidId)
}

fn as_text(ascii: &[u8; BASE32_LEN]) -> &str {
    std::str::from_utf8(ascii).expect("the alphabet is ASCII")
}

fn decode(digits: &[u8]) -> Result<u128, InvalidId> {
    // 26 digits hold 130 bits: the first may only use its low three.
    if digits.len() != BASE32_LEN || digits[0] > b'7' {
        return Err(InvalidId);
    }
    digits.iter().try_fold(0u128, |bits, digit| {
        let value = ALPHABET.iter().position(|known| known == digit).ok_or(InvalidId)?;
        Ok(bits << 5 | value as u128)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text() {
        for bits in [0, 1, u128::MAX, 0x0197_0000_0000_7000_8000_0000_0000_0001] {
            let id = TaskId::from_u128(bits);
            assert_eq!(id.to_string().parse(), Ok(id));
            let token = LeaseToken { task: id, nonce: !bits };
            assert_eq!(token.to_string().parse(), Ok(token));
        }
    }

    #[test]
    fn the_typeid_specification_is_followed() {
        // TypeID 0.3, valid.yml: "valid-uuidv7".
        let id = TaskId::from_u128(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057);
        assert_eq!(id.to_string(), "task_01h455vb4pex5vsknk084sn02q");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "task_",
            "task_01h455vb4pex5vsknk084sn02",
            "task_01H455VB4PEX5VSKNK084SN02Q",
            "task_81h455vb4pex5vsknk084sn02q",
            "task_01h455vb4pex5vsknk084sn02u",
            "job_01h455vb4pex5vsknk084sn02q",
            "task_01h455vb4pex5vsknk084sn02q ",
            "lease_é",
        ] {
            assert_eq!(text.parse::<TaskId>(), Err(InvalidId), "{text}");
            assert_eq!(text.parse::<LeaseToken>(), Err(InvalidId), "{text}");
        }
    }
}
