//! Tasks that are canceled when all who attended them have left: two engines over one store.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use relais_core::limits::{NODE_ALIVE_FOR, NODE_BEAT_EVERY};
use relais_core::{
    CancelReason, Command, EventKind, Grace, State, Status, Task, TaskId, Timestamp,
};
use relais_engine::{Attending, Config, Submission};
use relais_store::{Attended, Commit, Filter, MemoryStore, StepOf, Store};

use crate::moody::Moody;
use crate::world::{START, Upstream, World, for_upstream, for_workers, policy, tenant};

/// Less than a node may be silent for.
const GRACE: Duration = Duration::from_secs(9);

async fn node(store: &Arc<dyn Store>, seed: u64) -> World {
    node_at(store, seed, Duration::ZERO).await
}

/// A node that starts so long after the first.
async fn node_at(store: &Arc<dyn Store>, seed: u64, later: Duration) -> World {
    let config = Config { template: Some(policy()), ..Config::default() };
    World::on_at(store.clone(), config, seed, START.plus(later)).await
}

fn new_store() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

fn with_grace(submission: Submission) -> Submission {
    Submission { grace: Grace::of(GRACE), is_attended: true, ..submission }
}

/// A task whose caller waits for it at this node.
async fn attended(world: &World, submission: Submission) -> (TaskId, Attending) {
    let task = world.submit(with_grace(submission)).await;
    let attending = world.engine.attend_accepted(&task);
    (task.spec.id, attending)
}

async fn read(world: &World, id: TaskId) -> Task {
    world.engine.task(id).await.unwrap().unwrap()
}

/// Another connection comes, at this node.
async fn come(world: &World, id: TaskId) -> Attending {
    let attending = world.engine.attend([&read(world, id).await]);
    world.engine.attendance_told().await;
    attending
}

/// The same, which only asks how the task stands.
async fn ask(world: &World, id: TaskId) -> Attending {
    let attending = world.engine.attend_asking(&read(world, id).await);
    world.engine.attendance_told().await;
    attending
}

/// One ends with what it came for, or is told how the task stands.
async fn let_go(world: &World, mut attending: Attending) {
    attending.let_go();
    world.engine.attendance_told().await;
}

async fn leave(world: &World, attending: Attending) {
    drop(attending);
    world.engine.attendance_told().await;
}

/// Waits until a task is so. Nothing of it is in a log.
async fn until(world: &World, id: TaskId, is_so: impl Fn(&Task) -> bool) -> Task {
    let looking = async {
        loop {
            let task = read(world, id).await;
            if is_so(&task) {
                return task;
            }
            tokio::task::yield_now().await;
        }
    };
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, looking).await.expect("it should have come to be so")
}

fn after(span: Duration) -> Option<Timestamp> {
    Some(START.plus(span))
}

fn is_abandoned(task: &Task) -> bool {
    matches!(task.life.state, State::Canceled { reason: CancelReason::Abandoned, .. })
}

#[tokio::test]
async fn the_last_of_all_nodes_that_breaks_off_begins_the_one_countdown() {
    let (store, upstream) = (new_store(), Upstream::start().await);
    let (first, second) = (node(&store, 1).await, node(&store, 2).await);
    let (id, caller) = attended(&first, for_upstream(&upstream, "POST", false)).await;
    let mut call = upstream.next().await;
    let follower = come(&second, id).await;
    leave(&first, caller).await;
    let task = read(&first, id).await;
    assert_eq!((task.life.attended_by().len(), task.life.abandon_at()), (1, None));
    leave(&second, follower).await;
    assert_eq!(read(&first, id).await.life.abandon_at(), after(GRACE));
    // Both find it due.
    first.clock.advance(GRACE);
    second.clock.advance(GRACE);
    call.until_closed().await;
    assert!(is_abandoned(&first.until(id, EventKind::Canceled).await));
    let kinds = second.kinds(id).await;
    assert_eq!(kinds, [EventKind::Accepted, EventKind::Started, EventKind::Canceled]);
}

