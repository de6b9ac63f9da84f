//! Leases: waiting, reporting, settling, and what a stale holder may not do.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use relais_core::{EventKind, LeaseToken, Progress, Refused, Reply, Status};
use relais_engine::{EngineError, Outcome, Report, Settle};
use relais_store::{Claimed, Rejected};

use crate::world::{World, for_workers, policy, queue, tenant};

async fn lease(world: &World, wait: u64) -> Vec<Claimed> {
    let wait = Duration::from_secs(wait);
    world.engine.lease(&tenant(), &queue("work"), "w", 10, wait).await.unwrap()
}

fn token(claimed: &Claimed) -> LeaseToken {
    LeaseToken { task: claimed.task().spec.id, nonce: claimed.nonce }
}

async fn settle(world: &World, token: LeaseToken) -> Result<Reply, EngineError> {
    let settle = Settle { token, outcome: Outcome::success(None) };
    let mut answers = world.engine.settle(Some(&tenant()), vec![settle]).await.unwrap();
    answers.pop().unwrap().map(|stepped| stepped.reply)
}

#[tokio::test]
async fn a_worker_that_waits_gets_the_task_that_comes() {
    // P11: a worker slept although work had come in just before it lay down.
    let world = World::new().await;
    for _ in 0..100 {
        let (leased, task) = tokio::join!(lease(&world, 50), world.submit(for_workers()));
        assert_eq!(leased[0].task().spec.id, task.spec.id);
        assert_eq!(settle(&world, token(&leased[0])).await, Ok(Reply::Done));
    }
}

#[tokio::test]
async fn a_lease_call_without_patience_answers_at_once() {
    let world = World::new().await;
    assert!(lease(&world, 0).await.is_empty());
}

#[tokio::test]
async fn an_outcome_is_recorded_once_and_may_be_said_twice() {
    let world = World::new().await;
    world.submit(for_workers()).await;
    let leased = lease(&world, 0).await;
    assert_eq!(settle(&world, token(&leased[0])).await, Ok(Reply::Done));
    assert_eq!(settle(&world, token(&leased[0])).await, Ok(Reply::Replayed));
    let kinds = world.kinds(leased[0].task().spec.id).await;
    assert_eq!(kinds, [EventKind::Accepted, EventKind::Started, EventKind::Succeeded]);
}

#[tokio::test]
async fn a_lease_that_ends_is_given_to_another_and_the_first_holder_changes_nothing() {
    // P2, P4: a late acknowledgement corrupted the attempt of the next holder.
    let world = World::new().await;
    let task = world.submit(for_workers()).await;
    let first = lease(&world, 0).await;
    world.clock.advance(policy().lease);
    let after = world.until(task.spec.id, EventKind::AttemptFailed).await;
    assert_eq!((after.life.crashes, after.life.failures), (1, 0));
    world.clock.advance(Duration::from_secs(1));
    let second = lease(&world, 50).await;
    assert_eq!(second[0].task().life.attempt, 2);
    let stale = EngineError::Rejected(Rejected::Refused(Refused::StaleLease));
    assert_eq!(settle(&world, token(&first[0])).await, Err(stale));
    assert_eq!(settle(&world, token(&second[0])).await, Ok(Reply::Done));
}

#[tokio::test]
async fn heartbeats_keep_a_lease_far_beyond_its_length() {
    let world = World::new().await;
    let task = world.submit(for_workers()).await;
    let leased = lease(&world, 0).await;
    for beat in 1..=50u32 {
        world.clock.advance(policy().heartbeat_every());
        let progress = Progress { percent: Some(f64::from(beat)), ..Progress::default() };
        let checkpoint = Some(Bytes::from(beat.to_string()));
        let report =
            Report { token: token(&leased[0]), progress: Some(progress), output: None, checkpoint };
        let answers = world.engine.report(Some(&tenant()), vec![report]).await.unwrap();
        assert!(answers[0].is_ok(), "{answers:?}");
    }
    let now = world.engine.task(task.spec.id).await.unwrap().unwrap();
    assert_eq!((now.life.attempt, now.life.status()), (1, Status::Running));
    assert_eq!(settle(&world, token(&leased[0])).await, Ok(Reply::Done));
}

