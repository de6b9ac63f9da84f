//! Plain links and plain forms: a browser is led to the page of its task, and the page turns into the
//! answer by itself.

use std::sync::Arc;
use std::time::Duration;

use relais_core::limits::RETURN_WITHIN;
use relais_server::config::{DoubleSubmit, Mode, Scopes};
use relais_store::MemoryStore;

use crate::api::key;
use crate::house::browser::{Browser, GOES, led};
use crate::house::{House, Plan, Reply};

const EXPORT: &str = "/export?month=6&year=2026";

async fn plan() -> Plan {
    Plan::with(Mode::Async).await
}

/// A navigation whose task is done by now: the browser, and the 303.
async fn done(
    house: &House,
    line: &str,
    status: &str,
    fields: &str,
    body: &str,
) -> (Browser, Reply) {
    let mut browser = Browser::new();
    let reply = browser.go(house, line).await;
    house.upstream.next().await.answer(status, fields, body).await;
    house.over(led(&reply).task()).await;
    (browser, reply)
}

#[tokio::test]
async fn a_navigation_that_takes_long_is_led_to_the_page_of_its_task() {
    let house = plan().await.build().await;
    for (line, fields) in [
        (format!("GET {EXPORT}"), GOES),
        ("POST /orders".to_owned(), GOES),
        // Over plain HTTP browsers say nothing of themselves.
        (format!("GET {EXPORT}"), ""),
        // A link of a foreign page brings the Lax cookie.
        (
            format!("GET {EXPORT}"),
            "sec-fetch-mode: navigate\r\nsec-fetch-dest: document\r\nsec-fetch-site: cross-site\r\n",
        ),
    ] {
        let mut browser = Browser::new().with(fields);
        let reply = browser.send(&house, &line, "").await;
        let task = led(&reply).task();
        assert_eq!(reply.field("location"), format!("/v1/tasks/{task}"));
        assert_eq!(reply.field("cache-control"), "no-store");
        assert!(reply.field("set-cookie").contains("; HttpOnly; SameSite=Lax"), "{reply:?}");
        assert_eq!(reply.all("retry-after"), [""; 0], "the browser would wait for it");
        for (name, value) in &reply.fields {
            assert!(!value.contains("ticket=") && !value.contains("rt_"), "{name}: {value}");
        }
        let call = house.upstream.next().await;
        assert_eq!(call.field("cookie"), Some("login=alice"));
        let (page, next) = browser.page(&house, &reply).await;
        assert_eq!(next, "", "it is not over");
        assert!(!page.text().contains("ticket="), "{}", page.text());
        // Loaded again, and gone back to, it hands in nothing.
        browser.page(&house, &reply).await;
        assert!(house.upstream.is_silent().await, "{line}");
        let stranger = Browser::new().go(&house, "GET /v1/session").await;
        assert_ne!(stranger.status, 303);
    }
}

#[tokio::test]
async fn what_asks_for_a_202_or_brings_no_lax_cookie_is_given_no_session() {
    let house = plan().await.build().await;
    // The browser has a session by now.
    let mut browser = Browser::new();
    led(&browser.go(&house, "GET /first").await);
    for (method, fields) in [
        (
            "GET",
            "sec-fetch-mode: navigate\r\nsec-fetch-dest: document\r\nprefer: respond-async\r\n",
        ),
        ("GET", "sec-fetch-mode: navigate\r\nsec-fetch-dest: iframe\r\n"),
        (
            "POST",
            "sec-fetch-mode: navigate\r\nsec-fetch-dest: document\r\nsec-fetch-site: cross-site\r\n",
        ),
        ("POST", "origin: https://evil.example\r\n"),
        ("POST", "origin: null\r\n"),
        ("GET", "sec-fetch-mode: cors\r\nsec-fetch-dest: empty\r\n"),
        ("GET", "hx-request: true\r\n"),
    ] {
        let reply = browser.with(fields).send(&house, &format!("{method} /form"), "").await;
        assert_eq!((reply.status, reply.all("set-cookie")), (202, vec![]), "{method} {fields}");
    }
}

