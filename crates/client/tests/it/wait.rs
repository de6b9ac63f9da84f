use crate::server::{Answer, ID, Server, task};

#[tokio::test]
async fn a_wait_asks_for_the_next_version_until_the_task_is_done() {
    let server = Server::start(|before, _| match before {
        0 => Answer::json(200, &task("queued", false, 1)).with("etag", "W/\"1\""),
        1 => Answer::empty(304).with("etag", "W/\"1\"").with("preference-applied", "wait=50"),
        2 => Answer::json(200, &task("running", false, 2))
            .with("etag", "W/\"2\"")
            .with("preference-applied", "wait=50"),
        3 => Answer::nothing(),
        _ => Answer::json(200, &task("succeeded", true, 3)).with("etag", "W/\"3\""),
    });
    assert!(server.client().wait(ID).await.unwrap().succeeded());
    let asked = server.asked();
    assert!(asked.iter().all(|asked| asked.field("prefer") == Some("wait=50")));
    let seen: Vec<_> = asked.iter().map(|asked| asked.field("if-none-match")).collect();
    let (one, two) = (Some("W/\"1\""), Some("W/\"2\""));
    assert_eq!(seen, [None, one, one, two, two]);
}

/// P72: a status that this client does not know must not make it wait for ever.
#[tokio::test]
async fn only_terminal_says_that_a_task_is_done() {
    let server = Server::start(|before, _| match before {
        0 => Answer::json(200, &task("succeeded", false, 1)).with("etag", "1"),
        _ => Answer::json(200, &task("superseded", true, 2)),
    });
    let task = server.client().wait(ID).await.unwrap();
    assert_eq!((task.status.as_str(), task.succeeded()), ("superseded", false));
}

#[tokio::test]
async fn waiting_for_a_task_that_is_gone_ends() {
    let server = Server::start(|_, _| Answer::problem(410, "task-gone"));
    assert_eq!(server.client().wait(ID).await.unwrap_err().code(), "task-gone");
}

/// P48: a server, or a proxy, that does not hold the request must not be asked in a busy loop.
#[tokio::test]
async fn a_server_that_does_not_hold_requests_is_asked_at_its_pace() {
    let server = Server::start(|before, _| match before {
        0..2 => Answer::json(200, &task("running", false, 1)).with("retry-after", "1"),
        _ => Answer::json(200, &task("succeeded", true, 2)),
    });
    let started = std::time::Instant::now();
    server.client().wait(ID).await.unwrap();
    assert!(started.elapsed() >= std::time::Duration::from_secs(1));
}
