//! Calling upstreams: what is sent, what an answer means, what is never sent twice.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use relais_core::limits::NODE_ALIVE_FOR;
use relais_core::{BodyKind, EventData, EventKind, FailureCode, State, Status};
use relais_engine::seal::SealKey;
use relais_engine::{Config, ResultHead, envelope};
use relais_store::{EventQuery, Growth, MemoryStore, QueueChange, Store};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use crate::log::Log;
use crate::world::{Upstream, World, for_upstream, policy, queue, tenant};

#[tokio::test]
async fn a_pushed_task_is_sent_as_it_came_and_its_answer_is_kept() {
    let world = World::new().await;
    let upstream = Upstream::start().await;
    let mut submission = for_upstream(&upstream, "POST", false);
    submission.head.fields = vec![("x-a".to_owned(), Bytes::from_static(b"1"))];
    let task = world.submit(submission).await;
    let call = upstream.answer("201 Created", "X-B: 2\r\n", "made").await;
    assert!(call.head.starts_with("POST /work?x=1 HTTP/1.1\r\n"), "{}", call.head);
    assert_eq!(call.body, b"{}");
    assert_eq!(call.field("x-a"), Some("1"));
    assert_eq!(call.field("relais-task"), Some(task.spec.id.to_string().as_str()));
    assert_eq!(call.field("relais-attempt"), Some("1"));
    assert_eq!(call.field("idempotency-key"), Some(task.spec.id.to_string().as_str()));
    assert_eq!(call.field("via"), Some("1.1 relais"));
    assert_eq!(call.field("traceparent").map(str::len), Some(55));
    let task = world.until(task.spec.id, EventKind::Succeeded).await;
    assert_eq!(task.life.status(), Status::Succeeded);
    assert_eq!(world.result(task.spec.id).await, "made");
    assert_eq!(world.leases().await, 0);
}

#[tokio::test]
async fn a_lost_answer_to_a_post_is_unknown_and_never_sent_again() {
    let world = World::new().await;
    let upstream = Upstream::start().await;
    let task = world.submit(for_upstream(&upstream, "POST", false)).await;
    drop(upstream.next().await);
    let task = world.until(task.spec.id, EventKind::Failed).await;
    let State::Failed { failure, .. } = &task.life.state else { panic!("{task:?}") };
    assert_eq!(failure.code, FailureCode::OutcomeUnknown);
    assert_eq!(task.life.attempt, 1);
    // Retried by hand, it is a new request to the upstream: its key says so.
    world.engine.retry(&tenant(), task.spec.id, false).await.unwrap();
    let call = upstream.answer("200 OK", "", "").await;
    assert_eq!(call.field("idempotency-key"), Some(format!("{}-r2", task.spec.id).as_str()));
    world.until(task.spec.id, EventKind::Succeeded).await;
}

#[tokio::test]
async fn a_get_whose_answer_was_lost_is_sent_again_after_its_backoff() {
    let world = World::new().await;
    let upstream = Upstream::start().await;
    let task = world.submit(for_upstream(&upstream, "GET", true)).await;
    drop(upstream.next().await);
    let task = world.until(task.spec.id, EventKind::AttemptFailed).await;
    let run_at = task.life.run_at().expect("queued again");
    assert!(run_at > world.engine.now());
    world.clock.advance(Duration::from_secs(1));
    upstream.answer("200 OK", "", "second").await;
    world.until(task.spec.id, EventKind::Succeeded).await;
    assert_eq!(world.result(task.spec.id).await, "second");
}

#[tokio::test]
async fn an_error_that_is_retried_to_the_end_keeps_the_last_answer() {
    let world = World::new().await;
    let upstream = Upstream::start().await;
    let task = world.submit(for_upstream(&upstream, "POST", false)).await;
    for attempt in 1..=3 {
        let answer = format!("no, {attempt}");
        upstream.answer("503 Service Unavailable", "", &answer).await;
        if attempt < 3 {
            let kind = EventKind::AttemptFailed;
            world.until(task.spec.id, kind).await;
            while world.engine.task(task.spec.id).await.unwrap().unwrap().life.failures < attempt {
                tokio::task::yield_now().await;
            }
            world.clock.advance(Duration::from_secs(2));
        }
    }
    let task = world.until(task.spec.id, EventKind::Failed).await;
    let State::Failed { failure, .. } = &task.life.state else { panic!("{task:?}") };
    assert_eq!(failure.code, FailureCode::UpstreamError);
    assert_eq!(world.result(task.spec.id).await, "no, 3");
}

#[tokio::test]
async fn a_final_error_of_a_post_is_its_outcome() {
    let world = World::new().await;
    let upstream = Upstream::start().await;
    let task = world.submit(for_upstream(&upstream, "POST", false)).await;
    upstream.answer("500 Oops", "", "half done").await;
    let task = world.until(task.spec.id, EventKind::Failed).await;
    assert_eq!(task.life.attempt, 1);
    assert_eq!(world.result(task.spec.id).await, "half done");
}