#[tokio::test]
async fn a_navigation_with_an_api_key_is_a_programs() {
    let mut plan = plan().await;
    plan.server.keys = vec![key("rk_a", "default", Scopes::ALL)];
    let house = plan.build().await;
    let with_key = format!("{GOES}relais-api-key: rk_a\r\n");
    let reply = Browser::new().with(&with_key).go(&house, &format!("GET {EXPORT}")).await;
    assert_eq!((reply.status, reply.all("set-cookie")), (202, vec![]));
    led(&Browser::new().go(&house, &format!("GET {EXPORT}")).await);
}

#[tokio::test]
async fn where_no_browser_would_keep_the_cookie_the_page_follows_by_its_ticket() {
    // By https all browsers say that they are some: Java and others accept HTML by themselves.
    let java = "accept: text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2\r\n".to_owned();
    let program = Browser { fields: java, ..Browser::new() };
    for (url, mut browser) in [
        ("http://intranet", Browser::new()),
        ("https://shop.example", program),
        ("https://shop.example", Browser::new().with("")),
    ] {
        let mut plan = plan().await;
        plan.server.public_url = Some(url.parse().unwrap());
        let house = plan.build().await;
        let page = browser.go(&house, "GET /export").await;
        assert_eq!((page.status, page.all("set-cookie")), (202, vec![]), "{url}");
        assert!(page.text().contains("?ticket="), "{}", page.text());
    }
}

/// It follows the 303 without the cookie that came with it.
#[tokio::test]
async fn a_browser_that_keeps_no_cookies_is_told_so_in_plain_words() {
    let by_proxy = "x-forwarded-for: 203.0.113.7\r\nx-forwarded-proto: https\r\n";
    let from_a_mail = "sec-fetch-site: cross-site\r\n";
    for (public_url, fields, status) in [
        (Some("https://shop.example"), GOES.to_owned(), 401),
        (None, [GOES, by_proxy].concat(), 403),
        (None, [GOES, from_a_mail].concat(), 403),
    ] {
        let mut plan = plan().await;
        plan.server.public_url = public_url.map(|url| url.parse().unwrap());
        plan.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        let house = plan.build().await;
        let browser = Browser::new().with(&fields);
        let reply = browser.clone().go(&house, "GET /export").await;
        let line = format!("GET {}", led(&reply).field("location"));
        let page = browser.clone().go(&house, &line).await;
        assert_eq!((page.status, page.field("content-type")), (status, "text/html; charset=utf-8"));
        assert!(page.text().contains("allow them for this site and ask again"), "{}", page.text());
        let mut french = browser.with(&format!("accept-language: fr\r\n{fields}"));
        let french = french.go(&house, &line).await;
        assert!(french.text().contains("autorisez-les pour ce site"), "{}", french.text());
    }
}