#[tokio::test]
async fn a_countdown_that_one_node_began_ends_a_call_of_another() {
    let (store, upstream) = (new_store(), Upstream::start().await);
    let (first, second) = (node(&store, 1).await, node(&store, 2).await);
    let (id, mut caller) = attended(&first, for_upstream(&upstream, "POST", false)).await;
    let mut call = upstream.next().await;
    let follower = come(&second, id).await;
    caller.let_go();
    leave(&second, follower).await;
    second.clock.advance(GRACE);
    second.until(id, EventKind::Canceled).await;
    call.until_closed().await;
}

#[tokio::test]
async fn whoever_comes_back_to_another_node_is_never_too_late() {
    let store = new_store();
    let (first, second) = (node(&store, 1).await, node(&store, 2).await);
    let (id, caller) = attended(&first, for_workers()).await;
    leave(&first, caller).await;
    for world in [&first, &second] {
        world.clock.advance(GRACE - Duration::from_millis(1));
    }
    let back = come(&second, id).await;
    for world in [&first, &second] {
        world.clock.advance(GRACE);
    }
    // Time was looked at: another task was ended by it.
    let (other, other_caller) = attended(&first, for_workers()).await;
    leave(&first, other_caller).await;
    first.clock.advance(GRACE);
    first.until(other, EventKind::Canceled).await;
    assert_eq!(read(&first, id).await.life.status(), Status::Queued);
    drop(back);
}

#[tokio::test]
async fn a_caller_that_is_sent_away_with_a_ticket_leaves_nothing_behind() {
    let world = node(&new_store(), 1).await;
    let (id, mut caller) = attended(&world, for_workers()).await;
    caller.let_go();
    world.engine.attendance_told().await;
    assert_eq!(read(&world, id).await.life.attendance, None);
}

/// A poll that waited, here or at another node, swallowed the leaving of all others.
#[tokio::test]
async fn whoever_left_while_a_poll_waited_is_counted_when_it_is_answered() {
    for is_elsewhere in [false, true] {
        let store = new_store();
        let nodes = [node(&store, 1).await, node(&store, 2).await];
        let (id, caller) = attended(&nodes[0], for_workers()).await;
        let other = &nodes[usize::from(is_elsewhere)];
        let mut poll = ask(other, id).await;
        leave(&nodes[0], caller).await;
        assert_eq!(read(other, id).await.life.abandon_at(), None, "somebody is there");
        poll.let_go();
        other.engine.attendance_told().await;
        assert_eq!(read(other, id).await.life.abandon_at(), after(GRACE), "{is_elsewhere}");
        for world in &nodes {
            world.clock.advance(GRACE);
        }
        assert!(is_abandoned(&other.until(id, EventKind::Canceled).await));
    }
    // Where nobody has left, it begins none.
    let world = node(&new_store(), 1).await;
    let (id, mut caller) = attended(&world, for_workers()).await;
    let mut poll = ask(&world, id).await;
    caller.let_go();
    poll.let_go();
    world.engine.attendance_told().await;
    assert_eq!(read(&world, id).await.life.attendance, None);
}

/// The poll stopped the countdown that it came just in time for, here or at another node, and the task
/// went on for nobody.
#[tokio::test]
async fn a_poll_that_comes_just_as_the_last_breaks_off_swallows_nothing() {
    for is_elsewhere in [false, true] {
        let store = new_store();
        let nodes = [node(&store, 1).await, node(&store, 2).await];
        let (id, caller) = attended(&nodes[0], for_workers()).await;
        let task = read(&nodes[0], id).await;
        let other = &nodes[usize::from(is_elsewhere)];
        drop(caller);
        let poll = other.engine.attend_asking(&task);
        for world in &nodes {
            world.engine.attendance_told().await;
        }
        assert_eq!(read(other, id).await.life.abandon_at(), None, "somebody is there");
        let_go(other, poll).await;
        assert_eq!(read(other, id).await.life.abandon_at(), after(GRACE), "{is_elsewhere}");
    }
}

