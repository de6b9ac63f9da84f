//! Who asks on a WebSocket: what the handshake said, and the tokens that frames brought. Each call is judged
//! anew by the one rule for all of `/v1`, so that a key that was taken back, or a task that joined the
//! session, counts at once.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header, request};
use relais_api::{codes, fields};
use relais_core::limits;

use crate::answer::problem::Refusal;
use crate::app::App;
use crate::auth::{KEY_PREFIX, Standing, Visitor, bearer};
use crate::connection::{Peer, Permit, Side};
use crate::request::fetch::Fetch;

/// Fields that say nothing of who asks.
const SAY_NOTHING: [HeaderName; 11] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::DNT,
    header::PRAGMA,
    header::UPGRADE,
    header::USER_AGENT,
];

/// Who asks.
#[derive(Clone)]
pub(crate) struct Speaker {
    /// The fields of the handshake that say who asks, a line each. A map of them would be larger than all the
    /// rest of a connection.
    fields: Box<[u8]>,
    key: Option<Box<str>>,
    ticket: Option<Box<str>>,
    address: SocketAddr,
    side: Side,
    permit: Permit,
}

impl Speaker {
    /// Who sent a handshake.
    ///
    /// # Errors
    /// When it says more than a connection may keep.
    pub(crate) fn of(
        fetch: &Fetch,
        headers: &HeaderMap,
        peer: &Peer,
        side: Side,
    ) -> Result<Self, Refusal> {
        let key = bearer(headers).filter(|token| token.starts_with(KEY_PREFIX));
        let mut kept = Vec::new();
        for (name, value) in headers {
            let is_kept = match *name {
                // A browser sends it for whatever page, and what comes here is no safe call.
                header::COOKIE => fetch.names_own_origin(),
                // It goes on as what it is: a ticket may come to stand beside it.
                header::AUTHORIZATION => key.is_none(),
                _ => !SAY_NOTHING.contains(name) && !name.as_str().starts_with("sec-"),
            };
            if is_kept {
                kept.extend_from_slice(name.as_str().as_bytes());
                kept.push(b':');
                kept.extend_from_slice(value.as_bytes());
                kept.push(b'\n');
            }
        }
        if kept.len() > limits::SOCKET_FIELDS_BYTES_MAX {
            let why = "a WebSocket keeps no more of the fields of its handshake";
            let max = limits::SOCKET_FIELDS_BYTES_MAX as u64;
            return Err(Refusal::new(&codes::HEAD_TOO_LARGE).because(why).limit(max));
        }
        Ok(Self {
            fields: kept.into(),
            key: key.map(Into::into),
            ticket: None,
            address: peer.address,
            side,
            permit: peer.permit.clone(),
        })
    }

    /// The same with a token that a frame brought, which is known now, until then.
    ///
    /// # Errors
    /// When it is not valid, or allows nothing.
    pub(crate) async fn with(
        &self,
        app: &Arc<App>,
        token: &str,
    ) -> Result<(Self, Standing), Refusal> {
        let mut speaker = self.clone();
        let is_key = token.starts_with(KEY_PREFIX);
        let slot = if is_key { &mut speaker.key } else { &mut speaker.ticket };
        *slot = Some(token.into());
        let visitor = speaker.visitor(app, None).await?;
        if !is_key {
            visitor.check_ticket()?;
        }
        let standing = visitor.standing()?;
        let standing = standing.ok_or_else(|| Refusal::new(&codes::UNAUTHORIZED))?;
        Ok((speaker, standing))
    }

    /// Whoever makes a call, with the ticket that the call brings, if it brings one.
    ///
    /// # Errors
    /// When a key is not known any more, or the store cannot be read.
    pub(crate) async fn visitor(
        &self,
        app: &Arc<App>,
        ticket: Option<&str>,
    ) -> Result<Visitor, Refusal> {
        Visitor::of(&app.auth, &mut self.head(ticket)).await
    }

