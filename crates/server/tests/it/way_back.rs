//! The link in an answer by which its caller finds the task again, and who may be given a ticket in it.

use relais_server::config::{Mode, RouteAccess, Scopes};

use crate::api::key;
use crate::house::{House, Plan, Reply};

const SHOP: &str = "https://shop.example.com";

fn request(method: &str, fields: &str) -> String {
    let length = if method == "GET" { "" } else { "content-length: 0\r\n" };
    format!("{method} /report HTTP/1.1\r\nhost: a\r\n{fields}{length}\r\n")
}

/// What a caller gets whose upstream answers so.
async fn answered(house: &House, request: &str, status: &str, theirs: &str) -> Reply {
    let mut client = house.send(request).await;
    house.upstream.next().await.answer(status, theirs, "").await;
    let reply = client.head().await;
    assert_eq!(&status[..3], reply.status.to_string(), "{reply:?}");
    reply
}

/// The URL of the task, without a ticket, as the server tells it.
fn url(house: &House, reply: &Reply) -> String {
    format!("http://{}/v1/tasks/{}", house.address, reply.field("relais-task"))
}

/// Whether the links of an answer carry a ticket; both are there.
#[track_caller]
fn has_ticket(house: &House, reply: &Reply) -> bool {
    let url = url(house, reply);
    let location = reply.field("operation-location");
    let links = reply.all("link");
    assert_eq!(links.last(), Some(&&*format!("<{location}>; rel=\"monitor\"")), "{reply:?}");
    let rest = location.strip_prefix(&url).expect("it is the task's");
    assert!(rest.is_empty() || rest.starts_with("?ticket=rt_"), "{location}");
    !rest.is_empty()
}

#[tokio::test]
async fn an_answer_leads_back_to_its_task_with_a_ticket_only_where_no_cache_keeps_it() {
    let house = House::with(Mode::Auto).await;
    for (method, theirs, with_ticket) in [
        ("POST", "", true),
        ("DELETE", "cache-control: max-age=60\r\n", true),
        ("POST", "cache-control: public\r\n", false),
        ("POST", "cdn-cache-control: no-store\r\n", false),
        ("POST", "cache-control: a b\r\n", false),
        ("GET", "", false),
        ("QUERY", "", false),
        ("HEAD", "", false),
        ("GET", "cache-control: max-age=60\r\n", false),
        ("GET", "cache-control: max-age=0\r\ncache-control: PRIVATE\r\n", true),
        ("QUERY", "cache-control: no-store\r\n", true),
        ("HEAD", "cache-control: private\r\n", true),
        ("GET", "cache-control: private=\"set-cookie\"\r\n", false),
        ("GET", "cache-control: no-store\r\ncache-control: s-maxage=5\r\n", false),
        ("GET", "cache-control: private\r\nx-accel-expires: 60\r\n", false),
        ("GET", "cache-control: private\r\nsurrogate-control: max-age=60\r\n", false),
    ] {
        for status in ["200 OK", "404 Not Found", "204 No Content", "202 Accepted", "302 Found"] {
            let reply = answered(&house, &request(method, ""), status, theirs).await;
            assert_eq!(has_ticket(&house, &reply), with_ticket, "{method} {status} {theirs}");
        }
    }
}

#[tokio::test]
async fn the_link_is_added_to_the_upstreams_own_and_opens_the_task() {
    let house = House::with(Mode::Auto).await;
    let theirs = "link: </style.css>; rel=preload\r\nlink: </next>; rel=\"next\"\r\n";
    let reply = answered(&house, &request("POST", ""), "200 OK", theirs).await;
    let links = reply.all("link");
    assert_eq!(links[..2], ["</style.css>; rel=preload", "</next>; rel=\"next\""]);
    assert!(links.len() == 3 && has_ticket(&house, &reply), "{reply:?}");
    let path = reply.field("operation-location").strip_prefix("http://").unwrap();
    let path = &path[path.find('/').unwrap()..];
    // As somebody else on the way: it came through a proxy.
    let via = "via: 1.1 proxy\r\nhost: a\r\n";
    let task = house.call(&format!("GET {path} HTTP/1.1\r\n{via}\r\n")).await;
    assert_eq!((task.status, task.json()["status"].as_str()), (200, Some("succeeded")));
    let (bare, _) = path.split_once('?').unwrap();
    let refused = house.call(&format!("GET {bare} HTTP/1.1\r\n{via}\r\n")).await;
    assert_eq!(refused.status, 403, "an id is no right");

    // An asynchronous upstream says where its own operation is; that is not ours to hide.
    let theirs = "operation-location: https://up.example/operations/7\r\n";
    let reply = answered(&house, &request("POST", ""), "202 Accepted", theirs).await;
    assert_eq!(reply.all("operation-location"), ["https://up.example/operations/7"]);
    assert!(reply.field("link").starts_with(&format!("<{}?ticket=rt_", url(&house, &reply))));
}

