//! Idempotency keys and capacities: both are part of the commit of a task.

use std::sync::Arc;

use relais_core::{Command, TaskId};

use super::fixture::*;
use super::world::World;
use crate::*;

/// The task that a second accept was attached to.
fn attached(answer: &Result<Committed, Rejected>) -> (TaskId, bool, bool) {
    match answer {
        Ok(Committed::Attached { id, same, exists }) => (*id, *same, *exists),
        other => panic!("not attached: {other:?}"),
    }
}

/// P34: a hundred concurrent accepts with one key make one task.
pub async fn concurrent_accepts_with_one_key_make_one_task(world: World) {
    let world = Arc::new(world);
    let mut running = Vec::new();
    for _ in 0..100 {
        let (store, commit) = (world.store.clone(), world.accepting(task().key(1, 1, 1_000)));
        running.push(tokio::spawn(async move {
            store.commit(vec![commit]).await.expect("the store works").remove(0)
        }));
    }
    let (mut accepted, mut ids) = (0, Vec::new());
    for answer in running {
        match answer.await.expect("nothing panics") {
            Ok(Committed::Accepted { .. }) => accepted += 1,
            answer => {
                let (id, same, exists) = attached(&answer);
                assert!(same && exists);
                ids.push(id);
            }
        }
    }
    ids.dedup();
    assert_eq!((accepted, ids.len()), (1, 1));
    assert_eq!(world.stats("mail", 0).await.counts[0], 1);
}

/// Another request under the same key is attached, and told that it is another.
pub async fn another_request_with_the_same_key_is_told_so(world: World) {
    let id = world.accept(task().key(1, 1, 1_000)).await;
    let same = world.try_accept(task().key(1, 1, 1_000)).await;
    assert_eq!(attached(&same), (id, true, true));
    let other = world.try_accept(task().key(1, 2, 1_000)).await;
    assert_eq!(attached(&other), (id, false, true));
    world.accept(task().key(2, 2, 1_000)).await;
    assert_eq!(world.stats("mail", 0).await.counts[0], 2);
}

/// P31: the same key twice in one batch makes one task, and the batch goes on.
pub async fn a_key_twice_in_one_batch_makes_one_task(world: World) {
    let first = world.id();
    let answers = world
        .commit_all(vec![
            world.accepting(task().id(first).key(1, 1, 1_000)),
            world.accepting(task().key(1, 1, 1_000)),
            world.accepting(task()),
        ])
        .await;
    assert_eq!(attached(&answers[1]), (first, true, true));
    assert!(matches!(answers[2], Ok(Committed::Accepted { .. })), "{answers:?}");
    assert_eq!(world.stats("mail", 0).await.counts[0], 2);
}

/// A key outlives its erased task until its own moment; then it is free.
pub async fn a_key_outlives_its_task_until_its_moment(world: World) {
    let id = world.accept(task().key(1, 1, 1_000)).await;
    world.step(id, Command::Cancel, 1).await;
    world.commit(erasing(id)).await.expect("it is terminal");
    world.due(999).await;
    let early = world.try_accept(task().created_at(999).key(1, 1, 5_000)).await;
    assert_eq!(attached(&early), (id, true, false));
    let other = world.try_accept(task().created_at(999).key(1, 2, 5_000)).await;
    assert_eq!(attached(&other), (id, false, false));
    let next = world.accept(task().created_at(1_000).key(1, 1, 5_000)).await;
    let again = world.try_accept(task().created_at(1_001).key(1, 1, 5_000)).await;
    assert_eq!(attached(&again), (next, true, true));
}

/// A key is kept as long as its task, terminal or not, although its own moment has passed.
pub async fn a_key_is_kept_as_long_as_its_task(world: World) {
    let id = world.accept(task().key(1, 1, 10)).await;
    world.due(50_000).await;
    let waiting = world.try_accept(task().created_at(50_000).key(1, 1, 60_000)).await;
    assert_eq!(attached(&waiting), (id, true, true));
    world.step(id, Command::Cancel, 50_001).await;
    world.due(50_002).await;
    let over = world.try_accept(task().created_at(50_002).key(1, 1, 60_000)).await;
    assert_eq!(attached(&over), (id, true, true));
    world.commit(erasing(id)).await.expect("it is terminal");
    world.accept(task().created_at(50_003).key(1, 1, 60_000)).await;
}

/// Whoever clicks again wants it, after everybody had left the first click, or somebody called that
/// off. A key that somebody chose names its task for good.
pub async fn a_key_that_ends_by_itself_does_not_hold_for_a_task_that_was_canceled(world: World) {
    let left = task().grace(0).attended_by(1);
    let id = world.accept(left.clone().key_until(1, 100)).await;
    let again = world.try_accept(left.clone().created_at(1).key_until(1, 101)).await;
    assert_eq!(attached(&again), (id, true, true));
    world.step(id, Command::Leave { node: 1 }, 2).await;
    let next = world.accept(left.clone().created_at(3).key_until(1, 103)).await;
    assert_ne!(next, id);
    let again = world.try_accept(left.clone().created_at(4).key_until(1, 104)).await;
    assert_eq!(attached(&again), (next, true, true));
    world.step(next, Command::Cancel, 5).await;
    let after = world.accept(left.clone().created_at(6).key_until(1, 106)).await;
    assert_ne!(after, next, "by hand");

    let chosen = world.accept(left.clone().key(2, 2, 100)).await;
    world.step(chosen, Command::Leave { node: 1 }, 7).await;
    let again = world.try_accept(left.created_at(8).key(2, 2, 100)).await;
    assert_eq!(attached(&again), (chosen, true, true));
}

