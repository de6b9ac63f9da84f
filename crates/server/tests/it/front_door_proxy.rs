//! The plain proxy: mode `sync`, mode `prefer` unless asked otherwise, and the fallback.

use relais_server::config::{HostHeader, Mode, Run};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::house::{House, Plan};

const GET: &str = "GET /a?b HTTP/1.1\r\nhost: a\r\n\r\n";

#[tokio::test]
async fn answers_stream_through_as_they_come() {
    let house = House::with(Mode::Sync).await;
    let mut client = house
        .send(
            "POST /a?b HTTP/1.1\r\nhost: a\r\nprefer: wait=3\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .await;
    // The upstream hears of it before the body is there.
    let mut call = house.upstream.head().await;
    assert_eq!((call.line(), call.field("prefer")), ("POST /a?b HTTP/1.1", Some("wait=3")));
    assert_eq!(call.fields("via"), ["1.1 relais-test"]);
    assert_eq!(call.field("relais-task"), None, "there is no task");
    client.send("2\r\nhi\r\n0\r\n\r\n").await;
    call.read_body().await;
    assert_eq!(call.body, b"hi");
    call.send("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n").await;
    call.send("HTTP/1.1 200 OK\r\nx: 1\r\nx: 2\r\nconnection: x-hop\r\nx-hop: 1\r\n").await;
    call.send("transfer-encoding: chunked\r\n\r\n3\r\none\r\n").await;
    let head = client.head().await;
    assert_eq!((head.status, head.all("x"), head.field("x-hop")), (200, vec!["1", "2"], ""));
    assert_eq!(head.field("vary"), "", "Prefer is the upstream's business");
    assert_eq!(client.chunk().await, b"one");
    call.send("3\r\ntwo\r\n0\r\n\r\n").await;
    assert_eq!(client.chunk().await, b"two");
    assert_eq!(client.chunk().await, b"");
}

/// Passed on as it came, such a length cut the answer, and said nothing of it.
#[tokio::test]
async fn a_length_beside_a_coding_cuts_no_answer() {
    for mode in [Mode::Sync, Mode::Auto] {
        let house = House::with(mode).await;
        let mut client = house.send(GET).await;
        let mut call = house.upstream.next().await;
        call.send("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
        call.send("5\r\nhello\r\n0\r\n\r\n").await;
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.text()), (200, "hello"), "{mode:?}");
    }
}

#[tokio::test]
async fn a_change_of_protocol_that_nobody_asked_for_is_no_answer() {
    for mode in [Mode::Sync, Mode::Auto] {
        let house = House::with(mode).await;
        let mut client =
            house.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").await;
        let mut call = house.upstream.next().await;
        call.send("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n")
            .await;
        // The request went out: what it did there is not known.
        assert_eq!(client.reply().await.code(), "outcome-unknown", "{mode:?}");
    }
}

#[tokio::test]
async fn early_hints_are_not_kept_for_tasks_either() {
    let house = House::with(Mode::Auto).await;
    let mut client = house.send(GET).await;
    let mut call = house.upstream.next().await;
    call.send("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\nx-early: 1\r\n\r\n").await;
    call.answer("200 OK", "", "fine").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.text(), reply.field("x-early")), (200, "fine", ""));
    assert!(!reply.all("link").contains(&"</x>"), "{reply:?}");
}

#[tokio::test]
async fn prefer_is_a_proxy_until_somebody_prefers_otherwise() {
    let house = House::with(Mode::Prefer).await;
    let waiting = GET.replace("host: a", "host: a\r\nprefer: wait=1, return=minimal");
    let mut client = house.send(&waiting).await;
    let mut call = house.upstream.next().await;
    assert_eq!(call.field("prefer"), Some("return=minimal"));
    call.answer("404 No", "vary: accept\r\n", "no").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.field("relais-task")), (404, ""));
    assert_eq!(reply.field("relais-origin"), "upstream");
    assert_eq!(reply.all("vary"), ["accept", "Prefer"]);
    let asking = GET.replace("host: a", "host: a\r\nprefer: respond-async");
    assert_eq!(house.call(&asking).await.status, 202);
}

