//! Nodes, how they are known to be dead, and what they held.

use std::sync::Arc;

use relais_core::{Command, Gone, Holder, Status, TaskId};

use super::fixture::*;
use super::world::World;
use crate::*;

/// A sign of life that lasts 100 ms.
async fn beat(world: &World, node: u64, now: i64) -> Nodes {
    beat_for(world, node, now, 100).await
}

async fn beat_for(world: &World, node: u64, now: i64, alive_for: u64) -> Nodes {
    let beat = Beat { node, format: FORMAT, now: at(now), alive_for: ms(alive_for) };
    world.store.beat(beat).await.expect("the store works")
}

/// Starts the attempts of a queue that there is a task for, held by a node; answers tasks and fences.
async fn start(world: &World, node: u64, name: &str, count: usize) -> Vec<(TaskId, u128)> {
    for _ in 0..count {
        world.accept(task().queue(name).runner(upstream(true))).await;
    }
    let ask = from(name).run_by(&upstream(true)).limit(count);
    let claim = Claim { holder: Holder::Relais { epoch: node }, ..world.claiming(&ask) };
    let claims = world.store.claim(claim).await.expect("the store works");
    assert_eq!(claims.started.len(), count);
    claims.started.iter().map(|claimed| (claimed.task().spec.id, claimed.nonce)).collect()
}

/// What a node holds, page by page.
async fn held_by(world: &World, node: u64) -> Vec<TaskId> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let filter = Filter { held_by: Some(node), after, limit: 2, ..Filter::default() };
        let page = world.store.list(filter).await.expect("the store works");
        ids.extend(page.tasks.iter().map(|task| task.spec.id));
        after = page.next;
        if after.is_none() {
            return ids;
        }
    }
}

fn crash(nonce: u128) -> Command {
    Command::Crash { nonce, gone: Gone::Died, jitter: 1.0 }
}

/// A node that was silent for as long as it said is dead: named until what it held is taken back.
pub async fn a_node_that_was_silent_for_too_long_is_dead(world: World) {
    let told = beat(&world, 1, 0).await;
    assert_eq!((told.dead.len(), told.format, told.living), (0, FORMAT, 1));
    assert!(!told.was_ahead);
    let held = start(&world, 1, "mail", 2).await;
    let own = start(&world, 2, "other", 1).await;
    assert!(beat(&world, 2, 99).await.dead.is_empty());
    for _ in 0..2 {
        assert_eq!(beat(&world, 2, 100).await.dead, [1]);
    }
    for (id, nonce) in held {
        world.step(id, crash(nonce), 100).await;
    }
    assert!(beat(&world, 2, 100).await.dead.is_empty(), "it holds nothing more");
    assert_eq!(held_by(&world, 2).await, [own[0].0], "another's are its own");
}

/// A node that gives a sign of life again is alive, and one that says that it ends is dead at once.
pub async fn a_node_is_as_alive_as_it_says(world: World) {
    beat(&world, 1, 0).await;
    start(&world, 1, "mail", 1).await;
    assert_eq!(beat(&world, 2, 150).await.dead, [1]);
    assert!(beat(&world, 1, 160).await.dead.is_empty());
    assert!(beat(&world, 2, 170).await.dead.is_empty());
    assert_eq!(beat_for(&world, 1, 180, 0).await.dead, [1]);
    assert_eq!(beat(&world, 2, 180).await.dead, [1]);
}

/// What a node holds is found by its number: attempts that run, and slots of tasks that are over
/// whose holder has not stopped; nothing of workers, and nothing of other nodes.
pub async fn what_a_node_holds_is_found_by_its_number(world: World) {
    let held = start(&world, 7, "mail", 5).await;
    start(&world, 8, "mail", 3).await;
    world.accept_many(3, &task()).await;
    world.claim(&from("mail")).await;
    assert!(held_by(&world, 9).await.is_empty());
    let mut expected: Vec<TaskId> = held.iter().rev().map(|(id, _)| *id).collect();
    assert_eq!(held_by(&world, 7).await, expected);
    // Canceled, and its call not yet stopped.
    world.step(held[0].0, Command::Cancel, 1).await;
    assert_eq!(held_by(&world, 7).await, expected);
    world.step(held[0].0, Command::Free { nonce: held[0].1 }, 2).await;
    world.step(held[1].0, Command::succeed(held[1].1), 2).await;
    world.step(held[2].0, fail(held[2].1), 2).await;
    world.step(held[3].0, Command::Release { nonce: held[3].1 }, 2).await;
    expected.truncate(1);
    assert_eq!(held_by(&world, 7).await, expected);
    // The same task, started again by another.
    let ask = from("mail").run_by(&upstream(true)).limit(1).at(2);
    let claim = Claim { holder: Holder::Relais { epoch: 8 }, ..world.claiming(&ask) };
    world.store.claim(claim).await.expect("the store works");
    assert_eq!(held_by(&world, 7).await, expected);
    assert_eq!(held_by(&world, 8).await.len(), 4);
}

