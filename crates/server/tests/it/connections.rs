//! What a connection owes its client: an answer, an end that shows, and nobody else's words.

use relais_core::limits;
use relais_server::config::Mode;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::house::{Client, House, Plan, SOON, reply_of};

const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";
const SUBMIT: &str = "POST /v1/tasks HTTP/1.1\r\nhost: localhost\r\n\
                      content-type: application/json\r\ncontent-length: 14\r\n\r\n{\"queue\": \"q\"}";

#[tokio::test]
async fn a_burst_of_connections_waits_in_the_systems_queue() {
    // 128 fitted; the next ones' first packets were dropped, and sent again a second later.
    let system = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap_or_default();
    let system = system.trim().parse().unwrap_or(limits::BACKLOG_MAX);
    let count = limits::BACKLOG_MAX.min(system).min(400);
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = relais_server::listen(socket).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..count {
        let connecting = timeout(SOON, TcpStream::connect(address));
        waiting.push(connecting.await.expect("the queue has room").unwrap());
    }
}

/// Its event stream ended by its own life before the system gave up, so that it never had left.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_system_notices_within_a_minute_that_a_client_has_vanished() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = relais_server::listen(socket).unwrap();
    let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let options = socket2::SockRef::from(&accepted);
    assert_eq!(options.tcp_user_timeout().unwrap(), Some(limits::CLIENT_SILENCE_MAX));
    assert!(options.keepalive().unwrap());
    let [after, every] = [options.tcp_keepalive_time(), options.tcp_keepalive_interval()];
    let asked = options.tcp_keepalive_retries().unwrap();
    assert_eq!(after.unwrap() + every.unwrap() * asked, limits::CLIENT_SILENCE_MAX);
}

#[tokio::test]
async fn connect_switches_no_guard_off() {
    // Behind a CONNECT, which is refused, a smuggled request was let through.
    let house = House::with(Mode::Auto).await;
    for version in ["1.0", "1.1"] {
        for path in ["/x", "/v1/tasks"] {
            let conflict = format!(
                "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\ntransfer-encoding: chunked\
                 \r\n\r\n0\r\n\r\n"
            );
            let keep = "host: a:80\r\nconnection: keep-alive";
            let connect = format!("CONNECT a:80 HTTP/{version}\r\n{keep}\r\n\r\n");
            let mut client = house.send(&format!("{connect}{conflict}")).await;
            let reply = client.reply().await;
            assert_eq!((reply.status, reply.field("connection")), (405, "close"));
            assert_eq!(client.rest().await, (Vec::new(), true), "nothing behind it is answered");
        }
    }
    assert!(house.upstream.is_silent().await);
}

#[tokio::test]
async fn a_request_before_a_change_of_protocol_ends_its_connection() {
    let house = House::with(Mode::Sync).await;
    let upgrade = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    let mut client = house.send(&format!("{POST}{upgrade}\0\u{1}")).await;
    house.upstream.next().await.answer("200 OK", "", "one").await;
    let reply = client.reply().await;
    assert_eq!((reply.text(), reply.field("connection")), ("one", "close"));
    assert_eq!(client.rest().await.0, b"");
    assert!(house.upstream.is_silent().await);
}

/// A client that has said all it will say.
async fn half_closed(house: &House, request: &str) -> Client {
    let mut client = house.send(request).await;
    client.stream.shutdown().await.unwrap();
    client
}

