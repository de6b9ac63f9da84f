use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use relais_client::{
    Ended, LeasedTask, Outcome, Output, Progress, RawJson, Reporter, Stop, Worker,
};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::server::{Answer, Asked, Server};

fn lease(number: usize, more: &Value) -> Value {
    let mut lease = json!({
        "token": format!("token-{number}"), "task": format!("task_{number}"), "queue": "imports",
        "attempt": 1, "run": 1, "heartbeat_every": "30s", "lease_until": "2026-11-22T10:00:05.000Z",
    });
    for (name, value) in more.as_object().unwrap() {
        lease[name] = value.clone();
    }
    lease
}

fn leases(leases: &[Value]) -> Answer {
    Answer::json(200, &json!({"leases": leases}))
}

fn recorded(asked: &Asked) -> Answer {
    Answer::json(200, &json!({"items": vec![json!({"status": 200}); items(asked).len()]}))
}

fn items(asked: &Asked) -> Vec<Value> {
    asked.json()["items"].as_array().cloned().unwrap_or_default()
}

fn is_settle(asked: &Asked) -> bool {
    asked.path == "/v1/leases/settle"
}

fn is_beat(asked: &Asked) -> bool {
    asked.path == "/v1/leases/heartbeat"
}

/// Leases the given tasks once; then nothing comes until the worker hangs up.
fn once(tasks: Vec<Value>) -> impl Fn(&Asked) -> Answer {
    let given = AtomicUsize::new(0);
    let never = Arc::new((Mutex::new(false), Condvar::new()));
    move |asked| {
        if is_settle(asked) || is_beat(asked) {
            return recorded(asked);
        }
        if given.fetch_add(1, Ordering::Relaxed) == 0 {
            return leases(&tasks);
        }
        let (over, changed) = &*never;
        drop(changed.wait_while(over.lock().unwrap(), |over| !*over).unwrap());
        Answer::nothing()
    }
}

/// Runs a worker until so many attempts were settled.
async fn work<H: relais_client::Handler>(
    server: &Arc<Server>,
    settles: usize,
    handler: H,
) -> Ended {
    let of_thread = server.clone();
    let stop = tokio::task::spawn_blocking(move || {
        of_thread.wait_for(1, |asked| is_settle(asked) && items(asked).len() >= settles);
    });
    let worker = Worker::new(server.client(), "imports").concurrency(4).name("w-1");
    let stop = async move { stop.await.unwrap() };
    worker.run(handler, stop).await.unwrap()
}

/// P5: nothing of this runtime runs while the handler spins, yet the lease is kept.
#[tokio::test]
async fn a_spinning_handler_does_not_lose_its_lease() {
    let script = once(vec![lease(1, &json!({"heartbeat_every": "10ms"}))]);
    let server = Arc::new(Server::start(move |_, asked| script(asked)));
    let beats = server.clone();
    let handler = move |_: LeasedTask, _: Reporter| {
        let beats = beats.clone();
        async move {
            // Blocks the only thread there is.
            beats.wait_for(3, is_beat);
            Outcome::Succeed(Output::Empty)
        }
    };
    let ended = work(&server, 1, handler).await;
    assert_eq!(ended, Ended { succeeded: 1, ..Ended::default() });
    let beat = server.asked().into_iter().find(is_beat).unwrap();
    assert_eq!(items(&beat), [json!({"token": "token-1"})]);
}

#[tokio::test]
async fn outcomes_are_settled_as_the_handler_said() {
    let tasks = vec![
        lease(1, &json!({"input": {"a": 1}, "checkpoint": 7})),
        lease(2, &json!({"input_base64": "AP8=", "content_type": "text/csv"})),
        lease(3, &json!({})),
        lease(4, &json!({})),
    ];
    let script = once(tasks);
    let server = Arc::new(Server::start(move |_, asked| script(asked)));
    let together = Arc::new(tokio::sync::Barrier::new(4));
    let handler = move |task: LeasedTask, _: Reporter| {
        let together = together.clone();
        async move {
            let input = task.input().await.unwrap().bytes(100).await.unwrap();
            together.wait().await;
            match task.id() {
                "task_1" => {
                    assert_eq!(
                        (input.as_ref(), task.content_type()),
                        (&b"{\"a\":1}"[..], Some("application/json"))
                    );
                    assert_eq!(task.checkpoint().unwrap().as_str(), "7");
                    Outcome::json(RawJson::parse("[1.0]").unwrap())
                }
                "task_2" => {
                    assert_eq!(
                        (input.as_ref(), task.content_type()),
                        (&b"\0\xff"[..], Some("text/csv"))
                    );
                    Outcome::Succeed(Output::Bytes { bytes: input, content_type: "a/b".into() })
                }
                "task_3" => Outcome::fail("no such supplier", false),
                _ => panic!("a bug"),
            }
        }
    };
    let ended = work(&server, 1, handler).await;
    assert_eq!((ended.succeeded, ended.failed), (2, 2));
    let settles =
        server.asked().iter().filter(|asked| is_settle(asked)).flat_map(items).collect::<Vec<_>>();
    let of = |token: &str| settles.iter().find(|item| item["token"] == token).unwrap().clone();
    assert_eq!(of("token-1"), json!({"token": "token-1", "outcome": "succeed", "result": [1.0]}));
    assert_eq!(
        of("token-2"),
        json!({"token": "token-2", "outcome": "succeed", "result_base64": "AP8=", "content_type": "a/b"})
    );
    let failed = of("token-3");
    assert_eq!((&failed["outcome"], &failed["retryable"]), (&json!("fail"), &json!(false)));
    assert_eq!(failed["problem"]["code"], "handler-failed");
    assert_eq!(failed["problem"]["detail"], "no such supplier");
    let panicked = of("token-4");
    assert_eq!(panicked["retryable"], true);
    assert_eq!(panicked["problem"]["detail"], "the handler panicked: a bug");
}

