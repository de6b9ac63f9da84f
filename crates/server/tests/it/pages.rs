//! The page of a task, as it is made: what it says, in which language, and what may be done on it. What a
//! browser makes of it: `tests/peers/page.mjs`.

use std::time::Duration;

use relais_api::Task;
use relais_engine::Config;
use relais_server::config::{Logo, Page, ServerConfig};
use serde_json::{Value, json};

use crate::api::{Answer, Api, Call, call, get, post};
use crate::sessions::{self, a_task, by_page, cookie_of, joining};

/// The most that a page has, bytes. It has fewer than the contract says of one that is compressed.
const PAGE_BYTES_MAX: usize = 30_000;
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

async fn page(api: &Api, task: &Value) -> Answer {
    let link = task["links"]["self"].as_str().unwrap();
    api.call(get(link).field("accept", BROWSER)).await
}

async fn french(api: &Api, task: &Value) -> Answer {
    let link = task["links"]["self"].as_str().unwrap();
    api.call(get(link).field("accept", BROWSER).field("accept-language", "fr-CH, en;q=0.5")).await
}

/// The text of the element with this id, without markup.
fn part(page: &Answer, id: &str) -> String {
    let text = page.text();
    let begin = text.find(&format!("id=\"{id}\"")).unwrap_or_else(|| panic!("no {id}: {text}"));
    let text = &text[begin..];
    let (tag, inside) = text.split_once('>').unwrap();
    if tag.ends_with(" hidden") {
        return String::new();
    }
    let end =
        ["</p>", "</h1>", "</div>", "</details>\n"].iter().filter_map(|end| inside.find(end)).min();
    let mut plain = String::new();
    let mut is_tag = false;
    for character in inside[..end.unwrap()].chars() {
        match character {
            '<' => is_tag = true,
            '>' => is_tag = false,
            character if !is_tag => plain.push(character),
            _ => {}
        }
    }
    plain.trim().to_owned()
}

#[tokio::test]
async fn it_tells_place_and_reason_then_progress_then_the_answer() {
    let api = Api::new().await;
    let before = api.submit().await;
    let task = api.submit().await;
    let queued = page(&api, &task).await;
    assert_eq!(part(&queued, "state"), "In line");
    assert_eq!(part(&queued, "lead"), "It starts as soon as somebody is there to work on it.");
    assert!(part(&queued, "outlook").starts_with("Number 2 in line."));
    assert!(queued.text().contains("<progress max=\"100\" aria-label"), "nothing is known");

    api.lease().await;
    assert_eq!(part(&page(&api, &before).await, "state"), "In progress");
    let token = api.lease().await["token"].clone();
    let progress = json!({"done": 21, "total": 50, "message": "line 21 <of 50>"});
    let items = json!({"items": [{"token": token, "progress": progress}]});
    assert_eq!(api.call(post("/v1/leases/heartbeat", &items)).await.status, 200);
    let running = page(&api, &task).await;
    assert_eq!(part(&running, "lead"), "It is being worked on right now.");
    assert!(running.text().contains("value=\"42\"") && running.text().contains("42%"));
    assert!(running.text().contains("line 21 &lt;of 50&gt;"));
    assert!(running.text().contains("<title>42% · Your request</title>"));
    assert!(french(&api, &task).await.text().contains("42\u{202f}%"));

    let settle = json!({"token": token, "outcome": "succeed", "result": 1,
        "message": {"en": "All 50 are there.", "fr": "Les 50 y sont."}});
    assert_eq!(api.settle(settle).await["status"], 200);
    let done = page(&api, &task).await;
    assert_eq!(
        (part(&done, "state"), part(&done, "lead")),
        ("Done".into(), "All 50 are there.".into())
    );
    assert!(done.text().contains("class=\"main\" href=\"/v1/tasks/"));
    assert!(!done.text().contains("http-equiv"), "it is over: nothing loads itself again");
    let french = french(&api, &task).await;
    assert_eq!(part(&french, "lead"), "Les 50 y sont.");
    assert_eq!(french.header("content-language"), "fr");
}