#[tokio::test]
async fn a_half_closed_client_gets_its_answer() {
    // RFC 9293, 3.6: who closes one side may go on receiving. The task was
    // taken, the 202 was not sent.
    for mode in [Mode::Auto, Mode::Sync] {
        let house = House::with(mode).await;
        let mut client = half_closed(&house, POST).await;
        let mut call = house.upstream.next().await;
        call.answer("200 OK", "", "done").await;
        assert_eq!(client.reply().await.text(), "done", "{mode:?}");
        assert_eq!(client.rest().await, (Vec::new(), true), "{mode:?}");
    }
    let house = House::with(Mode::Async).await;
    assert_eq!(half_closed(&house, POST).await.reply().await.status, 202);
    assert_eq!(half_closed(&house, SUBMIT).await.reply().await.status, 202);
    let list = "GET /v1/tasks HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert_eq!(half_closed(&house, list).await.reply().await.status, 200);
    // Two requests at once, and no more.
    let mut client = half_closed(&house, &list.repeat(2)).await;
    assert_eq!((client.reply().await.status, client.reply().await.status), (200, 200));
    // What is there of a stream comes, with its end; what would come later does not.
    let id = client_task(&house).await;
    let cancel = format!("POST /v1/tasks/{id}/cancel HTTP/1.1\r\nhost: localhost\r\n");
    house.call(&format!("{cancel}content-length: 0\r\n\r\n")).await;
    let events = format!("GET /v1/tasks/{id}/events HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let reply = half_closed(&house, &events).await.reply().await;
    assert!(reply.text().contains("event: canceled"), "{}", reply.text());
}

#[tokio::test]
async fn an_answer_that_is_held_back_comes_at_once_to_a_half_closed_client() {
    // Most who close one side are gone: each of them kept its connection for all of its wait, so
    // that eight of them kept everybody else out for 50 s where eight connections were allowed.
    let house = House::with(Mode::Async).await;
    let accepted = house.call(SUBMIT).await.json();
    let (id, ticket) = (accepted["id"].as_str().unwrap(), accepted["ticket"].as_str().unwrap());
    let task = format!("/v1/tasks/{id}");
    let host = "host: localhost\r\nprefer: wait=50\r\n";
    for (request, status) in [
        (format!("GET {task} HTTP/1.1\r\n{host}if-none-match: \"v1-json\"\r\n\r\n"), 304),
        (format!("GET {task}/result HTTP/1.1\r\n{host}\r\n"), 202),
        (
            format!("GET {task}/events?after=1 HTTP/1.1\r\n{host}accept: application/json\r\n\r\n"),
            200,
        ),
        (SUBMIT.replace("host: localhost\r\n", host), 202),
    ] {
        let mut client = half_closed(&house, &request).await;
        assert_eq!(client.reply().await.status, status, "{request}");
        assert_eq!(client.rest().await, (Vec::new(), true), "{request}");
        // One that waits already.
        let mut client = house.send(&request).await;
        house.call("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        client.assert_silent();
        client.stream.shutdown().await.unwrap();
        assert_eq!(client.reply().await.status, status, "{request}");
    }
    // Streams that the HTTP library writes end like those that are written to a bare socket.
    for request in [
        format!("GET /v1/events?task={id} HTTP/1.1\r\n{host}\r\n"),
        format!("GET {task}/events?ticket={ticket} HTTP/1.0\r\n{host}\r\n"),
        format!("GET {task}/events HTTP/1.1\r\n{host}\r\n"),
    ] {
        let mut client = half_closed(&house, &request).await;
        let (bytes, is_clean) = client.rest().await;
        let text = String::from_utf8(bytes).unwrap();
        assert!(is_clean && text.contains("event: accepted"), "{request}: {text}");
    }
}

#[tokio::test]
async fn a_worker_that_may_be_gone_is_leased_nothing() {
    // What it was leased was lost to the others for a whole lease.
    let house = House::with(Mode::Async).await;
    let wait = "{\"wait\":\"50s\"}";
    let lease = format!(
        "POST /v1/queues/q/leases HTTP/1.1\r\nhost: localhost\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{wait}",
        wait.len()
    );
    assert_eq!(half_closed(&house, &lease).await.rest().await.0, b"");
    let id = client_task(&house).await;
    assert_eq!(house.call(&lease).await.json()["leases"][0]["task"], *id);
}

async fn client_task(house: &House) -> String {
    house.call(SUBMIT).await.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_body_that_ends_with_its_connection_is_not_taken_for_whole() {
    let house = House::with(Mode::Async).await;
    let mut client = half_closed(&house, &POST.replace("length: 2", "length: 3")).await;
    let (bytes, _) = client.rest().await;
    assert!(bytes.is_empty() || reply_of(&bytes).status == 400);
    assert!(house.upstream.is_silent().await);
}

#[tokio::test]
async fn a_refused_upload_is_read_to_its_end() {
    // The rest of the upload met a closed connection: a broken pipe instead of the 404.
    let mut plan = Plan::with(Mode::Auto).await;
    plan.route().path = "/only-get".to_owned();
    plan.route().methods = vec!["GET".to_owned()];
    let house = plan.build().await;
    let body = vec![b'x'; 20 << 20];
    for (path, status) in [("/nothing", 404), ("/only-get", 405)] {
        let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {}", body.len());
        let mut client = house.send(&format!("{head}\r\n\r\n")).await;
        client.send(&body).await;
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.field("connection")), (status, "close"));
        assert_eq!(client.rest().await, (Vec::new(), true));
    }
}

#[tokio::test]
async fn a_refusal_before_the_body_says_that_the_connection_closes() {
    // A client with a pool took the connection for good, and its next request died on it.
    let house = House::with(Mode::Auto).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\nrelais-label: x\r\n";
    for body in ["content-length: 2\r\n\r\n", "transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n"] {
        let mut client = house.send(&format!("{head}{body}")).await;
        let reply = client.reply().await;
        assert_eq!((reply.status / 100, reply.field("connection")), (4, "close"), "{body:?}");
        client.send("hi").await;
        assert_eq!(client.rest().await, (Vec::new(), true), "{body:?}");
    }
    // A body that is there is passed over, and the connection goes on.
    let mut client = house.send(&format!("{head}content-length: 2\r\n\r\nhi")).await;
    let reply = client.reply().await;
    assert_eq!((reply.status / 100, reply.field("connection")), (4, ""));
    let health = "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";
    assert_eq!(client.call(health).await.status, 200);
}

#[tokio::test]
async fn a_length_that_no_body_can_have_is_a_problem() {
    // The HTTP library keeps the last numbers for itself, and said 431 without a document.
    let house = House::with(Mode::Auto).await;
    for length in ["18446744073709551615", "18446744073709551614", "9223372036854775808"] {
        let request = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n1");
        let mut client = house.send(&request).await;
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "malformed-request"));
    }
}

