//! Sessions of browsers: a cookie by which a browser follows its tasks, without a ticket in any address.

use std::time::Duration;

use http::StatusCode;
use relais_core::limits;
use relais_server::auth::encode_key;
use relais_server::config::{Scopes, ServerConfig};
use serde_json::{Value, json};

use crate::api::{Answer, Api, Call, call, get, key, post, read_until};

/// Calls that are not of a key need a ticket or a session here.
pub(crate) async fn api() -> Api {
    Api::with_keys(vec![key("rk_all", "default", Scopes::ALL)]).await
}

/// A task that ends in two hours, by its id, and its ticket.
pub(crate) async fn a_task(api: &Api) -> (String, String) {
    let document = json!({"queue": "work", "input": {}, "deadline": "1h", "retention": "1h"});
    let submit = post("/v1/tasks", &document).field("relais-api-key", "rk_all");
    let task = api.call(submit).await.json();
    let text = |name: &str| task[name].as_str().unwrap().to_owned();
    (text("id"), text("ticket"))
}

/// Another ticket of a task, with these grants.
pub(crate) async fn granting(api: &Api, id: &str, grants: &[&str]) -> String {
    let document = json!({ "grants": grants });
    let call = post(&format!("/v1/tasks/{id}/tickets"), &document);
    let answer = api.call(call.field("relais-api-key", "rk_all")).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    answer.json()["ticket"].as_str().unwrap().to_owned()
}

/// What a page of our own sends with each call.
pub(crate) fn by_page(call: Call) -> Call {
    call.field("sec-fetch-site", "same-origin")
}

/// What a browser sends where a person follows a link of a page of the application.
pub(crate) fn by_person(call: Call) -> Call {
    let call =
        by_page(call).field("sec-fetch-mode", "navigate").field("sec-fetch-dest", "document");
    call.field("sec-fetch-user", "?1").field("referer", "http://127.0.0.1:0/orders")
}

/// The button of the page that a link with a ticket opened.
pub(crate) fn joining(id: &str, ticket: &str) -> Call {
    by_page(call("POST", &format!("/v1/session/{id}?ticket={ticket}")))
}

/// The cookie that an answer sets, as the browser sends it back.
pub(crate) fn cookie_of(answer: &Answer) -> String {
    answer.header("set-cookie").split(';').next().unwrap().to_owned()
}

/// A task that a browser follows: its id and the cookie.
pub(crate) async fn followed(api: &Api, grants: &[&str]) -> (String, String) {
    let (id, _) = a_task(api).await;
    let ticket = granting(api, &id, grants).await;
    let joined = api.call(joining(&id, &ticket)).await;
    assert_eq!(joined.status, StatusCode::NO_CONTENT, "{}", joined.text());
    (id, cookie_of(&joined))
}

pub(crate) async fn ids(api: &Api, cookie: &str) -> Vec<String> {
    let list = api.call(get("/v1/session").field("cookie", cookie)).await;
    assert_eq!(list.status, StatusCode::OK, "{}", list.text());
    let items = list.json()["items"].as_array().unwrap().clone();
    items.iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect()
}

async fn status(api: &Api, target: &str, cookie: &str) -> StatusCode {
    api.call(get(target).field("cookie", cookie)).await.status
}

#[tokio::test]
async fn a_session_counts_as_a_ticket_and_carries_none_in_links() {
    let api = api().await;
    let (id, cookie) = followed(&api, &["read", "cancel"]).await;
    let by_cookie = |target: &str| get(target).field("cookie", &format!("a=b; {cookie}"));
    let task = api.call(by_cookie(&format!("/v1/tasks/{id}"))).await;
    assert_eq!(task.status, StatusCode::OK, "{}", task.text());
    let links = &task.json()["links"];
    assert!(!task.text().contains("ticket"), "{}", task.text());
    assert!(links["cancel"].is_string() && links["retry"].is_null(), "as it was granted: {links}");
    for part in ["why", "events", "result"] {
        let by = by_cookie(&format!("/v1/tasks/{id}/{part}")).field("accept", "application/json");
        let answer = api.call(by).await;
        assert!(answer.status.is_success(), "{part}: {}", answer.text());
    }
    let many = api.open(by_cookie(&format!("/v1/events?task={id}"))).await;
    drop(read_until(many, |text| text.contains("event: relais.open")).await);
    assert_eq!(api.call(by_cookie("/v1/tasks")).await.code(), "forbidden");
    let erase = by_page(call("DELETE", &format!("/v1/tasks/{id}?cancel=true")));
    assert_eq!(api.call(erase.field("cookie", &cookie)).await.code(), "forbidden");
    let retry = by_page(call("POST", &format!("/v1/tasks/{id}/retry")));
    assert_eq!(api.call(retry.field("cookie", &cookie)).await.code(), "forbidden");
    let cancel = by_page(call("POST", &format!("/v1/tasks/{id}/cancel")));
    let canceled = api.call(cancel.field("cookie", &cookie)).await;
    assert_eq!(canceled.json()["status"], "canceled", "{}", canceled.text());
}