#[tokio::test]
async fn reports_are_with_the_server_before_the_outcome() {
    let script = once(vec![lease(1, &json!({}))]);
    let server = Arc::new(Server::start(move |_, asked| script(asked)));
    let handler = |_: LeasedTask, reporter: Reporter| async move {
        for percent in 0..=100 {
            reporter.progress(Progress { percent: Some(percent.into()), ..Progress::default() });
        }
        reporter.checkpoint(RawJson::parse("{\"line\": 9}").unwrap());
        for piece in 0..40 {
            reporter.output(RawJson::parse(piece.to_string()).unwrap()).await;
        }
        Outcome::fail("try again", true)
    };
    work(&server, 1, handler).await;
    let asked = server.asked();
    let settled = asked.iter().position(is_settle).unwrap();
    let beats: Vec<_> =
        asked[..settled].iter().filter(|asked| is_beat(asked)).flat_map(items).collect();
    let last = |name: &str| beats.iter().filter_map(|beat| beat.get(name)).next_back().cloned();
    assert_eq!(last("progress").unwrap()["percent"], 100.0);
    assert_eq!(last("checkpoint").unwrap(), json!({"line": 9}));
    let outputs: Vec<_> = beats.iter().filter_map(|beat| beat["output"].as_u64()).collect();
    assert_eq!(outputs, (0..40).collect::<Vec<_>>());
    assert!(asked[settled + 1..].iter().all(|asked| !is_beat(asked)));
}

#[tokio::test]
async fn a_canceled_task_is_noticed_by_the_answer_to_a_heartbeat() {
    let script = once(vec![lease(1, &json!({"heartbeat_every": "10ms"}))]);
    let server = Arc::new(Server::start(move |_, asked| {
        if is_beat(asked) {
            return Answer::json(200, &json!({"items": [{"status": 409, "canceled": true}]}));
        }
        if is_settle(asked) {
            return Answer::json(200, &json!({"items": [{"status": 409, "canceled": true}]}));
        }
        script(asked)
    }));
    let handler = |_: LeasedTask, reporter: Reporter| async move {
        assert_eq!(reporter.stopped().await, Stop::Canceled);
        Outcome::Release
    };
    assert_eq!(work(&server, 1, handler).await, Ended { canceled: 1, ..Ended::default() });
    assert_eq!(server.asked().iter().filter(|asked| is_beat(asked)).count(), 1);
}

/// A lost lease and a canceled task were one number.
#[tokio::test]
async fn a_lease_that_was_lost_is_not_counted_as_canceled() {
    let script = once(vec![lease(1, &json!({"heartbeat_every": "10ms"}))]);
    let server = Arc::new(Server::start(move |_, asked| {
        if is_beat(asked) {
            return Answer::json(200, &json!({"items": [{"status": 409}]}));
        }
        script(asked)
    }));
    let told = Arc::new(Notify::new());
    let stop = told.clone();
    let handler = move |_: LeasedTask, reporter: Reporter| {
        let told = told.clone();
        async move {
            assert_eq!(reporter.stopped().await, Stop::Lost);
            told.notify_one();
            Outcome::Release
        }
    };
    let worker = Worker::new(server.client(), "imports");
    let ended = worker.run(handler, async move { stop.notified().await }).await.unwrap();
    assert_eq!(ended, Ended { dropped: 1, ..Ended::default() });
    assert!(!server.asked().iter().any(is_settle), "there is nothing to settle");
}