#[tokio::test]
async fn names_with_underscores_are_taken_for_what_they_fold_to() {
    // CGI, WSGI and PHP make one name of both: such a field spoke with Relais' voice there.
    for mode in [Mode::Sync, Mode::Auto] {
        let house = House::with(mode).await;
        let names = [
            ("Relais_Task", "task_x"),
            ("X_Forwarded_For", "6.6.6.6"),
            ("Transfer_Encoding", "chunked"),
            ("Content_Length", "77"),
        ];
        let fields: String = names.map(|(name, value)| format!("{name}: {value}\r\n")).concat();
        let post = POST.replace("host: a\r\n", &format!("host: a\r\nx_own: y\r\n{fields}"));
        let mut client = house.send(&post).await;
        let mut call = house.upstream.next().await;
        assert_eq!(call.field("x_own"), Some("y"), "{mode:?}: other names pass");
        for (name, _) in names {
            assert_eq!(call.field(&name.to_ascii_lowercase()), None, "{mode:?}: {name}");
        }
        call.answer("200 OK", &fields, "done").await;
        let reply = client.reply().await;
        assert_eq!(reply.text(), "done");
        for name in ["relais_task", "transfer_encoding", "content_length"] {
            assert_eq!(reply.field(name), "", "{mode:?}: {name}");
        }
    }
}