#[tokio::test]
async fn the_page_turns_into_the_answer_at_its_own_address_once() {
    let house = plan().await.build().await;
    let fields = "content-type: text/csv\r\ncontent-disposition: attachment; filename=june.csv\r\n\
                  accept-ranges: bytes\r\ncache-control: max-age=60\r\ncontent-security-policy: default-src 'self'\r\netag: \"x\"\r\n";
    let (mut browser, led_to) =
        done(&house, &format!("GET {EXPORT}"), "200 OK", fields, "a;b\n").await;
    let (page, next) = browser.page(&house, &led_to).await;
    assert_eq!(next, EXPORT);
    assert!(page.text().contains(&format!("content=\"0; url={}\"", EXPORT.replace('&', "&amp;"))));
    assert_eq!(page.field("cache-control"), "no-store");
    let answer = browser.go(&house, &format!("GET {next}")).await;
    assert_eq!((answer.status, answer.text(), answer.task()), (200, "a;b\n", led_to.task()));
    for (name, value) in [
        ("content-disposition", "attachment; filename=june.csv"),
        ("cache-control", "max-age=60"),
        ("content-security-policy", "default-src 'self'"),
        ("etag", "\"x\""),
    ] {
        assert_eq!(answer.all(name), [value], "as if it had waited");
    }
    assert_eq!(answer.all("referrer-policy"), [""; 0]);
    assert_eq!(answer.all("accept-ranges"), [""; 0], "a part would be a request of its own");
    let url = format!("http://{}/v1/tasks/{}", house.address, led_to.task());
    assert_eq!(answer.all("link"), [format!("<{url}>; rel=\"monitor\"")], "the way back");
    assert_eq!(answer.all("operation-location"), [url], "without a ticket: the session has it");
    assert!(house.upstream.is_silent().await, "nothing was asked again");
    // The page stays where it is, and leads to the result.
    let (page, next) = browser.page(&house, &led_to).await;
    assert_eq!(next, "");
    assert!(page.text().contains(&format!("href=\"/v1/tasks/{}/result\"", led_to.task())));
    let result = browser.go(&house, &format!("GET /v1/tasks/{}/result", led_to.task())).await;
    assert_eq!((result.status, result.text()), (200, "a;b\n"));
    // The same link again is another request.
    let again = browser.go(&house, &format!("GET {EXPORT}")).await;
    assert_ne!(led(&again).task(), led_to.task());
}

#[tokio::test]
async fn only_the_same_navigation_of_the_same_session_is_attached_and_only_after_the_end_was_shown()
{
    let house = plan().await.build().await;
    let (mut browser, led_to) = done(&house, &format!("GET {EXPORT}"), "200 OK", "", "x").await;
    let is_new = async |browser: &Browser, line: &str| {
        // What a HEAD is answered has no body.
        let reply = house.send(&browser.request(&house, line, "")).await.head().await;
        assert_ne!(reply.task(), led_to.task(), "{line}");
        assert!([202, 303].contains(&reply.status), "{reply:?}");
    };
    is_new(&browser, &format!("GET {EXPORT}")).await;
    // What a script reads of the page shows nobody the end.
    let script = browser.with("sec-fetch-mode: same-origin\r\n");
    script.clone().go(&house, &format!("GET {}", led_to.field("location"))).await;
    is_new(&browser, &format!("GET {EXPORT}")).await;
    assert_eq!(browser.page(&house, &led_to).await.1, EXPORT);
    is_new(&browser, "GET /export?year=2026&month=6").await;
    is_new(&browser, "GET /export").await;
    is_new(&browser, &format!("POST {EXPORT}")).await;
    is_new(&browser, &format!("HEAD {EXPORT}")).await;
    is_new(&script, &format!("GET {EXPORT}")).await;
    let without = Browser { cookies: vec!["login=alice".to_owned()], ..browser.clone() };
    is_new(&without, &format!("GET {EXPORT}")).await;
    house.clock.advance(RETURN_WITHIN);
    is_new(&browser, &format!("GET {EXPORT}")).await;
    // Its return never came: the page may show its end once more.
    assert_eq!(browser.page(&house, &led_to).await.1, EXPORT);
    house.clock.advance(RETURN_WITHIN - Duration::from_millis(1));
    assert_eq!(browser.go(&house, &format!("GET {EXPORT}")).await.task(), led_to.task());
}

#[tokio::test]
async fn a_page_that_shows_its_task_under_way_awaits_no_return() {
    let house = plan().await.build().await;
    let mut browser = Browser::new();
    let first = browser.go(&house, &format!("GET {EXPORT}")).await;
    assert_eq!(browser.page(&house, led(&first)).await.1, "");
    let again = browser.go(&house, &format!("GET {EXPORT}")).await;
    assert_ne!(led(&again).task(), first.task());
}

