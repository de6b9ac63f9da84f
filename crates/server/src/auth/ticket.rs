//! Tickets: signed, scoped, expiring tokens that let their bearer follow one task (JWT, HS256).
//!
//! The signing keys live in the store: they survive a restart and are shared by nodes. Only the
//! newest signs; older ones verify until their last ticket has ended.

use std::borrow::Cow;
use std::collections::HashMap;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use relais_core::{Task, TaskId, TenantName, Timestamp, limits};
use relais_engine::{Engine, EngineError, Grants};
use serde::{Deserialize, Serialize};

use crate::app::ServeError;
use crate::auth::draw;

/// What the names of signing keys begin with among the engine's secrets.
const SECRET_PREFIX: &str = "ticket-key/";
/// Tells our tokens from other people's.
const TYPE: &str = "relais+jwt";
/// Room for a ticket whose names are of usual length.
const TOKEN_BYTES_USUAL: usize = 320;

/// What a valid ticket says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The one task it is for.
    pub(crate) task: TaskId,
    /// Whose task that is.
    pub(crate) tenant: TenantName,
    /// What its bearer may do.
    pub(crate) grants: Grants,
    /// When it ends.
    pub(crate) expires_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Claims<'a> {
    sub: Cow<'a, str>,
    tenant: Cow<'a, str>,
    scope: Cow<'a, str>,
    exp: i64,
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    created_ms: i64,
    secret: String,
}

/// Signs and verifies tickets.
pub(crate) struct Tickets {
    /// The first part of every ticket, with its dot: it is the same for all.
    head: String,
    signer: hmac::Key,
    verifiers: HashMap<String, DecodingKey>,
    validation: Validation,
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The keys are secrets.
        out.debug_struct("Tickets").finish_non_exhaustive()
    }
}

impl Tickets {
    /// Reads the signing keys, or makes one at the first start.
    pub(crate) async fn load(
        engine: &Engine,
        secrets: &[(String, Bytes)],
    ) -> Result<Self, ServeError> {
        let mut keys = Vec::new();
        for (name, value) in secrets {
            let Some(kid) = name.strip_prefix(SECRET_PREFIX) else { continue };
            let key = decode_key(value).ok_or_else(|| ServeError::UnreadableKey(name.clone()))?;
            keys.push((key.0, kid.to_owned(), key.1));
        }
        if keys.is_empty() {
            keys.push(Self::make(engine).await?);
        }
        keys.sort();
        let (_, kid, secret) = keys.last().expect("one was made if there was none");
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(kid.clone());
        let mut validation = Validation::new(Algorithm::HS256);
        // The library would ask the machine's clock; `exp` is compared with the engine's.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        validation.validate_aud = false;
        let head = serde_json::to_vec(&header).expect("plain data");
        Ok(Self {
            head: format!("{}.", URL_SAFE_NO_PAD.encode(head)),
            signer: hmac::Key::new(hmac::HMAC_SHA256, secret),
            verifiers: keys
                .iter()
                .map(|(_, kid, secret)| (kid.clone(), DecodingKey::from_secret(secret)))
                .collect(),
            validation,
        })
    }

    async fn make(engine: &Engine) -> Result<(i64, String, Vec<u8>), EngineError> {
        let created_ms = engine.now().as_ms();
        let kid = format!("{:016x}", engine.chance().bits() >> 64);
        let secret = draw(engine).to_vec();
        let stored = StoredKey { created_ms, secret: STANDARD.encode(&secret) };
        let json = serde_json::to_vec(&stored).expect("plain data");
        engine.put_secret(&format!("{SECRET_PREFIX}{kid}"), Some(json.into())).await?;
        Ok((created_ms, kid, secret))
    }

    /// A ticket for a task: valid to its deadline and retention. Each 202 has one, so the signature
    /// is made here (RFC 7515, 5.1), with a key that is set up once.
    #[must_use]
    pub(crate) fn mint(&self, task: &Task, grants: Grants) -> String {
        let ends =
            task.expires_at().unwrap_or_else(|| task.life.deadline.plus(task.spec.retention));
        let claims = Claims {
            sub: task.spec.id.to_string().into(),
            tenant: task.spec.tenant.as_str().into(),
            scope: scope_of(grants).into(),
            // Rounded up: a ticket ends with its task, not before it.
            exp: ends.as_ms().div_euclid(1_000).saturating_add(1),
        };
        let claims = serde_json::to_vec(&claims).expect("plain data");
        let mut token = String::with_capacity(TOKEN_BYTES_USUAL);
        token.push_str(&self.head);
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = hmac::sign(&self.signer, token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }

    /// What a token says, if it is a ticket that we signed and that has not ended.
    #[must_use]
    pub(crate) fn verify(&self, token: &str, now: Timestamp) -> Option<Ticket> {
        if token.len() > limits::TICKET_BYTES_MAX {
            return None;
        }
        let header = jsonwebtoken::decode_header(token).ok()?;
        if header.typ.as_deref() != Some(TYPE) {
            return None;
        }
        let verifier = self.verifiers.get(header.kid.as_deref()?)?;
        let decoded =
            jsonwebtoken::decode::<Claims<'static>>(token, verifier, &self.validation).ok()?.claims;
        let expires_at = Timestamp::from_ms(decoded.exp.saturating_mul(1_000));
        if expires_at <= now {
            return None;
        }
        Some(Ticket {
            task: decoded.sub.parse().ok()?,
            tenant: decoded.tenant.parse().ok()?,
            grants: grants_of(&decoded.scope),
            expires_at,
        })
    }
}

fn decode_key(value: &[u8]) -> Option<(i64, Vec<u8>)> {
    let stored: StoredKey = serde_json::from_slice(value).ok()?;
    Some((stored.created_ms, STANDARD.decode(stored.secret).ok()?))
}

/// The grants as a space-separated list of words.
fn scope_of(grants: Grants) -> &'static str {
    match (grants.read, grants.cancel, grants.retry) {
        (true, false, false) => "read",
        (true, true, false) => "read cancel",
        (true, false, true) => "read retry",
        (true, true, true) => "read cancel retry",
        (false, true, false) => "cancel",
        (false, false, true) => "retry",
        (false, true, true) => "cancel retry",
        (false, false, false) => "",
    }
}

fn grants_of(scope: &str) -> Grants {
    let mut grants = Grants::default();
    for word in scope.split(' ') {
        match word {
            "read" => grants.read = true,
            "cancel" => grants.cancel = true,
            "retry" => grants.retry = true,
            _ => {}
        }
    }
    grants
}
