//! API keys: those of the configuration, and those that `relais key add` put into the store.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use aws_lc_rs::digest;
use bytes::Bytes;
use relais_engine::{Engine, EngineError};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::KeysError;
use crate::config::{ApiKey, Scopes};

/// What the names of API keys begin with among the engine's secrets.
pub const KEY_SECRETS: &str = "key/";

/// A key in the store that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a stored API key")]
pub struct InvalidKey;

#[derive(Serialize, Deserialize)]
struct StoredKey {
    hash: String,
    tenant: String,
    scopes: Vec<String>,
}

/// The SHA-256 of a key's text, which is all that is kept of it.
#[must_use]
pub fn hash_key(text: &str) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// The name and the value under which a key is stored among the engine's secrets.
#[must_use]
pub fn encode_key(key: &ApiKey) -> (String, Bytes) {
    let words = [
        ("submit", key.scopes.submit),
        ("read", key.scopes.read),
        ("work", key.scopes.work),
        ("admin", key.scopes.admin),
        ("operator", key.scopes.operator),
    ];
    let stored = StoredKey {
        hash: key.hash.iter().map(|byte| format!("{byte:02x}")).collect(),
        tenant: key.tenant.to_string(),
        scopes: words.iter().filter(|(_, has)| *has).map(|(word, _)| (*word).to_owned()).collect(),
    };
    let json = serde_json::to_vec(&stored).expect("plain data");
    (format!("{KEY_SECRETS}{}", key.name), json.into())
}

/// Reads what [`encode_key`] wrote; `None` for a secret that is not a key.
///
/// # Errors
/// When it is the name of a key and the value is not one.
pub fn decode_key(name: &str, value: &[u8]) -> Option<Result<ApiKey, InvalidKey>> {
    let name = name.strip_prefix(KEY_SECRETS)?;
    Some(decode(name, value).ok_or(InvalidKey))
}

fn decode(name: &str, value: &[u8]) -> Option<ApiKey> {
    let stored: StoredKey = serde_json::from_slice(value).ok()?;
    let mut scopes = Scopes::default();
    for scope in &stored.scopes {
        match scope.as_str() {
            "submit" => scopes.submit = true,
            "read" => scopes.read = true,
            "work" => scopes.work = true,
            "admin" => scopes.admin = true,
            "operator" => scopes.operator = true,
            _ => return None,
        }
    }
    let hash = unhex(&stored.hash)?;
    Some(ApiKey { name: name.to_owned(), hash, tenant: stored.tenant.parse().ok()?, scopes })
}

/// 32 bytes from hexadecimal digits.
#[must_use]
pub fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

/// The keys that are known, by their hashes.
#[derive(Debug)]
pub(crate) struct Keys {
    configured: HashMap<[u8; 32], Arc<ApiKey>>,
    stored: RwLock<Stored>,
    /// How often a secret was put or removed, by whichever node.
    changes: watch::Receiver<u64>,
    /// One reads the store, the others go on with what is known.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Stored {
    by_hash: HashMap<[u8; 32], Arc<ApiKey>>,
    /// The change that was known before they were read.
    read_at: u64,
}

impl Keys {
    /// The keys of a configuration, and those of the store.
    ///
    /// # Errors
    /// When the store cannot be read, or holds a key that makes no sense.
    pub(crate) async fn load(configured: &[ApiKey], engine: &Engine) -> Result<Self, KeysError> {
        let changes = engine.follow_secrets();
        let read_at = *changes.borrow();
        let secrets = engine.secrets(KEY_SECRETS).await?;
        let by_hash = by_hash(&secrets).map_err(KeysError::Unreadable)?;
        Ok(Self {
            configured: by_own_hash(configured),
            stored: RwLock::new(Stored { by_hash, read_at }),
            changes,
            reading: tokio::sync::Mutex::default(),
        })
    }

