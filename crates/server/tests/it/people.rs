//! What a person is shown whose browser hands in a form: a page, not a document for programs.

use std::time::Duration;

use relais_core::Grace;
use relais_server::config::{Mode, RouteAccess, Run};

use crate::house::{House, Plan, Reply};

const BROWSER: &str = "accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n";
const NAVIGATION: &str = "sec-fetch-mode: navigate\r\nsec-fetch-dest: document\r\n";
/// A person who is given no session: see `navigations` for the others.
const FRAME: &str = "sec-fetch-mode: navigate\r\nsec-fetch-dest: iframe\r\n";

async fn form(house: &House, fields: &str) -> Reply {
    let fields = format!("host: {}\r\n{fields}content-length: 3\r\n", house.address);
    house.call(&format!("POST /form HTTP/1.1\r\n{fields}\r\na=1")).await
}

#[tokio::test]
async fn a_form_that_takes_long_is_answered_with_a_page_that_leads_on() {
    let house = House::with(Mode::Async).await;
    let page = form(&house, &format!("{BROWSER}{FRAME}")).await;
    assert_eq!((page.status, page.field("content-type")), (202, "text/html; charset=utf-8"));
    assert_eq!(
        (page.field("cache-control"), page.field("referrer-policy")),
        ("no-store", "no-referrer")
    );
    let id = page.task();
    // Programs that look at the head alone still find their task.
    assert!(page.field("location").contains(&format!("/v1/tasks/{id}/result?ticket=")));
    assert!(page.field("retry-after").parse::<u32>().is_ok());
    // Its links are paths: they lead to the origin that the browser shows, whatever that is called.
    let own = format!("/v1/tasks/{id}?ticket=");
    assert!(page.text().contains(&format!("data-self=\"{own}")), "{}", page.text());
    assert!(page.text().contains(&format!("data-events=\"/v1/tasks/{id}/events?ticket=")));
    assert!(page.text().contains(&format!("url={own}")), "it loads itself without a script");
    assert!(!page.text().contains("http://"), "{}", page.text());
    // Loaded again it is read from there, and not handed in once more.
    let begin = page.text().find(&own).unwrap();
    let address = page.text()[begin..].split('"').next().unwrap();
    let again = format!("GET {address} HTTP/1.1\r\nhost: a\r\n{BROWSER}\r\n");
    let again = house.call(&again).await;
    assert_eq!((again.status, again.field("vary")), (200, "Accept, Accept-Language"));
    let early = format!("GET {} HTTP/1.1\r\nhost: a\r\n", address.replace('?', "/result?"));
    let shown = house.call(&format!("{early}{BROWSER}{FRAME}\r\n")).await;
    assert_eq!((shown.status, shown.field("content-type")), (202, "text/html; charset=utf-8"));
    assert_eq!(
        house.call(&format!("{early}{BROWSER}sec-fetch-mode: cors\r\n\r\n")).await.json()["id"],
        id.to_string()
    );
}

#[tokio::test]
async fn the_page_speaks_french_to_whoever_likes_that_best() {
    let house = House::with(Mode::Async).await;
    let french = "accept-language: fr-CH, fr;q=0.9, en;q=0.8\r\n";
    let page = form(&house, &format!("{BROWSER}{FRAME}{french}")).await;
    assert_eq!(page.field("content-language"), "fr");
    assert!(page.text().contains("<html lang=\"fr\">") && page.text().contains("Votre demande"));
    let english = form(&house, &format!("{BROWSER}{FRAME}")).await;
    assert!(
        english.text().contains("<html lang=\"en\">") && english.text().contains("Your request")
    );
}

/// The fields of a form that a foreign page sends here bring no cookie, and get none: the page is
/// shown all the same.
#[tokio::test]
async fn whoever_is_shown_a_page_without_a_session_gets_no_cookie() {
    let house = House::with(Mode::Async).await;
    for fields in [
        "sec-fetch-mode: navigate\r\nsec-fetch-dest: iframe\r\n",
        "sec-fetch-mode: navigate\r\nsec-fetch-dest: document\r\nsec-fetch-site: cross-site\r\n",
        "origin: https://evil.example\r\n",
        "origin: null\r\n",
    ] {
        let page = form(&house, &format!("{BROWSER}{fields}")).await;
        assert_eq!((page.status, page.field("content-type")), (202, "text/html; charset=utf-8"));
        assert_eq!(page.all("set-cookie"), [""; 0], "{fields}");
        assert!(page.text().contains("?ticket="), "it is followed by its ticket");
    }
}