#[tokio::test]
async fn the_fallback_takes_what_no_route_takes() {
    let mut plan = Plan::with(Mode::Async).await;
    plan.server.fallback = Some(format!("{}/base/", plan.upstream.url()).parse().unwrap());
    plan.route().path = "/tasks".to_owned();
    plan.route().methods = vec!["POST".to_owned()];
    let house = plan.build().await;
    let mut client = house.send(&GET.replace("/a?b", "/tasks?x")).await;
    let mut call = house.upstream.next().await;
    assert_eq!(call.line(), "GET /base/tasks?x HTTP/1.1", "no route takes the method");
    assert_eq!(call.fields("host"), ["a"], "a fallback on loopback knows its public name");
    call.answer("200 OK", "", "plain").await;
    assert_eq!(client.reply().await.text(), "plain");
    assert_eq!(house.call(&GET.replace("/a", "/a/../b")).await.code(), "ambiguous-path");
}

/// A ticket's address with a slash too many went to the fallback, and the ticket stood in its log.
#[tokio::test]
async fn a_mistyped_address_of_a_task_goes_to_no_upstream() {
    let mut plan = Plan::with(Mode::Async).await;
    plan.server.fallback = Some(plan.upstream.url().parse().unwrap());
    plan.route().path = "/tasks".to_owned();
    let house = plan.build().await;
    let posted = house.call("POST /tasks HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").await;
    let own = posted.json()["links"]["self"].as_str().unwrap().to_owned();
    let (own, ticket) = own.split_once('?').unwrap();
    let path = &own[own.find("/v1").unwrap()..];
    house.upstream.next().await.die();
    for (target, is_ours) in [
        // What is beneath Relais' own paths is Relais', with a ticket or without.
        (format!("{path}/?{ticket}"), true),
        (format!("{path}/reslut?{ticket}"), true),
        ("/v1/tasks/".to_owned(), true),
        ("/v1/%74asks/x".to_owned(), true),
        ("/v1/leases".to_owned(), true),
        ("/v1/queues/q/nonsense".to_owned(), true),
        // A ticket goes nowhere else either.
        (format!("{}?{ticket}", path.replace("tasks", "task")), true),
        (format!("/v2/x?a=b&{}", ticket.replace("rt_", "rt%5F")), true),
        // All else is the application's, also below `/v1`, and so is a parameter of the same name.
        ("/v1/orders".to_owned(), false),
        ("/seats?ticket=rt_17".to_owned(), false),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
        if is_ours {
            let refused = house.call(&request).await;
            assert_eq!((refused.status, refused.code().as_str()), (404, "not-found"), "{target}");
            continue;
        }
        let mut client = house.send(&request).await;
        house.upstream.next().await.answer("200 OK", "", "theirs").await;
        assert_eq!(client.reply().await.text(), "theirs", "{target}");
    }
}

#[tokio::test]
async fn lengths_are_kept_where_there_is_no_body() {
    let house = House::with(Mode::Sync).await;
    let mut client = house.send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut call = house.upstream.next().await;
    call.send("HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n").await;
    assert_eq!(client.head().await.field("content-length"), "1234");
    client.send(GET).await;
    call.read_head().await;
    call.send("HTTP/1.1 304 Same\r\netag: \"x\"\r\n\r\n").await;
    let head = client.head().await;
    assert_eq!((head.status, head.field("etag")), (304, "\"x\""));
}

