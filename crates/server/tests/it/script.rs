//! `GET /v1/client.js`: the client for browsers as one file.

use http::StatusCode;
use relais_server::config::{Mode, Scopes};

use crate::api::{Answer, Api, call, get, key};
use crate::house::Plan;

const SCRIPT: &str = "/v1/client.js";
const READER: Scopes =
    Scopes { submit: false, read: true, work: false, admin: false, operator: false };

async fn coded(api: &Api, accept: &str) -> Answer {
    let answer = api.call(get(SCRIPT).field("accept-encoding", accept)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "text/javascript; charset=utf-8");
    assert_eq!(answer.header("vary"), "Accept-Encoding");
    answer
}

#[tokio::test]
async fn the_script_comes_compressed_as_the_browser_allows_and_is_small() {
    let api = Api::new().await;
    let plain = coded(&api, "").await;
    assert!(plain.text().contains("relais-task"));
    assert_eq!(plain.headers.get("content-encoding"), None);
    let gzip = coded(&api, "gzip, deflate").await;
    assert_eq!(gzip.header("content-encoding"), "gzip");
    assert_eq!(gzip.body[..2], [0x1f, 0x8b]);
    let brotli = coded(&api, "gzip, deflate, br, zstd").await;
    assert_eq!(brotli.header("content-encoding"), "br");
    let length = |answer: &Answer| answer.body.len();
    assert!(length(&brotli) < length(&gzip) && 2 * length(&gzip) < length(&plain));
    // Each coding is another thing for a cache.
    let tags = [&plain, &gzip, &brotli].map(|answer| answer.header("etag").to_owned());
    assert!(tags.iter().all(|tag| tag.starts_with('"')), "{tags:?}");
    assert!(tags[0] != tags[1] && tags[1] != tags[2] && tags[0] != tags[2], "{tags:?}");
}

#[tokio::test]
async fn whoever_has_the_script_is_not_sent_it_again() {
    let api = Api::new().await;
    let first = coded(&api, "br").await;
    let tag = first.header("etag").to_owned();
    let again = |accept| get(SCRIPT).field("accept-encoding", accept).field("if-none-match", &tag);
    let answer = api.call(again("br")).await;
    assert_eq!(answer.status, StatusCode::NOT_MODIFIED);
    assert!(answer.body.is_empty());
    for name in ["etag", "cache-control", "vary"] {
        assert_eq!(answer.header(name), first.header(name), "{name}");
    }
    // Of another coding it has nothing.
    assert_eq!(api.call(again("gzip")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_script_is_kept_for_an_hour_or_where_its_tag_is_named_for_a_year() {
    let api = Api::new().await;
    let kept_as = async |version: &str| {
        let answer = api.call(get(&format!("{SCRIPT}?v={version}"))).await;
        answer.header("cache-control").to_owned()
    };
    for accept in ["", "gzip", "br"] {
        let answer = coded(&api, accept).await;
        assert_eq!(answer.header("cache-control"), "public, max-age=3600");
        // By the tag of any coding, whatever coding this reader gets.
        let version = answer.header("etag").trim_matches('"');
        assert_eq!(kept_as(version).await, "public, max-age=31536000, immutable");
        // A cache must not keep this script under the name of another.
        assert_eq!(kept_as(&version[1..]).await, "public, max-age=3600");
    }
    for other in ["", "7", "AAAAAAAAAAAAAAAA"] {
        assert_eq!(kept_as(other).await, "public, max-age=3600", "{other}");
    }
    let unknown = api.call(get("/v1/client.js?version=7")).await;
    assert_eq!((unknown.status.as_u16(), unknown.code().as_str()), (400, "invalid-parameter"));
}

#[tokio::test]
async fn its_head_is_told_and_nothing_can_be_sent_to_it() {
    let api = Api::new().await;
    let whole = coded(&api, "br").await;
    let head = api.call(call("HEAD", SCRIPT).field("accept-encoding", "br")).await;
    assert_eq!(head.status, StatusCode::OK);
    assert!(head.body.is_empty());
    assert_eq!(head.header("content-length"), whole.body.len().to_string());
    assert_eq!(head.header("etag"), whole.header("etag"));
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let refused = api.call(call(method, SCRIPT)).await;
        assert_eq!(refused.code(), "method-not-allowed", "{method}");
        assert_eq!(refused.header("allow"), "GET, HEAD, OPTIONS");
    }
}

/// Also a page that nobody has signed in to, and one of another origin, listed or not.
#[tokio::test]
async fn the_script_is_everybodys() {
    let mut plan = Plan::with(Mode::Async).await;
    plan.server.cors_origins = vec!["https://shop.example.com".to_owned()];
    plan.server.keys = vec![key("rk_a", "acme", READER)];
    let house = plan.build().await;
    for origin in ["", "origin: https://shop.example.com\r\n", "origin: https://other.example\r\n"]
    {
        let request = format!("GET {SCRIPT} HTTP/1.1\r\nhost: relais.example.com\r\n{origin}\r\n");
        let reply = house.call(&request).await;
        assert_eq!(reply.status, 200, "{origin}");
        assert_eq!(reply.all("access-control-allow-origin"), ["*"], "{origin}");
        assert_eq!(reply.all("vary"), ["Accept-Encoding"], "{origin}");
        assert_eq!(reply.field("cross-origin-resource-policy"), "cross-origin");
        assert_eq!(reply.field("x-content-type-options"), "nosniff");
        for name in ["set-cookie", "access-control-allow-credentials"] {
            assert!(reply.all(name).is_empty(), "{name}: {reply:?}");
        }
    }
}
