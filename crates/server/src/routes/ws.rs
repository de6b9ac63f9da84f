//! `GET /v1/ws`: the handshake of a WebSocket (RFC 6455, 4.2). Behind it `connection/sockets` goes on.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version, request};
use http_body::Body as _;
use hyper::upgrade::OnUpgrade;
use relais_api::codes;
use relais_api::ws::{BEARER, SUBPROTOCOL};

use crate::answer::problem::Refusal;
use crate::answer::stored::no_body;
use crate::app::App;
use crate::connection::{Peer, Side};
use crate::request::fetch::Fetch;
use crate::request::params::Params;
use crate::request::sent_by::SentBy;
use crate::socket::speaker::Speaker;
use crate::socket::{Begun, Granted};

/// What a key is answered with, beside the key (RFC 6455, 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The one version there is.
const VERSION: &str = "13";
/// Bytes of a key.
const KEY_BYTES: usize = 16;

/// `GET /v1/ws`.
pub(super) async fn open(
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Result<Response, Refusal> {
    let (mut parts, body) = request.into_parts();
    let fetch = SentBy::take(&app.config, &mut parts).fetch;
    let (accept, token) = handshake(&app, &fetch, &parts)?;
    if !body.is_end_stream() {
        // It would be taken for frames, by us or by a proxy in front.
        return Err(malformed("a handshake has no body"));
    }
    let upgrade = parts.extensions.remove::<OnUpgrade>().ok_or_else(no_upgrade)?;
    let peer = parts.extensions.get::<Peer>().cloned().ok_or_else(no_upgrade)?;
    let side = parts.extensions.get::<Side>().copied().unwrap_or(Side::Public);
    let speaker = Speaker::of(&fetch, &parts.headers, &peer, side)?;
    let visitor = speaker.visitor(&app, None).await?;
    let standing = visitor.standing()?;
    if app.stop.is_cancelled() {
        return Err(Refusal::draining());
    }
    let counted = app.open_sockets.take(visitor.holder())?;
    let mut response = Response::new(no_body());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let granted = Granted::new(Begun { upgrade, speaker, standing, token, counted });
    response.extensions_mut().insert(granted);
    Ok(response)
}

/// Judges a handshake by its head alone, before anything is looked up. Answers what its key is answered
/// with, and the token that it brings in the place of a first frame.
fn handshake(
    app: &App,
    fetch: &Fetch,
    parts: &request::Parts,
) -> Result<(HeaderValue, Option<String>), Refusal> {
    let headers = &parts.headers;
    check_origin(app, fetch, headers)?;
    let params = Params::of(&parts.uri, &[])?;
    if params.get("ticket").is_some() {
        let why = "is not read here: send it by `auth`, or by a field";
        return Err(Refusal::parameter("ticket", why));
    }
    let is_http_11 = parts.version == Version::HTTP_11;
    let asks = parts.method == Method::GET
        && is_http_11
        && has(headers, &CONNECTION, "upgrade")
        && has(headers, &UPGRADE, "websocket");
    if !asks || one(headers, &SEC_WEBSOCKET_VERSION) != Some(VERSION) {
        return Err(no_upgrade());
    }
    let key = one(headers, &SEC_WEBSOCKET_KEY)
        .filter(|key| STANDARD.decode(key).is_ok_and(|key| key.len() == KEY_BYTES))
        .ok_or_else(|| malformed("`Sec-WebSocket-Key` must be 16 bytes in base64"))?;
    let (mut is_ours, mut token) = (false, None);
    for offered in list(headers, &SEC_WEBSOCKET_PROTOCOL) {
        is_ours |= offered == SUBPROTOCOL;
        token = token.or(offered.strip_prefix(BEARER));
    }
    if !is_ours {
        return Err(malformed("`Sec-WebSocket-Protocol` must offer `relais.v1.json`"));
    }
    let digest = aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY,
        &[key.as_bytes(), GUID].concat(),
    );
    let accept = HeaderValue::try_from(STANDARD.encode(digest)).map_err(Refusal::internal)?;
    Ok((accept, token.map(str::to_owned)))
}

/// A browser says which page asks, and lets any: what comes of it is for our own and for listed ones.
fn check_origin(app: &App, fetch: &Fetch, headers: &HeaderMap) -> Result<(), Refusal> {
    let is_listed = |origin| app.cors.as_ref().is_some_and(|cors| cors.lists(origin));
    if fetch.foreign_origin(headers).is_ok_and(|origin| origin.is_none_or(is_listed)) {
        return Ok(());
    }
    let why = "the page's `Origin` is neither that of Relais nor in `cors_origins`";
    Err(Refusal::new(&codes::CROSS_SITE).because(why))
}

fn malformed(why: &str) -> Refusal {
    Refusal::new(&codes::MALFORMED_REQUEST).because(why)
}

fn no_upgrade() -> Refusal {
    Refusal::new(&codes::UPGRADE_REQUIRED)
}

/// The elements of a list, of all lines of a field.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

fn has(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    list(headers, name).any(|element| element.eq_ignore_ascii_case(wanted))
}

/// The value of a field that is there once.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next()?.to_str().ok()?.trim();
    lines.next().is_none().then_some(line)
}