/// Nobody writes what a living node cannot read: the format of a store is the lowest of theirs.
pub async fn the_format_of_a_store_is_the_lowest_of_the_living(world: World) {
    let beat = async |node, format, now| {
        let beat = Beat { node, format, now: at(now), alive_for: ms(100) };
        world.store.beat(beat).await.expect("the store works").format
    };
    assert_eq!(beat(1, 3, 0).await, 3);
    assert_eq!(beat(2, 4, 50).await, 3, "an older one is there");
    assert_eq!(beat(2, 4, 99).await, 3);
    assert_eq!(beat(2, 4, 100).await, 4, "it is not there any more");
}

/// P26: a sign of life from the future says that the clock was set back; it is told once.
pub async fn a_clock_that_was_set_back_is_noticed(world: World) {
    beat(&world, 1, 1_000_000).await;
    start(&world, 1, "mail", 1).await;
    let told = beat(&world, 2, 500).await;
    assert!(told.was_ahead && told.dead.is_empty(), "{told:?}");
    assert!(!beat(&world, 2, 550).await.was_ahead);
    assert_eq!(beat(&world, 2, 600).await.dead, [1], "no longer alive than it said");
}

/// The tasks that connections attend, page by page.
async fn attended(world: &World, attended: Attended) -> Vec<TaskId> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let filter = Filter { attended: Some(attended), after, limit: 2, ..Filter::default() };
        let page = world.store.list(filter).await.expect("the store works");
        ids.extend(page.tasks.iter().map(|task| task.spec.id));
        after = page.next;
        if after.is_none() {
            return ids;
        }
    }
}

/// What connections of a node attend is found by its number, in whatever state the tasks are, until
/// they end or the node has left; so is what nobody attends any more.
pub async fn what_a_node_attends_is_found_by_its_number(world: World) {
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(world.accept(task().grace(3_000).attended_by(7)).await);
    }
    let at_once = world.accept(task().grace(0).attended_by(7)).await;
    world.accept(task().attended_by(7)).await;
    world.accept(task().grace(3_000)).await;
    world.step(ids[0], Command::Attend { node: 8, has_broken: None }, 1).await;
    let newest_first = |ids: &[TaskId]| ids.iter().rev().copied().collect::<Vec<_>>();
    let mut expected = newest_first(&ids);
    expected.insert(0, at_once);
    assert_eq!(attended(&world, Attended::By(7)).await, expected);
    assert_eq!(attended(&world, Attended::By(8)).await, [ids[0]]);
    world.claim(&from("mail").limit(2)).await;
    for id in [ids[0], ids[1], at_once] {
        world.step(id, Command::Leave { node: 7 }, 2).await;
    }
    world.step(ids[2], Command::LetGo { node: 7, has_broken: None }, 2).await;
    world.step(ids[3], Command::Cancel, 2).await;
    assert!(attended(&world, Attended::By(7)).await.is_empty());
    assert_eq!(attended(&world, Attended::NoMore).await, [ids[1]]);
    let due = world.store.due(DueQuery { now: at(3_002), limit: 9 }).await.expect("it works");
    assert!(due.tasks.contains(&ids[1]), "the end of its grace is an alarm");
    world.step(ids[1], TICK, 3_002).await;
    assert!(attended(&world, Attended::NoMore).await.is_empty());
    let canceled = Filter { status: Some(Status::Canceled), limit: 9, ..Filter::default() };
    let page = world.store.list(canceled).await.expect("the store works");
    let canceled: Vec<TaskId> = page.tasks.iter().map(|task| task.spec.id).collect();
    assert_eq!(canceled, [at_once, ids[3], ids[1]]);
}

/// A dead node that attends tasks is named until it does not any more; others learn of the countdown.
pub async fn a_dead_node_that_attends_tasks_is_named(world: World) {
    beat(&world, 1, 0).await;
    let id = world.accept(task().grace(3_000).attended_by(1)).await;
    beat(&world, 2, 99).await;
    assert_eq!(beat(&world, 2, 100).await.dead, [1]);
    let head = world.store.last_pos().await.expect("the store works");
    beat_for(&world, 3, 100, 1_000).await;
    world.step(id, Command::Leave { node: 1 }, 101).await;
    let Changes::Since { changes, .. } = world.store.changes(head, 9).await.expect("it works")
    else {
        panic!("nothing is too old")
    };
    let [Change { what: What::Left(left), .. }] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!((left.spec.id, left.life.abandon_at()), (id, Some(at(3_101))));
    assert!(beat(&world, 2, 102).await.dead.is_empty());
}

/// P8: what a dead node held is found among thousands of leases of others.
pub async fn what_a_dead_node_held_is_found_among_thousands(world: World) {
    let held = start(&world, 1, "mail", 1).await;
    let long = Arc::new(policy());
    for node in 2..4 {
        let commits = (0..1_000).map(|_| world.accepting(task())).collect();
        world.commit_all(commits).await;
        let claim = Claim {
            pool: from("mail").pool,
            policy: long.clone(),
            holder: Holder::Relais { epoch: node },
            nonces: (0..1_000).map(|_| world.nonce()).collect(),
            held: Arc::default(),
            now: at(1),
        };
        world.store.claim(claim).await.expect("the store works");
    }
    assert_eq!(held_by(&world, 1).await, [held[0].0]);
}
