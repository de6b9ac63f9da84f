use relais_client::{
    Credentials, Error, Grant, RawJson, SubmitOptions, SubmitRequest, TaskResult, TicketRequest,
};
use serde_json::json;

use crate::server::{Answer, ID, Server, task};

fn request() -> SubmitRequest {
    let input = Some(RawJson::parse("{\"b\": 1, \"a\":1.0}").unwrap());
    SubmitRequest { queue: "imports".into(), input, ..SubmitRequest::default() }
}

fn accepted() -> Answer {
    let mut body = task("queued", false, 1);
    body["ticket"] = "rt_the".into();
    Answer::json(202, &body)
}

/// P29: the server committed, then the connection broke.
#[tokio::test]
async fn a_submit_whose_answer_was_lost_is_repeated_under_the_same_key() {
    let server = Server::start(|before, _| match before {
        0 => Answer::nothing(),
        1 => Answer::problem(503, "server-draining").with("retry-after", "0"),
        _ => accepted().with("idempotent-replayed", "true"),
    });
    let accepted = server.client().submit(request()).await.unwrap();
    assert_eq!((accepted.task.id.as_str(), accepted.replayed), (ID, true));
    assert_eq!(accepted.ticket.as_deref(), Some("rt_the"));
    let asked = server.asked();
    let keys: Vec<_> = asked.iter().map(|asked| asked.field("idempotency-key").unwrap()).collect();
    assert_eq!(keys, [keys[0]; 3]);
    assert!(keys[0].len() >= 24 && keys[0].starts_with('"') && keys[0].ends_with('"'));
    assert!(String::from_utf8_lossy(&asked[0].body).contains("{\"b\": 1, \"a\":1.0}"));
    // The next submit is another one.
    server.client().submit(request()).await.unwrap();
    assert_ne!(
        server.asked()[3].field("idempotency-key"),
        server.asked()[2].field("idempotency-key")
    );
}

#[tokio::test]
async fn a_repeated_submit_of_a_task_that_is_done_attaches_to_it() {
    let server = Server::start(|_, asked| match asked.path.as_str() {
        "/v1/tasks" => Answer::json(200, &json!({"the": "result"}))
            .with("relais-task", ID)
            .with("idempotent-replayed", "true")
            .with("link", format!("<http://a/v1/tasks/{ID}?ticket=rt_tic>; rel=\"monitor\"")),
        _ => Answer::json(200, &task("succeeded", true, 4)),
    });
    let accepted = server.client().submit(request()).await.unwrap();
    assert!(accepted.replayed && accepted.task.succeeded());
    assert_eq!(accepted.ticket.as_deref(), Some("rt_tic"));
    assert_eq!(server.asked()[1].field("authorization"), Some("Bearer rt_tic"));
}

