//! Who calls: an API key, a ticket, the caller a task is bound to, or somebody on this machine.
//!
//! Not here: lease tokens, which the engine checks.

pub(crate) mod idempotency;
mod keys;
mod local;
mod mac;
mod signing;
mod ticket;
mod visitor;

use relais_api::fields;
use std::sync::Arc;

use http::{HeaderMap, header};
use relais_core::TenantName;

pub(crate) use keys::Keys;
pub use keys::{InvalidKey, KEY_SECRETS, decode_key, encode_key, hash_key, unhex};
pub(crate) use local::is_loopback;
pub(crate) use mac::CallerMac;
use mac::draw;
pub(crate) use signing::Signing;
pub(crate) use ticket::{BadTicket, mint};
pub use ticket::{Ticket, read_unverified};
pub(crate) use visitor::{Action, Chooser, Seen, Visitor, read_by_ticket, sees_all_of};

use crate::answer::problem::Refusal;
use crate::app::App;
use crate::config::{ApiKey, Scopes};

/// What every API key begins with.
const KEY_PREFIX: &str = "rk_";

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
    /// Its word.
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

/// Who calls the front door: there only `Relais-Api-Key` is ours,
/// `Authorization` is the upstream's.
///
/// # Errors
/// When a key is given that is not known.
pub(crate) async fn front_door_caller(app: &App, headers: &HeaderMap) -> Result<Caller, Refusal> {
    let mut lines = headers.get_all(fields::API_KEY).iter();
    let Some(line) = lines.next() else { return Ok(Caller::Nobody) };
    match (line.to_str(), lines.next()) {
        (Ok(text), None) => find(app, text.trim()).await,
        _ => Err(Refusal::invalid_key()),
    }
}

/// Who calls the task API: there a key may also come as a bearer token.
///
/// # Errors
/// When a key is given that is not known.
pub(crate) async fn api_caller(app: &App, headers: &HeaderMap) -> Result<Caller, Refusal> {
    match front_door_caller(app, headers).await? {
        Caller::Nobody => match bearer(headers) {
            Some(token) if token.starts_with(KEY_PREFIX) => find(app, token).await,
            _ => Ok(Caller::Nobody),
        },
        caller @ Caller::Key(_) => Ok(caller),
    }
}

/// The token of `Authorization: Bearer`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

async fn find(app: &App, text: &str) -> Result<Caller, Refusal> {
    let key = app.keys.find(&app.engine, text).await?;
    key.map(Caller::Key).ok_or_else(Refusal::invalid_key)
}
