//! Pages of other origins: what they may read, and what stays the upstream's business.

use relais_server::config::{CorsBy, Mode};
use serde_json::json;

use crate::house::{Client, House, Plan, Reply};

const SHOP: &str = "https://shop.example.com";
/// What a page of the shop sends with each call.
const FROM_SHOP: &str = "host: localhost\r\norigin: https://shop.example.com\r\n";

async fn house(mode: Mode) -> House {
    let mut plan = Plan::with(mode).await;
    plan.server.cors_origins = vec!["https://other.example:8443".to_owned(), SHOP.to_owned()];
    plan.build().await
}

/// All that is said to browsers, but for what of the answer a page may read.
fn cors(reply: &Reply) -> Vec<(&str, &str)> {
    let fields = reply.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let ours = |name: &str| name.starts_with("access-control-allow") || name.ends_with("max-age");
    fields.filter(|(name, _)| ours(name)).collect()
}

fn varies_by_origin(reply: &Reply) -> bool {
    reply.all("vary").iter().flat_map(|line| line.split(',')).any(|name| name.trim() == "Origin")
}

#[track_caller]
fn assert_readable(reply: &Reply) {
    let expected =
        [("access-control-allow-origin", SHOP), ("access-control-allow-credentials", "true")];
    assert_eq!(cors(reply), expected, "{reply:?}");
    assert!(varies_by_origin(reply), "{reply:?}");
    let exposed = reply.all("access-control-expose-headers").join(", ");
    for name in [
        "ETag",
        "Location",
        "Operation-Location",
        "Link",
        "Retry-After",
        "Relais-Task",
        "Content-Encoding",
    ] {
        assert!(exposed.split(", ").any(|other| other == name), "{name}: {exposed}");
    }
}

