//! What an upstream gets, and what is refused before it hears of anything.

use relais_core::{LaneKey, Status};
use relais_server::config::{LaneSource, Mode, Route, RouteAccess};

use crate::house::{House, Plan};

fn post(target: &str, fields: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nhost: a\r\n{fields}content-length: 0\r\n\r\n")
}

#[tokio::test]
async fn the_request_arrives_as_it_was_sent_but_for_what_belongs_to_hops() {
    let house = House::with(Mode::Auto).await;
    let fields = "accept: a\r\naccept: b\r\nauthorization: Basic eDp5\r\nx-odd: caf\u{e9}\r\n\
                  connection: keep-alive, x-hop\r\nx-hop: 1\r\nte: trailers\r\n\
                  proxy-authorization: secret\r\nrelais-lease: x\r\nrelais-label: a=b\r\n\
                  x-forwarded-for: 6.6.6.6\r\nforwarded: for=6.6.6.6\r\n\
                  cookie: a=1; __Host-relais=secret; relais=secret\r\nvia: 1.0 before\r\n\
                  traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\
                  tracestate: x=1\r\n";
    let _client = house.send(&post("/a%20b?c=d&e", fields)).await;
    let call = house.upstream.next().await;
    assert_eq!(call.line(), "POST /a%20b?c=d&e HTTP/1.1");
    assert_eq!(call.fields("accept"), ["a", "b"]);
    assert_eq!(call.fields("authorization"), ["Basic eDp5"], "unsealed again");
    assert_eq!(call.fields("cookie"), ["a=1"]);
    assert_eq!(call.fields("x-odd"), ["caf\u{e9}"]);
    assert_eq!(call.fields("via"), ["1.0 before", "1.1 relais-test"]);
    assert_eq!(call.fields("forwarded"), ["for=127.0.0.1;proto=http;host=\"a\""]);
    assert_eq!(call.fields("x-forwarded-for"), ["127.0.0.1"], "what it claimed itself is gone");
    assert_eq!(call.fields("x-forwarded-proto"), ["http"]);
    assert_eq!(call.fields("x-forwarded-host"), ["a"]);
    assert_eq!(call.fields("host"), ["a"], "a service on loopback knows its public name");
    assert_eq!(call.fields("relais-attempt"), ["1"]);
    let id = call.field("relais-task").unwrap();
    assert_eq!(call.fields("idempotency-key"), [id]);
    let trace = call.field("traceparent").unwrap();
    assert!(trace.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{trace}");
    assert!(!trace.contains("00f067aa0ba902b7"), "a new parent: {trace}");
    assert_eq!(call.fields("tracestate"), ["x=1"]);
    for gone in ["x-hop", "te", "proxy-authorization", "relais-lease", "relais-label"] {
        assert_eq!(call.field(gone), None, "{gone}");
    }
}

#[tokio::test]
async fn credentials_are_sealed_at_rest() {
    let house = House::with(Mode::Async).await;
    let fields = "authorization: Bearer canary-1\r\ncookie: sid=canary-2\r\nx-open: yes\r\n";
    let ticket = house.call(&post("/", fields)).await;
    let body = house.engine.body(ticket.task(), relais_core::BodyKind::Input).await.unwrap();
    let head = String::from_utf8_lossy(&body.unwrap().head).into_owned();
    assert!(head.contains("x-open") && !head.contains("canary"), "{head}");
    let sealed = house.engine.body(ticket.task(), relais_core::BodyKind::Sealed).await.unwrap();
    let sealed = sealed.unwrap().bytes(1 << 16).await.unwrap();
    assert!(!String::from_utf8_lossy(&sealed).contains("canary"));
}

#[tokio::test]
async fn a_chunked_upload_and_a_large_one_arrive_whole() {
    let house = House::with(Mode::Async).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunked = house.call(&format!("{head}2\r\nhi\r\n6\r\n there\r\n0\r\nx: y\r\n\r\n")).await;
    assert_eq!(chunked.status, 202);
    let mut call = house.upstream.next().await;
    assert_eq!(call.body, b"hi there");
    call.answer("200 OK", "", "").await;

    let len = 3 << 20;
    let mut client = house.connect().await;
    client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {len}\r\n\r\n")).await;
    let body: Vec<u8> = (0..len).map(|at: u32| (at % 251) as u8).collect();
    client.send(&body).await;
    assert_eq!(client.reply().await.status, 202);
    assert!(house.upstream.next().await.body == body, "byte for byte");
}

#[tokio::test]
async fn who_asks_to_continue_is_told_so_unless_it_is_refused() {
    let mut plan = Plan::with(Mode::Async).await;
    plan.server.body_bytes_max = 10;
    let house = plan.build().await;
    let expecting = |len| {
        format!(
            "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: {len}\r\n\r\n"
        )
    };
    let mut client = house.send(&expecting(5)).await;
    assert_eq!(client.head().await.status, 100);
    client.send("hello").await;
    assert_eq!(client.reply().await.status, 202);
    let call = house.upstream.next().await;
    assert_eq!((&call.body[..], call.field("expect")), (&b"hello"[..], None));

    let refused = house.call(&expecting(11)).await;
    assert_eq!((refused.status, refused.code().as_str()), (413, "body-too-large"));
    assert_eq!(refused.json()["limit"], 10);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_though_it_hid_its_length() {
    let mut plan = Plan::with(Mode::Async).await;
    plan.server.body_bytes_max = 10;
    let house = plan.build().await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let refused = house.call(&format!("{head}6\r\nhello \r\n6\r\nworld!\r\n0\r\n\r\n")).await;
    assert_eq!(refused.code(), "body-too-large");
    let announced = house.call("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\n\r\n").await;
    assert_eq!(announced.code(), "body-too-large", "without waiting for it");
    assert!(house.upstream.is_silent().await);
}

#[tokio::test]
async fn options_are_taken_where_the_route_allows_them() {
    let house = House::with(Mode::Async).await;
    let fields = "relais-delay: 1h\r\nrelais-priority: 5\r\nrelais-lane: c-17\r\n\
                  relais-label: order=A-1\r\nrelais-deadline: 2h\r\n";
    let task = house.call(&post("/", fields)).await.json();
    assert_eq!((task["status"].as_str(), task["priority"].as_i64()), (Some("queued"), Some(5)));
    assert_eq!(
        (task["lane"].as_str(), task["labels"]["order"].as_str()),
        (Some("c-17"), Some("A-1"))
    );
    assert_ne!(task["run_at"], task["created_at"]);
    let absurd = house.call(&post("/", "relais-delay: 1e99\r\n")).await;
    assert_eq!((absurd.status, absurd.code().as_str()), (400, "invalid-option"));
    assert!(absurd.json()["detail"].as_str().unwrap().contains("relais-delay"));
    for field in ["relais-webhook", "relais-callback", "relais-await"] {
        let later = house.call(&post("/", &format!("{field}: http://x\r\n"))).await;
        assert_eq!((later.status, later.code().as_str()), (501, "not-available"), "{field}");
        assert!(later.json()["detail"].as_str().unwrap().contains(field));
    }
}

#[tokio::test]
async fn the_lane_comes_from_where_the_route_says() {
    let mut plan = Plan::with(Mode::Async).await;
    plan.route().path = "/shops/{shop}/{*rest}".to_owned();
    plan.route().lane = Some(LaneSource::Path("shop".to_owned()));
    let house = plan.build().await;
    let ticket = house.call(&post("/shops/caf%C3%A9/orders", "")).await;
    let task = house.engine.task(ticket.task()).await.unwrap().unwrap();
    assert_eq!(task.spec.lane.as_ref().map(LaneKey::as_str), Some("café"));
}

#[tokio::test]
async fn paths_are_taken_by_the_most_specific_route() {
    let mut plan = Plan::with(Mode::Sync).await;
    let route = plan.route().clone();
    let with = |path: &str, methods: &[&str]| Route {
        path: path.to_owned(),
        methods: methods.iter().map(|&method| method.to_owned()).collect(),
        mode: Mode::Async,
        ..route.clone()
    };
    plan.server.routes = vec![with("/a/{*rest}", &["POST"]), with("/a/{id}/x", &["PUT", "POST"])];
    let house = plan.build().await;
    for path in ["/a", "/a/", "/a/b/c"] {
        assert_eq!(house.call(&post(path, "")).await.status, 202, "{path}");
        house.upstream.next().await.answer("200 OK", "", "").await;
    }
    let other = house.call("GET /a/b/x HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!((other.status, other.field("allow")), (405, "PUT, POST"));
    assert_eq!(other.code(), "method-not-allowed");
    assert_eq!(house.call(&post("/b", "")).await.code(), "not-found");
    for path in ["/a/../b", "/a/%2e%2e/b", "/a//b", "/a%2fb", "/a/./b", "/x/..;/y"] {
        assert_eq!(house.call(&post(path, "")).await.code(), "ambiguous-path", "{path}");
    }
    assert!(house.upstream.is_silent().await);
}

#[tokio::test]
async fn a_single_catch_all_passes_every_path_untouched() {
    let house = House::with(Mode::Auto).await;
    for path in ["/a/../b", "/a/%2e%2e/b", "//a//b", "/a%2Fb", "/%zz"] {
        let _client = house.send(&post(path, "")).await;
        let mut call = house.upstream.next().await;
        assert_eq!(call.line(), format!("POST {path} HTTP/1.1"));
        call.answer("200 OK", "", "").await;
    }
}

#[tokio::test]
async fn what_is_never_passed_on_is_refused() {
    let house = House::with(Mode::Auto).await;
    for request in
        ["CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n", "TRACE / HTTP/1.1\r\nhost: a\r\n\r\n"]
    {
        let refused = house.call(request).await;
        assert_eq!(refused.code(), "method-not-allowed");
        assert!(refused.field("allow").contains("POST"));
    }
    let looped = house.call(&post("/", "via: 1.1 x, 1.1 relais-test\r\n")).await;
    assert_eq!((looped.status, looped.code().as_str()), (508, "loop-detected"));
    let upgrade = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let mut client = house.send(upgrade).await;
    let refused = client.reply().await;
    assert_eq!((refused.status, refused.code().as_str()), (501, "upgrade-not-supported"));
    assert_eq!(client.rest().await, (Vec::new(), true), "what follows could be anything");
    assert!(house.upstream.is_silent().await);
}

#[tokio::test]
async fn an_offer_of_h2c_is_ignored() {
    let house = House::with(Mode::Auto).await;
    let fields = "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMA\r\n";
    let mut client = house.send(&post("/", fields)).await;
    let mut call = house.upstream.next().await;
    assert_eq!((call.field("upgrade"), call.field("http2-settings")), (None, None));
    call.answer("200 OK", "", "fine").await;
    assert_eq!(client.reply().await.text(), "fine");
}

#[tokio::test]
async fn an_offer_of_tls_is_ignored_and_the_connection_goes_on() {
    // Apache HttpClient makes it with every request: it was 501, or ended the connection.
    for mode in [Mode::Auto, Mode::Sync] {
        let house = House::with(mode).await;
        let offer = "GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: TLS/1.2\r\n\r\n";
        let mut client = house.send(offer).await;
        for _ in 0..2 {
            let mut call = house.upstream.next().await;
            assert_eq!(call.field("upgrade"), None);
            call.answer("200 OK", "", "fine").await;
            let reply = client.reply().await;
            assert_eq!((reply.text(), reply.all("connection")), ("fine", vec![]), "{mode:?}");
            client.send(offer).await;
        }
    }
}

#[tokio::test]
async fn other_offers_are_ignored_where_tasks_are_made() {
    let house = House::with(Mode::Auto).await;
    let offer = "GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: x\r\n\r\n";
    let mut client = house.send(&format!("{offer}\0\u{1}")).await;
    let mut call = house.upstream.next().await;
    assert_eq!(call.field("upgrade"), None);
    call.answer("200 OK", "", "fine").await;
    assert_eq!(client.reply().await.text(), "fine");
    assert_eq!(client.rest().await, (Vec::new(), true), "what follows could be anything");
}

#[tokio::test]
async fn hosts_must_be_one_and_valid() {
    let house = House::with(Mode::Auto).await;
    for head in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: u@a\r\n\r\n",
        "GET http://u@a/ HTTP/1.1\r\nhost: a\r\n\r\n",
    ] {
        assert_eq!(house.call(head).await.code(), "invalid-host", "{head}");
    }
    let _client = house.send("GET http://b/x HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let call = house.upstream.next().await;
    assert_eq!(call.line(), "GET /x HTTP/1.1");
    assert!(call.field("forwarded").unwrap().ends_with("host=\"b\""), "the target outweighs");
}

#[tokio::test]
async fn a_route_for_keys_wants_one() {
    let mut plan = Plan::with(Mode::Async).await;
    plan.route().access = RouteAccess::Key;
    let house = plan.build().await;
    let refused = house.call(&post("/", "")).await;
    assert_eq!((refused.status, refused.code().as_str()), (401, "unauthorized"));
    let unknown = house.call(&post("/", "relais-api-key: rk_unknown\r\n")).await;
    assert_eq!(unknown.code(), "unauthorized");
}

#[tokio::test]
async fn a_task_bound_to_its_caller_hands_out_no_ticket() {
    let mut plan = Plan::with(Mode::Async).await;
    plan.route().access = RouteAccess::Caller("authorization".to_owned());
    let house = plan.build().await;
    let nobody = house.call(&post("/", "")).await;
    assert_eq!((nobody.status, nobody.code().as_str()), (401, "unauthorized"));
    let ticket = house.call(&post("/", "authorization: Bearer me\r\n")).await;
    assert_eq!(ticket.json().get("ticket"), None);
    assert!(!ticket.field("location").contains("ticket="));
    let target = format!("/v1/tasks/{}", ticket.task());
    let get = |who: &str| {
        format!("GET {target} HTTP/1.1\r\nhost: {}\r\nauthorization: {who}\r\n\r\n", house.address)
    };
    assert_eq!(house.call(&get("Bearer me")).await.status, 200);
    assert_eq!(house.call(&get("Bearer you")).await.status, 401);
}

/// The upstream's cookie comes by itself, whatever page made the browser call.
#[tokio::test]
async fn a_task_bound_to_a_cookie_is_not_changed_by_a_foreign_page() {
    let mut plan = Plan::with(Mode::Async).await;
    plan.route().access = RouteAccess::Caller("cookie".to_owned());
    plan.route().grants.cancel = true;
    let house = plan.build().await;
    let ticket = house.call(&post("/", "cookie: sid=1\r\n")).await;
    let target = format!("/v1/tasks/{}/cancel", ticket.task());
    let cancel = |fields: &str| {
        let fields = format!("cookie: relais=x; sid=1\r\n{fields}content-length: 0\r\n");
        format!("POST {target} HTTP/1.1\r\nhost: {}\r\n{fields}\r\n", house.address)
    };
    let origin = format!("origin: http://{}\r\n", house.address);
    for foreign in ["", "sec-fetch-site: cross-site\r\n", "origin: https://evil.example\r\n"] {
        let refused = house.call(&cancel(foreign)).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "cross-site"), "{foreign}");
    }
    for own in ["sec-fetch-site: same-origin\r\n", &origin] {
        assert_eq!(house.call(&cancel(own)).await.json()["status"], "canceled", "{own}");
    }
}

/// What names the session of a browser is between the two.
#[tokio::test]
async fn no_upstream_sees_our_cookie_or_sets_it() {
    for mode in [Mode::Sync, Mode::Auto] {
        let house = House::with(mode).await;
        let cookies = "cookie: relais=x; a=1; __Host-relais=y\r\n";
        let mut client = house.send(&post("/", cookies)).await;
        let mut call = house.upstream.next().await;
        assert_eq!(call.fields("cookie"), ["a=1"], "{mode:?}");
        let sets = "set-cookie: relais=z; Path=/\r\nset-cookie: a=2\r\n\
                    set-cookie: __Host-relais=z; Path=/; Secure\r\n";
        call.answer("200 OK", sets, "done").await;
        let reply = client.reply().await;
        assert_eq!((reply.text(), reply.all("set-cookie")), ("done", vec!["a=2"]), "{mode:?}");
    }
}

#[tokio::test]
async fn retries_by_hand_have_a_key_of_their_own() {
    let house = House::with(Mode::Async).await;
    let ticket = house.call(&post("/", "")).await;
    let mut call = house.upstream.next().await;
    call.answer("400 No", "", "no").await;
    assert_eq!(house.over(ticket.task()).await.life.status(), Status::Failed);
    let tenant = "default".parse().unwrap();
    house.engine.retry(&tenant, ticket.task(), false).await.unwrap();
    let again = house.upstream.next().await;
    let key = again.field("idempotency-key").unwrap();
    assert_eq!(key, format!("{}-r2", ticket.task()));
}

#[tokio::test]
async fn a_trusted_proxy_says_who_called_and_how() {
    let mut plan = Plan::with(Mode::Async).await;
    plan.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    plan.route().lane = Some(LaneSource::Ip);
    let house = plan.build().await;
    let fields = "x-forwarded-for: 203.0.113.7\r\nx-forwarded-proto: https\r\n\
                  x-forwarded-host: api.example\r\n";
    let ticket = house.call(&post("/x", fields)).await;
    let task = house.engine.task(ticket.task()).await.unwrap().unwrap();
    assert_eq!(task.spec.lane.as_ref().map(LaneKey::as_str), Some("203.0.113.7"));
    let mut call = house.upstream.next().await;
    // Both begin with the client: who reads only one of them counts it, and not the proxy.
    assert_eq!(call.fields("x-forwarded-for"), ["203.0.113.7, 127.0.0.1"]);
    let us = "for=127.0.0.1;proto=https;host=\"api.example\"";
    assert_eq!(
        call.fields("forwarded"),
        [format!("{}, {us}", us.replace("127.0.0.1", "203.0.113.7"))]
    );
    assert_eq!(call.fields("x-forwarded-proto"), ["https"]);
    assert_eq!(call.fields("x-forwarded-host"), ["api.example"]);
    call.answer("303 See", "location: other\r\nlink: <2>; rel=next\r\n", "").await;
    house.over(ticket.task()).await;
    let result = crate::front_door_handover::get(&house, ticket.field("location")).await;
    assert_eq!(result.field("location"), "https://api.example/other");
    assert_eq!(result.field("link"), "<https://api.example/2>; rel=next");
}

#[tokio::test]
async fn all_of_it_answers_for_options() {
    let house = House::with(Mode::Auto).await;
    let reply = house.call("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(reply.status == 204 && reply.field("allow").contains("POST"), "{reply:?}");
    let refused = house.call("GET * HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(refused.status, 400);
}

#[tokio::test]
async fn relais_own_paths_come_first_and_may_be_moved() {
    let mut plan = Plan::with(Mode::Async).await;
    let health = "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";
    let house = plan.build().await;
    assert_eq!(house.call(health).await.status, 200);
    plan = Plan::with(Mode::Async).await;
    "/_relais".clone_into(&mut plan.server.api_prefix);
    let house = plan.build().await;
    assert_eq!(house.call(health).await.status, 202, "it is the upstream's now");
    assert_eq!(house.call(&health.replace("/healthz", "/_relais/healthz")).await.status, 200);
    let ticket = house.call(&post("/", "")).await;
    assert!(ticket.field("location").contains("/_relais/v1/tasks/"), "{ticket:?}");
    let result = crate::front_door_handover::get(&house, ticket.field("location")).await;
    assert_eq!(result.status, 202);
}

#[tokio::test]
async fn a_queue_without_room_says_when_to_come_back() {
    let mut plan = Plan::with(Mode::Async).await;
    plan.policy.capacity = 1;
    let house = plan.build().await;
    assert_eq!(house.call(&post("/", "")).await.status, 202);
    let full = house.call(&post("/", "")).await;
    assert_eq!((full.status, full.code().as_str()), (429, "queue-full"));
    assert!(full.field("retry-after").parse::<u32>().unwrap() >= 1);
}