#[tokio::test]
async fn it_tells_what_went_wrong_while_it_is_tried_again_and_what_to_do_in_the_end() {
    let mut config = Config::default();
    let policy = config.template.as_mut().unwrap();
    policy.retry.max_attempts = 2;
    policy.retry.initial = Duration::from_secs(60);
    let api = Api::with(ServerConfig::on_loopback(), config).await;
    let task = api.submit().await;
    let fail =
        |token: &Value| json!({"token": token, "outcome": "fail", "problem": {"detail": "secret"}});
    let lease = api.lease().await;
    assert_eq!(api.settle(fail(&lease["token"])).await["status"], 200);
    let waits = page(&api, &task).await;
    assert_eq!(part(&waits, "state"), "Trying again soon");
    assert!(part(&waits, "lead").starts_with("It is tried again in "), "{}", part(&waits, "lead"));
    assert_eq!(part(&waits, "since"), "Sent just now");
    assert_eq!(part(&waits, "trouble"), "The last try did not work out: It could not be done.");
    assert!(!waits.text().contains("secret"), "what a program says is for programs");
    assert!(waits.text().contains("id=\"bar\" hidden"), "nothing moves where nothing is done");

    api.clock.advance(Duration::from_secs(3_600));
    let lease = api.lease().await;
    assert_eq!(api.settle(fail(&lease["token"])).await["status"], 200);
    let failed = page(&api, &task).await;
    assert_eq!(part(&failed, "state"), "Did not work");
    assert_eq!(part(&failed, "since"), "Sent 1 hour ago · try 2");
    assert_eq!(part(&failed, "lead"), "It could not be done.");
    assert!(part(&failed, "advice").contains("give the number at the bottom"));
    // The link that came with the 202 only reads.
    assert!(!failed.text().contains("/retry"), "{}", failed.text());
    assert_eq!(part(&french(&api, &task).await, "state"), "Sans succès");
}

#[tokio::test]
async fn times_are_told_as_they_lie_to_the_present() {
    let api = Api::new().await;
    let task = api.submit().await;
    assert!(page(&api, &task).await.text().contains(">just now</time>"));
    api.clock.advance(Duration::from_secs(150));
    let later = page(&api, &task).await;
    let text = later.text();
    assert!(text.contains(">3 minutes ago</time> · <time data-as=\"clock\""), "{text}");
    assert!(text.contains(">14 November 2023 at 22:13 UTC</time>"), "{text}");
    assert!(french(&api, &task).await.text().contains(">il y a 3 minutes</time>"));
}

#[tokio::test]
async fn buttons_are_forms_that_lead_back_to_the_page() {
    let api = Api::new().await;
    let task = api.submit().await;
    // On this machine, and without its ticket, one may all.
    let path = format!("/v1/tasks/{}", task["id"].as_str().unwrap());
    let shown = api.call(get(&path).field("accept", BROWSER).field("host", "localhost")).await;
    assert!(shown.text().contains(&format!("action=\"{path}/cancel\"")), "{}", shown.text());
    // A page that tells nobody its address sends no origin.
    let press = |what: &str| {
        let form = call("POST", &format!("{path}/{what}")).field("host", "localhost");
        let form = form.field("accept", BROWSER).field("origin", "null");
        let form = form.field("content-type", "application/x-www-form-urlencoded");
        form.field("sec-fetch-mode", "navigate").field("sec-fetch-dest", "document")
    };
    let foreign = api.call(press("cancel").field("sec-fetch-site", "cross-site")).await;
    assert_eq!(foreign.status, 403);
    assert!(foreign.text().contains("(<code>cross-site</code>)"), "in words: {}", foreign.text());
    let pressed = api.call(press("cancel").field("sec-fetch-site", "same-origin")).await;
    assert_eq!((pressed.status.as_u16(), pressed.header("location")), (303, path.as_str()));
    let canceled = api.call(get(&path).field("accept", BROWSER).field("host", "localhost")).await;
    assert_eq!(part(&canceled, "state"), "Canceled");
    assert!(canceled.text().contains(&format!("action=\"{path}/retry\"")));
    let pressed = api.call(press("retry").field("sec-fetch-site", "same-origin")).await;
    assert_eq!(pressed.status, 303);
    let there = pressed.header("location").to_owned();
    assert!(there.starts_with(&format!("{path}?ticket=")), "a fresh ticket: {there}");
    let again = api.call(get(&there).field("accept", BROWSER)).await;
    assert_eq!(part(&again, "state"), "In line");
    // Programs are told as ever.
    let told = api.call(call("POST", &format!("{path}/cancel")).field("host", "localhost")).await;
    assert_eq!(told.json()["status"], "canceled");
}