/// One stream that was opened again, also at another node, counted for ever as one that had left.
#[tokio::test]
async fn whoever_came_back_while_a_poll_waited_has_not_left() {
    for is_elsewhere in [false, true] {
        let store = new_store();
        let nodes = [node(&store, 1).await, node(&store, 2).await];
        let (id, stream) = attended(&nodes[0], for_workers()).await;
        let poll = ask(&nodes[0], id).await;
        leave(&nodes[0], stream).await;
        let other = &nodes[usize::from(is_elsewhere)];
        let again = come(other, id).await;
        let_go(other, again).await;
        let_go(&nodes[0], poll).await;
        assert_eq!(read(other, id).await.life.attendance, None, "{is_elsewhere}");
    }
}

/// With `cancel` there is no countdown that a poll could leave running.
#[tokio::test]
async fn a_poll_that_comes_too_late_keeps_no_task_that_is_canceled_at_once() {
    let world = node(&new_store(), 1).await;
    let submission = Submission { grace: Some(Grace::ZERO), ..with_grace(for_workers()) };
    let task = world.submit(submission).await;
    let caller = world.engine.attend_accepted(&task);
    drop(caller);
    let poll = world.engine.attend_asking(&task);
    world.engine.attendance_told().await;
    assert!(is_abandoned(&read(&world, task.spec.id).await));
    drop(poll);
}

#[tokio::test]
async fn what_asks_for_a_task_starts_its_countdown_anew_and_none_where_none_ran() {
    let world = node(&new_store(), 1).await;
    let (id, mut caller) = attended(&world, for_workers()).await;
    let asked = world.engine.ask(read(&world, id).await).await.unwrap();
    assert_eq!(asked.life.abandon_at(), None);
    caller.let_go();
    leave(&world, come(&world, id).await).await;
    world.clock.advance(Duration::from_secs(5));
    let asked = world.engine.ask(read(&world, id).await).await.unwrap();
    assert_eq!(asked.life.abandon_at(), after(GRACE + Duration::from_secs(5)));
}

/// P76: the connections of a process that died broke with it.
#[tokio::test]
async fn the_clients_of_a_dead_node_have_left() {
    let store = new_store();
    let (dead, alive) = (node(&store, 1).await, node(&store, 2).await);
    let (id, _caller) = attended(&dead, for_workers()).await;
    let (kept, _kept_caller) = attended(&dead, for_workers()).await;
    let follower = come(&alive, kept).await;
    alive.clock.advance(NODE_ALIVE_FOR);
    let task = until(&alive, id, |task| task.life.is_left()).await;
    assert_eq!(task.life.abandon_at(), after(NODE_ALIVE_FOR + GRACE));
    until(&alive, kept, |task| task.life.attended_by().len() == 1).await;
    alive.clock.advance(GRACE);
    alive.until(id, EventKind::Canceled).await;
    assert_eq!(alive.kinds(id).await, [EventKind::Accepted, EventKind::Canceled]);
    assert_eq!(read(&alive, kept).await.life.status(), Status::Queued);
    drop(follower);
}

/// It was taken for dead, and its connections are still there.
#[tokio::test]
async fn a_node_that_was_silent_and_lives_says_again_whom_it_has() {
    let store = new_store();
    let (silent, other) = (node(&store, 1).await, node(&store, 2).await);
    let (id, caller) = attended(&silent, for_workers()).await;
    // Both are at work by then.
    leave(&other, come(&other, id).await).await;
    leave(&silent, come(&silent, id).await).await;
    other.clock.advance(NODE_ALIVE_FOR);
    until(&other, id, |task| task.life.is_left()).await;
    silent.clock.advance(NODE_ALIVE_FOR);
    until(&other, id, |task| !task.life.attended_by().is_empty()).await;
    drop(caller);
}