/// P77: a worker that is told to stop burns no attempt.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_gives_back_what_it_cannot_finish() {
    let script = once(vec![lease(1, &json!({})), lease(2, &json!({}))]);
    let server = Arc::new(Server::start(move |_, asked| script(asked)));
    let begun = Arc::new(Notify::new());
    let stop = begun.clone();
    let handler = move |task: LeasedTask, reporter: Reporter| {
        let begun = begun.clone();
        async move {
            begun.notify_one();
            if task.id() == "task_1" {
                assert_eq!(reporter.stopped().await, Stop::Draining);
                return Outcome::Release;
            }
            // Heeds nothing, and is dropped.
            std::future::pending().await
        }
    };
    let worker = Worker::new(server.client(), "imports")
        .concurrency(2)
        .drain_for(std::time::Duration::from_millis(10))
        .stop_grace(std::time::Duration::from_millis(10));
    let stop = async move {
        stop.notified().await;
    };
    let ended = worker.run(handler, stop).await.unwrap();
    assert_eq!(ended, Ended { released: 2, ..Ended::default() });
}

#[tokio::test]
async fn settles_lease_the_next_tasks_and_are_repeated_until_recorded() {
    let settles = AtomicUsize::new(0);
    let script = once(vec![lease(1, &json!({}))]);
    let server = Arc::new(Server::start(move |_, asked| {
        if !is_settle(asked) {
            return script(asked);
        }
        match settles.fetch_add(1, Ordering::Relaxed) {
            0 => Answer::nothing(),
            1 => Answer::json(200, &json!({"items": [{"status": 503}]})),
            2 => {
                let next = [lease(2, &json!({}))];
                Answer::json(200, &json!({"items": [{"status": 200}], "leases": next}))
            }
            // Something in the outcome is refused: the task must not wait for its lease to end.
            3 => {
                Answer::json(200, &json!({"items": [{"status": 422, "problem": {"detail": "no"}}]}))
            }
            _ => recorded(asked),
        }
    }));
    let of_thread = server.clone();
    let stop = tokio::task::spawn_blocking(move || of_thread.wait_for(5, is_settle));
    let handler = |_: LeasedTask, _: Reporter| async { Outcome::Succeed(Output::Empty) };
    let worker = Worker::new(server.client(), "imports").name("w-1");
    let ended = worker.run(handler, async { stop.await.unwrap() }).await.unwrap();
    assert_eq!((ended.succeeded, ended.failed), (1, 1));
    let asked = server.asked();
    let settles: Vec<_> = asked.iter().filter(|asked| is_settle(asked)).map(Asked::json).collect();
    assert_eq!(settles[0]["lease_next"], json!({"queue": "imports", "max": 1, "worker": "w-1"}));
    assert_eq!(settles[3]["items"][0]["token"], "token-2");
    assert_eq!(settles[4]["items"][0]["outcome"], "fail");
}

#[tokio::test]
async fn a_large_result_is_stored_first() {
    let script = once(vec![lease(1, &json!({"input_url": "http://elsewhere.example/x"}))]);
    let server = Arc::new(Server::start(move |_, asked| match asked.path.as_str() {
        "/v1/leases/input" => Answer::empty(200).body(vec![b'x'; 200_000]),
        "/v1/leases/result" => Answer::json(200, &json!({"result_id": "r-1", "size": 200_000})),
        _ => script(asked),
    }));
    let handler = |task: LeasedTask, _: Reporter| async move {
        let mut input = task.input().await.unwrap();
        let mut file = tempfile::tempfile().unwrap();
        while let Some(piece) = input.chunk().await.unwrap() {
            std::io::Write::write_all(&mut file, &piece).unwrap();
        }
        Outcome::Succeed(Output::File { file: file.into(), content_type: "text/csv".into() })
    };
    work(&server, 1, handler).await;
    let asked = server.asked();
    let input = asked.iter().find(|asked| asked.path == "/v1/leases/input").unwrap();
    assert_eq!(input.field("relais-lease"), Some("token-1"));
    let put = asked.iter().find(|asked| asked.path == "/v1/leases/result").unwrap();
    assert_eq!((put.method.as_str(), put.field("content-type")), ("PUT", Some("text/csv")));
    assert_eq!(put.body, vec![b'x'; 200_000]);
    let settle = asked.iter().find(|asked| is_settle(asked)).map(items).unwrap();
    assert_eq!(settle[0]["result_id"], "r-1");
}

#[tokio::test]
async fn a_worker_that_may_not_work_says_so() {
    let server = Arc::new(Server::start(|_, _| Answer::problem(403, "forbidden")));
    let handler = |_: LeasedTask, _: Reporter| async { Outcome::Release };
    let worker = Worker::new(server.client(), "imports");
    let error = worker.run(handler, std::future::pending()).await.unwrap_err();
    assert_eq!(error.code(), "forbidden");
}