#[tokio::test]
async fn a_button_keeps_the_page_in_the_browser_and_another_takes_it_off_the_list() {
    let api = sessions::api().await;
    let (id, ticket) = a_task(&api).await;
    let path = format!("/v1/tasks/{id}");
    let by_link = || get(&format!("{path}?ticket={ticket}")).field("accept", BROWSER);
    let shown = api.call(by_link()).await;
    let action = format!("<form method=\"post\" action=\"/v1/session/{id}?ticket={ticket}\"");
    assert!(shown.text().contains(&action), "{}", shown.text());
    assert!(shown.header("content-security-policy").contains("form-action 'self'"));
    let framed = by_link().field("sec-fetch-mode", "navigate").field("sec-fetch-dest", "iframe");
    assert_eq!(part(&api.call(framed).await, "way"), "", "a frame begins no session");
    let form = |call: Call| call.field("accept", BROWSER).field("origin", "null");
    let pressed = api.call(form(joining(&id, &ticket))).await;
    let leads = (pressed.status.as_u16(), pressed.header("location").to_owned());
    assert_eq!(leads, (303, format!("../tasks/{id}")));
    let cookie = cookie_of(&pressed);

    let kept = get(&path).field("accept", BROWSER).field("cookie", &cookie);
    let kept = api.call(kept).await;
    assert!(kept.text().contains("<a href=\"/v1/session\">All your requests</a>"));
    assert!(!kept.text().contains("ticket="), "it takes none any more");
    let again = api.call(by_link().field("cookie", &cookie)).await;
    assert_eq!(part(&again, "way"), "", "it is kept already");

    let list = || get("/v1/session").field("accept", BROWSER).field("cookie", &cookie);
    let listed = api.call(list()).await;
    assert_eq!(part(&listed, "asked"), "Your requests");
    let link = format!("<a id=\"a0\" href=\"{path}\">Your request</a>");
    assert!(listed.text().contains(&link), "{}", listed.text());
    assert!(listed.text().contains("In line</span>") && listed.text().contains("just now</time>"));
    let remove = format!("/v1/session/{id}/forget");
    assert!(listed.text().contains(&format!("<form method=\"post\" action=\"{remove}\"")));
    let all = "<form method=\"post\" action=\"/v1/session/forget\" data-then=\"/v1/session\">\
               <button>Remove all</button></form>";
    assert!(listed.text().contains(all), "{}", listed.text());
    let french = api.call(list().field("accept-language", "fr")).await;
    assert!(french.text().contains("<button>Tout retirer</button>"));
    let press = || call("POST", &remove).field("cookie", &cookie);
    let foreign = api.call(press().field("sec-fetch-site", "same-site")).await;
    assert_eq!(foreign.code(), "cross-site");
    let removed = api.call(form(by_page(press()))).await;
    assert_eq!((removed.status.as_u16(), removed.header("location")), (303, "../../session"));
    assert_eq!(api.call(by_page(press())).await.status, 204, "a program is led nowhere");
    let empty = api.call(list()).await;
    assert!(part(&empty, "advice").starts_with("This browser follows no request."));
    assert!(!empty.text().contains("<form"));
    let french = api.call(list().field("accept-language", "fr")).await;
    assert!(part(&french, "advice").starts_with("Ce navigateur ne suit aucune demande."));
}

