//! The keys that Relais signs its tokens with, and what each kind of token is for.
//!
//! The keys live in the store: they survive a restart and are shared by nodes. Only the newest
//! signs; older ones verify until the last token that they signed has ended.

use std::sync::{Arc, RwLock};

use aws_lc_rs::{constant_time, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use relais_engine::{Engine, EngineError};
use serde::{Deserialize, Serialize};

use super::{KeysError, draw};
use crate::stop::Stop;

/// What the names of signing keys begin with among the engine's secrets.
const SECRET_PREFIX: &str = "signing-key/";
/// Bytes of a signature: 128 bits of an HMAC-SHA256.
pub(crate) const MAC_BYTES: usize = 16;

/// What a token is for. Its number is signed before all else, so that no token of one kind passes
/// for one of another, whatever else is in them. A number is never given a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Purpose {
    /// Follows one task.
    Ticket = 1,
    /// Names the session of a browser.
    Session = 2,
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    created_ms: i64,
    secret: String,
}

/// The name of a key within a token.
pub(crate) type KeyId = u32;

/// Signs and verifies tokens.
pub(crate) struct SigningKeys {
    newest: (KeyId, hmac::Key),
    older: Vec<(KeyId, hmac::Key)>,
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The keys are secrets.
        out.debug_struct("SigningKeys").finish_non_exhaustive()
    }
}

/// The signing keys as they are now: another node may make one, and a hand may remove one.
#[derive(Debug)]
pub(crate) struct Signing {
    keys: RwLock<Arc<SigningKeys>>,
}

impl Signing {
    /// Reads the keys, and again whenever a secret has changed, until `stop` fires.
    ///
    /// # Errors
    /// When a key cannot be read, or the first not be stored.
    pub(crate) async fn load(engine: &Engine, stop: Stop) -> Result<Arc<Self>, KeysError> {
        let mut changes = engine.follow_secrets();
        let keys = RwLock::new(Arc::new(SigningKeys::load(engine).await?));
        let signing = Arc::new(Self { keys });
        let (engine, follows) = (engine.clone(), signing.clone());
        tokio::spawn(async move {
            while let Some(Ok(())) = stop.run_until_cancelled(changes.changed()).await {
                match SigningKeys::load(&engine).await {
                    Ok(keys) => follows.put(keys),
                    Err(error) => tracing::error!(%error, "could not read the signing keys again"),
                }
            }
        });
        Ok(signing)
    }

    /// The keys now.
    #[must_use]
    pub(crate) fn keys(&self) -> Arc<SigningKeys> {
        self.keys.read().expect("nothing panics while it is held").clone()
    }

    fn put(&self, keys: SigningKeys) {
        *self.keys.write().expect("nothing panics while it is held") = Arc::new(keys);
    }
}

impl SigningKeys {
    /// Reads the signing keys, or makes one if there is none.
    ///
    /// # Errors
    /// When a key cannot be read, or the first not be stored.
    async fn load(engine: &Engine) -> Result<Self, KeysError> {
        let mut keys = Vec::new();
        for (name, value) in engine.secrets(SECRET_PREFIX).await? {
            let key = name.strip_prefix(SECRET_PREFIX).and_then(|id| read(id, &value));
            keys.push(key.ok_or(KeysError::Unreadable(name))?);
        }
        if keys.is_empty() {
            keys.push(Self::make(engine).await?);
        }
        keys.sort();
        let key = |(_, id, secret): (i64, KeyId, Vec<u8>)| {
            (id, hmac::Key::new(hmac::HMAC_SHA256, &secret))
        };
        let newest = key(keys.pop().expect("one was made if there was none"));
        Ok(Self { newest, older: keys.into_iter().map(key).collect() })
    }

    async fn make(engine: &Engine) -> Result<(i64, KeyId, Vec<u8>), EngineError> {
        let created_ms = engine.now().as_ms();
        let id = KeyId::try_from(engine.chance().bits() >> 96).expect("32 bits are left");
        let secret = draw(engine).to_vec();
        let stored = StoredKey { created_ms, secret: STANDARD.encode(&secret) };
        let json = serde_json::to_vec(&stored).expect("plain data");
        engine.put_secret(&format!("{SECRET_PREFIX}{id:08x}"), Some(json.into())).await?;
        Ok((created_ms, id, secret))
    }

    /// The name of the key that signs.
    #[must_use]
    pub(crate) const fn newest(&self) -> KeyId {
        self.newest.0
    }

    /// Signs with the newest key. Half of it travels; the whole is a name that nobody can tell from that, nor
    /// from what is signed.
    #[must_use]
    pub(super) fn sign(&self, purpose: Purpose, message: &[u8]) -> [u8; 32] {
        mac(&self.newest.1, purpose, message)
    }

    /// The whole of the signature, if this key signed the message for this purpose. A key that is not known
    /// takes as long as a wrong signature, so that nobody learns which keys there are.
    #[must_use]
    pub(super) fn verify(
        &self,
        id: KeyId,
        purpose: Purpose,
        message: &[u8],
        signature: &[u8; MAC_BYTES],
    ) -> Option<[u8; 32]> {
        let known = std::iter::once(&self.newest).chain(&self.older).find(|key| key.0 == id);
        let (_, key) = known.unwrap_or(&self.newest);
        let whole = mac(key, purpose, message);
        let half = &whole[..MAC_BYTES];
        let is_signed = constant_time::verify_slices_are_equal(half, signature).is_ok();
        (is_signed && known.is_some()).then_some(whole)
    }
}

fn mac(key: &hmac::Key, purpose: Purpose, message: &[u8]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    context.update(&[purpose as u8]);
    context.update(message);
    context.sign().as_ref().try_into().expect("HMAC-SHA256 has 32 bytes")
}

fn read(id: &str, value: &[u8]) -> Option<(i64, KeyId, Vec<u8>)> {
    let stored: StoredKey = serde_json::from_slice(value).ok()?;
    let id = KeyId::from_str_radix(id, 16).ok()?;
    Some((stored.created_ms, id, STANDARD.decode(stored.secret).ok()?))
}

#[cfg(test)]
impl SigningKeys {
    /// These keys, the newest first.
    pub(crate) fn of(keys: &[(KeyId, &[u8])]) -> Self {
        let key = |&(id, secret): &(KeyId, &[u8])| (id, hmac::Key::new(hmac::HMAC_SHA256, secret));
        Self { newest: key(&keys[0]), older: keys[1..].iter().map(key).collect() }
    }
}