    /// The head of a call by HTTP that says the same. It is no safe one: a cookie counts for pages of our
    /// own alone, also where they only read.
    fn head(&self, ticket: Option<&str>) -> request::Parts {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = Method::POST;
        parts.uri = Uri::from_static(relais_api::paths::SOCKET);
        let lines = self.fields.split(|byte| *byte == b'\n');
        for line in lines.filter(|line| !line.is_empty()) {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let name = HeaderName::from_bytes(&line[..colon]);
            let value = HeaderValue::from_bytes(&line[colon + 1..]);
            if let (Ok(name), Ok(value)) = (name, value) {
                parts.headers.append(name, value);
            }
        }
        if let Some(Ok(key)) = self.key.as_deref().map(HeaderValue::from_str) {
            parts.headers.insert(fields::API_KEY, key);
        }
        let ticket = ticket.or(self.ticket.as_deref());
        if let Some(ticket) = ticket {
            // What cannot be in a field is no ticket, and none at all would be another caller.
            let line = HeaderValue::try_from(format!("Bearer {ticket}"));
            let line = line.unwrap_or(HeaderValue::from_static("Bearer none"));
            parts.headers.insert(header::AUTHORIZATION, line);
        }
        parts.extensions.insert(self.side);
        parts.extensions.insert(Peer::new(self.address, self.side, self.permit.clone()));
        parts
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;
    use crate::config::ServerConfig;

    fn speaker(sent: &[(&'static str, &'static str)]) -> Speaker {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let permit = Arc::new(Arc::new(Semaphore::new(1)).try_acquire_owned().expect("one"));
        let peer = Peer::new(([127, 0, 0, 1], 9).into(), Side::Public, permit);
        let fetch = Fetch::of(&ServerConfig::on_loopback(), &headers);
        let speaker = Speaker::of(&fetch, &headers, &peer, Side::Public);
        speaker.map_err(|refusal| refusal.code().code).expect("little is said")
    }

    fn fields_of(parts: &request::Parts) -> Vec<(&str, &str)> {
        let text = |value| std::str::from_utf8(HeaderValue::as_bytes(value)).unwrap();
        parts.headers.iter().map(|(name, value)| (name.as_str(), text(value))).collect()
    }

    #[test]
    fn what_the_handshake_said_of_who_asks_is_said_again_and_nothing_else() {
        let speaker = speaker(&[
            ("host", "localhost"),
            ("user-agent", "x"),
            ("sec-websocket-protocol", "relais.v1.json, relais.bearer.secret"),
            ("authorization", "Bearer rt_1"),
            ("x-team", "a: b"),
        ]);
        let expected =
            [("host", "localhost"), ("authorization", "Bearer rt_1"), ("x-team", "a: b")];
        assert_eq!(fields_of(&speaker.head(None)), expected);
        let head = speaker.head(Some("rt_2"));
        assert_eq!(head.headers[header::AUTHORIZATION], "Bearer rt_2");
        assert_eq!(speaker.head(Some("a\nb")).headers[header::AUTHORIZATION], "Bearer none");
    }

    #[test]
    fn a_key_stays_beside_the_ticket_of_a_call() {
        let head = speaker(&[("authorization", "Bearer rk_1")]).head(Some("rt_2"));
        assert_eq!(head.headers[fields::API_KEY], "rk_1");
        assert_eq!(head.headers[header::AUTHORIZATION], "Bearer rt_2");
    }

    #[test]
    fn a_cookie_counts_only_beside_an_origin_that_is_ours() {
        for (origin, counts) in [
            (Some("http://localhost"), true),
            (Some("http://other.example"), false),
            (Some("null"), false),
            (None, false),
        ] {
            let mut sent = vec![("host", "localhost"), ("cookie", "relais=rs_1")];
            sent.push(("sec-fetch-site", "same-origin"));
            sent.extend(origin.map(|origin| ("origin", origin)));
            let head = speaker(&sent).head(None);
            assert_eq!(head.headers.contains_key(header::COOKIE), counts, "{origin:?}");
            assert!(!head.headers.contains_key("sec-fetch-site"));
        }
    }
}