#[tokio::test]
async fn a_link_that_leads_nowhere_any_more_says_so_in_words() {
    let api = sessions::api().await;
    let (id, ticket) = a_task(&api).await;
    let link = format!("/v1/tasks/{id}?ticket={ticket}");
    let by_person = |link: &str| get(link).field("accept", BROWSER);
    let heading = |page: &Answer| {
        let (_, rest) = page.text().split_once("<h1>").unwrap();
        rest.split_once("</h1>").unwrap().0.to_owned()
    };
    for (link, status) in [
        (format!("/v1/tasks/{id}"), 401),
        (format!("/v1/tasks/{id}?ticket={}x", &ticket[..ticket.len() - 1]), 401),
        (format!("/v1/tasks/task_01jdk3v5x8e2rbk0t6q9z4m7ha?ticket={ticket}"), 404),
    ] {
        let page = api.call(by_person(&link)).await;
        assert_eq!(page.status.as_u16(), status, "{link}");
        assert_eq!(heading(&page), "This page cannot be shown", "{link}");
        assert_eq!(page.header("cache-control"), "no-store");
        assert_eq!(page.header("referrer-policy"), "no-referrer");
    }
    api.clock.advance(Duration::from_secs(400 * 86_400));
    let ended = api.call(by_person(&link).field("accept-language", "fr")).await;
    assert_eq!(heading(&ended), "Cette page ne peut pas être montrée");
    assert_eq!(api.call(get(&link)).await.code(), "ticket-expired", "for programs as ever");
}

#[tokio::test]
async fn its_script_reads_what_differs_alone() {
    let api = Api::new().await;
    let task = api.submit().await;
    let link = task["links"]["self"].as_str().unwrap();
    let asked = get(link).field("accept", "text/html").field("x-requested-with", "relais");
    let part = api.call(asked).await;
    assert!(part.text().starts_with("<main id=\"task\""), "{}", part.text());
    assert!(part.text().trim_end().ends_with("</main>"));
    let whole = page(&api, &task).await;
    assert!(whole.text().contains(part.text()), "it is the same");
}

/// A status that is added later is none that it could know.
#[tokio::test]
async fn its_script_goes_by_terminal_and_knows_no_status() {
    let api = Api::new().await;
    let task = api.submit().await;
    let shown = page(&api, &task).await;
    assert!(shown.text().contains("data-terminal=\"false\""));
    let (_, script) = shown.text().split_once("<script>").unwrap();
    for status in ["queued", "running", "waiting", "succeeded", "failed", "canceled"] {
        assert!(!script.contains(&format!("\"{status}\"")), "{status}");
    }
    let cancel = call("POST", &format!("/v1/tasks/{}/cancel", task["id"].as_str().unwrap()));
    assert_eq!(api.call(cancel.field("host", "localhost")).await.status, 200);
    assert!(page(&api, &task).await.text().contains("data-terminal=\"true\""));
}

#[tokio::test]
async fn the_question_whether_to_cancel_is_a_page_that_does_not_load_itself_again() {
    let api = Api::new().await;
    let task = api.submit().await;
    let path = format!("/v1/tasks/{}", task["id"].as_str().unwrap());
    let read = |path: &str| get(path).field("accept", BROWSER).field("host", "localhost");
    let shown = api.call(read(&path)).await;
    let link = format!("href=\"{path}?ask\">Cancel…</a><details class=\"ask\" hidden>");
    assert!(shown.text().contains(&link), "{}", shown.text());
    let asks = api.call(read(&format!("{path}?ask"))).await;
    assert!(!asks.text().contains("http-equiv"), "{}", asks.text());
    assert!(asks.text().contains(&format!("href=\"{path}\">Do not cancel</a>")));
    let question = format!("<form method=\"post\" action=\"{path}/cancel\"><button>");
    assert!(asks.text().contains("<details class=\"ask\" open>"));
    assert!(asks.text().contains(&question), "{}", asks.text());
    assert_eq!(api.call(read(&format!("{path}?asks"))).await.status, 400);
}