/// Browsers fetch what a person may go to next, and throw it away if nobody does.
#[tokio::test]
async fn what_is_fetched_ahead_neither_opens_nor_spends_the_return() {
    let house = plan().await.build().await;
    let (mut browser, led_to) = done(&house, "GET /export", "200 OK", "", "x").await;
    for purpose in ["prefetch", "prefetch;prerender"] {
        let mut ahead = browser.with(&format!("{GOES}sec-purpose: {purpose}\r\n"));
        assert_eq!(ahead.page(&house, &led_to).await.1, "");
    }
    assert_eq!(browser.page(&house, &led_to).await.1, "/export", "it was not opened");
    let mut ahead = browser.with(&format!("{GOES}sec-purpose: prefetch\r\n"));
    assert_ne!(ahead.go(&house, "GET /export").await.task(), led_to.task());
    assert_eq!(browser.go(&house, "GET /export").await.task(), led_to.task(), "nor spent");
}

#[tokio::test]
async fn of_two_tabs_that_show_the_end_one_returns() {
    let house = plan().await.build().await;
    let (mut browser, led_to) = done(&house, "GET /export", "200 OK", "", "x").await;
    assert_eq!(browser.page(&house, &led_to).await.1, "/export");
    let (page, next) = browser.page(&house, &led_to).await;
    assert_eq!(next, "", "the second would ask for it anew");
    assert!(page.text().contains("/result\""));
}

/// Cookies that count visits, or hold a session that is encrypted anew each time, change meanwhile.
#[tokio::test]
async fn a_page_that_comes_back_with_other_cookies_runs_nothing_again_and_links_its_answer() {
    let house = plan().await.build().await;
    let (mut browser, led_to) = done(&house, "GET /export?a", "200 OK", "", "x").await;
    assert_eq!(browser.page(&house, &led_to).await.1, "/export?a");
    browser.cookies.push("visits=2".to_owned());
    let other = browser.go(&house, "GET /export?b").await;
    assert_ne!(led(&other).task(), led_to.task(), "another address is another request");
    house.upstream.next().await.answer("200 OK", "", "b").await;
    let back = browser.go(&house, "GET /export?a").await;
    let own = format!("/v1/tasks/{}", led_to.task());
    assert_eq!((led(&back).field("location"), back.field("cache-control")), (&*own, "no-store"));
    let (page, next) = browser.page(&house, &back).await;
    assert_eq!(next, "", "it stays");
    assert!(page.text().contains(&format!("href=\"{own}/result\"")), "{}", page.text());
    assert_eq!(browser.go(&house, &format!("GET {own}/result")).await.text(), "x");
    assert!(house.upstream.is_silent().await, "nothing ran again");
    // Its mark is used: whoever asks once more wants it anew.
    let again = browser.go(&house, "GET /export?a").await;
    assert_ne!(led(&again).task(), led_to.task());
}

/// A browser that has seen a link before asks whether its copy still holds, and lets go of it.
#[tokio::test]
async fn the_answer_of_a_link_that_was_seen_before_is_whole() {
    let house = plan().await.build().await;
    let conditions = "if-none-match: \"x\"\r\nif-modified-since: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                      if-match: \"x\"\r\nif-unmodified-since: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                      if-range: \"x\"\r\nrange: bytes=0-\r\n";
    let iframe = "sec-fetch-mode: navigate\r\nsec-fetch-dest: iframe\r\n";
    for (fields, status) in [(GOES, 303), (iframe, 202)] {
        let asking = Browser::new().with(&format!("{fields}{conditions}"));
        assert_eq!(asking.clone().go(&house, "GET /report").await.status, status);
        let call = house.upstream.next().await;
        for line in conditions.lines() {
            let name = line.split(':').next().unwrap();
            assert_eq!(call.field(name), None, "{fields}");
        }
    }
    // A program has its copy still, and what changes something is to change what it has seen: Java
    // accepts HTML by itself.
    let java = "accept: text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2\r\n";
    for (method, fields) in [
        ("GET", "sec-fetch-mode: cors\r\n"),
        ("GET", java),
        ("POST", java),
        ("POST", GOES),
        ("PUT", java),
        ("DELETE", java),
        ("PATCH", java),
    ] {
        let asking = Browser { fields: format!("{fields}{conditions}"), ..Browser::new() };
        asking.clone().go(&house, &format!("{method} /report")).await;
        let call = house.upstream.next().await;
        for line in conditions.lines() {
            let (name, value) = line.split_once(": ").unwrap();
            assert_eq!(call.field(name), Some(value), "{method} {fields}");
        }
    }
}