#[tokio::test]
async fn the_cookie_is_bound_to_https_and_plain_on_this_machine_alone() {
    for (public_url, begin, end) in [
        (None, "relais=rs_", "; Path=/; Max-Age=7201; HttpOnly; SameSite=Lax"),
        (
            Some("https://shop.example"),
            "__Host-relais=rs_",
            "; Path=/; Max-Age=7201; HttpOnly; SameSite=Lax; Secure",
        ),
    ] {
        let keys = vec![key("rk_all", "default", Scopes::ALL)];
        let public_url = public_url.map(|url| url.parse().unwrap());
        let server = ServerConfig { keys, public_url, ..ServerConfig::on_loopback() };
        let api = Api::with(server, relais_engine::Config::default()).await;
        let (id, ticket) = a_task(&api).await;
        let answer = api.call(joining(&id, &ticket)).await;
        let line = answer.header("set-cookie");
        assert!(line.starts_with(begin) && line.ends_with(end), "{line}");
        let (name, text) =
            cookie_of(&answer).split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let other = if name == "relais" { "__Host-relais" } else { "relais" };
        let target = format!("/v1/tasks/{id}");
        assert_eq!(status(&api, &target, &format!("{name}={text}")).await, StatusCode::OK);
        let under_other = status(&api, &target, &format!("{other}={text}")).await;
        assert_eq!(under_other, StatusCode::UNAUTHORIZED, "that name is nobody's here");
    }
    let keys = vec![key("rk_all", "default", Scopes::ALL)];
    let public_url = Some("http://intranet".parse().unwrap());
    let server = ServerConfig { keys, public_url, ..ServerConfig::on_loopback() };
    let api = Api::with(server, relais_engine::Config::default()).await;
    let (id, ticket) = a_task(&api).await;
    assert_eq!(api.call(joining(&id, &ticket)).await.code(), "not-available", "none would keep it");
    // Nor is a name that a proxy has put there, or one of this machine, taken for the scheme.
    let api = self::api().await;
    let (id, ticket) = a_task(&api).await;
    for (name, value) in [("host", "192.168.1.5:8080"), ("x-forwarded-proto", "https")] {
        let joined = api.call(joining(&id, &ticket).set(name, value)).await;
        assert_eq!((joined.code().as_str(), joined.header("set-cookie")), ("not-available", ""));
    }
}

#[tokio::test]
async fn the_header_counts_before_the_query_and_that_before_the_cookie() {
    let api = api().await;
    let (id, cookie) = followed(&api, &["read"]).await;
    let (other, ticket) = a_task(&api).await;
    let target = format!("/v1/tasks/{id}");
    let by_cookie = |target: &str| get(target).field("cookie", &cookie);
    let query = format!("{target}?ticket={ticket}");
    assert_eq!(api.call(by_cookie(&query)).await.code(), "task-not-found", "of another task");
    let bad = format!("{target}?ticket=nonsense");
    assert_eq!(api.call(by_cookie(&bad)).await.code(), "unauthorized");
    let header = by_cookie(&bad).field("authorization", &format!("Bearer {ticket}"));
    assert_eq!(api.call(header).await.code(), "task-not-found");
    let its_own = get(&format!("/v1/tasks/{other}?ticket={ticket}")).field("cookie", &cookie);
    let answer = api.call(its_own).await;
    assert!(answer.text().contains(&format!("?ticket={ticket}")), "{}", answer.text());
}