#[tokio::test]
async fn canceling_a_running_task_aborts_the_call_and_frees_its_slot() {
    let world = World::new().await;
    let upstream = Upstream::start().await;
    let task = world.submit(for_upstream(&upstream, "POST", false)).await;
    let mut call = upstream.next().await;
    world.engine.cancel(&tenant(), task.spec.id).await.unwrap();
    call.until_closed().await;
    while world.leases().await > 0 {
        tokio::task::yield_now().await;
    }
    let kinds = world.kinds(task.spec.id).await;
    assert_eq!(kinds, [EventKind::Accepted, EventKind::Started, EventKind::Canceled]);
}

#[tokio::test]
async fn an_attempt_over_its_time_ends() {
    let world = World::new().await;
    let upstream = Upstream::start().await;
    let get = world.submit(for_upstream(&upstream, "GET", true)).await;
    let mut call = upstream.next().await;
    world.clock.advance(policy().attempt_timeout);
    call.until_closed().await;
    let task = world.until(get.spec.id, EventKind::AttemptFailed).await;
    assert_eq!(task.life.failures, 1);
}

/// Who waited for an answer had to be at the node that called the upstream, and alone.
#[tokio::test]
async fn an_answer_is_read_along_at_each_node_and_told_its_commit() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let config = || Config { template: Some(policy()), ..Config::default() };
    let world = World::on(store.clone(), config(), 1).await;
    let other = World::on(store, config(), 2).await;
    let upstream = Upstream::start().await;
    let id = world.engine.draw_id();
    let mut watched = [world.engine.watch_answer(id), other.engine.watch_answer(id)];
    world.engine.submit(id, for_upstream(&upstream, "GET", true)).await.unwrap();
    let mut call = upstream.next().await;
    call.stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab").await.unwrap();
    let mut answers = Vec::new();
    for watched in &mut watched {
        watched.changed().await;
        let answer = watched.current().expect("it is shown");
        answer.follow().wait_for(|growth| *growth == Growth::Growing(2)).await.unwrap();
        // The first bytes are there while the upstream still holds the last.
        assert_eq!(answer.body.read_at(0, 100).await.unwrap(), "ab");
        assert_eq!((answer.announced_len, answer.version.to_string()), (Some(4), "1.1".into()));
        let head: ResultHead = envelope::decode(&answer.head).unwrap();
        assert_eq!((head.status, head.has_body), (200, true));
        answers.push(answer);
    }
    call.stream.write_all(b"cd").await.unwrap();
    for answer in answers {
        assert!(answer.over().await);
        assert_eq!(answer.growth(), Growth::Committed(4));
        assert_eq!(answer.body.read_at(2, 100).await.unwrap(), "cd");
    }
    assert_eq!(world.engine.task(id).await.unwrap().unwrap().life.status(), Status::Succeeded);
}

/// It stayed open for ever: its spool was whole, and what was committed was so before it was shown.
#[tokio::test]
async fn an_answer_of_an_attempt_that_was_taken_back_is_broken_off() {
    for has_body in [true, false] {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let config = || Config { template: Some(policy()), ..Config::default() };
        let frozen = World::on(store.clone(), config(), 1).await;
        let other = World::on(store, config(), 2).await;
        let upstream = Upstream::start().await;
        let id = frozen.submit(for_upstream(&upstream, "GET", true)).await.spec.id;
        let mut call = upstream.next().await;
        let mut watched = other.engine.watch_answer(id);
        other.clock.advance(NODE_ALIVE_FOR);
        other.until(id, EventKind::AttemptFailed).await;
        call.answer_and_stay("", if has_body { "late" } else { "" }).await;
        watched.changed().await;
        let answer = watched.current().expect("its node does not know better");
        let over = timeout(Duration::from_secs(20), answer.over()).await;
        assert_eq!(over, Ok(false), "{has_body}");
    }
}

#[tokio::test]
async fn a_reader_is_cut_off_when_the_answer_breaks_off() {
    let world = World::new().await;
    let upstream = Upstream::start().await;
    let id = world.engine.draw_id();
    let mut watched = world.engine.watch_answer(id);
    world.engine.submit(id, for_upstream(&upstream, "POST", false)).await.unwrap();
    let mut call = upstream.next().await;
    call.stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab").await.unwrap();
    watched.changed().await;
    let answer = watched.current().expect("it is shown");
    drop(call);
    assert!(!answer.over().await);
    let task = world.until(id, EventKind::Failed).await;
    let State::Failed { failure, .. } = &task.life.state else { panic!("{task:?}") };
    assert_eq!(failure.code, FailureCode::OutcomeUnknown);
}