/// The page of a task that is not followed by ticket leads nowhere for a browser: it says so.
#[tokio::test]
async fn a_page_says_how_to_ask_where_no_ticket_is_handed_out() {
    let mut plan = Plan::with(Mode::Async).await;
    plan.route().access = RouteAccess::Caller("x-customer".to_owned());
    let house = plan.build().await;
    let fields = format!("{BROWSER}{NAVIGATION}x-customer: 7\r\n");
    let page = form(&house, &fields).await;
    assert_eq!((page.status, page.field("content-type")), (202, "text/html; charset=utf-8"));
    assert_eq!(page.all("set-cookie"), [""; 0]);
    assert!(page.text().contains("<code>x-customer</code>"), "{}", page.text());
    let result = format!("/v1/tasks/{}/result", page.task());
    assert!(page.text().contains(&format!("href=\"{result}\"")), "{}", page.text());
    assert!(!page.text().contains("ticket="));
    let read = format!("GET {result} HTTP/1.1\r\nhost: a\r\nx-customer: 7\r\n\r\n");
    assert_eq!(house.call(&read).await.status, 202, "as it says");
    let french = form(&house, &format!("{fields}accept-language: fr\r\n")).await;
    assert_eq!(french.field("content-language"), "fr");
    assert!(french.text().contains("Votre demande a été acceptée"));
}

/// Where leaving cancels the task its page advises nobody to leave it, and keeps its stream while hidden.
#[tokio::test]
async fn a_page_says_what_becomes_of_the_request_when_it_is_closed() {
    let minute = Grace::of(Duration::from_secs(60));
    let (goes_on, suit_son_cours) = ("your request goes on", "votre demande suit son cours");
    for (grace, holds, english, french) in [
        (None, "false", goes_on, suit_son_cours),
        (minute, "true", "canceled 1 minute after nobody", "annulée au bout de 1 minute"),
        (Some(Grace::ZERO), "true", "canceled as soon as nobody", "annulée dès qu’elle"),
    ] {
        let mut plan = Plan::with(Mode::Async).await;
        plan.route().abandon = grace;
        let house = plan.build().await;
        let page = form(&house, &format!("{BROWSER}{FRAME}")).await;
        assert!(page.text().contains(english), "{}", page.text());
        assert!(page.text().contains(&format!("data-holds=\"{holds}\"")));
        let fields = format!("{BROWSER}{FRAME}accept-language: fr\r\n");
        let page_in_french = form(&house, &fields).await;
        assert!(page_in_french.text().contains(french), "{}", page_in_french.text());
        // Neither the advice nor what is said of a lost connection.
        for said in ["goes on", "come back later", "suit son cours", "revenir plus tard"] {
            let text = [page.text(), page_in_french.text()].concat();
            assert_eq!(text.contains(said), grace.is_none(), "{said}: {text}");
        }
    }
    let mut plan = Plan::with(Mode::Async).await;
    plan.route().access = RouteAccess::Caller("x-customer".to_owned());
    plan.route().abandon = minute;
    let house = plan.build().await;
    let page = form(&house, &format!("{BROWSER}{NAVIGATION}x-customer: 7\r\n")).await;
    assert!(page.text().contains("canceled 1 minute after the last one has left"));
    assert!(!page.text().contains("also if you leave"), "{}", page.text());
}

#[tokio::test]
async fn programs_get_the_document_and_an_answer_in_time_is_the_services_own() {
    let house = House::with(Mode::Async).await;
    for fields in [
        "",
        "accept: */*\r\n",
        "accept: application/json, text/html;q=0.9\r\n",
        "sec-fetch-mode: navigate\r\n",
    ] {
        let ticket = form(&house, fields).await;
        assert_eq!(ticket.field("content-type"), "application/json", "{fields}");
        assert!(ticket.json()["ticket"].is_string());
    }
    let mut plan = Plan::with(Mode::Auto).await;
    plan.route().queue = "other".parse().unwrap();
    let house = plan.build().await;
    let fields = format!("host: a\r\n{BROWSER}{NAVIGATION}content-length: 0\r\n");
    let mut client = house.send(&format!("POST /form HTTP/1.1\r\n{fields}\r\n")).await;
    house.upstream.next().await.answer("200 OK", "content-type: text/html\r\n", "<p>done").await;
    assert_eq!(client.reply().await.text(), "<p>done");
}

/// The documents of problems are for programs, too.
#[tokio::test]
async fn a_form_that_is_refused_or_cannot_be_passed_on_is_answered_with_words() {
    let mut plan = Plan::with(Mode::Sync).await;
    // Nobody listens on port 1.
    plan.route().run = Run::Upstream("http://127.0.0.1:1".parse().unwrap());
    let house = plan.build().await;
    let page = form(&house, &format!("{BROWSER}accept-language: fr\r\n")).await;
    assert_eq!((page.status, page.field("content-type")), (502, "text/html; charset=utf-8"));
    assert_eq!((page.field("relais-origin"), page.field("cache-control")), ("relais", "no-store"));
    assert!(page.text().contains("Le service est injoignable."), "{}", page.text());
    assert_eq!(form(&house, "").await.code(), "upstream-unreachable");

    let house = House::with(Mode::Async).await;
    let ticket = form(&house, "").await;
    house.upstream.next().await.die();
    house.over(ticket.task()).await;
    let path = ticket.field("location").split_once("/v1/").unwrap().1;
    let read = |fields: &str| format!("GET /v1/{path} HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
    let page = house.call(&read(BROWSER)).await;
    assert_eq!((page.status, page.field("content-type")), (502, "text/html; charset=utf-8"));
    assert!(!page.text().contains("id=\"result\""), "it leads nowhere: {}", page.text());
    assert_eq!(house.call(&read("")).await.code(), "outcome-unknown");
}