#[tokio::test]
async fn who_finds_the_task_otherwise_is_given_no_ticket() {
    let shown_by_field = RouteAccess::Caller("authorization".to_owned());
    for (access, fields) in [
        (shown_by_field, "authorization: Basic eDp5\r\n"),
        (RouteAccess::Key, "relais-api-key: rk_a\r\n"),
        (RouteAccess::Ticket, "relais-api-key: rk_a\r\n"),
    ] {
        let mut plan = Plan::with(Mode::Auto).await;
        plan.route().access = access.clone();
        plan.server.keys = vec![key("rk_a", "default", Scopes::ALL)];
        let house = plan.build().await;
        let post = request("POST", fields);
        let reply = answered(&house, &post, "200 OK", "cache-control: no-store\r\n").await;
        assert!(!has_ticket(&house, &reply), "{access:?}: {reply:?}");
        assert!(!format!("{reply:?}").contains("rt_"), "{access:?}: {reply:?}");
    }
}

/// The page that the second click shows could not come back.
#[tokio::test]
async fn a_repeat_that_gets_the_answer_is_told_the_way_back_as_the_first_was() {
    let house = House::with(Mode::Auto).await;
    let keyed = |method| request(method, "idempotency-key: 0123456789012345678901\r\n");
    for method in ["POST", "GET"] {
        let first = answered(&house, &keyed(method), "200 OK", "").await;
        let again = house.call(&keyed(method)).await;
        assert_eq!(again.field("idempotent-replayed"), "true");
        assert_eq!(again.field("relais-task"), first.field("relais-task"));
        // What is told once more, no cache keeps.
        assert!(has_ticket(&house, &again), "{again:?}");
    }
}

#[tokio::test]
async fn what_is_passed_on_without_a_task_leads_nowhere() {
    let house = House::with(Mode::Sync).await;
    let reply = answered(&house, &request("POST", ""), "200 OK", "link: </a>; rel=b\r\n").await;
    assert_eq!((reply.all("link"), reply.field("operation-location")), (vec!["</a>; rel=b"], ""));
}

#[tokio::test]
async fn a_page_that_may_read_the_answer_may_read_what_relais_adds_to_it() {
    const OURS: [&str; 6] = [
        "Relais-Task",
        "Relais-Result-Version",
        "Relais-Offset",
        "Operation-Location",
        "Link",
        "Content-Encoding",
    ];
    let mut plan = Plan::with(Mode::Auto).await;
    plan.server.cors_origins = vec![SHOP.to_owned()];
    let house = plan.build().await;
    let evil = "https://evil.example";
    for (origin, theirs, is_told) in [
        (SHOP, vec!["allow-origin: *"], true),
        (SHOP, vec!["allow-origin: https://shop.example.com"], true),
        (SHOP, vec!["allow-origin: *", "expose-headers: X-Total"], true),
        // It stands for no name at all where the page sends credentials.
        (
            SHOP,
            vec![
                "allow-origin: https://shop.example.com",
                "allow-credentials: true",
                "expose-headers: *",
            ],
            true,
        ),
        (SHOP, vec![], false),
        (SHOP, vec!["allow-origin: https://other.example"], false),
        (SHOP, vec!["allow-origin: https://shop.example.com", "allow-origin: *"], false),
        (SHOP, vec!["allow-origin: null"], false),
        (evil, vec!["allow-origin: *"], false),
        (evil, vec!["allow-origin: https://evil.example"], false),
    ] {
        let lines: String =
            theirs.iter().map(|line| format!("access-control-{line}\r\n")).collect();
        let post = request("POST", &format!("origin: {origin}\r\n"));
        let reply = answered(&house, &post, "200 OK", &lines).await;
        let said = |name: &str| name.starts_with("access-control-");
        let fields = reply.fields.iter().filter(|(name, _)| said(name));
        let mut told: Vec<_> = fields.map(|(name, value)| format!("{name}: {value}")).collect();
        let expected: Vec<_> = theirs.iter().map(|line| format!("access-control-{line}")).collect();
        let ours = if is_told { told.pop() } else { None };
        assert_eq!(told, expected, "{origin}: {reply:?}");
        let ours = ours.unwrap_or_default();
        for name in OURS {
            assert_eq!(ours.split([' ', ',']).any(|one| one == name), is_told, "{name}: {ours}");
        }
        assert!(!reply.all("vary").contains(&"Origin"), "{reply:?}");
    }
}