#[tokio::test]
async fn two_tabs_on_two_nodes_fill_one_session() {
    let first = Api::new().await;
    let (name, value) = encode_key(&key("rk_all", "default", Scopes::ALL));
    first.engine.put_secret(&name, Some(value)).await.unwrap();
    let second = first.beside().await;
    let (one, cookie) = followed(&first, &["read"]).await;
    assert_eq!(
        ids(&second, &cookie).await,
        [one.as_str()],
        "what one node made works on the other"
    );
    let (two, two_ticket) = a_task(&first).await;
    let (three, three_ticket) = a_task(&second).await;
    let join = |id: &str, ticket: &str| joining(id, ticket).field("cookie", &cookie);
    let (by_first, by_second) =
        tokio::join!(first.call(join(&two, &two_ticket)), second.call(join(&three, &three_ticket)));
    for answer in [by_first, by_second] {
        assert_eq!(cookie_of(&answer), cookie, "no tab loses its cookie to the other");
    }
    let mut expected = [one, two, three];
    expected.sort_unstable();
    for api in [&first, &second] {
        let mut found = ids(api, &cookie).await;
        found.sort_unstable();
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn a_list_is_told_page_by_page_and_forgets_what_it_is_told_to() {
    let api = api().await;
    let (first, cookie) = followed(&api, &["read"]).await;
    let mut tasks = vec![first];
    for _ in 0..2 {
        let (id, ticket) = a_task(&api).await;
        api.call(joining(&id, &ticket).field("cookie", &cookie)).await;
        tasks.push(id);
    }
    tasks.sort_unstable();
    tasks.reverse();
    assert_eq!(ids(&api, &cookie).await, tasks, "newest first");
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let by = get(&format!("/v1/session?limit=2{after}")).field("cookie", &cookie);
        let page = api.call(by).await;
        assert_eq!(page.header("cache-control"), "no-store");
        assert!(!page.text().contains("ticket"), "{}", page.text());
        let page = page.json();
        seen.extend(page["items"].as_array().unwrap().iter().map(|t| t["id"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(Value::from(seen), json!(tasks));
    let page = get("/v1/session").field("cookie", &cookie).field("accept", "text/html");
    let page = api.call(page).await;
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(tasks.iter().all(|id| page.text().contains(id)) && !page.text().contains("ticket="));

    let forget = |target: &str| by_page(call("DELETE", target)).field("cookie", &cookie);
    let one = format!("/v1/session/{}", tasks[1]);
    assert_eq!(api.call(forget(&one)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(api.call(forget(&one)).await.status, StatusCode::NO_CONTENT, "again");
    assert_eq!(ids(&api, &cookie).await, [tasks[0].clone(), tasks[2].clone()]);
    let forgotten = status(&api, &format!("/v1/tasks/{}", tasks[1]), &cookie).await;
    assert_eq!(forgotten, StatusCode::NOT_FOUND);
    let all = api.call(forget("/v1/session")).await;
    assert_eq!(all.status, StatusCode::NO_CONTENT);
    assert!(all.header("set-cookie").starts_with("relais=; Path=/; Max-Age=0"), "it is taken back");
    assert_eq!(ids(&api, &cookie).await, [""; 0]);
    assert_eq!(status(&api, &format!("/v1/tasks/{}", tasks[0]), &cookie).await, 401);
    assert_eq!(api.call(get("/v1/session")).await.json(), json!({"items": []}), "without a cookie");
}

/// On a shared computer sign-out is a plain form, whatever scripts are allowed.
#[tokio::test]
async fn a_form_of_our_own_origin_ends_the_session_and_no_other() {
    let api = api().await;
    let forgets = |cookie: &str| call("POST", "/v1/session/forget").field("cookie", cookie);
    for (accept, status, location) in [("text/html,*/*;q=0.8", 303, "../session"), ("*/*", 204, "")]
    {
        let (id, cookie) = followed(&api, &["read"]).await;
        for foreign in ["cross-site", "same-site", "none"] {
            let refused = forgets(&cookie).field("sec-fetch-site", foreign).field("accept", accept);
            assert_eq!(api.call(refused).await.status, StatusCode::FORBIDDEN, "{foreign}");
        }
        let refused = api.call(forgets(&cookie).field("origin", "https://evil.example")).await;
        assert_eq!(refused.code(), "cross-site");
        let query = by_page(call("POST", "/v1/session/forget?x=1")).field("cookie", &cookie);
        assert_eq!(api.call(query).await.code(), "invalid-parameter");
        assert_eq!(ids(&api, &cookie).await, std::slice::from_ref(&id), "nothing has changed");
        let kind = "application/x-www-form-urlencoded";
        let form = by_page(forgets(&cookie)).field("accept", accept).field("content-type", kind);
        let done = api.call(form).await;
        assert_eq!((done.status.as_u16(), done.header("location")), (status, location));
        assert!(done.header("set-cookie").starts_with("relais=; Path=/; Max-Age=0"));
        assert_eq!(ids(&api, &cookie).await, [""; 0]);
        assert_eq!(self::status(&api, &format!("/v1/tasks/{id}"), &cookie).await, 401);
    }
    let nobody = by_page(call("POST", "/v1/session/forget"));
    assert_eq!(api.call(nobody).await.status, 204, "also without a session");
}

#[tokio::test]
async fn the_51st_task_takes_the_place_of_the_oldest_that_is_over() {
    let api = api().await;
    let (first, cookie) = followed(&api, &["read"]).await;
    let mut tasks = vec![first];
    while tasks.len() < limits::SESSION_TASKS_MAX {
        let (id, ticket) = a_task(&api).await;
        api.call(joining(&id, &ticket).field("cookie", &cookie)).await;
        tasks.push(id);
    }
    let cancel = call("POST", &format!("/v1/tasks/{}/cancel", tasks[20]));
    api.call(cancel.field("relais-api-key", "rk_all")).await;
    for leaves in [20, 0] {
        let (id, ticket) = a_task(&api).await;
        api.call(joining(&id, &ticket).field("cookie", &cookie)).await;
        let found = ids(&api, &cookie).await;
        assert!(found.contains(&id) && !found.contains(&tasks[leaves]), "{leaves}");
        assert_eq!(found.len(), limits::SESSION_TASKS_MAX);
    }
}

#[tokio::test(start_paused = true)]
async fn a_right_ends_in_its_time_and_with_it_the_streams_it_gave() {
    let api = api().await;
    let (long, cookie) = followed(&api, &["read"]).await;
    let (short, _) = a_task(&api).await;
    let tickets = format!("/v1/tasks/{short}/tickets");
    let minute = post(&tickets, &json!({"expires_in": "1m"})).field("relais-api-key", "rk_all");
    let ticket = api.call(minute).await.json()["ticket"].as_str().unwrap().to_owned();
    api.call(joining(&short, &ticket).field("cookie", &cookie)).await;
    let streams = [
        format!("/v1/tasks/{short}/events"),
        format!("/v1/events?task={short}"),
        format!("/v1/events?task={short}&task={long}"),
    ];
    let mut open = Vec::new();
    for target in streams {
        let by = get(&target).field("cookie", &cookie);
        let answer = api.open(by.field("accept", "text/event-stream")).await;
        open.push(read_until(answer, |text| text.contains("event: relais.open")).await.1);
    }
    let opened = tokio::time::Instant::now();
    for mut rest in open {
        while let Some(piece) = futures_util::StreamExt::next(&mut rest).await {
            piece.unwrap();
        }
    }
    assert!(opened.elapsed() < limits::STREAM_LIFETIME_MAX / 2, "{:?}", opened.elapsed());
    api.clock.advance(Duration::from_secs(61));
    assert_eq!(status(&api, &format!("/v1/tasks/{short}"), &cookie).await, StatusCode::NOT_FOUND);
    assert_eq!(ids(&api, &cookie).await, [long.as_str()]);
    api.clock.advance(Duration::from_secs(2 * 3_600 + 2));
    assert_eq!(ids(&api, &cookie).await, [""; 0], "it has ended with its last right");
    assert_eq!(status(&api, &format!("/v1/tasks/{long}"), &cookie).await, 401);
}

/// Whoever threw cookies away kept sessions from others for as long as tasks are kept.
#[tokio::test]
async fn a_session_whose_cookie_never_came_back_ends_after_an_hour() {
    let api = api().await;
    for (comes_back, then) in [(true, StatusCode::OK), (false, StatusCode::UNAUTHORIZED)] {
        let (id, cookie) = followed(&api, &["read"]).await;
        let task = format!("/v1/tasks/{id}");
        if comes_back {
            assert_eq!(status(&api, &task, &cookie).await, StatusCode::OK);
        }
        api.clock.advance(limits::SESSION_UNSEEN_MAX);
        assert_eq!(status(&api, &task, &cookie).await, then, "{comes_back}");
    }
}

/// In a frame the person does not see whose page it is.
#[tokio::test]
async fn nothing_joins_in_a_frame() {
    let api = api().await;
    let (id, ticket) = a_task(&api).await;
    let (other, cookie) = followed(&api, &["read", "retry"]).await;
    for dest in ["iframe", "frame", "embed", "object", "fencedframe"] {
        let framed =
            |call: Call| call.field("sec-fetch-mode", "navigate").field("sec-fetch-dest", dest);
        let page = get(&format!("/v1/tasks/{id}?ticket={ticket}")).field("accept", "text/html");
        let page = by_person(page).field("cookie", &cookie);
        let shown = api.call(page.set("sec-fetch-dest", dest)).await;
        assert_eq!((shown.status, shown.header("set-cookie")), (StatusCode::OK, ""), "{dest}");
        let pressed = api.call(framed(joining(&id, &ticket)).field("cookie", &cookie)).await;
        assert_eq!((pressed.code().as_str(), pressed.header("set-cookie")), ("not-available", ""));
    }
    assert_eq!(ids(&api, &cookie).await, [other.as_str()]);
}