/// Another node struck a living one off: it learns of it, and says that its connection is there.
#[tokio::test]
async fn a_node_that_learns_that_it_was_struck_off_says_that_it_is_there() {
    let store = new_store();
    let (struck, other) = (node(&store, 1).await, node(&store, 2).await);
    let (id, caller) = attended(&struck, for_workers()).await;
    let by = read(&other, id).await.life.attended_by()[0];
    let leave = Command::Leave { node: by };
    let (policy, bodies, now) = (Arc::default(), Vec::new(), START);
    let step = StepOf { id, tenant: None, command: leave, policy, bodies, now };
    store.commit(vec![Commit::Step(Box::new(step))]).await.unwrap().pop().unwrap().unwrap();
    until(&other, id, |task| task.life.attended_by() == [by]).await;
    drop(caller);
}

#[tokio::test]
async fn a_restart_within_the_grace_gives_a_whole_one_from_then_on() {
    let (store, grace) = (new_store(), GRACE);
    let before = node(&store, 1).await;
    let (id, caller) = attended(&before, for_workers()).await;
    before.clock.advance(NODE_BEAT_EVERY * 4);
    leave(&before, caller).await;
    // It is killed, and a process that was away until then starts a second later; nobody is told
    // that the first is dead by the store, so that it is told by its silence.
    let left_at = NODE_BEAT_EVERY * 4;
    let started = left_at + NODE_ALIVE_FOR + Duration::from_secs(1);
    let again = node_at(&store, 2, started).await;
    until(&again, id, |task| task.life.abandon_at() == after(started + grace)).await;
    again.clock.advance(grace);
    assert!(is_abandoned(&again.until(id, EventKind::Canceled).await));
}

#[tokio::test]
async fn a_start_beside_another_node_restarts_nothing() {
    let store = new_store();
    let first = node(&store, 1).await;
    let (id, caller) = attended(&first, for_workers()).await;
    leave(&first, caller).await;
    let second = node_at(&store, 2, Duration::from_secs(5)).await;
    second.clock.advance(GRACE - Duration::from_secs(5));
    let task = second.until(id, EventKind::Canceled).await;
    assert_eq!(task.life.ended_at(), after(GRACE), "clients could come back all the time");
}

#[tokio::test]
async fn a_clock_that_is_set_gives_everybody_the_time_to_come_back_and_no_more() {
    for set_by_ms in [3_600_000, -3_600_000] {
        let world = node(&new_store(), 1).await;
        let (id, caller) = attended(&world, for_workers()).await;
        leave(&world, caller).await;
        world.clock.set_by(set_by_ms);
        world.clock.advance(relais_engine::LOOK_EVERY);
        let now = world.engine.now();
        until(&world, id, |task| task.life.abandon_at() == Some(now.plus(GRACE))).await;
        world.clock.advance(GRACE);
        world.until(id, EventKind::Canceled).await;
    }
}

#[tokio::test]
async fn a_process_that_was_stopped_gives_everybody_the_time_to_come_back() {
    let world = node(&new_store(), 1).await;
    let (id, caller) = attended(&world, for_workers()).await;
    leave(&world, caller).await;
    world.clock.stall(GRACE * 2);
    until(&world, id, |task| task.life.abandon_at() == after(GRACE * 3)).await;
    world.clock.advance(GRACE);
    world.until(id, EventKind::Canceled).await;
}

#[tokio::test]
async fn a_task_that_runs_again_by_hand_is_attended_by_who_still_is_there() {
    let world = node(&new_store(), 1).await;
    let (id, caller) = attended(&world, for_workers()).await;
    world.engine.cancel(&tenant(), id).await.unwrap();
    world.engine.retry(&tenant(), id, false).await.unwrap();
    until(&world, id, |task| task.life.attended_by().len() == 1).await;
    leave(&world, caller).await;
    assert!(read(&world, id).await.life.is_left());
}

#[tokio::test]
async fn what_goes_on_in_any_case_costs_nothing() {
    let world = node(&new_store(), 1).await;
    let submission = Submission { is_attended: true, ..for_workers() };
    let task = world.submit(submission).await;
    assert_eq!(task.life.attendance, None);
    leave(&world, world.engine.attend_accepted(&task)).await;
    assert_eq!(read(&world, task.spec.id).await.life, task.life);
}