/// A key that ends by itself holds from its first accept, although it is attached to, and not longer
/// than it says, although its task goes on.
pub async fn a_key_that_ends_by_itself_does_not_wait_for_its_task(world: World) {
    let id = world.accept(task().key_until(1, 10)).await;
    let again = world.try_accept(task().created_at(9).key_until(1, 19)).await;
    assert_eq!(attached(&again), (id, true, true));
    let next = world.accept(task().created_at(10).key_until(1, 20)).await;
    world.due(19).await;
    let again = world.try_accept(task().created_at(19).key_until(1, 29)).await;
    assert_eq!(attached(&again), (next, true, true));
    // The end of the first task is not the end of a key that is another's by now.
    world.step(id, Command::Cancel, 19).await;
    world.commit(erasing(id)).await.expect("it is terminal");
    let again = world.try_accept(task().created_at(19).key_until(1, 29)).await;
    assert_eq!(attached(&again), (next, true, true));
    world.due(20).await;
    let last = world.accept(task().created_at(20).key(1, 1, 30)).await;
    let again = world.try_accept(task().created_at(40).key_until(1, 50)).await;
    assert_eq!(attached(&again), (last, true, true));
}

/// A refused accept leaves its key free.
pub async fn a_refused_accept_leaves_its_key_free(world: World) {
    let refused = world.try_accept(task().key(1, 1, 1_000).queue_capacity(0)).await;
    assert_eq!(refused.err(), Some(Rejected::QueueFull));
    world.accept(task().key(1, 2, 1_000)).await;
}

/// A queue takes as many tasks as it may hold, and the next when one is over.
pub async fn a_full_queue_refuses_until_a_task_is_over(world: World) {
    let one = task().queue_capacity(2);
    world.accept(one.clone()).await;
    world.accept(one.clone().run_at(50)).await;
    assert_eq!(world.try_accept(one.clone()).await.err(), Some(Rejected::QueueFull));
    world.accept(one.clone().queue("other")).await;
    world.accept(one.clone().tenant("other")).await;
    let (id, nonce) = world.start_one(&from("mail").limit(1)).await;
    assert_eq!(world.try_accept(one.clone()).await.err(), Some(Rejected::QueueFull));
    world.step(id, Command::succeed(nonce), 1).await;
    world.accept(one.clone()).await;
    assert_eq!(world.try_accept(one).await.err(), Some(Rejected::QueueFull));
}

/// A tenant has as many tasks as it may, all its queues together.
pub async fn a_full_tenant_refuses_in_all_its_queues(world: World) {
    let one = task().tenant_capacity(2);
    let first = world.accept(one.clone()).await;
    world.accept(one.clone().queue("other")).await;
    let refused = world.try_accept(one.clone().queue("third")).await;
    assert_eq!(refused.err(), Some(Rejected::TenantFull));
    world.accept(one.clone().tenant("other")).await;
    world.step(first, Command::Cancel, 1).await;
    world.accept(one.clone().queue("third")).await;
    assert_eq!(world.try_accept(one).await.err(), Some(Rejected::TenantFull));
}

/// Within one batch a capacity is exact.
pub async fn a_batch_fills_a_queue_to_the_limit_exactly(world: World) {
    let commits = (0..10).map(|_| world.accepting(task().queue_capacity(7))).collect();
    let answers = world.commit_all(commits).await;
    assert!(answers[..7].iter().all(Result::is_ok), "{answers:?}");
    for answer in &answers[7..] {
        assert!(matches!(answer, Err(Rejected::QueueFull)), "{answers:?}");
    }
}

/// The key is looked at before the capacity: who asks again is not told that the queue is full.
pub async fn a_known_key_is_attached_although_the_queue_is_full(world: World) {
    let one = task().key(1, 1, 1_000).queue_capacity(1).tenant_capacity(1);
    let id = world.accept(one.clone()).await;
    assert_eq!(attached(&world.try_accept(one).await), (id, true, true));
}

/// A retry by hand is not an accept: it is taken although the queue is full.
pub async fn a_retry_by_hand_is_taken_by_a_full_queue(world: World) {
    let one = task().queue_capacity(1);
    let id = world.accept(one.clone()).await;
    world.step(id, Command::Cancel, 1).await;
    world.accept(one.clone()).await;
    world.step(id, Command::Retry { from_start: false }, 2).await;
    assert_eq!(world.stats("mail", 2).await.counts[0], 2);
    assert_eq!(world.try_accept(one).await.err(), Some(Rejected::QueueFull));
}
