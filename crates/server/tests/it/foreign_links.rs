//! What a link on a foreign page, or in a mail, does with the browser of whoever follows it.

use std::time::Duration;

use relais_core::limits::{RETURN_WITHIN, SESSION_TASKS_MAX};
use relais_server::config::Mode;

use crate::house::Plan;
use crate::house::browser::{Browser, GOES, led};

const CROSS: &str = "sec-fetch-site: cross-site\r\n";
const FRAME: &str = "sec-fetch-mode: navigate\r\nsec-fetch-dest: iframe\r\n";
const LOGGED_IN: &str = "location: /account\r\nset-cookie: session=alice\r\n";

/// Somebody logs in as himself, and sends the victim the link to the answer.
#[tokio::test]
async fn a_link_with_a_ticket_gives_nobody_the_cookies_of_somebody_elses_answer() {
    let house = Plan::with(Mode::Async).await.build().await;
    let mut attacker = Browser::new().with("sec-fetch-mode: cors\r\nprefer: respond-async\r\n");
    let accepted = attacker.go(&house, "POST /login").await;
    house.upstream.next().await.answer("303 See Other", LOGGED_IN, "").await;
    house.over(accepted.task()).await;
    let link = accepted.field("location");
    let link = link.strip_prefix(&format!("http://{}", house.address)).unwrap();
    assert!(link.contains("/result?ticket="), "{link}");
    let mut victim = Browser::new();
    led(&victim.go(&house, "GET /begins/a/session").await);
    for fields in ["", GOES, &[GOES, CROSS].concat(), FRAME, &[FRAME, CROSS].concat()] {
        for mut browser in [Browser::new().with(fields), victim.with(fields)] {
            for line in [format!("GET {link}"), format!("GET {link}&live")] {
                let shown = browser.go(&house, &line).await;
                assert_eq!((shown.status, shown.field("location")), (303, "/account"), "{fields}");
                assert_eq!(shown.all("set-cookie"), [""; 0], "{fields}");
            }
        }
    }
}

/// The same link in a picture, a frame or a script of a page that the victim only looks at, where no person
/// goes anywhere: a `SameSite=None` cookie was planted unseen. A program has what waiting would have got.
#[tokio::test]
async fn a_foreign_page_plants_no_cookie_by_fetching_what_a_ticket_shows() {
    let house = Plan::with(Mode::Async).await.build().await;
    let mut program = Browser::new().with("sec-fetch-mode: cors\r\n");
    let accepted = program.go(&house, "POST /login").await;
    let mut call = house.upstream.next().await;
    let sets = "HTTP/1.1 200 OK\r\nset-cookie: session=alice; SameSite=None; Secure\r\n\
                content-length: 5\r\n\r\n";
    call.send(format!("{sets}hel")).await;
    let ticket = accepted.json()["ticket"].as_str().unwrap().to_owned();
    let result = format!("/v1/tasks/{}/result", accepted.task());
    let is_told = async |query: &str, fields: &str| {
        let head = format!("host: {}\r\naccept: */*\r\n{fields}", house.address);
        let request = format!("GET {result}{query} HTTP/1.1\r\n{head}\r\n");
        let answer = house.send(&request).await.head().await;
        assert_eq!(answer.status, 200, "{fields}");
        answer.all("set-cookie").len() == 1
    };
    let (bearer, by_link) = (
        format!("authorization: Bearer {ticket}\r\n"),
        [format!("?live&ticket={ticket}"), format!("?ticket={ticket}")],
    );
    let says = |site: &str, mode: &str, dest: &str| {
        format!("sec-fetch-site: {site}\r\nsec-fetch-mode: {mode}\r\nsec-fetch-dest: {dest}\r\n")
    };
    for (at, query) in by_link.iter().enumerate() {
        if at == 1 {
            call.send("lo").await;
            house.over(accepted.task()).await;
        }
        for fields in [
            says("cross-site", "no-cors", "image"),
            says("cross-site", "cors", "empty"),
            says("cross-site", "no-cors", "empty"),
            says("cross-site", "navigate", "iframe"),
            says("same-site", "no-cors", "image"),
            says("same-origin", "no-cors", "video"),
            "origin: https://evil.example\r\n".to_owned(),
        ] {
            assert!(!is_told(query, &fields).await, "{query} {fields}");
        }
        for fields in ["", "sec-fetch-mode: cors\r\n", &says("same-origin", "cors", "empty")] {
            assert!(is_told(query, fields).await, "{query} {fields}");
        }
        let live = if at == 0 { "?live" } else { "" };
        assert!(is_told(live, &bearer).await, "{live}");
        let foreign = [&bearer[..], &says("cross-site", "cors", "empty")].concat();
        assert!(!is_told(live, &foreign).await, "{live}");
    }
}