#[tokio::test]
async fn a_released_task_is_leased_again_at_once_and_burns_nothing() {
    let world = World::new().await;
    world.submit(for_workers()).await;
    let leased = lease(&world, 0).await;
    let release = Settle { token: token(&leased[0]), outcome: Outcome::Release };
    let answers = world.engine.settle(Some(&tenant()), vec![release]).await.unwrap();
    assert!(answers[0].is_ok());
    let again = lease(&world, 0).await;
    assert_eq!((again[0].task().life.failures, again[0].task().life.crashes), (0, 0));
}

#[tokio::test]
async fn a_canceled_task_tells_its_worker_and_frees_the_slot() {
    let world = World::new().await;
    let task = world.submit(for_workers()).await;
    let leased = lease(&world, 0).await;
    let stepped = world.engine.cancel(&tenant(), task.spec.id).await.unwrap();
    assert_eq!(stepped.reply, Reply::Done);
    assert_eq!(world.leases().await, 1, "the holder has not stopped yet");
    assert_eq!(settle(&world, token(&leased[0])).await, Ok(Reply::Canceled));
    assert_eq!(world.leases().await, 0);
    let again = world.engine.cancel(&tenant(), task.spec.id).await.unwrap();
    assert_eq!(again.reply, Reply::Nothing);
}

#[tokio::test]
async fn another_tenant_finds_nothing() {
    let world = World::new().await;
    let task = world.submit(for_workers()).await;
    let leased = lease(&world, 0).await;
    let stranger = "stranger".parse().unwrap();
    let not_found = Err(EngineError::Rejected(Rejected::NotFound));
    let cancel = world.engine.cancel(&stranger, task.spec.id).await;
    assert_eq!(cancel.map(|stepped| stepped.reply), not_found);
    let settle = Settle { token: token(&leased[0]), outcome: Outcome::success(None) };
    let mut answers = world.engine.settle(Some(&stranger), vec![settle]).await.unwrap();
    assert_eq!(answers.pop().unwrap().map(|stepped| stepped.reply), not_found);
}

#[tokio::test]
async fn progress_is_coalesced_and_the_last_is_kept() {
    let world = World::new().await;
    let task = world.submit(for_workers()).await;
    let leased = lease(&world, 0).await;
    for percent in 1..=100u32 {
        let progress = Progress { percent: Some(f64::from(percent)), ..Progress::default() };
        let token = token(&leased[0]);
        let report = Report { token, progress: Some(progress), output: None, checkpoint: None };
        assert!(world.engine.report(Some(&tenant()), vec![report]).await.unwrap()[0].is_ok());
    }
    world.clock.advance(Duration::from_millis(100));
    let mut follower = world.engine.follow(task.spec.id);
    follower.after(3).await;
    let now = world.engine.task(task.spec.id).await.unwrap().unwrap();
    assert_eq!(now.life.progress.and_then(|progress| progress.percent), Some(100.0));
    let kinds = world.kinds(task.spec.id).await;
    assert_eq!(kinds.len(), 4, "one at once, one a moment later: {kinds:?}");
}

/// Whoever knew a task's id could make up tokens for it, each of which had its progress held in memory
/// and its write a moment later.
#[tokio::test]
async fn progress_of_no_lease_is_not_held() {
    let world = World::new().await;
    let task = world.submit(for_workers()).await;
    let token = LeaseToken { task: task.spec.id, nonce: 7 };
    let progress = Some(Progress::default());
    let report = Report { token, progress, output: None, checkpoint: None };
    for answer in world.engine.report(None, vec![report; 3]).await.unwrap() {
        assert!(answer.is_err(), "{answer:?}");
    }
    // What is held is written at the latest now.
    world.engine.drain().await;
    assert_eq!(world.engine.meters().stale_settles.load(Ordering::Relaxed), 3);
}