fn submission(fields: &str) -> String {
    let body = json!({"queue": "work", "input": {}}).to_string();
    let length = body.len();
    format!(
        "POST /v1/tasks HTTP/1.1\r\n{fields}content-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}

/// Submits a task, and answers its path and the ticket's parameter.
async fn a_task(house: &House) -> (String, String) {
    let reply = house.call(&submission("host: localhost\r\n")).await;
    let task = reply.json();
    let ticket = task["ticket"].as_str().unwrap();
    (format!("/v1/tasks/{}", task["id"].as_str().unwrap()), format!("ticket={ticket}"))
}

/// A page of a sister host, which a browser sends our cookie from, reads by the session.
#[tokio::test]
async fn a_listed_origin_reads_by_the_session_of_the_browser() {
    let house = house(Mode::Async).await;
    let (task, ticket) = a_task(&house).await;
    let id = task.rsplit('/').next().unwrap();
    let join = format!(
        "POST /v1/session/{id}?{ticket} HTTP/1.1\r\nhost: localhost\r\n\
         sec-fetch-site: same-origin\r\ncontent-length: 0\r\n\r\n"
    );
    let joined = house.call(&join).await;
    let cookie = joined.field("set-cookie").split(';').next().unwrap().to_owned();
    let read = |target: &str| {
        format!(
            "GET {target} HTTP/1.1\r\n{FROM_SHOP}sec-fetch-site: same-site\r\ncookie: {cookie}\r\n\r\n"
        )
    };
    for target in [&task, "/v1/session"] {
        let reply = house.call(&read(target)).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_readable(&reply);
        assert!(reply.text().contains(id) && !reply.text().contains("ticket="), "{reply:?}");
    }
}

#[tokio::test]
async fn without_origins_nothing_is_said_to_browsers() {
    let house = House::with(Mode::Async).await;
    for request in ["GET /healthz", "GET /v1/tasks", "OPTIONS /v1/tasks"] {
        let fields = format!("{FROM_SHOP}access-control-request-method: GET\r\n");
        let reply = house.call(&format!("{request} HTTP/1.1\r\n{fields}\r\n")).await;
        assert_eq!(cors(&reply), [], "{reply:?}");
        assert!(!varies_by_origin(&reply), "{reply:?}");
        assert_eq!(reply.field("access-control-expose-headers"), "");
    }
}

#[tokio::test]
async fn a_listed_origin_may_read_every_answer_whatever_its_status() {
    let mut plan = Plan::with(Mode::Async).await;
    plan.server.cors_origins = vec![SHOP.to_owned()];
    plan.policy.capacity = 1;
    let house = plan.build().await;
    let (task, ticket) = a_task(&house).await;
    let mut client = house.connect().await;
    let v1 = "if-none-match: \"v1-json\"\r\n";
    let sse = "accept: text/event-stream\r\n";
    for (status, request, fields) in [
        (200, format!("GET {task}?{ticket}"), ""),
        (304, format!("GET {task}?{ticket}"), v1),
        (202, format!("GET {task}/result?{ticket}"), ""),
        (200, format!("GET {task}/events?{ticket}"), "accept: application/json\r\n"),
        (204, "OPTIONS /v1/tasks".to_owned(), ""),
        (400, format!("GET {task}?{ticket}&x=1"), ""),
        (401, format!("GET {task}?ticket=no"), ""),
        (401, format!("GET {task}/events?ticket=no"), sse),
        (403, format!("GET {task}"), ""),
        (403, format!("POST {task}/cancel?{ticket}"), ""),
        (404, "GET /problems/no-such".to_owned(), ""),
        (405, "PUT /v1/tasks".to_owned(), ""),
        (501, "GET /v1/push".to_owned(), ""),
        (429, "POST /front-door".to_owned(), ""),
    ] {
        let length = if request.starts_with('P') { "content-length: 0\r\n" } else { "" };
        let request = format!("{request} HTTP/1.1\r\n{FROM_SHOP}{fields}{length}\r\n");
        let reply = client.call(&request).await;
        assert_eq!(reply.status, status, "{request}: {reply:?}");
        assert_readable(&reply);
    }
    house.engine.drain().await;
    let reply = client.call(&format!("GET /readyz HTTP/1.1\r\n{FROM_SHOP}\r\n")).await;
    assert_eq!(reply.status, 503);
    assert_readable(&reply);
}

#[tokio::test]
async fn streams_may_be_read_and_so_may_the_word_that_they_are_over() {
    let house = house(Mode::Async).await;
    let (task, ticket) = a_task(&house).await;
    let stream = format!("HTTP/1.1\r\n{FROM_SHOP}accept: text/event-stream\r\n\r\n");
    for path in [format!("{task}/events?{ticket}"), format!("/v1/events?{ticket}")] {
        // With and without the HTTP library: the first is taken back from it.
        let head = house.send(&format!("GET {path} {stream}")).await.head().await;
        assert_eq!((head.status, head.field("content-type")), (200, "text/event-stream"));
        assert_readable(&head);
        let head = house.send(&format!("HEAD {path} {stream}")).await.head().await;
        assert_eq!(head.status, 200);
        assert_readable(&head);
    }
    let cancel = format!("POST {task}/cancel HTTP/1.1\r\nhost: localhost\r\n");
    house.call(&format!("{cancel}content-length: 0\r\n\r\n")).await;
    let over = house.call(&format!("GET {task}/events?{ticket}&after=2 {stream}")).await;
    assert_eq!(over.status, 204);
    assert_readable(&over);
}

#[tokio::test]
async fn other_origins_are_told_nothing_but_caches_are() {
    let house = house(Mode::Async).await;
    let mut client = house.connect().await;
    for origin in [
        "",
        "origin: null\r\n",
        "origin: *\r\n",
        "origin: \r\n",
        "origin: https://evil.example\r\n",
        "origin: http://shop.example.com\r\n",
        "origin: https://shop.example.com:444\r\n",
        "origin: https://shop.example.com.evil.example\r\n",
        "origin: https://SHOP.example.com\r\n",
        "origin: https://shop.example.com/\r\n",
        "origin: https://shop.example.com\r\norigin: https://evil.example\r\n",
        "origin: https://shop.example.com https://evil.example\r\n",
    ] {
        let fields = format!("host: localhost\r\n{origin}");
        for request in [
            format!("GET /healthz HTTP/1.1\r\n{fields}\r\n"),
            format!("GET /v1/tasks?x=1 HTTP/1.1\r\n{fields}\r\n"),
            format!(
                "OPTIONS /v1/tasks HTTP/1.1\r\n{fields}access-control-request-method: POST\r\n\r\n"
            ),
        ] {
            let reply = client.call(&request).await;
            assert_eq!(cors(&reply), [], "{request}: {reply:?}");
            assert_eq!(reply.field("access-control-expose-headers"), "", "{request}");
            assert!(varies_by_origin(&reply), "{request}: {reply:?}");
        }
    }
}

#[tokio::test]
async fn a_preflight_says_what_may_be_sent_to_its_path() {
    let house = house(Mode::Async).await;
    let mut client = house.connect().await;
    for (path, methods) in [
        ("/v1/tasks", "GET, HEAD, POST, OPTIONS"),
        ("/v1/tasks/task_00000000000000000000000000", "GET, HEAD, DELETE, OPTIONS"),
        ("/v1/leases/result", "PUT, OPTIONS"),
        ("/problems/internal", "GET, HEAD, OPTIONS"),
    ] {
        let asked = "access-control-request-method: GET\r\n\
                     access-control-request-headers: authorization,prefer\r\n";
        let request = format!("OPTIONS {path} HTTP/1.1\r\n{FROM_SHOP}{asked}\r\n");
        let reply = client.call(&request).await;
        assert_eq!((reply.status, reply.field("allow")), (204, methods), "{path}");
        assert_eq!(reply.field("access-control-allow-origin"), SHOP);
        assert_eq!(reply.field("access-control-allow-credentials"), "true");
        assert_eq!(reply.field("access-control-allow-methods"), methods, "{path}");
        assert_eq!(reply.field("access-control-max-age"), "7200");
        let sent = reply.field("access-control-allow-headers");
        for name in [
            "authorization",
            "content-type",
            "idempotency-key",
            "prefer",
            "if-none-match",
            "if-match",
            "last-event-id",
            "traceparent",
            "tracestate",
            "baggage",
            "relais-api-key",
            "relais-lease",
        ] {
            assert!(sent.split(", ").any(|other| other == name), "{name}: {sent}");
        }
        assert!(varies_by_origin(&reply));
    }
}

#[tokio::test]
async fn on_the_front_door_only_the_answers_of_relais_itself_are_its_business() {
    let house = house(Mode::Auto).await;
    let theirs = "access-control-allow-origin: https://theirs.example\r\nvary: X\r\n";
    for (status, request) in [
        (200, "GET /a HTTP/1.1".to_owned()),
        (404, "GET /b HTTP/1.1".to_owned()),
        (204, "OPTIONS /c HTTP/1.1\r\naccess-control-request-method: POST".to_owned()),
    ] {
        let mut client = house.send(&format!("{request}\r\n{FROM_SHOP}\r\n")).await;
        let mut call = house.upstream.next().await;
        assert_eq!(call.field("origin"), Some(SHOP));
        call.answer(&format!("{status} X"), theirs, "").await;
        let reply = client.reply().await;
        assert_eq!(reply.status, status);
        assert_eq!(cors(&reply), [("access-control-allow-origin", "https://theirs.example")]);
        assert!(!varies_by_origin(&reply), "{reply:?}");
    }
    let asynchronous = format!("prefer: respond-async\r\n{FROM_SHOP}\r\n");
    let ticket = house.call(&format!("GET /d HTTP/1.1\r\n{asynchronous}")).await;
    assert_eq!(ticket.status, 202);
    assert_readable(&ticket);
    assert!(ticket.all("vary").contains(&"Prefer"), "{ticket:?}");
    house.upstream.next().await.answer("200 OK", theirs, "{}").await;
    let over = house.over(ticket.task()).await;
    assert!(over.life.status().is_terminal());
    // Told again, at an address of Relais, it is Relais that says who may read it.
    let result = ticket.field("location").strip_prefix("http://localhost").unwrap().to_owned();
    let reply = house.call(&format!("GET {result} HTTP/1.1\r\n{FROM_SHOP}\r\n")).await;
    assert_eq!((reply.status, reply.text()), (200, "{}"));
    assert_readable(&reply);
    let evil = "host: localhost\r\norigin: https://theirs.example\r\n";
    let reply = house.call(&format!("GET {result} HTTP/1.1\r\n{evil}\r\n")).await;
    assert_eq!((reply.status, cors(&reply)), (200, vec![]));
}

#[tokio::test]
async fn a_preflight_is_never_a_task() {
    // It became one on a route that is asynchronous by itself, and the page waited for ever.
    let house = house(Mode::Async).await;
    let preflight = "OPTIONS /a HTTP/1.1\r\naccess-control-request-method: POST\r\n";
    let mut client = house.send(&format!("{preflight}{FROM_SHOP}\r\n")).await;
    let mut call = house.upstream.next().await;
    call.answer("204 X", "access-control-allow-methods: POST\r\n", "").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.field("relais-task")), (204, ""));
    assert_eq!(cors(&reply), [("access-control-allow-methods", "POST")]);
    // Any other OPTIONS is a request like others.
    assert_eq!(house.call(&format!("OPTIONS /a HTTP/1.1\r\n{FROM_SHOP}\r\n")).await.status, 202);
}