/// What would be tried again is nobody's answer: it is not shown, but for that of the last attempt.
#[tokio::test]
async fn an_answer_that_is_tried_again_is_not_shown() {
    let world = World::new().await;
    let upstream = Upstream::start().await;
    let id = world.engine.draw_id();
    let mut watched = world.engine.watch_answer(id);
    world.engine.submit(id, for_upstream(&upstream, "GET", true)).await.unwrap();
    for attempt in 1..=3 {
        upstream.answer("500 Oops", "", "no").await;
        let kind = if attempt < 3 { EventKind::AttemptFailed } else { EventKind::Failed };
        world.until(id, kind).await;
        while world.engine.task(id).await.unwrap().unwrap().life.failures < attempt {
            tokio::task::yield_now().await;
        }
        let shown = watched.current().map(|answer| (answer.version.attempt, answer.growth()));
        assert_eq!(shown, (attempt == 3).then_some((3, Growth::Committed(2))));
        world.clock.advance(Duration::from_secs(10));
    }
}

#[tokio::test]
async fn an_answer_over_the_limit_fails_without_a_retry() {
    let config = Config { result_bytes_max: 10, template: Some(policy()), ..Config::default() };
    let world = World::with(config).await;
    let upstream = Upstream::start().await;
    let at_the_limit = world.submit(for_upstream(&upstream, "GET", true)).await;
    upstream.answer("200 OK", "", "0123456789").await;
    world.until(at_the_limit.spec.id, EventKind::Succeeded).await;
    let over = world.submit(for_upstream(&upstream, "GET", true)).await;
    upstream.answer("200 OK", "", "0123456789a").await;
    let task = world.until(over.spec.id, EventKind::Failed).await;
    let State::Failed { failure, .. } = &task.life.state else { panic!("{task:?}") };
    assert_eq!(failure.code, FailureCode::UpstreamResponseTooLarge);
}

#[tokio::test]
async fn credentials_are_sealed_at_rest_sent_to_the_upstream_and_erased_on_success() {
    let config = Config {
        seal_key: Some(SealKey::new([9; 32])),
        template: Some(policy()),
        ..Config::default()
    };
    let world = World::with(config).await;
    let upstream = Upstream::start().await;
    let mut submission = for_upstream(&upstream, "GET", true);
    submission.secrets = vec![("authorization".to_owned(), Bytes::from_static(b"Bearer canary"))];
    let task = world.submit(submission).await;
    let call = upstream.answer("200 OK", "", "").await;
    assert_eq!(call.field("authorization"), Some("Bearer canary"));
    let task = world.until(task.spec.id, EventKind::Succeeded).await;
    assert_eq!(task.life.credentials, relais_core::Credentials::Erased);
}

#[tokio::test]
async fn credentials_of_a_key_that_is_not_there_blame_no_upstream() {
    // A store that was restored without its key: the tasks ended as
    // upstream-error, and nobody was asked.
    let config = |key| Config {
        seal_key: Some(SealKey::new([key; 32])),
        template: Some(policy()),
        ..Config::default()
    };
    let store = Arc::new(MemoryStore::new());
    let before = World::on(store.clone(), config(9), 1).await;
    before.engine.change_queue(tenant(), queue("push"), QueueChange::Pause).await.unwrap();
    let upstream = Upstream::start().await;
    let mut submission = for_upstream(&upstream, "GET", true);
    submission.secrets = vec![("authorization".to_owned(), Bytes::from_static(b"Bearer canary"))];
    let id = before.submit(submission).await.spec.id;
    before.engine.drain().await;

    let restored = World::on(store.clone(), config(8), 2).await;
    restored.engine.change_queue(tenant(), queue("push"), QueueChange::Resume).await.unwrap();
    let task = restored.until(id, EventKind::Failed).await;
    let State::Failed { failure, .. } = &task.life.state else { panic!("{task:?}") };
    assert_eq!(failure.code.as_str(), "seal-key-missing");
    let key = SealKey::new([9; 32]).id().to_string();
    assert!(failure.detail.as_ref().is_some_and(|detail| detail.contains(&key)), "{failure:?}");
    assert_eq!(task.life.failures, 1, "it is not tried again");
    restored.engine.drain().await;

    // With the right key back it is done as if nothing had been.
    let after = World::on(store, config(9), 3).await;
    after.engine.retry(&tenant(), id, false).await.unwrap();
    let call = upstream.answer("200 OK", "", "").await;
    assert_eq!(call.field("authorization"), Some("Bearer canary"));
    after.until(id, EventKind::Succeeded).await;
}