#[tokio::test]
async fn a_refused_submit_says_why_and_is_not_repeated() {
    let server = Server::start(|_, _| Answer::problem(422, "unknown-field"));
    let options = SubmitOptions { idempotency_key: Some("a \"quoted\" key".into()) };
    let error = server.client().submit_as(&request(), &options).await.unwrap_err();
    assert_eq!((error.code(), error.status()), ("unknown-field", Some(422)));
    assert_eq!(server.asked().len(), 1);
    assert_eq!(server.asked()[0].field("idempotency-key"), Some(r#""a \"quoted\" key""#));
}

#[tokio::test]
async fn an_error_page_of_somebody_between_is_shown_shortened() {
    let page = "<h1>\u{1b}[31mBad gateway</h1>".repeat(100);
    let server = Server::start(move |_, _| Answer::empty(502).body(page.clone()));
    let error = server.client().with_attempts(1).task(ID).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("Bad gateway") && text.ends_with("(HTTP, 502)"), "{text}");
    assert!(text.len() < 300 && !text.contains('\u{1b}'));
}

#[tokio::test]
async fn who_calls_is_said_in_the_field_of_its_kind_and_never_shown() {
    let server = Server::start(|_, _| Answer::json(200, &task("queued", false, 1)));
    let key = server.client_as(Credentials::ApiKey("rk_secret".into()));
    key.task(ID).await.unwrap();
    key.with_ticket("t.secret").task(ID).await.unwrap();
    let asked = server.asked();
    assert_eq!(asked[0].field("relais-api-key"), Some("rk_secret"));
    assert_eq!(asked[0].field("authorization"), None);
    assert_eq!(asked[1].field("authorization"), Some("Bearer t.secret"));
    assert!(!format!("{key:?}").contains("secret"));
}

#[tokio::test]
async fn a_result_comes_as_it_is_whatever_its_status() {
    let server = Server::start(|before, _| match before {
        0 => Answer::json(202, &task("running", false, 2)).with("retry-after", "7"),
        1 => Answer::empty(503).with("relais-task", ID).body(b"\0\xff".to_vec()),
        _ => Answer::problem(410, "task-gone"),
    });
    let client = server.client();
    let TaskResult::NotYet { task, retry_after } = client.result(ID).await.unwrap() else {
        panic!("it is not done")
    };
    assert_eq!((task.terminal, retry_after.as_secs()), (false, 7));
    let TaskResult::Ready(answer) = client.result(ID).await.unwrap() else { panic!("it is done") };
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.bytes(10).await.unwrap(), &b"\0\xff"[..]);
    assert_eq!(client.result(ID).await.unwrap_err().code(), "task-gone");
}

#[tokio::test]
async fn a_document_over_the_limit_is_not_read_into_memory() {
    let server =
        Server::start(|_, _| Answer::empty(200).with("relais-task", ID).body(vec![7; 100]));
    let TaskResult::Ready(answer) = server.client().result(ID).await.unwrap() else { panic!() };
    assert!(matches!(answer.bytes(99).await, Err(Error::TooLarge { limit: 99 })));
}

#[tokio::test]
async fn cancel_retry_list_and_pause_ask_what_the_contract_says() {
    let server = Server::start(|_, asked| match asked.path.split('?').next().unwrap() {
        "/v1/tasks" => {
            Answer::json(200, &json!({"items": [task("queued", false, 1)], "next": "n"}))
        }
        "/v1/queues/imports/pause" => Answer::json(200, &json!({})),
        path if path.ends_with("/tickets") => Answer::json(
            201,
            &json!({"ticket": "rt_x", "grants": ["read"], "expires_at": "2026-11-22T10:00:00.000Z"}),
        ),
        _ => Answer::json(200, &task("canceled", true, 2)),
    });
    let client = server.client();
    assert!(client.cancel(ID).await.unwrap().terminal);
    client.retry(ID, true).await.unwrap();
    let query = relais_client::ListQuery {
        label: Some("order=A&B".into()),
        limit: Some(5),
        ..Default::default()
    };
    assert_eq!(client.list(&query).await.unwrap().next.as_deref(), Some("n"));
    client.pause("imports").await.unwrap();
    let request = TicketRequest { grants: vec![Grant::Read], ..TicketRequest::default() };
    assert_eq!(client.renew_ticket(ID, &request).await.unwrap().ticket, "rt_x");
    let asked = server.asked();
    let lines: Vec<_> =
        asked.iter().map(|asked| format!("{} {}", asked.method, asked.path)).collect();
    assert_eq!(lines[0], format!("POST /v1/tasks/{ID}/cancel"));
    assert_eq!(lines[1], format!("POST /v1/tasks/{ID}/retry"));
    assert_eq!(asked[1].json(), json!({"from": "start"}));
    assert_eq!(lines[2], "GET /v1/tasks?label=order%3DA%26B&limit=5");
    assert_eq!(lines[3], "POST /v1/queues/imports/pause");
    assert_eq!(lines[4], format!("POST /v1/tasks/{ID}/tickets"));
    assert_eq!(asked[4].json(), json!({"grants": ["read"]}));
}
