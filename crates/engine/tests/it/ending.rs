//! How attempts end while the store cannot take their last word.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use relais_core::{EventKind, Status, Task, TaskId};
use relais_engine::{Clock as _, Config, Handler, InlineAttempt, InlineOutcome, Submission};
use relais_store::StoreError;

use crate::moody::{Moody, world};
use crate::world::{Upstream, World, for_upstream, for_workers, policy, queue, with_handler};

/// Lets time pass until the attempt of a task is over, and answers the task then.
async fn until_settled(world: &World, id: TaskId) -> Task {
    loop {
        let task = world.engine.task(id).await.unwrap().unwrap();
        if task.life.status() != Status::Running {
            return task;
        }
        world.clock.advance(Duration::from_millis(100));
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_answer_outlives_a_store_that_cannot_take_it_at_once() {
    // The upstream had answered, one commit failed, and the task ended ten minutes later as
    // unknown.
    let store = Moody::new();
    let world = world(&store).await;
    let upstream = Upstream::start().await;
    let task = world.submit(for_upstream(&upstream, "POST", false)).await;
    let mut call = upstream.next().await;
    let (_, ()) = tokio::join!(store.refuse_one_commit(), call.answer_and_stay("", "done"));
    let task = until_settled(&world, task.spec.id).await;
    assert_eq!(task.life.status(), Status::Succeeded);
    assert_eq!(world.result(task.spec.id).await, "done");
    assert!(world.clock.elapsed() < Duration::from_secs(10), "it was not long in coming");
}

#[tokio::test]
async fn an_answer_outlives_a_store_that_is_away_for_longer_than_its_lease() {
    // The store came back, and time was the first to ask it: the lease of a living attempt was
    // over.
    let store = Moody::new();
    let world = world(&store).await;
    let upstream = Upstream::start().await;
    let task = world.submit(for_upstream(&upstream, "POST", false)).await;
    let mut call = upstream.next().await;
    store.is_away.store(true, Ordering::SeqCst);
    call.answer_and_stay("", "done").await;
    // So often that it is said again more seldom than time looks for what is due.
    for round in 0..10 {
        while store.refused_commits.load(Ordering::SeqCst) == round {
            tokio::task::yield_now().await;
        }
        if round < 9 {
            world.clock.advance(policy().attempt_timeout);
        }
    }
    store.is_away.store(false, Ordering::SeqCst);
    let task = until_settled(&world, task.spec.id).await;
    assert_eq!((task.life.status(), task.life.crashes), (Status::Succeeded, 0));
}

#[tokio::test]
async fn an_answer_outlives_a_store_that_cannot_spool_it_at_once() {
    // One refused write, and the answer was thrown away: the task ended as unknown.
    let store = Moody::new();
    let world = world(&store).await;
    let upstream = Upstream::start().await;
    let task = world.submit(for_upstream(&upstream, "POST", false)).await;
    let mut call = upstream.next().await;
    store.spooling.fail_once();
    let long = "done".repeat(50_000);
    call.answer_and_stay("", &long).await;
    let task = until_settled(&world, task.spec.id).await;
    assert_eq!(task.life.status(), Status::Succeeded);
    assert_eq!(world.result(task.spec.id).await, long, "nothing is twice or missing");
    assert!(store.spooling.has_failed());
}

#[tokio::test]
async fn an_answer_whose_bytes_the_store_has_lost_is_said_to_be_lost() {
    let store = Moody::new();
    let world = world(&store).await;
    let upstream = Upstream::start().await;
    for (repeatable, code) in [(false, "outcome-unknown"), (true, "store-unavailable")] {
        let method = if repeatable { "GET" } else { "POST" };
        let id = world.submit(for_upstream(&upstream, method, repeatable)).await.spec.id;
        let mut call = upstream.next().await;
        let lost = StoreError::BodyDamaged("words of the store".to_owned());
        *store.spooling.finish.lock().unwrap() = Some(lost);
        call.answer_and_stay("", "done").await;
        let task = world.until(id, EventKind::AttemptFailed).await;
        let failure = match &task.life.state {
            relais_core::State::Failed { failure, .. } => failure,
            _ => &task.life.last_failure.as_ref().unwrap().failure,
        };
        assert_eq!(failure.code.as_str(), code);
        let detail = failure.detail.as_deref().unwrap();
        assert!(detail.contains("answered 200, but that could not be stored"), "{detail}");
        assert!(!detail.contains("words"), "{detail}");
        assert_eq!(task.life.status() == Status::Queued, repeatable, "tried again if it may be");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_written_in_its_time_is_lost() {
    // Many that wait for room which they take from each other would wait for ever.
    let store = Moody::new();
    let world = world(&store).await;
    let upstream = Upstream::start().await;
    let id = world.submit(for_upstream(&upstream, "POST", false)).await.spec.id;
    let mut call = upstream.next().await;
    store.spooling.is_stuck.store(true, Ordering::SeqCst);
    call.answer_and_stay("", "done").await;
    let task = until_settled(&world, id).await;
    assert!(world.clock.elapsed() >= policy().attempt_timeout, "it was tried all the time");
    let relais_core::State::Failed { failure, .. } = &task.life.state else { panic!() };
    assert_eq!(failure.code.as_str(), "outcome-unknown");
    let detail = failure.detail.as_deref().unwrap();
    assert!(detail.starts_with("the upstream answered 200, but that could not be"), "{detail}");
}

#[tokio::test]
async fn a_panic_is_recorded_once_the_store_can_take_it() {
    let store = Moody::new();
    let world = world(&store).await;
    let upstream = Upstream::start().await;
    let task = world.submit(for_upstream(&upstream, "GET", true)).await;
    let mut call = upstream.next().await;
    store.spooling.panics.store(true, Ordering::SeqCst);
    let (_, ()) = tokio::join!(store.refuse_one_commit(), call.answer_and_stay("", "done"));
    let task = until_settled(&world, task.spec.id).await;
    assert_eq!((task.life.status(), task.life.crashes), (Status::Queued, 1));
}

#[tokio::test]
async fn a_stopped_attempt_is_given_back_once_the_store_can_take_it() {
    let store = Moody::new();
    let config =
        Config { template: Some(policy()), drain_for: Duration::ZERO, ..Config::default() };
    let world = World::on(store.clone(), config, 1).await;
    let upstream = Upstream::start().await;
    let task = world.submit(for_upstream(&upstream, "GET", true)).await;
    let _call = upstream.next().await;
    let settled = async {
        store.refuse_one_commit().await;
        until_settled(&world, task.spec.id).await
    };
    let (task, ()) = tokio::join!(settled, world.engine.drain());
    assert_eq!((task.life.status(), task.life.failures), (Status::Queued, 0));
}

fn inline() -> Submission {
    Submission { queue: queue("inline"), ..for_workers() }
}

#[tokio::test]
async fn what_is_damaged_ends_an_attempt_like_one_that_never_began() {
    // A handler's task failed with the words of the store as its detail, a pushed one with others.
    let store = Moody::new();
    let world = World::on(store.clone(), with_handler(Arc::new(Wordy)), 1).await;
    let upstream = Upstream::start().await;
    let damaged = StoreError::BodyDamaged("words of the store".to_owned());
    let corrupt = StoreError::Corrupt("words of the store".to_owned());
    for error in [damaged, corrupt] {
        *store.unreadable.lock().unwrap() = Some(error);
        for submission in [inline(), for_upstream(&upstream, "POST", false)] {
            let id = world.submit(submission).await.spec.id;
            let task = world.until(id, EventKind::Failed).await;
            let relais_core::State::Failed { failure, .. } = &task.life.state else { panic!() };
            assert_eq!(failure.code.as_str(), "body-damaged");
            let detail = failure.detail.as_deref().unwrap();
            assert_eq!(detail, "the stored input of the task is damaged or missing");
        }
    }
}

/// A handler with more to say than fits into a row.
struct Wordy;

impl Handler for Wordy {
    fn handle(&self, _: InlineAttempt) -> Pin<Box<dyn Future<Output = InlineOutcome> + Send + '_>> {
        Box::pin(async {
            let (content_type, result) =
                ("text/plain".to_owned(), Bytes::from(vec![b'x'; 200_000]));
            InlineOutcome::Succeed { content_type, result }
        })
    }
}

#[tokio::test]
async fn what_a_handler_said_outlives_a_store_that_cannot_spool_it_at_once() {
    // The attempt failed, and the handler did its work once more.
    let store = Moody::new();
    let world = World::on(store.clone(), with_handler(Arc::new(Wordy)), 1).await;
    store.spooling.fail_once();
    let task = world.submit(inline()).await;
    world.until(task.spec.id, EventKind::Started).await;
    let task = until_settled(&world, task.spec.id).await;
    assert_eq!((task.life.status(), task.life.failures), (Status::Succeeded, 0));
    assert!(store.spooling.has_failed());
}

/// A handler that is done at the moment at which the store goes away.
struct Unlucky(Arc<Moody>);

impl Handler for Unlucky {
    fn handle(&self, _: InlineAttempt) -> Pin<Box<dyn Future<Output = InlineOutcome> + Send + '_>> {
        Box::pin(async {
            self.0.is_away.store(true, Ordering::SeqCst);
            let content_type = "text/plain".to_owned();
            InlineOutcome::Succeed { content_type, result: "done".into() }
        })
    }
}

#[tokio::test]
async fn what_a_handler_did_outlives_a_store_that_cannot_take_it_at_once() {
    let store = Moody::new();
    let config = with_handler(Arc::new(Unlucky(store.clone())));
    let world = World::on(store.clone(), config, 1).await;
    let task = world.submit(inline()).await;
    world.until(task.spec.id, EventKind::Started).await;
    store.refuse_one_commit().await;
    let task = until_settled(&world, task.spec.id).await;
    assert_eq!((task.life.status(), task.life.failures), (Status::Succeeded, 0));
}

#[tokio::test]
async fn a_clock_set_ahead_takes_no_answer_away() {
    // The clock said that the lease was over: the answer was stored once, and thrown away.
    let store = Moody::new();
    let world = world(&store).await;
    let upstream = Upstream::start().await;
    let task = world.submit(for_upstream(&upstream, "POST", false)).await;
    let mut call = upstream.next().await;
    let lease = policy().attempt_timeout + Duration::from_secs(60);
    world.clock.set_by(i64::try_from(lease.as_millis()).unwrap());
    let (_, ()) = tokio::join!(store.refuse_one_commit(), call.answer_and_stay("", "done"));
    let task = until_settled(&world, task.spec.id).await;
    assert_eq!(task.life.status(), Status::Succeeded);
    assert_eq!(world.result(task.spec.id).await, "done");
}