#[tokio::test]
async fn a_damaged_input_is_not_sent_and_ends_its_task_alone() {
    // One body that could not be read made every claim of its queue fail, for ever.
    let store = Arc::new(MemoryStore::new());
    let config = Config { template: Some(policy()), ..Config::default() };
    let world = World::on(store.clone(), config, 1).await;
    world.engine.change_queue(tenant(), queue("push"), QueueChange::Pause).await.unwrap();
    let upstream = Upstream::start().await;
    let bad = world.submit(for_upstream(&upstream, "POST", false)).await.spec.id;
    let good = world.submit(for_upstream(&upstream, "POST", false)).await.spec.id;
    store.damage(bad, BodyKind::Input);
    world.engine.change_queue(tenant(), queue("push"), QueueChange::Resume).await.unwrap();
    let log = Log::here();
    let call = upstream.answer("200 OK", "", "").await;
    assert_eq!(call.field("relais-task"), Some(good.to_string().as_str()));
    world.until(good, EventKind::Succeeded).await;
    let task = world.until(bad, EventKind::Failed).await;
    let State::Failed { failure, .. } = &task.life.state else { panic!("{task:?}") };
    assert_eq!(failure.code.as_str(), "body-damaged");
    assert_eq!(world.kinds(bad).await, [EventKind::Accepted, EventKind::Failed]);
    assert_eq!(log.with(&bad.to_string()).len(), 1, "one line for one failure: {}", log.text());
}

#[tokio::test]
async fn a_drain_gives_back_what_it_cannot_finish_and_burns_no_attempt() {
    let config = Config {
        template: Some(policy()),
        drain_for: Duration::from_millis(1),
        ..Config::default()
    };
    let world = World::with(config).await;
    let upstream = Upstream::start().await;
    let task = world.submit(for_upstream(&upstream, "GET", true)).await;
    let _call = upstream.next().await;
    world.engine.drain().await;
    let task = world.engine.task(task.spec.id).await.unwrap().unwrap();
    assert_eq!(task.life.status(), Status::Queued);
    assert_eq!((task.life.failures, task.life.crashes), (0, 0));
    let refused = world.engine.submit(world.engine.draw_id(), for_upstream(&upstream, "GET", true));
    assert_eq!(refused.await.unwrap_err(), relais_engine::EngineError::Draining);
}

#[tokio::test]
async fn a_stop_that_leaves_an_outcome_unknown_says_that_it_was_the_stop() {
    // It read like an accident of the connection, and was logged as a crash.
    let config = Config {
        template: Some(policy()),
        drain_for: Duration::from_millis(1),
        ..Config::default()
    };
    let world = World::with(config).await;
    let upstream = Upstream::start().await;
    let task = world.submit(for_upstream(&upstream, "POST", false)).await;
    let _call = upstream.next().await;
    world.engine.drain().await;
    let task = world.engine.task(task.spec.id).await.unwrap().unwrap();
    let State::Failed { failure, .. } = &task.life.state else { panic!("{task:?}") };
    assert_eq!(failure.code, FailureCode::OutcomeUnknown);
    let detail = failure.detail.as_deref().unwrap();
    assert!(detail.starts_with("Relais was stopped") && detail.contains("`drain`"), "{detail}");
    let query = EventQuery::Task { id: task.spec.id, after: 0, limit: 10 };
    let log = world.engine.events(query).await.unwrap();
    let causes = log.iter().filter_map(|logged| match &logged.entry.data {
        EventData::AttemptFailed { cause, .. } => Some(cause.as_str()),
        _ => None,
    });
    assert_eq!(causes.collect::<Vec<_>>(), ["stop"]);
}

#[tokio::test]
async fn the_slot_of_a_canceled_attempt_comes_back_although_its_process_died() {
    // P10, found by the judge: canceled, then killed before the attempt had stopped, it kept its
    // slot for as long as an attempt may take, and blocked its queue.
    let store = Arc::new(MemoryStore::new());
    let config = Config { template: Some(policy()), ..Config::default() };
    let upstream = Upstream::start().await;
    let dead = World::on(store.clone(), config.clone(), 1).await;
    let task = dead.submit(for_upstream(&upstream, "POST", false)).await;
    let call = upstream.next().await;
    // Canceled behind the back of its process, so that nobody stops the call.
    let canceled = relais_store::Commit::Step(Box::new(relais_store::StepOf {
        id: task.spec.id,
        tenant: None,
        command: relais_core::Command::Cancel,
        policy: Arc::new(policy()),
        bodies: Vec::new(),
        now: dead.engine.now(),
    }));
    Store::commit(&*store, vec![canceled]).await.unwrap().pop().unwrap().unwrap();
    assert_eq!(dead.leases().await, 1);
    let next = World::on(store, config, 2).await;
    next.clock.advance(relais_core::limits::ABORT_GRACE);
    while next.leases().await > 0 {
        tokio::task::yield_now().await;
    }
    drop(call);
}