    /// The keys of another configuration, beside those of the store that are known.
    pub(crate) fn with(&self, configured: &[ApiKey]) -> Self {
        let stored = self.stored.read().expect("nothing panics while it is held");
        let stored = Stored { by_hash: stored.by_hash.clone(), read_at: stored.read_at };
        Self {
            configured: by_own_hash(configured),
            stored: RwLock::new(stored),
            changes: self.changes.clone(),
            reading: tokio::sync::Mutex::default(),
        }
    }

    /// The key with this text.
    ///
    /// Looked up by its hash: how long that takes says nothing about the key.
    pub(crate) async fn find(
        &self,
        engine: &Engine,
        text: &str,
    ) -> Result<Option<Arc<ApiKey>>, EngineError> {
        let hash = hash_key(text);
        if let Some(key) = self.configured.get(&hash) {
            return Ok(Some(key.clone()));
        }
        self.refresh(engine).await?;
        Ok(self.known(&hash))
    }

    /// Whether there is any key, so that calls without one are refused.
    pub(crate) async fn exist(&self, engine: &Engine) -> Result<bool, EngineError> {
        if !self.configured.is_empty() {
            return Ok(true);
        }
        self.refresh(engine).await?;
        let stored = self.stored.read().expect("nothing panics while it is held");
        Ok(!stored.by_hash.is_empty())
    }

    fn known(&self, hash: &[u8; 32]) -> Option<Arc<ApiKey>> {
        let stored = self.stored.read().expect("nothing panics while it is held");
        stored.by_hash.get(hash).cloned()
    }

    /// Reads the keys of the store again if a secret has changed since.
    async fn refresh(&self, engine: &Engine) -> Result<(), EngineError> {
        if self.is_fresh() {
            return Ok(());
        }
        let Ok(_reading) = self.reading.try_lock() else { return Ok(()) };
        if self.is_fresh() {
            return Ok(());
        }
        let read_at = *self.changes.borrow();
        let secrets = engine.secrets(KEY_SECRETS).await?;
        let mut stored = self.stored.write().expect("nothing panics while it is held");
        match by_hash(&secrets) {
            Ok(by_hash) => stored.by_hash = by_hash,
            // Locking everybody out for one bad row would help nobody.
            Err(name) => tracing::error!("the key {name} in the store cannot be read"),
        }
        stored.read_at = read_at;
        Ok(())
    }

    fn is_fresh(&self) -> bool {
        let stored = self.stored.read().expect("nothing panics while it is held");
        stored.read_at == *self.changes.borrow()
    }
}

fn by_own_hash(configured: &[ApiKey]) -> HashMap<[u8; 32], Arc<ApiKey>> {
    configured.iter().map(|key| (key.hash, Arc::new(key.clone()))).collect()
}

fn by_hash(secrets: &[(String, Bytes)]) -> Result<HashMap<[u8; 32], Arc<ApiKey>>, String> {
    let mut keys = HashMap::new();
    for (name, value) in secrets {
        match decode_key(name, value) {
            None => {}
            Some(Ok(key)) => {
                keys.insert(key.hash, Arc::new(key));
            }
            Some(Err(InvalidKey)) => return Err(name.clone()),
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_key_is_read_back_and_its_text_is_not_in_it() {
        let key = ApiKey {
            name: "ci".to_owned(),
            hash: hash_key("rk_secret"),
            tenant: "acme".parse().expect("a name"),
            scopes: Scopes { submit: true, read: true, ..Scopes::default() },
        };
        let (name, value) = encode_key(&key);
        assert_eq!(name, "key/ci");
        assert_eq!(decode_key(&name, &value), Some(Ok(key)));
        assert!(!String::from_utf8_lossy(&value).contains("rk_secret"));
        assert_eq!(decode_key("signing-key/1", &value), None);
        assert_eq!(decode_key("key/x", b"{}"), Some(Err(InvalidKey)));
    }
}
