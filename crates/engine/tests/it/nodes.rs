//! Two engines over one store: what one of them does is none of a dead one's business, nor of a
//! living one's.

use std::sync::Arc;
use std::time::Duration;

use relais_core::limits::{NODE_ALIVE_FOR, NODE_BEAT_EVERY};
use relais_core::{EventKind, FailureCode, LeaseToken, State, Status};
use relais_engine::{Config, Outcome, Settle};
use relais_store::{MemoryStore, Store};
use tokio::io::AsyncWriteExt as _;

use crate::world::{Upstream, World, for_upstream, for_workers, policy, tenant};

fn config() -> Config {
    Config { template: Some(policy()), ..Config::default() }
}

/// A node on a store that others may be on.
async fn node(store: &Arc<dyn Store>, seed: u64) -> World {
    World::on(store.clone(), config(), seed).await
}

fn new_store() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

/// A start took back what every other process ran: each call of a living one was lost.
#[tokio::test]
async fn an_engine_that_starts_leaves_alone_what_another_living_one_runs() {
    let (store, upstream) = (new_store(), Upstream::start().await);
    let first = node(&store, 1).await;
    let task = first.submit(for_upstream(&upstream, "POST", false)).await;
    let mut call = upstream.next().await;
    let second = node(&store, 2).await;
    for _ in 0..2 {
        first.clock.advance(NODE_BEAT_EVERY);
        second.clock.advance(NODE_BEAT_EVERY);
    }
    call.stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let task = first.until(task.spec.id, EventKind::Succeeded).await;
    let kinds = [EventKind::Accepted, EventKind::Started, EventKind::Succeeded];
    assert_eq!(second.kinds(task.spec.id).await, kinds);
}

/// P1, P28: what a node held that was silent for too long is taken back by another; only that.
#[tokio::test]
async fn what_a_dead_node_held_is_taken_back_and_nothing_else() {
    let (store, upstream) = (new_store(), Upstream::start().await);
    let (dead, alive) = (node(&store, 1).await, node(&store, 2).await);
    let get = dead.submit(for_upstream(&upstream, "GET", true)).await;
    let get_call = upstream.next().await;
    let post = dead.submit(for_upstream(&upstream, "POST", false)).await;
    let post_call = upstream.next().await;
    alive.clock.advance(NODE_ALIVE_FOR - Duration::from_secs(1));
    let worked = alive.submit(for_workers()).await;
    let leased = alive.lease(Duration::ZERO).await.pop().unwrap();
    // The first process is not told to stop: it simply says nothing more.
    alive.clock.advance(Duration::from_secs(1));
    let task = alive.until(post.spec.id, EventKind::Failed).await;
    let State::Failed { failure, .. } = &task.life.state else { panic!("{task:?}") };
    assert_eq!(failure.code, FailureCode::OutcomeUnknown);
    // It was said of both that the connection to the answer was lost, as if the upstream had done it.
    let detail = failure.detail.as_deref().unwrap();
    assert!(detail.starts_with("the process of Relais that ran the attempt ended"), "{detail}");
    let task = alive.until(get.spec.id, EventKind::AttemptFailed).await;
    assert_eq!((task.life.crashes, task.life.failures), (1, 0));
    let task = alive.engine.task(worked.spec.id).await.unwrap().unwrap();
    assert_eq!((task.life.status(), task.life.attempt), (Status::Running, 1));
    let token = LeaseToken { task: worked.spec.id, nonce: leased.nonce };
    let settle = Settle { token, outcome: Outcome::success(None) };
    alive.engine.settle(Some(&tenant()), vec![settle]).await.unwrap().pop().unwrap().unwrap();
    drop((get_call, post_call));
}

/// A node that was silent for a while, and lives, is a node like any other again.
#[tokio::test]
async fn a_node_that_comes_back_runs_on() {
    let (store, upstream) = (new_store(), Upstream::start().await);
    let (silent, other) = (node(&store, 1).await, node(&store, 2).await);
    other.clock.advance(NODE_ALIVE_FOR);
    silent.clock.advance(NODE_ALIVE_FOR);
    let task = silent.submit(for_upstream(&upstream, "POST", false)).await;
    let mut call = upstream.next().await;
    silent.clock.advance(NODE_BEAT_EVERY);
    other.clock.advance(NODE_BEAT_EVERY);
    call.stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let task = silent.until(task.spec.id, EventKind::Succeeded).await;
    assert_eq!(task.life.attempt, 1);
}
