//! Recognising a caller by credentials that are not ours, without keeping them: an HMAC.

use std::net::IpAddr;

use aws_lc_rs::hmac;
use bytes::Bytes;
use http::{HeaderMap, header};
use relais_core::Source;
use relais_engine::{Engine, EngineError};

use super::cookie;

/// The name of the key among the engine's secrets.
const SECRET: &str = "caller-key";

/// Makes HMACs of callers' credentials, the same on every node and after every restart.
#[derive(Debug)]
pub(crate) struct CallerMac {
    key: hmac::Key,
}

impl CallerMac {
    /// Reads the key, or makes it at the first start.
    pub(crate) async fn load(engine: &Engine) -> Result<Self, EngineError> {
        let secrets = engine.secrets(SECRET).await?;
        let bytes = match secrets.into_iter().find(|(name, _)| name == SECRET) {
            Some((_, bytes)) => bytes,
            None => {
                let bytes = draw(engine);
                engine.put_secret(SECRET, Some(bytes.clone())).await?;
                bytes
            }
        };
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &bytes) })
    }

    /// The HMAC of one field of a request; `None` when it was not sent.
    #[must_use]
    pub(crate) fn of_field(&self, headers: &HeaderMap, field: &str) -> Option<[u8; 32]> {
        self.of_fields(headers, &[field])
    }

    /// The HMAC of `Authorization` and of `Cookie` without our own; `None` when neither was sent. A
    /// session that Relais began makes nobody another caller.
    #[must_use]
    pub(crate) fn of_credentials(&self, headers: &HeaderMap) -> Option<[u8; 32]> {
        self.of_fields(headers, &[header::AUTHORIZATION.as_str(), header::COOKIE.as_str()])
    }

    /// The HMAC of the fields by which one request has several answers, or its body several meanings.
    #[must_use]
    pub(crate) fn of_forms(&self, headers: &HeaderMap) -> Option<[u8; 32]> {
        self.of_fields(headers, &[header::ACCEPT.as_str(), header::CONTENT_ENCODING.as_str()])
    }

    /// The HMAC of a request that may come twice.
    #[must_use]
    pub(crate) fn of_submit(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.of_parts(b"double submit", parts)
    }

    /// The HMAC of the address that the page of a task may return to.
    #[must_use]
    pub(crate) fn of_address(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.of_parts(b"an address", parts)
    }

    /// No name of a field has a space: what is made for this purpose is none of those of fields.
    fn of_parts(&self, purpose: &[u8], parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        update(&mut context, purpose);
        for part in parts {
            update(&mut context, part);
        }
        context.sign().as_ref().try_into().expect("HMAC-SHA256 has 32 bytes")
    }

    /// The HMAC of the network a caller is in, shortened to what a task keeps.
    #[must_use]
    pub(crate) fn of_network(&self, network: IpAddr) -> Source {
        let mut context = hmac::Context::with_key(&self.key);
        // No name of a field has a space: this is none of those above.
        update(&mut context, b"client address");
        match network {
            IpAddr::V4(address) => update(&mut context, &address.octets()),
            // The rest of it is no network.
            IpAddr::V6(address) => update(&mut context, &address.octets()[..8]),
        }
        let mac = context.sign();
        Source(mac.as_ref()[..16].try_into().expect("HMAC-SHA256 has 32 bytes"))
    }

    /// Our own cookie is none of them: a browser is who it was before it had a session.
    fn of_fields(&self, headers: &HeaderMap, names: &[&str]) -> Option<[u8; 32]> {
        let mut context = hmac::Context::with_key(&self.key);
        let mut is_given = false;
        for name in names {
            update(&mut context, name.as_bytes());
            for value in headers.get_all(*name) {
                let is_cookie = header::COOKIE == *name;
                let theirs =
                    if is_cookie { cookie::without_own(value) } else { Some(value.clone()) };
                if let Some(theirs) = theirs {
                    update(&mut context, theirs.as_bytes());
                    is_given = true;
                }
            }
            // The end of this name's values: no value is this long.
            context.update(&u64::MAX.to_be_bytes());
        }
        let mac = context.sign();
        is_given.then(|| mac.as_ref().try_into().expect("HMAC-SHA256 has 32 bytes"))
    }
}

/// 256 unguessable bits.
pub(crate) fn draw(engine: &Engine) -> Bytes {
    let halves = [engine.chance().bits(), engine.chance().bits()];
    halves.iter().flat_map(|half| half.to_be_bytes()).collect::<Vec<_>>().into()
}

/// Each part with its length, so that no two lists of parts look alike.
fn update(context: &mut hmac::Context, part: &[u8]) {
    context.update(&(part.len() as u64).to_be_bytes());
    context.update(part);
}
