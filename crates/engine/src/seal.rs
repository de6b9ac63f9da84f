//! Sealing of credentials at rest: AES-256-GCM, with the id of the key in front.
//!
//! The key never lies in the store: it comes from the environment or a file beside it.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest;
use bytes::Bytes;
use relais_core::TaskId;
use relais_store::SEAL_KEY_ID_BYTES;

/// Why a sealed text could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CannotOpen {
    /// Another key sealed it.
    #[error("the credentials are sealed with the key {0}")]
    OtherKey(SealKeyId),
    /// It is not what was sealed, or not for this task.
    #[error("the sealed credentials are damaged")]
    Damaged,
}

/// Tells keys apart without telling anything of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SealKeyId(pub [u8; SEAL_KEY_ID_BYTES]);

impl fmt::Display for SealKeyId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

/// The key that seals credentials.
#[derive(Clone)]
pub struct SealKey {
    secret: [u8; 32],
}

impl fmt::Debug for SealKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SealKey(…)")
    }
}

impl SealKey {
    /// A key from 32 secret bytes.
    #[must_use]
    pub const fn new(secret: [u8; 32]) -> Self {
        Self { secret }
    }

    /// Seals `text` for one task: it opens for no other.
    ///
    /// `nonce` is 96 random bits, never used twice with one key.
    #[must_use]
    pub fn seal(&self, task: TaskId, nonce: u128, text: &[u8]) -> Bytes {
        self.seal_as(task.as_u128(), nonce, text)
    }

    /// Seals `text` for whatever has this number: it opens for no other.
    ///
    /// # Panics
    /// Never: the key has the right length.
    #[must_use]
    pub fn seal_as(&self, whose: u128, nonce: u128, text: &[u8]) -> Bytes {
        let nonce: [u8; NONCE_LEN] =
            nonce.to_le_bytes()[..NONCE_LEN].try_into().expect("12 of 16 bytes");
        let mut sealed = text.to_vec();
        self.cipher()
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(whose.to_be_bytes()),
                &mut sealed,
            )
            .expect("bodies are far below the limit of the cipher");
        [&self.id().0[..], &nonce[..], &sealed[..]].concat().into()
    }

    /// Opens what [`seal`](Self::seal) made for the same task.
    ///
    /// # Errors
    /// [`CannotOpen`] for another key or task, or changed bytes.
    pub fn open(&self, task: TaskId, sealed: &[u8]) -> Result<Bytes, CannotOpen> {
        self.open_as(task.as_u128(), sealed)
    }

    /// Opens what [`seal_as`](Self::seal_as) made for the same number.
    ///
    /// # Errors
    /// [`CannotOpen`] for another key or number, or changed bytes.
    pub fn open_as(&self, whose: u128, sealed: &[u8]) -> Result<Bytes, CannotOpen> {
        let damaged = || CannotOpen::Damaged;
        let (id, rest) = sealed.split_first_chunk().ok_or_else(damaged)?;
        let (nonce, rest) = rest.split_at_checked(NONCE_LEN).ok_or_else(damaged)?;
        let id = SealKeyId(*id);
        if id != self.id() {
            return Err(CannotOpen::OtherKey(id));
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| damaged())?;
        let mut text = rest.to_vec();
        let len = self
            .cipher()
            .open_in_place(nonce, Aad::from(whose.to_be_bytes()), &mut text)
            .map_err(|_| damaged())?
            .len();
        text.truncate(len);
        Ok(text.into())
    }

    fn cipher(&self) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.secret).expect("the key has 32 bytes"))
    }

    /// Its id: the first bytes of all that it seals.
    ///
    /// # Panics
    /// Never: a digest is longer.
    #[must_use]
    pub fn id(&self) -> SealKeyId {
        let digest =
            digest::digest(&digest::SHA256, &[b"relais-seal-key-id", &self.secret[..]].concat());
        let id = digest.as_ref()[..SEAL_KEY_ID_BYTES].try_into().expect("a digest is longer");
        SealKeyId(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_credentials_open_only_with_their_key_and_for_their_task() {
        let key = SealKey::new([7; 32]);
        let task = TaskId::from_u128(1);
        let sealed = key.seal(task, 42, b"Bearer secret");
        assert_eq!(key.open(task, &sealed).as_deref(), Ok(&b"Bearer secret"[..]));
        assert_eq!(key.open(TaskId::from_u128(2), &sealed), Err(CannotOpen::Damaged));
        let other = SealKey::new([8; 32]).open(task, &sealed);
        assert_eq!(other, Err(CannotOpen::OtherKey(key.id())));
        assert_eq!(key.open(task, &sealed[..10]), Err(CannotOpen::Damaged));
        assert_eq!(key.open(task, &sealed[..3]), Err(CannotOpen::Damaged));
        assert_eq!(key.id().to_string().len(), 8);
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
    }
}