#[tokio::test]
async fn the_session_that_handed_it_in_is_told_the_cookies_when_its_page_leads_there_and_once() {
    let house = Plan::with(Mode::Async).await.build().await;
    let mut browser = Browser::new();
    let task = browser.go(&house, "POST /login").await;
    house.upstream.next().await.answer("303 See Other", LOGGED_IN, "").await;
    house.over(led(&task).task()).await;
    let result = format!("GET /v1/tasks/{}/result", task.task());
    let cookies = async |browser: &Browser, fields: &str| {
        let shown = browser.with(fields).go(&house, &result).await;
        assert_eq!((shown.status, shown.field("location")), (303, "/account"));
        shown.all("set-cookie").into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(cookies(&browser, GOES).await, [""; 0], "its page has not shown the end");
    assert_ne!(browser.page(&house, &task).await.1, "");
    house.clock.advance(RETURN_WITHIN);
    assert_eq!(cookies(&browser, GOES).await, [""; 0], "too late");
    assert_ne!(browser.page(&house, &task).await.1, "", "it never arrived");
    house.clock.advance(RETURN_WITHIN - Duration::from_millis(1));
    let ahead = [GOES, "sec-purpose: prefetch\r\n"].concat();
    for fields in [FRAME, &ahead] {
        assert_eq!(cookies(&browser, fields).await, [""; 0], "{fields}");
    }
    assert_eq!(cookies(&browser, GOES).await, ["session=alice"]);
    assert_eq!(cookies(&browser, GOES).await, [""; 0], "once");
    assert_eq!(browser.page(&house, &task).await.1, "", "and the page stays");
}

#[tokio::test]
async fn a_foreign_page_pushes_nothing_out_of_a_session_that_is_under_way() {
    let house = Plan::with(Mode::Async).await.build().await;
    let mut browser = Browser::new();
    let first = browser.go(&house, "GET /0").await;
    let mut call = house.upstream.next().await;
    for n in 1..SESSION_TASKS_MAX {
        led(&browser.go(&house, &format!("GET /{n}")).await);
    }
    let listed = async |browser: &Browser| {
        let list = browser.clone().go(&house, "GET /v1/session").await;
        list.text().contains(&led(&first).task().to_string())
    };
    for site in [CROSS, "sec-fetch-site: same-site\r\n"] {
        let mut foreign = browser.with(&[GOES, site].concat());
        let page = foreign.go(&house, "GET /planted").await;
        assert_eq!((page.status, page.all("set-cookie")), (202, vec![]), "{site}");
        assert!(page.text().contains("?ticket="), "it follows by its ticket");
    }
    assert!(listed(&browser).await);
    // What is over may go.
    call.answer("200 OK", "", "x").await;
    house.over(first.task()).await;
    let mut foreign = browser.with(&[GOES, CROSS].concat());
    led(&foreign.go(&house, "GET /joins").await);
    assert!(!listed(&browser).await);
    // And what the person asks for by itself takes the place of the oldest.
    led(&browser.go(&house, "GET /wanted").await);
}
