//! Servers that were away, and clocks that were set.

use std::time::Duration;

use relais_core::{EventKind, LeaseToken, Status, Task, TaskId, Timestamp};
use relais_engine::{Config, LOOK_EVERY, Report};
use relais_store::EventQuery;

use crate::world::{START, Upstream, World, for_upstream, for_workers, policy, tenant};

const HOUR_MS: i64 = 3_600_000;

fn config() -> Config {
    Config { template: Some(policy()), ..Config::default() }
}

async fn task_of(world: &World, id: TaskId) -> Task {
    world.engine.task(id).await.unwrap().unwrap()
}

/// Submits a task and leases it.
async fn leased(world: &World) -> LeaseToken {
    world.submit(for_workers()).await;
    let leased = world.lease(Duration::ZERO).await;
    LeaseToken { task: leased[0].task().spec.id, nonce: leased[0].nonce }
}

/// Waits until the lease of a task ends at `until`.
async fn until_held(world: &World, id: TaskId, until: Timestamp) {
    for _ in 0..1_000 {
        if task_of(world, id).await.life.lease().is_some_and(|lease| lease.until == until) {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("its lease does not end at {until:?}: {:?}", task_of(world, id).await.life.state);
}

async fn heartbeat(world: &World, token: LeaseToken) {
    let report = Report { token, progress: None, output: None, checkpoint: None };
    let answers = world.engine.report(Some(&tenant()), vec![report]).await.unwrap();
    assert!(answers[0].is_ok(), "{answers:?}");
}

#[tokio::test]
async fn a_worker_keeps_its_task_through_restarts_longer_than_its_lease() {
    // Three restarts of 4 s with a lease of 3 s declared a living, heartbeating worker dead.
    let first = World::new().await;
    let token = leased(&first).await;
    let mut now = START;
    for restart in 0..3 {
        now = now.plus(policy().lease * 4 / 3);
        let world = World::on_at(first.store.clone(), config(), restart, now).await;
        until_held(&world, token.task, now.plus(policy().lease)).await;
        heartbeat(&world, token).await;
    }
    let task = task_of(&first, token.task).await;
    assert_eq!((task.life.crashes, task.life.attempt), (0, 1));
}

#[tokio::test]
async fn a_process_that_was_stopped_gives_each_lease_one_more_and_not_two() {
    let world = World::new().await;
    let token = leased(&world).await;
    world.clock.stall(policy().lease * 10);
    until_held(&world, token.task, world.engine.now().plus(policy().lease)).await;
    world.clock.advance(policy().lease);
    let task = world.until(token.task, EventKind::AttemptFailed).await;
    assert_eq!(task.life.crashes, 1, "silent for a whole lease while the server was there");
}

#[tokio::test]
async fn moments_follow_the_clock_when_the_machine_slept_and_leases_last_one_more() {
    // Everything was late by the length of the sleep until the next restart.
    let world = World::new().await;
    let token = leased(&world).await;
    let mut submission = for_workers();
    submission.run_at = Some(START.plus(Duration::from_secs(3_000)));
    let scheduled = world.submit(submission).await;
    let waits = world.lease(Duration::from_secs(50));
    let slept = async {
        world.clock.set_by(HOUR_MS);
        world.clock.advance(LOOK_EVERY);
    };
    let (leased, ()) = tokio::join!(waits, slept);
    assert_eq!(leased[0].task().spec.id, scheduled.spec.id);
    let now = START.plus(Duration::from_millis(HOUR_MS.unsigned_abs())).plus(LOOK_EVERY);
    assert_eq!(world.submit(for_workers()).await.spec.created_at, now);
    until_held(&world, token.task, now.plus(policy().lease)).await;
}

#[tokio::test]
async fn a_lease_does_not_last_longer_because_the_clock_was_set_back() {
    let world = World::new().await;
    let token = leased(&world).await;
    world.clock.set_by(-HOUR_MS);
    world.clock.advance(LOOK_EVERY);
    until_held(&world, token.task, world.engine.now().plus(policy().lease)).await;
    world.clock.advance(policy().lease);
    world.until(token.task, EventKind::AttemptFailed).await;
    let query = EventQuery::Task { id: token.task, after: 0, limit: 10 };
    let log = world.engine.events(query).await.unwrap();
    assert!(log.iter().all(|logged| logged.entry.at == START), "a log never goes back: {log:?}");
}

#[tokio::test]
async fn a_slot_of_a_task_that_is_over_comes_back_although_the_clock_was_set_back() {
    // Canceled or overdue while its worker ran, it kept its slot for an hour
    // more once that had died.
    let world = World::new().await;
    let canceled = leased(&world).await;
    let mut submission = for_workers();
    submission.deadline = Some(relais_core::Deadline::After(Duration::from_secs(1)));
    let overdue = world.submit(submission).await;
    assert_eq!(world.lease(Duration::ZERO).await[0].task().spec.id, overdue.spec.id);
    world.engine.cancel(&tenant(), canceled.task).await.unwrap();
    world.clock.advance(Duration::from_secs(1));
    world.until(overdue.spec.id, EventKind::Failed).await;
    assert_eq!(world.leases().await, 2, "their workers have not stopped yet");
    world.clock.set_by(-HOUR_MS);
    world.clock.advance(LOOK_EVERY);
    let end = world.engine.now().plus(policy().lease);
    for id in [canceled.task, overdue.spec.id] {
        until_held(&world, id, end).await;
    }
    // The same at a start under an older clock.
    let now = Timestamp::from_ms(START.as_ms() - 2 * HOUR_MS);
    let next = World::on_at(world.store.clone(), config(), 2, now).await;
    for id in [canceled.task, overdue.spec.id] {
        until_held(&next, id, now.plus(policy().lease)).await;
    }
    next.clock.advance(policy().lease);
    for _ in 0..1_000 {
        if next.leases().await == 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("their slots are free");
}

#[tokio::test]
async fn a_call_that_reported_is_not_lost_because_the_clock_was_set_back() {
    // A report gave it the lease of workers, 30 s: a POST that ran was declared of unknown outcome.
    let world = World::new().await;
    let upstream = Upstream::start().await;
    let pushed = world.submit(for_upstream(&upstream, "POST", false)).await;
    let _call = upstream.next().await;
    let lease = task_of(&world, pushed.spec.id).await.life.lease().cloned().unwrap();
    heartbeat(&world, LeaseToken { task: pushed.spec.id, nonce: lease.nonce }).await;
    let reported = task_of(&world, pushed.spec.id).await.life.lease().cloned().unwrap();
    assert_eq!(reported.span, lease.span, "as long as its attempt may take, and a little more");
    world.clock.set_by(-HOUR_MS);
    world.clock.advance(LOOK_EVERY);
    until_held(&world, pushed.spec.id, world.engine.now().plus(lease.span)).await;
    // A silent worker is lost after as long: what is overdue has been looked at.
    let token = leased(&world).await;
    world.clock.advance(policy().lease);
    world.until(token.task, EventKind::AttemptFailed).await;
    assert_eq!(task_of(&world, pushed.spec.id).await.life.status(), Status::Running);
}

#[tokio::test]
async fn a_lease_taken_after_a_start_with_an_older_clock_is_bounded_by_that_clock() {
    // Reckoned from the log's time it lasted an hour longer, and its task with it.
    let drain_for = Duration::from_millis(1);
    let before = World::with(Config { drain_for, ..config() }).await;
    let held = leased(&before).await;
    let ready = before.submit(for_workers()).await;
    before.engine.drain().await;
    let now = Timestamp::from_ms(START.as_ms() - HOUR_MS);
    let world = World::on_at(before.store.clone(), config(), 2, now).await;
    until_held(&world, held.task, now.plus(policy().lease)).await;
    let leased = world.lease(Duration::ZERO).await;
    assert_eq!(leased[0].task().spec.id, ready.spec.id, "it was ready before the restart");
    let lease = leased[0].task().life.lease().unwrap();
    assert_eq!(lease.until, now.plus(policy().lease));
    world.clock.advance(policy().lease);
    world.until(ready.spec.id, EventKind::AttemptFailed).await;
}

#[tokio::test]
async fn an_engine_that_starts_changes_no_lease_that_another_serves() {
    let alive = World::new().await;
    let token = leased(&alive).await;
    let half = policy().lease / 2;
    alive.clock.advance(half);
    let other = World::on_at(alive.store.clone(), config(), 2, START.plus(half)).await;
    other.submit(for_workers()).await;
    other.lease(Duration::ZERO).await;
    let lease = task_of(&alive, token.task).await.life.lease().cloned().unwrap();
    assert_eq!(lease.until, START.plus(policy().lease), "neither shorter nor longer");
    // Its holder was silent while a server was there all the time, and that one knows.
    alive.clock.advance(half);
    let task = alive.until(token.task, EventKind::AttemptFailed).await;
    assert_eq!((task.life.crashes, task.life.status()), (1, Status::Queued));
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_stop_a_queue_with_a_rate() {
    // A bucket counted in the future gave nothing until the clock had come as far again.
    let rate = relais_core::Rate { count: 1, period: Duration::from_secs(1) };
    let template = Some(relais_core::Policy { rate: Some(rate), ..policy() });
    let world = World::with(Config { template, ..Config::default() }).await;
    for _ in 0..2 {
        world.submit(for_workers()).await;
    }
    assert_eq!(world.lease(Duration::ZERO).await.len(), 1);
    world.clock.set_by(-HOUR_MS);
    assert_eq!(world.lease(Duration::ZERO).await.len(), 0, "nothing is given away");
    let waits = world.lease(Duration::from_secs(50));
    let (leased, ()) = tokio::join!(waits, async {
        tokio::task::yield_now().await;
        world.clock.advance(Duration::from_secs(1));
    });
    assert_eq!(leased.len(), 1);
}