/// A grace of thousands begins in a few writes, and ends in a few.
#[tokio::test]
async fn ten_thousand_disconnects_are_a_few_writes() {
    const COUNT: usize = 10_000;
    let store = Moody::new();
    let config = Config { template: Some(policy()), ..Config::default() };
    let world = World::on(store.clone(), config, 1).await;
    let submissions = (0..COUNT).map(|_| (world.engine.draw_id(), with_grace(for_workers())));
    let mut callers = Vec::new();
    for submitted in world.engine.submit_all(submissions.collect()).await.unwrap() {
        let relais_engine::Submitted::New(task, _) = submitted.unwrap() else { panic!("new") };
        callers.push(world.engine.attend_accepted(&task));
    }
    let writes = || store.commits.load(Ordering::SeqCst);
    let before = writes();
    drop(callers);
    world.engine.attendance_told().await;
    assert!(writes() - before <= 16, "{}", writes() - before);
    let left = Filter { attended: Some(Attended::NoMore), limit: COUNT, ..Filter::default() };
    assert_eq!(world.engine.list(left).await.unwrap().tasks.len(), COUNT);
    world.clock.advance(GRACE);
    let canceled = Filter { status: Some(Status::Canceled), limit: COUNT, ..Filter::default() };
    let mut committed = world.engine.follow_all();
    while world.engine.list(canceled.clone()).await.unwrap().tasks.len() < COUNT {
        let more = tokio::time::timeout(Duration::from_secs(20), committed.changed()).await;
        more.expect("more are canceled").unwrap();
    }
    assert!(writes() - before <= 64, "{}", writes() - before);
}

/// One of them cannot be read: the others are told of all the same, also after a store that was away.
#[tokio::test]
async fn neither_a_store_that_is_away_nor_a_damaged_task_loses_a_countdown() {
    let store = Moody::new();
    let config = Config { template: Some(policy()), ..Config::default() };
    let world = World::on(store.clone(), config, 1).await;
    let (damaged, one) = attended(&world, for_workers()).await;
    let (id, other) = attended(&world, for_workers()).await;
    // Its turn came after that of which the store could not be told, and nobody told of it any more.
    let (last_id, last) = attended(&world, for_workers()).await;
    *store.damaged.lock().unwrap() = Some((damaged, false));
    store.is_away.store(true, Ordering::SeqCst);
    drop((one, other, last));
    while store.refused_commits.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    store.is_away.store(false, Ordering::SeqCst);
    world.clock.advance(Duration::from_secs(1));
    world.engine.attendance_told().await;
    for id in [id, last_id] {
        let task = read(&world, id).await;
        assert_eq!(task.life.abandon_at(), after(GRACE + Duration::from_secs(1)));
    }
}

/// Whoever asked how a task stands was held until its connection was forced.
#[tokio::test]
async fn nobody_waits_for_a_store_that_cannot_be_told() {
    let store = Moody::new();
    let config = Config { template: Some(policy()), ..Config::default() };
    let world = World::on(store.clone(), config, 1).await;
    let (id, caller) = attended(&world, for_workers()).await;
    let follower = come(&world, id).await;
    store.is_away.store(true, Ordering::SeqCst);
    drop(caller);
    drop(follower);
    let soon = Duration::from_secs(20);
    let told = async {
        let waiting = world.engine.attendance_told();
        let refused = async {
            while store.refused_commits.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
            world.clock.advance(Duration::from_secs(1));
        };
        tokio::join!(waiting, refused);
    };
    tokio::time::timeout(soon, told).await.expect("nobody waits longer");
    // Nor once the engine has stopped: then nobody tells any more.
    store.is_away.store(false, Ordering::SeqCst);
    world.engine.drain().await;
    drop(world.engine.attend([&read(&world, id).await]));
    let told = world.engine.attendance_told();
    tokio::time::timeout(soon, told).await.expect("nobody waits for a teller that is gone");
}
