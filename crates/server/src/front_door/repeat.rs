//! What makes two requests one: their `Idempotency-Key`, or, where the route says so, that one form
//! or link is sent twice.

use std::net::IpAddr;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::request;
use relais_core::TenantName;
use relais_engine::{Access, Claim};

use super::form::{Form, query_has, without_boundary};
use crate::answer::problem::Refusal;
use crate::auth::cookie;
use crate::auth::idempotency::{self, Keyed};
use crate::auth::{Auth, Caller, CallerMac};
use crate::config::Route;
use crate::request::sent_by::SentBy;

/// What makes a request the same as an earlier one.
pub(super) enum Repeat {
    /// Nothing.
    Never,
    /// Its idempotency key.
    ByKey(Key),
    /// All that it is made of, for a while.
    AsItIs(Double),
}

/// An idempotency key, and who sent it.
pub(super) struct Key {
    text: String,
    caller: Option<[u8; 32]>,
    /// Whether an attached task may be shown.
    is_trusted: bool,
}

/// A request that may be the second of two that are the same.
pub(super) struct Double {
    /// How long after the first it may come.
    window: Duration,
    sender: Sender,
    /// The HMAC of the fields by which it has another answer or another meaning.
    forms: Option<[u8; 32]>,
}

/// Who sends it.
enum Sender {
    Known([u8; 32]),
    /// Nobody whom we know: it must come from where the first did, with a field that others cannot
    /// know, and with the same cookies.
    Stranger {
        address: IpAddr,
        cookies: Option<[u8; 32]>,
        field: String,
        is_in_query: bool,
    },
}

/// A request whose body was read.
pub(super) struct Sent<'a> {
    pub(super) tenant: &'a TenantName,
    pub(super) method: &'a str,
    /// Path and query.
    pub(super) target: &'a str,
    /// As it was sent.
    pub(super) content_type: &'a [u8],
    /// What [`Repeat::form`] has read.
    pub(super) form: Form,
}

impl Repeat {
    /// Reads from a request's head what could make it a repetition. A key that is given outweighs
    /// what the route implies.
    ///
    /// # Errors
    /// For a key that is not well formed, or when the store cannot be read.
    pub(super) async fn of(
        auth: &Auth,
        route: &Route,
        caller: &Caller,
        access: &Access,
        sent_by: &SentBy,
        parts: &request::Parts,
    ) -> Result<Self, Refusal> {
        let headers = &parts.headers;
        let mac = match access {
            Access::Caller { mac, .. } => *mac,
            Access::Ticket | Access::Key => None,
        };
        let known = || idempotency::caller_of(&auth.mac, caller, mac, headers);
        if let Some(text) = idempotency::key_of(headers)? {
            let (known, tenant) = (known(), caller.tenant(&route.tenant));
            let is_trusted = idempotency::is_trusted(known, &text)
                || auth.sees_all_of(tenant, &sent_by.fetch, parts).await?;
            return Ok(Self::ByKey(Key { text, caller: known, is_trusted }));
        }
        let Some(rule) = &route.double_submit else { return Ok(Self::Never) };
        // Cookies are sent by whoever has been here before: that two send the same ones says nothing,
        // unless the one that says who they are is among them. Nothing else here is hard to guess.
        let says_who =
            |name: &String| cookie::value_of(headers, name).is_some_and(|v| !v.is_empty());
        let is_known = caller.has_key()
            || mac.is_some()
            || headers.contains_key(AUTHORIZATION)
            || rule.cookie.as_ref().is_some_and(says_who);
        let sender = match (known(), &rule.field) {
            (Some(known), _) if is_known => Sender::Known(known),
            (cookies, Some(field)) => Sender::Stranger {
                address: sent_by.source.client,
                cookies,
                field: field.clone(),
                is_in_query: query_has(parts.uri.query().unwrap_or_default(), field),
            },
            // Two people who send the same are two.
            (_, None) => return Ok(Self::Never),
        };
        let forms = auth.mac.of_forms(headers);
        Ok(Self::AsItIs(Double { window: rule.window, sender, forms }))
    }

    /// The key that was given.
    pub(super) fn key(&self) -> Option<&str> {
        match self {
            Self::ByKey(key) => Some(&key.text),
            Self::Never | Self::AsItIs(_) => None,
        }
    }

    /// Whether whoever sends the same may be somebody else, to whom a task must not be shown.
    pub(super) fn is_by_stranger(&self) -> bool {
        matches!(self, Self::ByKey(key) if !key.is_trusted)
    }

    /// What is to read the body, if it matters.
    pub(super) fn form(&self, content_type: &[u8]) -> Option<Form> {
        match self {
            Self::Never => None,
            Self::ByKey(_) => Some(Form::as_it_is()),
            Self::AsItIs(double) => Some(Form::of(content_type, double.wanted())),
        }
    }

    /// The claim of a request; `None` where it repeats nothing, and nothing repeats it.
    pub(super) fn claim(&self, mac: &CallerMac, sent: Sent<'_>) -> Option<Claim> {
        let Sent { tenant, method, target, content_type, form } = sent;
        let (body_sha256, has_field) = form.finish();
        match self {
            Self::Never => None,
            Self::ByKey(Key { text: key, caller, .. }) => {
                let caller = *caller;
                let keyed =
                    Keyed { tenant, caller, method, target, key, content_type, body_sha256 };
                Some(idempotency::claim(&keyed))
            }
            Self::AsItIs(double) => {
                let sender = double.sender(has_field)?;
                let scope = mac.of_submit(&[
                    tenant.as_str().as_bytes(),
                    &sender,
                    method.as_bytes(),
                    target.as_bytes(),
                    double.forms.as_ref().map_or(&[], |forms| &forms[..]),
                    &without_boundary(content_type),
                    &body_sha256,
                ]);
                // All that could differ is in the scope.
                Some(Claim { scope, fingerprint: scope, window: Some(double.window) })
            }
        }
    }
}

impl Double {
    /// The field that the body must have, unless that is settled already.
    fn wanted(&self) -> Option<&str> {
        match &self.sender {
            Sender::Stranger { field, is_in_query: false, .. } => Some(field),
            Sender::Stranger { .. } | Sender::Known(_) => None,
        }
    }

    /// Who sends it, as bytes of which no two are alike; `None` for one who must not be joined.
    fn sender(&self, body_has_field: bool) -> Option<Vec<u8>> {
        match &self.sender {
            Sender::Known(mac) => Some(mac.to_vec()),
            // Of another length than a known one, whichever of these it is made of.
            Sender::Stranger { address, cookies, is_in_query, .. } => {
                (*is_in_query || body_has_field).then(|| {
                    let mut sender = match address {
                        IpAddr::V4(address) => address.octets().to_vec(),
                        IpAddr::V6(address) => address.octets().to_vec(),
                    };
                    sender.extend(cookies.iter().flatten());
                    sender
                })
            }
        }
    }
}
