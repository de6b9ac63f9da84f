//! How much work things are: counted in steps of SQLite's virtual machine, which no load changes.

use std::time::Duration;

use relais_core::{Policy, Rate};
use relais_store::Commit;
use relais_store::conformance::World;
use relais_store::conformance::fixture::{from, policy, task};

use crate::{new_folder, world_in};

/// Accepts many tasks of one lane.
async fn fill(world: &World, lane: &str, count: usize) {
    for batch in 0..count.div_ceil(1_000) {
        let size = (count - batch * 1_000).min(1_000);
        let commits: Vec<Commit> = (0..size).map(|_| world.accepting(task().lane(lane))).collect();
        world.commit_all(commits).await;
    }
}

/// The steps of claims that start one task of a free lane behind a blocked one.
async fn steps_behind(blocked: usize) -> i64 {
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    let policy = Policy { concurrency_per_lane: Some(1), ..policy() };
    let ask = from("mail").policy(&policy);
    fill(&world, "blocked", blocked).await;
    world.claim(&ask.clone().limit(1)).await;
    fill(&world, "free", 1).await;
    let before = store.effort().await.expect("it is open");
    assert_eq!(world.claim(&ask).await.started.len(), 1);
    store.effort().await.expect("it is open") - before
}

#[tokio::test]
async fn a_claim_does_not_touch_tasks_of_blocked_lanes() {
    let few = steps_behind(10).await;
    let many = steps_behind(100_000).await;
    assert!(many <= few + 20, "{many} steps behind 100,000 blocked tasks, {few} behind 10");
}

#[tokio::test]
async fn a_life_costs_the_same_among_a_hundred_thousand_others() {
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    let mut steps = Vec::new();
    for others in [10, 100_000] {
        fill(&world, "crowd", others).await;
        let before = store.effort().await.expect("it is open");
        fill(&world, "crowd", 1).await;
        let (id, nonce) = world.start_one(&from("mail").limit(1)).await;
        world.step(id, relais_core::Command::succeed(nonce), 1).await;
        world.due(1).await;
        steps.push(store.effort().await.expect("it is open") - before);
    }
    assert!(steps[1] <= steps[0] + 60, "{steps:?}");
}

#[tokio::test]
async fn a_bad_claim_is_cheap() {
    // A queue without a free slot is asked again and again.
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    let policy = Policy { concurrency: Some(1), ..policy() };
    fill(&world, "crowd", 2_000).await;
    world.claim(&from("mail").policy(&policy).limit(1)).await;
    let before = store.effort().await.expect("it is open");
    let claims = world.claim(&from("mail").policy(&policy)).await;
    assert!(claims.started.is_empty() && claims.more);
    let steps = store.effort().await.expect("it is open") - before;
    assert!(steps < 250, "{steps} steps to find that there is no slot");
}

/// The steps of a claim that starts one task beside so many lanes that wait
/// for a token of their rate.
async fn steps_beside(waiting: usize) -> i64 {
    let folder = new_folder();
    let (world, store) = world_in(&folder);
    let rate_per_lane = Some(Rate { count: 1, period: Duration::from_secs(3_600) });
    let ask = from("mail").policy(&Policy { rate_per_lane, ..policy() });
    for lane in 0..waiting {
        fill(&world, &format!("lane-{lane}"), 2).await;
    }
    let started = world.claim(&ask.clone().limit(waiting)).await.started.len();
    assert_eq!(started, waiting, "each lane has one token");
    fill(&world, "free", 1).await;
    let before = store.effort().await.expect("it is open");
    assert_eq!(world.claim(&ask).await.started.len(), 1);
    store.effort().await.expect("it is open") - before
}

#[tokio::test]
async fn a_claim_does_not_walk_over_lanes_that_wait_for_their_rate() {
    let (few, many) = (steps_beside(10).await, steps_beside(1_000).await);
    assert!(many <= few + 20, "{many} steps beside 1,000 waiting lanes, {few} beside 10");
}