#[tokio::test]
async fn an_upstream_of_http_1_0_does_not_make_us_one() {
    let house = House::with(Mode::Sync).await;
    let mut client = house.send(GET).await;
    let mut call = house.upstream.next().await;
    call.send("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    assert_eq!(client.bytes(15).await, b"HTTP/1.1 200 OK");
}

#[tokio::test]
async fn failures_of_the_way_are_ours_to_tell() {
    let house = House::with(Mode::Sync).await;
    let mut client = house.send(GET).await;
    house.upstream.next().await.send("nonsense\r\n\r\n").await;
    assert_eq!(client.reply().await.code(), "upstream-malformed");
    let mut client = house.send(GET).await;
    house.upstream.next().await.die();
    assert_eq!(client.reply().await.status, 502);
    let looped = house.call(&GET.replace("host: a", "host: a\r\nvia: 1.1 relais-test")).await;
    assert_eq!(looped.code(), "loop-detected");

    let mut plan = Plan::with(Mode::Sync).await;
    // Nobody listens on port 1.
    plan.route().run = Run::Upstream("http://127.0.0.1:1".parse().unwrap());
    let house = plan.build().await;
    let reply = house.call(GET).await;
    assert_eq!((reply.status, reply.code().as_str()), (502, "upstream-unreachable"));

    let mut plan = Plan::with(Mode::Sync).await;
    plan.policy.attempt_timeout = std::time::Duration::from_millis(20);
    let house = plan.build().await;
    let reply = house.call(GET).await;
    assert_eq!((reply.status, reply.code().as_str()), (504, "upstream-timeout"));
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off() {
    let house = House::with(Mode::Sync).await;
    let mut client = house.send(GET).await;
    let mut call = house.upstream.next().await;
    call.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n").await;
    client.head().await;
    assert_eq!(client.chunk().await, b"one");
    call.die();
    let (rest, is_clean) = client.rest().await;
    assert_eq!((rest.len(), is_clean), (0, false), "no end is faked");
}

#[tokio::test]
async fn the_call_ends_with_its_client() {
    let house = House::with(Mode::Sync).await;
    let client = house.send(GET).await;
    let mut call = house.upstream.next().await;
    drop(client);
    call.closed().await;
    let mut client = house.send(GET).await;
    let mut call = house.upstream.next().await;
    call.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe").await;
    client.head().await;
    client.stream.set_zero_linger().unwrap();
    drop(client);
    call.closed().await;
}

#[tokio::test]
async fn hosts_are_sent_as_configured() {
    for (policy, expected) in [
        (HostHeader::Client, Some("client.example:81")),
        (HostHeader::Fixed("fixed.example".to_owned()), Some("fixed.example")),
        (HostHeader::Upstream, None),
    ] {
        for mode in [Mode::Sync, Mode::Auto] {
            let mut plan = Plan::with(mode).await;
            plan.route().upstream_host = policy.clone();
            let house = plan.build().await;
            let _client = house.send(&GET.replace("host: a", "host: client.example:81")).await;
            let call = house.upstream.next().await;
            let own = house.upstream.url();
            let expected = expected.unwrap_or(own.trim_start_matches("http://"));
            assert_eq!(call.fields("host"), [expected], "{policy:?} {mode:?}");
        }
    }
}

/// The first bytes of a TLS connection carry the name that is asked for (SNI), in plain text.
#[tokio::test]
async fn tls_goes_by_the_name_of_the_upstream_whatever_host_is_sent() {
    for mode in [Mode::Sync, Mode::Auto] {
        let mut plan = Plan::with(mode).await;
        let port = plan.upstream.url().rsplit(':').next().unwrap().to_owned();
        plan.route().run = Run::Upstream(format!("https://localhost:{port}").parse().unwrap());
        plan.route().upstream_host = HostHeader::Client;
        let house = plan.build().await;
        let _client = house.send(&GET.replace("host: a", "host: shop.example")).await;
        let mut stream = house.upstream.accept().await;
        let mut hello = vec![0; 5];
        stream.read_exact(&mut hello).await.unwrap();
        hello.resize(usize::from(u16::from_be_bytes([hello[3], hello[4]])), 0);
        stream.read_exact(&mut hello).await.unwrap();
        let hello = String::from_utf8_lossy(&hello);
        assert!(hello.contains("localhost") && !hello.contains("shop.example"), "{mode:?}");
    }
}

#[tokio::test]
async fn an_upgrade_becomes_a_tunnel() {
    let house = House::with(Mode::Sync).await;
    let fields = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x";
    // The client does not even wait for the answer.
    let eager = GET.replace("host: a", &format!("host: a\r\n{fields}"));
    let mut client = house.send(&format!("{eager}\0early")).await;
    let mut call = house.upstream.next().await;
    assert_eq!(
        (call.field("upgrade"), call.field("connection")),
        (Some("websocket"), Some("upgrade"))
    );
    assert_eq!(call.field("sec-websocket-key"), Some("x"));
    let head =
        "HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\nx-y: z\r\n\r\n";
    call.send(format!("{head}\u{1}hello")).await;
    let head = client.head().await;
    assert_eq!((head.status, head.field("upgrade"), head.field("x-y")), (101, "websocket", "z"));
    assert_eq!(client.bytes(6).await, b"\x01hello");
    let mut early = [0; 6];
    call.stream.read_exact(&mut early).await.unwrap();
    assert_eq!(&early, b"\0early");
    client.send("ping").await;
    let mut ping = [0; 4];
    call.stream.read_exact(&mut ping).await.unwrap();
    call.send("pong").await;
    assert_eq!((&ping, &client.bytes(4).await[..]), (b"ping", &b"pong"[..]));
    // Each direction ends for itself.
    client.stream.shutdown().await.unwrap();
    call.closed().await;
    drop(call);
    assert_eq!(client.rest().await.0, b"");
}

#[tokio::test]
async fn an_upgrade_that_is_declined_ends_the_connection() {
    let house = House::with(Mode::Sync).await;
    let fields = "connection: Upgrade\r\nupgrade: websocket\r\n";
    let mut client = house.send(&GET.replace("host: a\r\n", &format!("host: a\r\n{fields}"))).await;
    house.upstream.next().await.answer("403 No", "", "no").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.text(), reply.field("connection")), (403, "no", "close"));
    assert_eq!(client.rest().await, (Vec::new(), true));
}

