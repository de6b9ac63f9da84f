use relais_client::Follow;

use crate::server::{Answer, Asked, Ends, ID, Server, event, event_json, task};
use serde_json::json;

async fn all(mut follow: Follow) -> Vec<(u64, String)> {
    let mut events = Vec::new();
    while let Some(event) = follow.next().await.unwrap() {
        events.push((event.seq, event.kind));
    }
    events
}

fn is_stream(asked: &Asked) -> bool {
    asked.field("accept") == Some("text/event-stream")
}

#[tokio::test]
async fn a_broken_stream_goes_on_after_the_last_event_and_repeats_nothing() {
    let server = Server::start(|before, asked| match before {
        0 => Answer::events(
            &(":hello\n\nretry: 1\n\nevent: relais.open\ndata: {\"version\":2,\"gap\":false}\n\n"
                .to_owned()
                + &event(1, "accepted")
                + &event(2, "started")
                + "id: 3\nevent: progressed\ndata: {\"half"),
            Ends::Broken,
        ),
        // What was seen already comes once more: it is not given out.
        1 => Answer::events(&(event(2, "started") + &event(5, "progressed")), Ends::Cleanly),
        2 => Answer::events(&event(6, "succeeded"), Ends::Never),
        _ if is_stream(asked) => Answer::empty(204),
        _ => Answer::json(200, &task("succeeded", true, 6)),
    });
    let events = all(server.client().follow(ID, 0)).await;
    let seqs: Vec<_> = events.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(seqs, [1, 2, 5, 6]);
    let resumed: Vec<_> =
        server.asked().iter().map(|a| a.field("last-event-id").map(str::to_owned)).collect();
    assert_eq!(resumed, [None, Some("2".to_owned()), Some("5".to_owned()), None]);
}

/// P72: the log is over when the server says so, whatever the last event is called.
#[tokio::test(flavor = "multi_thread")]
async fn words_of_a_newer_server_are_given_out_and_end_nothing_by_themselves() {
    let server = Server::start(|before, asked| match before {
        0 => Answer::events(
            &(event(1, "accepted") + &event(2, "rerouted") + &event(3, "succeeded")),
            Ends::Never,
        ),
        _ if is_stream(asked) => Answer::events(&event(5, "superseded"), Ends::Never),
        // It was retried by hand in the meantime, then ended in a way that has no name here.
        1 => Answer::json(200, &task("running", false, 4)),
        _ => Answer::json(200, &task("superseded", true, 5)),
    });
    let mut follow = server.client().follow(ID, 0);
    for (seq, kind) in [(1, "accepted"), (2, "rerouted"), (3, "succeeded")] {
        let event = follow.next().await.unwrap().unwrap();
        assert_eq!((event.seq, event.kind.as_str()), (seq, kind));
    }
    assert_eq!(follow.after(), 3);
    // Held open by the server, so that nothing else follows: it was asked, and is still followed.
    let waiting = tokio::spawn(async move { follow.next().await });
    server.wait_for(1, |asked| asked.path == format!("/v1/tasks/{ID}"));
    assert!(!waiting.is_finished());
    waiting.abort();
    assert_eq!(all(server.client().follow(ID, 4)).await, [(5, "superseded".to_owned())]);
}

#[tokio::test]
async fn a_busy_server_is_asked_again_when_it_said() {
    let server = Server::start(|before, _| match before {
        0 => Answer::events(
            "retry: 300\n\nevent: relais.busy\ndata: {\"retry_after\":\"300ms\"}\n\n",
            Ends::Cleanly,
        ),
        1 => Answer::problem(503, "server-draining").with("retry-after", "1"),
        _ => Answer::empty(204),
    });
    let started = std::time::Instant::now();
    assert_eq!(all(server.client().follow(ID, 0)).await, []);
    assert!(started.elapsed() >= std::time::Duration::from_millis(1300));
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn an_unknown_resume_point_is_reset_as_the_server_says() {
    let server = Server::start(|before, _| match before {
        0 => Answer::events(
            &("event: relais.reset\ndata: {\"reason\":\"unknown\",\"from\":0}\n\n".to_owned()
                + &event(1, "accepted")),
            Ends::Cleanly,
        ),
        _ => Answer::empty(204),
    });
    assert_eq!(all(server.client().follow(ID, 99)).await, [(1, "accepted".to_owned())]);
    assert_eq!(server.asked()[0].field("last-event-id"), Some("99"));
}

#[tokio::test]
async fn where_streams_do_not_come_through_pages_are_read() {
    let server = Server::start(|_, asked| {
        let page = |events: &[u64], next: u64, terminal: bool| {
            let events: Vec<_> = events.iter().map(|seq| event_json(*seq, "progressed")).collect();
            let body = json!({"events": events, "next": next, "terminal": terminal});
            Answer::json(200, &body).with("preference-applied", "wait=50")
        };
        match asked.path.split("after=").nth(1) {
            None => Answer::problem(406, "not-found"),
            Some("0") => page(&[1, 2], 2, false),
            Some("2") => page(&[], 7, false),
            Some("7") => page(&[8], 8, true),
            Some("8") => page(&[], 8, true),
            Some(after) => panic!("nobody is at {after}"),
        }
    });
    let seqs: Vec<_> =
        all(server.client().follow(ID, 0)).await.into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(seqs, [1, 2, 8]);
    assert!(server.asked()[1..].iter().all(|asked| asked.field("prefer") == Some("wait=50")));
}

#[tokio::test]
async fn following_a_task_that_nobody_knows_is_an_error_at_once() {
    let server = Server::start(|_, _| Answer::problem(404, "task-not-found"));
    let error = server.client().follow(ID, 0).next().await.unwrap_err();
    assert_eq!(error.code(), "task-not-found");
    assert_eq!(server.asked().len(), 1);
}