/// A service that knows of no other origins answers a preflight with 404 or 405, and the page may
/// send nothing.
#[tokio::test]
async fn where_a_route_says_so_relais_speaks_for_its_upstream() {
    let mut plan = Plan::with(Mode::Auto).await;
    plan.server.cors_origins = vec![SHOP.to_owned()];
    plan.route().cors = CorsBy::Relais;
    plan.route().methods = vec!["PUT".to_owned(), "GET".to_owned()];
    let house = plan.build().await;
    let preflight = |method: &str, origin: &str| {
        let asked = "access-control-request-headers: x-shop, content-type\r\n";
        format!(
            "OPTIONS /a HTTP/1.1\r\nhost: localhost\r\norigin: {origin}\r\n\
             access-control-request-method: {method}\r\n{asked}\r\n"
        )
    };
    let reply = house.call(&preflight("PUT", SHOP)).await;
    assert_eq!((reply.status, reply.field("relais-task")), (204, ""));
    let expected = [
        ("access-control-allow-origin", SHOP),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "PUT"),
        ("access-control-allow-headers", "x-shop, content-type"),
        ("access-control-max-age", "7200"),
    ];
    assert_eq!(cors(&reply), expected);
    assert!(varies_by_origin(&reply));
    let other = house.call(&preflight("PUT", "https://evil.example")).await;
    assert_eq!((other.status, cors(&other)), (204, vec![]));
    // A method that no route takes is not for Relais to allow.
    let none = house.call(&preflight("DELETE", SHOP)).await;
    assert_eq!((none.status, none.field("access-control-allow-methods")), (405, ""));
    assert!(house.upstream.is_silent().await, "the upstream is not asked");

    let theirs = "access-control-allow-origin: *\r\naccess-control-expose-headers: X-Total\r\n";
    let put = format!("PUT /a HTTP/1.1\r\n{FROM_SHOP}content-length: 0\r\n\r\n");
    let mut client = house.send(&put).await;
    house.upstream.next().await.answer("200 OK", theirs, "fine").await;
    let reply = client.reply().await;
    assert_eq!(reply.text(), "fine");
    assert_readable(&reply);
    assert!(reply.all("access-control-expose-headers").contains(&"X-Total"), "{reply:?}");
}

#[tokio::test]
async fn a_listed_origin_is_no_credential() {
    let house = house(Mode::Async).await;
    let mut client = house.connect().await;
    for request in ["GET /v1/tasks", "GET /v1/queues"] {
        let reply = client.call(&format!("{request} HTTP/1.1\r\n{FROM_SHOP}\r\n")).await;
        assert_eq!(reply.code(), "cross-site", "{request}");
        assert_readable(&reply);
    }
    let reply = client.call(&submission(FROM_SHOP)).await;
    assert_eq!(reply.code(), "cross-site");
    let (task, ticket) = a_task(&house).await;
    let reply = client.call(&format!("GET {task}?{ticket} HTTP/1.1\r\n{FROM_SHOP}\r\n")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[tokio::test]
async fn the_admin_listener_has_no_pages_of_other_origins() {
    let house = house(Mode::Async).await;
    let request = format!(
        "OPTIONS /v1/tasks HTTP/1.1\r\n{FROM_SHOP}access-control-request-method: GET\r\n\r\n"
    );
    let mut client = Client::connect(house.admin).await;
    let reply = client.call(&request).await;
    assert_eq!((reply.status, cors(&reply)), (204, vec![]));
    assert!(!varies_by_origin(&reply));
}
