//! The share of a queue that one source may take: part of the commit of a task, and of each end.

use relais_core::{Command, TaskId};

use super::fixture::*;
use super::world::World;
use crate::*;

/// What a source is told that holds `capacity` tasks of a queue.
fn full(capacity: u64) -> Option<Rejected> {
    Some(Rejected::SourceFull { capacity })
}

/// A source takes its share of each queue; the others are not in its way, nor it in theirs.
pub async fn a_source_takes_its_share_of_each_queue_and_no_more(world: World) {
    let one = task().source(1, 2);
    world.accept(one.clone()).await;
    world.accept(one.clone().run_at(50)).await;
    assert_eq!(world.try_accept(one.clone()).await.err(), full(2));
    world.accept(task().source(2, 2)).await;
    world.accept(one.clone().queue("other")).await;
    world.accept(one.clone().tenant("other")).await;
    assert_eq!(world.try_accept(one).await.err(), full(2));
    assert_eq!(world.stats("mail", 0).await.counts[0], 3, "who is refused leaves nothing");
    let none = task().source(3, 0).queue("new");
    assert_eq!(world.try_accept(none).await.err(), full(0), "a queue nobody has used yet");
}

/// A task of source 1 that has ended in one of the ways there are.
async fn ended(world: &World, way: usize) -> TaskId {
    let one = task().source(1, 1).deadline_after(1_000);
    let id = world.accept(one.clone()).await;
    assert_eq!(world.try_accept(one).await.err(), full(1), "way {way}");
    match way {
        0 => assert_eq!(world.run(&from("mail")).await, id),
        1 => {
            let (_, nonce) = world.start_one(&from("mail")).await;
            world.step(id, give_up(nonce), 1).await;
        }
        2 => drop(world.step(id, Command::Cancel, 1).await),
        3 => {
            // Its holder was not told yet, and keeps its slot: not its share.
            world.start_one(&from("mail")).await;
            world.step(id, Command::Cancel, 1).await;
        }
        4 => drop(world.step(id, TICK, 1_000).await),
        _ => {
            world.step(id, Command::Cancel, 1).await;
            world.commit(erasing(id)).await.expect("it is terminal");
        }
    }
    id
}

/// Succeeded, failed, canceled while it waits or runs, past its deadline, or erased: there is room
/// again, once, and erasing what had ended gives nothing back twice.
pub async fn a_share_is_given_back_however_a_task_ends(world: World) {
    for way in 0..6 {
        let id = ended(&world, way).await;
        if way < 5 {
            assert!(world.read(id).await.life.status().is_terminal(), "way {way}");
            world.commit(erasing(id)).await.expect("it is terminal");
        }
        let next = world.accept(task().source(1, 1)).await;
        assert_eq!(world.try_accept(task().source(1, 1)).await.err(), full(1), "way {way}");
        world.step(next, Command::Cancel, 1).await;
    }
}

/// A retry by hand is not refused, but counts.
pub async fn a_retry_by_hand_takes_of_the_share_again(world: World) {
    let one = task().source(1, 1);
    let id = world.accept(one.clone()).await;
    world.step(id, Command::Cancel, 1).await;
    let other = world.accept(one.clone()).await;
    world.step(id, Command::Retry { from_start: false }, 2).await;
    world.step(other, Command::Cancel, 3).await;
    assert_eq!(world.try_accept(one.clone()).await.err(), full(1));
    world.step(id, Command::Cancel, 4).await;
    world.accept(one).await;
}

/// Whatever a task does before its end, it is counted once.
pub async fn a_task_that_runs_or_waits_keeps_its_place_in_the_share(world: World) {
    let one = task().source(1, 1);
    let id = world.accept(one.clone().run_at(5)).await;
    let taken = async || assert_eq!(world.try_accept(one.clone()).await.err(), full(1));
    world.due(5).await;
    taken().await;
    let (_, nonce) = world.start_one(&from("mail").at(5)).await;
    taken().await;
    world.step(id, Command::Release { nonce }, 6).await;
    taken().await;
    let (_, nonce) = world.start_one(&from("mail").at(7)).await;
    let (until, callback) = (at(1_000), 99);
    world.step(id, Command::Defer { nonce, until, callback }, 8).await;
    taken().await;
    world.step(id, Command::Cancel, 9).await;
    world.accept(one.clone()).await;
    taken().await;
}

/// The key is looked at before the share: who asks again is not told to come back later.
pub async fn a_known_key_is_attached_although_the_share_is_taken(world: World) {
    let one = task().key(1, 1, 1_000).source(1, 1);
    let id = world.accept(one.clone()).await;
    let attached = world.try_accept(one).await;
    let is_same =
        matches!(attached, Ok(Committed::Attached { id: to, same: true, .. }) if to == id);
    assert!(is_same, "{attached:?}");
}

/// Within one batch a share is exact, also where tasks end in it.
pub async fn a_batch_takes_a_share_exactly(world: World) {
    let first = world.id();
    let accept = || world.accepting(task().source(1, 2));
    let cancel = Commit::Step(Box::new(World::stepping(first, Command::Cancel, 1)));
    let commits = vec![
        world.accepting(task().id(first).source(1, 2)),
        accept(),
        accept(),
        cancel,
        accept(),
        accept(),
    ];
    let answers = world.commit_all(commits).await;
    let refused: Vec<bool> = answers.iter().map(Result::is_err).collect();
    assert_eq!(refused, [false, false, true, false, false, true], "{answers:?}");
}

/// A task without a source is bounded by its queue alone, and takes nobody's share.
pub async fn a_task_without_a_source_takes_no_share(world: World) {
    world.accept_many(3, &task()).await;
    world.accept(task().source(1, 1)).await;
    world.accept(task()).await;
    assert_eq!(world.try_accept(task().source(1, 1)).await.err(), full(1));
}