/// A client that trusts `retryable` would have done the work twice.
#[tokio::test]
async fn a_lost_answer_to_a_post_is_not_called_retryable() {
    for (method, code, retryable) in
        [("POST", "outcome-unknown", false), ("PUT", "upstream-malformed", true)]
    {
        let house = House::with(Mode::Sync).await;
        let mut client = house
            .send(&format!("{method} /a HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx"))
            .await;
        house.upstream.next().await.die();
        let reply = client.reply().await;
        let problem = reply.json();
        assert_eq!((reply.status, reply.code().as_str()), (502, code));
        assert_eq!(problem["retryable"], retryable, "{problem}");
    }
}

/// The upstream gave a kept-alive connection up just when the next request was sent into it.
#[tokio::test]
async fn a_get_that_was_lost_to_an_old_connection_is_sent_once_more() {
    let house = House::with(Mode::Sync).await;
    let mut first = house.send(GET).await;
    let mut call = house.upstream.next().await;
    call.send("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none").await;
    assert_eq!(first.reply().await.text(), "one");
    let mut second = house.send(GET).await;
    // It comes over the same connection, which then breaks.
    call.read_head().await;
    call.die();
    let mut call = house.upstream.next().await;
    call.send("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\ntwo").await;
    assert_eq!(second.reply().await.text(), "two");
    // Lost again, on a connection that is fresh, it is told.
    let mut third = house.send(GET).await;
    call.read_head().await;
    call.die();
    house.upstream.next().await.die();
    assert_eq!(third.reply().await.code(), "upstream-malformed");
}