/// The service may answer so although nobody asked: another request was joined, say.
#[tokio::test]
async fn what_is_no_whole_answer_is_never_that_of_a_return() {
    let house = plan().await.build().await;
    let (mut browser, led_to) = done(&house, "GET /same", "304 Not Modified", "", "").await;
    assert_eq!(browser.page(&house, &led_to).await.1, "", "there is nothing to see");
    let part = "content-range: bytes 0-0/9\r\ncontent-type: text/plain\r\n";
    let (mut browser, led_to) = done(&house, "GET /part", "206 Partial Content", part, "x").await;
    let result = format!("/v1/tasks/{}/result", led_to.task());
    assert_eq!(browser.page(&house, &led_to).await.1, result);
}

/// A player asks for parts of what it plays by itself: at its own address those would be new requests.
#[tokio::test]
async fn what_is_played_is_played_from_the_result() {
    let house = plan().await.build().await;
    for kind in ["audio/mpeg", "Video/mp4; codecs=avc1"] {
        let fields = format!("content-type: {kind}\r\n");
        let (mut browser, led_to) = done(&house, "GET /clip", "200 OK", &fields, "tune").await;
        let result = format!("/v1/tasks/{}/result", led_to.task());
        assert_eq!(browser.page(&house, &led_to).await.1, result);
        let mut player = browser.with("sec-fetch-mode: no-cors\r\nrange: bytes=1-\r\n");
        let part = player.go(&house, &format!("GET {result}")).await;
        assert_eq!((part.status, part.text()), (206, "une"));
        // It brings the cookie as one of this origin alone.
        assert_eq!(part.all("content-security-policy"), ["sandbox allow-same-origin"]);
        assert_eq!(browser.page(&house, &led_to).await.1, "", "once");
        // Nothing is awaited at its own address.
        let again = browser.go(&house, "GET /clip").await;
        assert_ne!(led(&again).task(), led_to.task());
        house.upstream.next().await;
    }
}

#[tokio::test]
async fn the_redirect_of_a_form_is_followed_with_its_cookies_and_its_own_page_is_the_result() {
    let house = plan().await.build().await;
    for (status, fields, body, leads, follows) in [
        ("303 See Other", "location: ../orders/7?new\r\n", "", true, Some("/orders/7?new")),
        (
            "302 Found",
            "location: https://shop.example/7\r\n",
            "",
            true,
            Some("https://shop.example/7"),
        ),
        ("302 Found", "location: http://ADDRESS/orders/7\r\n", "", true, Some("/orders/7")),
        ("302 Found", "location: javascript:alert(1)\r\n", "", false, None),
        // It would have to be sent again.
        ("307 Temporary Redirect", "location: /orders/7\r\n", "", false, None),
        ("308 Permanent Redirect", "location: /orders/7\r\n", "there", true, None),
        ("200 OK", "content-type: text/html\r\n", "<p>", true, None),
        ("200 OK", "", "", false, None),
        ("204 No Content", "", "", false, None),
    ] {
        let fields = fields.replace("ADDRESS", &house.address.to_string());
        let fields = format!("{fields}set-cookie: flash=sold; Path=/\r\nset-cookie: seen=1\r\n");
        let (mut browser, led_to) = done(&house, "POST /shop/orders", status, &fields, body).await;
        let result = format!("/v1/tasks/{}/result", led_to.task());
        let expected = if leads { &*result } else { "" };
        assert_eq!(browser.page(&house, &led_to).await.1, expected, "{status} {fields}");
        if leads {
            assert_eq!(browser.page(&house, &led_to).await.1, "", "once");
        }
        let told = ["flash=sold; Path=/", "seen=1"];
        for cookies in [if leads { &told[..] } else { &[] }, &[]] {
            let shown = browser.go(&house, &format!("GET {result}")).await;
            assert_eq!(shown.all("location"), Vec::from_iter(follows), "{status} {fields}");
            assert_eq!(shown.all("set-cookie"), cookies, "only where the page leads, and once");
            assert!(shown.all("content-security-policy").contains(&"sandbox"), "{shown:?}");
        }
    }
    assert!(house.upstream.is_silent().await);
}