#[tokio::test]
async fn a_page_is_small_and_nobody_elses() {
    let api = Api::new().await;
    let task = api.submit().await;
    let token = api.lease().await["token"].clone();
    let message = "<".repeat(2_048);
    let items =
        json!({"items": [{"token": token, "progress": {"percent": 1, "message": message}}]});
    assert_eq!(api.call(post("/v1/leases/heartbeat", &items)).await.status, 200);
    for page in [page(&api, &task).await, french(&api, &task).await] {
        assert!(page.body.len() <= PAGE_BYTES_MAX, "{} bytes", page.body.len());
        assert_eq!(page.header("cache-control"), "no-store");
        assert_eq!(page.header("referrer-policy"), "no-referrer");
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        let policy = page.header("content-security-policy");
        for rule in [
            "default-src 'none'",
            "script-src 'sha256-",
            "frame-ancestors 'self'",
            "form-action 'self'",
        ] {
            assert!(policy.contains(rule), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(!page.text().contains(" style="));
    }
}

#[tokio::test]
async fn it_bears_the_name_the_colour_and_the_logo_of_its_operator() {
    let mut server = ServerConfig::on_loopback();
    let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\"/>";
    server.page = Page { name: Some("Ma & Pa".to_owned()), ..Page::default() };
    let named = Api::with(server.clone(), Config::default()).await;
    let task = named.submit().await;
    let shown = page(&named, &task).await;
    assert!(shown.text().contains("<title>In line · Your request – Ma &amp; Pa</title>"));
    // What its script puts in front of the name, which it takes from what is left of the title.
    assert!(shown.text().contains("data-title=\"In line · Your request\""));
    assert!(shown.text().contains("<header>Ma &amp; Pa</header>"));
    let icon = "<link rel=\"icon\" href=\"data:,\">";
    assert!(shown.text().contains(icon), "browsers do not ask the service for one");

    server.page.logo = Some(Logo::new(svg.as_bytes().to_vec()).unwrap().into());
    server.page.color = Some("#ffe600".parse().unwrap());
    server.api_prefix = "/_relais".to_owned();
    let api = Api::with(server, Config::default()).await;
    let task = api.call(post("/_relais/v1/tasks", &json!({"queue": "work"}))).await.json();
    let shown = page(&api, &task).await;
    assert!(shown.text().contains("--fill:#ffe600;--on-fill:#000000"));
    assert!(!shown.text().contains("href=\"data:,\""), "its icon is the logo");
    let source = shown.text().split("<img src=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(source.starts_with("/_relais/v1/page/") && source.ends_with(".svg"), "{source}");
    assert!(shown.text().contains("alt=\"Ma &amp; Pa\""));
    let logo = api.call(get(source)).await;
    assert_eq!((logo.text(), logo.header("content-type")), (svg, "image/svg+xml"));
    assert_eq!(logo.header("x-content-type-options"), "nosniff");
    assert!(logo.header("content-security-policy").contains("sandbox"));
    assert!(logo.header("cache-control").contains("immutable"));
    let other = api.call(get("/_relais/v1/page/0000000000000000.svg")).await;
    assert_eq!(other.code(), "not-found");
    let nobodys = Api::new().await;
    let task: Task = serde_json::from_value(nobodys.submit().await).unwrap();
    let link = get(&task.links.this).field("accept", BROWSER);
    assert!(!nobodys.call(link).await.text().contains("<header"));
}
