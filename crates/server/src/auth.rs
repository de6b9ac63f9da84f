//! Who calls: an API key, a ticket, the caller a task is bound to, or somebody on this machine.
//!
//! Not here: lease tokens, which the engine checks.

pub(crate) mod cookie;
pub(crate) mod idempotency;
mod keys;
mod local;
mod mac;
pub(crate) mod session;
mod signing;
mod ticket;
mod token;
mod visitor;

use std::sync::Arc;

use http::{HeaderMap, header};
use relais_api::fields;
use relais_core::TenantName;
use relais_engine::{Engine, EngineError};

pub(crate) use keys::Keys;
pub use keys::{InvalidKey, KEY_SECRETS, decode_key, encode_key, hash_key, unhex};
pub(crate) use local::is_loopback;
pub(crate) use mac::CallerMac;
use mac::draw;
pub(crate) use signing::Signing;
pub(crate) use ticket::{BadTicket, end_of};
pub use ticket::{Ticket, read_unverified};
pub(crate) use visitor::{Action, Chooser, Right, Seen, Standing, Visitor};

use crate::answer::base::Base;
use crate::answer::problem::Refusal;
use crate::config::{ApiKey, Scopes, ServerConfig};

/// What every API key begins with.
pub(crate) const KEY_PREFIX: &str = "rk_";

/// Why the keys in the store cannot be gone by.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The store cannot be read, or not be written.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A key makes no sense.
    #[error("the key {0} in the store cannot be read")]
    Unreadable(String),
}

/// What says who calls, and what that reaches.
pub(crate) struct Auth {
    pub(crate) engine: Engine,
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) base: Arc<Base>,
    pub(crate) keys: Keys,
    pub(crate) signing: Arc<Signing>,
    pub(crate) mac: Arc<CallerMac>,
}

/// Who calls, as far as an API key says so.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// Nobody with an API key.
    Nobody,
    /// The holder of this API key.
    Key(Arc<ApiKey>),
}

impl Caller {
    /// Whose key it is, or `otherwise`.
    #[must_use]
    pub(crate) fn tenant<'a>(&'a self, otherwise: &'a TenantName) -> &'a TenantName {
        match self {
            Self::Nobody => otherwise,
            Self::Key(key) => &key.tenant,
        }
    }

    /// Whether there is a key.
    #[must_use]
    pub(crate) fn has_key(&self) -> bool {
        matches!(self, Self::Key(_))
    }
}

/// What a call needs an API key to allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Submit, cancel, retry, erase.
    Submit,
    /// Read tasks, events, results, queues.
    Read,
    /// Lease, report, settle.
    Work,
    /// Pause queues, change policies.
    Admin,
    /// See the figures of all tenants.
    Operator,
}

impl Scope {
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Read => "read",
            Self::Work => "work",
            Self::Admin => "admin",
            Self::Operator => "operator",
        }
    }

    /// Whether a key with `scopes` allows it.
    #[must_use]
    pub(crate) fn is_in(self, scopes: Scopes) -> bool {
        match self {
            Self::Submit => scopes.submit,
            Self::Read => scopes.read,
            Self::Work => scopes.work,
            Self::Admin => scopes.admin,
            Self::Operator => scopes.operator,
        }
    }
}

impl Auth {
    /// Who calls the front door: there only `Relais-Api-Key` is ours,
    /// `Authorization` is the upstream's.
    ///
    /// # Errors
    /// When a key is given that is not known.
    pub(crate) async fn front_door_caller(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let mut lines = headers.get_all(fields::API_KEY).iter();
        let Some(line) = lines.next() else { return Ok(Caller::Nobody) };
        match (line.to_str(), lines.next()) {
            (Ok(text), None) => self.find(text.trim()).await,
            _ => Err(Refusal::invalid_key()),
        }
    }

    /// Who calls the task API: there a key may also come as a bearer token.
    ///
    /// # Errors
    /// When a key is given that is not known.
    pub(crate) async fn api_caller(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        match self.front_door_caller(headers).await? {
            Caller::Nobody => match bearer(headers) {
                Some(token) if token.starts_with(KEY_PREFIX) => self.find(token).await,
                _ => Ok(Caller::Nobody),
            },
            caller @ Caller::Key(_) => Ok(caller),
        }
    }

    async fn find(&self, text: &str) -> Result<Caller, Refusal> {
        let key = self.keys.find(&self.engine, text).await?;
        key.map(Caller::Key).ok_or_else(Refusal::invalid_key)
    }
}

/// The token of `Authorization: Bearer`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
