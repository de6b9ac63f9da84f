//! A configuration that changes while tasks wait.

use std::time::Duration;

use relais_core::{EventKind, Policy};
use relais_engine::{Config, EngineError};

use crate::world::{Upstream, World, for_upstream, for_workers, policy, queue};

fn with_queues(names: &[&str], policy: &Policy) -> Config {
    let queues = names.iter().map(|name| (queue(name), policy.clone())).collect();
    Config { template: None, queues, ..Config::default() }
}

#[tokio::test]
async fn a_queue_comes_and_goes_with_the_configuration() {
    let world = World::with(with_queues(&[], &policy())).await;
    let submitted = world.engine.submit(world.engine.draw_id(), for_workers()).await;
    assert_eq!(submitted.unwrap_err(), EngineError::UnknownQueue);
    world.engine.configure(with_queues(&["work"], &policy()));
    world.submit(for_workers()).await;
    assert!(world.engine.policies().is_defined(&queue("work")));
    world.engine.configure(with_queues(&[], &policy()));
    let submitted = world.engine.submit(world.engine.draw_id(), for_workers()).await;
    assert_eq!(submitted.unwrap_err(), EngineError::UnknownQueue);
}

#[tokio::test]
async fn what_a_wider_limit_allows_starts_at_once() {
    let narrow = Policy { concurrency: Some(1), ..policy() };
    let upstream = Upstream::start().await;
    let first = for_upstream(&upstream, "GET", true);
    let name = first.queue.to_string();
    let names = [name.as_str()];
    let world = World::with(with_queues(&names, &narrow)).await;
    world.submit(first).await;
    let held = upstream.next().await;
    let second = world.submit(for_upstream(&upstream, "GET", true)).await;
    world.engine.configure(with_queues(&names, &policy()));
    world.engine.look_again().await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), upstream.answer("200 OK", "", "")).await.unwrap();
    world.until(second.spec.id, EventKind::Succeeded).await;
    drop(held);
}

#[tokio::test]
async fn a_connection_that_was_in_use_at_a_reload_carries_no_further_call() {
    // It came back after the idle ones were closed, and went on with the old certificate and roots.
    let world = World::new().await;
    let upstream = Upstream::start().await;
    let first = world.submit(for_upstream(&upstream, "GET", true)).await;
    let mut call = upstream.next().await;
    world.engine.configure(Config { template: Some(policy()), ..Config::default() });
    call.answer_and_stay("", "one").await;
    world.until(first.spec.id, EventKind::Succeeded).await;
    call.until_closed().await;
    let second = world.submit(for_upstream(&upstream, "GET", true)).await;
    let mut call = upstream.next().await;
    call.answer_and_stay("", "two").await;
    world.until(second.spec.id, EventKind::Succeeded).await;
    let third = world.submit(for_upstream(&upstream, "GET", true)).await;
    call.next().await.answer_and_stay("", "three").await;
    world.until(third.spec.id, EventKind::Succeeded).await;
}
