//! How an engine ends while others still depend on it.

use std::sync::Arc;
use std::time::Duration;

use relais_core::{EventKind, LeaseToken, Reply, Status};
use relais_engine::{Config, EngineError, Outcome, Settle};
use relais_store::MemoryStore;
use tokio::io::AsyncWriteExt as _;

use crate::world::{Upstream, World, for_upstream, for_workers, policy, queue, tenant};

/// More patience than a test that holds needs.
const LONG: Duration = Duration::from_secs(50);

#[tokio::test]
async fn a_drain_starts_nothing_and_waits_for_workers_to_settle() {
    // A deploy closed the listeners at once: workers lost the server in mid-task.
    let world = World::new().await;
    let task = world.submit(for_workers()).await;
    let leased = world.lease(Duration::ZERO).await.pop().unwrap();
    let (waiting, ()) = tokio::join!(world.lease(LONG), async { world.engine.begin_drain() });
    assert!(waiting.is_empty(), "whoever waits is answered without a lease");
    let asked = world.engine.lease(&tenant(), &queue("work"), "w", 1, Duration::ZERO).await;
    assert_eq!(asked.unwrap_err(), EngineError::Draining);
    let draining = world.engine.clone();
    let draining = tokio::spawn(async move { draining.drain().await });
    tokio::task::yield_now().await;
    assert!(!draining.is_finished(), "a lease is an attempt that runs");
    let token = LeaseToken { task: task.spec.id, nonce: leased.nonce };
    let settle = Settle { token, outcome: Outcome::success(None) };
    let mut answers = world.engine.settle(Some(&tenant()), vec![settle]).await.unwrap();
    assert_eq!(answers.pop().unwrap().unwrap().reply, Reply::Done);
    tokio::time::timeout(LONG, draining).await.unwrap().unwrap();
}

#[tokio::test]
async fn time_goes_on_while_a_worker_is_waited_for() {
    // The clock's keeper stopped with the first word of a drain: a lease that
    // ended then ended nothing.
    let world = World::new().await;
    let task = world.submit(for_workers()).await;
    assert_eq!(world.lease(Duration::ZERO).await.len(), 1);
    let draining = world.engine.clone();
    let draining = tokio::spawn(async move { draining.drain().await });
    while !world.engine.is_draining() {
        tokio::task::yield_now().await;
    }
    world.clock.advance(policy().lease);
    world.until(task.spec.id, EventKind::AttemptFailed).await;
    tokio::time::timeout(LONG, draining).await.unwrap().unwrap();
    let task = world.engine.task(task.spec.id).await.unwrap().unwrap();
    assert_eq!(task.life.status(), Status::Queued, "it waits for the next start");
}

#[tokio::test]
async fn attempts_of_another_process_are_not_waited_for() {
    let store = Arc::new(MemoryStore::new());
    let config = Config { template: Some(policy()), ..Config::default() };
    let upstream = Upstream::start().await;
    let other = World::on(store.clone(), config.clone(), 1).await;
    // Started before there is anything to take back.
    let world = World::on(store, config, 2).await;
    let task = other.submit(for_upstream(&upstream, "GET", true)).await;
    let mut call = upstream.next().await;
    tokio::time::timeout(Config::default().drain_for / 2, world.engine.drain()).await.unwrap();
    call.stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    other.until(task.spec.id, EventKind::Succeeded).await;
}