#[tokio::test]
async fn the_page_of_a_task_that_failed_shows_why_and_stays() {
    let house = plan().await.build().await;
    let (mut browser, led_to) = done(&house, "GET /export", "404 Not Found", "", "no").await;
    assert_eq!(browser.page(&house, &led_to).await.1, "");
    let again = browser.go(&house, "GET /export").await;
    assert_ne!(led(&again).task(), led_to.task());
}

/// Nothing of it lives in one process.
#[tokio::test]
async fn a_navigation_its_page_and_its_return_may_meet_three_nodes_and_a_restart() {
    let store = Arc::new(MemoryStore::new());
    let node = async || {
        let mut plan = plan().await;
        plan.store = store.clone();
        plan.build().await
    };
    let first = node().await;
    let second = node().await;
    let (mut browser, led_to) = done(&first, "GET /export", "200 OK", "", "x").await;
    assert_eq!(browser.page(&second, &led_to).await.1, "/export");
    drop(first);
    let third = node().await;
    let answer = browser.go(&third, "GET /export").await;
    assert_eq!((answer.task(), answer.text()), (led_to.task(), "x"));
    assert_ne!(
        browser.go(&second, "GET /export").await.task(),
        led_to.task(),
        "once on all of them"
    );
}

/// The second click on a button ends the first navigation: what it shows must work as a page.
#[tokio::test]
async fn a_person_who_clicks_twice_is_shown_what_the_first_click_would_show() {
    let mut plan = plan().await;
    plan.route().double_submit = Some(DoubleSubmit {
        window: Duration::from_secs(10),
        cookie: Some("login".to_owned()),
        field: None,
    });
    let house = plan.build().await;
    let fields = "content-type: text/html\r\n";
    let (mut browser, led_to) = done(&house, "GET /report", "200 OK", fields, "<form>").await;
    let second = browser.go(&house, "GET /report").await;
    assert_eq!((second.task(), second.text()), (led_to.task(), "<form>"));
    assert_eq!(second.field("idempotent-replayed"), "true");
    assert_eq!(second.all("content-security-policy"), [""; 0]);
    // While it is under way, both are led to one page.
    let mut clicks = Vec::new();
    for _ in 0..2 {
        clicks.push(led(&browser.go(&house, "POST /orders").await).field("location").to_owned());
    }
    assert_eq!(clicks[0], clicks[1]);
    // Programs are told that it is told again.
    let program = browser.with("sec-fetch-mode: cors\r\n").go(&house, "GET /report").await;
    assert_eq!(program.all("content-security-policy"), ["sandbox"]);
}

#[tokio::test]
async fn an_answer_in_time_is_the_services_own_and_begins_no_session() {
    let mut plan = plan().await;
    plan.route().mode = Mode::Auto;
    let house = plan.build().await;
    let browser = Browser::new();
    let mut client = house.send(&browser.request(&house, "GET /fast", "")).await;
    house.upstream.next().await.answer("200 OK", "content-type: text/html\r\n", "<p>").await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.text(), reply.all("set-cookie")), (200, "<p>", vec![]));
}
