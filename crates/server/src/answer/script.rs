//! The client for browsers as one file, with its elements: what a page has by one script tag.
//!
//! It is made of `clients/typescript` by `cargo xtask docs`, and compressed ahead. It is everybody's.

use std::sync::LazyLock;

use aws_lc_rs::digest;
use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::cors::Everybodys;
use super::etag;
use crate::request::accept::{self, Coding};

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// How many bytes of its digest its tag has: enough that no two releases share one.
const TAG_BYTES: usize = 12;

/// The script in one coding.
struct Form {
    bytes: &'static [u8],
    coding: Option<HeaderValue>,
    tag: HeaderValue,
}

impl Form {
    fn new(bytes: &'static [u8], coding: Option<&'static str>) -> Self {
        let digest = digest::digest(&digest::SHA256, bytes);
        let tag = URL_SAFE_NO_PAD.encode(&digest.as_ref()[..TAG_BYTES]);
        Self {
            bytes,
            coding: coding.map(HeaderValue::from_static),
            tag: HeaderValue::from_str(&format!("\"{tag}\"")).expect("ASCII"),
        }
    }

    /// Its tag without the quotes.
    fn version(&self) -> &str {
        self.tag.to_str().expect("ASCII").trim_matches('"')
    }
}

static PLAIN: LazyLock<Form> =
    LazyLock::new(|| Form::new(include_bytes!("script/client.js"), None));
static GZIP: LazyLock<Form> =
    LazyLock::new(|| Form::new(include_bytes!("script/client.js.gz"), Some("gzip")));
static BROTLI: LazyLock<Form> =
    LazyLock::new(|| Form::new(include_bytes!("script/client.js.br"), Some("br")));

/// The script, in the coding that the caller likes best; 304 to whoever has it. `version`: which script
/// the caller wants, by the tag of one of its forms. Whoever names another than this server has must
/// not keep this one for it: it may be of a release that not all nodes have yet.
#[must_use]
pub(crate) fn script(asked: &HeaderMap, version: Option<&str>) -> Response {
    let form = match accept::coding(asked) {
        Coding::Identity => &*PLAIN,
        Coding::Gzip => &*GZIP,
        Coding::Brotli => &*BROTLI,
    };
    let mut response = if etag::is_known(asked, &form.tag) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        Response::new(form.bytes.into())
    };
    let is_this = version.is_some_and(|version| {
        [&*PLAIN, &*GZIP, &*BROTLI].iter().any(|form| form.version() == version)
    });
    let kept = if is_this { "public, max-age=31536000, immutable" } else { "public, max-age=3600" };
    let said = [
        (CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8")),
        (ETAG, form.tag.clone()),
        (VARY, HeaderValue::from_static("Accept-Encoding")),
        (CACHE_CONTROL, HeaderValue::from_static(kept)),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        // A module of another origin is called for as such; so is one of a page that is isolated.
        (ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        (RESOURCE_POLICY, HeaderValue::from_static("cross-origin")),
    ];
    let headers = response.headers_mut();
    headers.extend(said);
    if let Some(coding) = &form.coding {
        headers.insert(CONTENT_ENCODING, coding.clone());
    }
    response.extensions_mut().insert(Everybodys);
    response
}
