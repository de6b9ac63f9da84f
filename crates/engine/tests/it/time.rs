//! What time does by itself.

use std::time::Duration;

use relais_core::{EventKind, FailureCode, State, Status};
use relais_engine::Config;

use crate::world::{START, World, for_workers, policy, tenant};

async fn lease_one(world: &World) -> usize {
    world.lease(Duration::ZERO).await.len()
}

#[tokio::test]
async fn a_delayed_task_waits_for_its_moment_even_a_thousand_leases_long() {
    // P27: a delay longer than the lease made copies.
    let world = World::new().await;
    let mut submission = for_workers();
    submission.run_at = Some(START.plus(policy().lease * 1_000));
    let task = world.submit(submission).await;
    let waiting = world.lease(Duration::from_secs(86_400));
    let moved = async {
        world.clock.advance(policy().lease * 1_000);
    };
    let (leased, ()) = tokio::join!(waiting, moved);
    assert_eq!(leased[0].task().spec.id, task.spec.id);
    assert_eq!(lease_one(&world).await, 0);
}

#[tokio::test]
async fn a_task_that_misses_its_deadline_fails_wherever_it_is() {
    let world = World::new().await;
    let mut submission = for_workers();
    submission.deadline = Some(relais_core::Deadline::After(Duration::from_secs(60)));
    let queued = world.submit(submission).await;
    world.clock.advance(Duration::from_secs(60));
    let task = world.until(queued.spec.id, EventKind::Failed).await;
    let State::Failed { failure, .. } = &task.life.state else { panic!("{task:?}") };
    assert_eq!(failure.code, FailureCode::DeadlineExceeded);
    assert_eq!(lease_one(&world).await, 0);
}

async fn tick_on(world: &World) {
    loop {
        world.clock.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_worker_that_crashes_thrice_loses_the_task() {
    // P50: a task that kills its worker was run for ever.
    let world = World::new().await;
    let task = world.submit(for_workers()).await;
    for crash in 1..=3 {
        let leased = tokio::select! {
            leased = world.lease(Duration::from_secs(1_000)) => leased,
            () = tick_on(&world) => unreachable!("it never ends"),
        };
        assert_eq!(leased.len(), 1, "crash {crash}");
        world.clock.advance(policy().lease);
        while world.engine.task(task.spec.id).await.unwrap().unwrap().life.status()
            == Status::Running
        {
            tokio::task::yield_now().await;
        }
    }
    let task = world.until(task.spec.id, EventKind::Failed).await;
    let State::Failed { failure, .. } = &task.life.state else { panic!("{task:?}") };
    assert_eq!(failure.code, FailureCode::WorkerLost);
}

#[tokio::test]
async fn a_finished_task_is_erased_when_its_retention_ends() {
    let world = World::new().await;
    let mut submission = for_workers();
    submission.retention = Some(Duration::from_secs(3_600));
    let task = world.submit(submission).await;
    world.engine.cancel(&tenant(), task.spec.id).await.unwrap();
    world.clock.advance(Duration::from_secs(3_600));
    while world.engine.task(task.spec.id).await.unwrap().is_some() {
        tokio::task::yield_now().await;
    }
    let expired = world.engine.meters().expired.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(expired, 1, "P25: erasing is counted");
}

#[tokio::test]
async fn timers_survive_a_restart() {
    // P21: timers only in memory vanished with the process.
    let world = World::new().await;
    let mut submission = for_workers();
    submission.run_at = Some(START.plus(Duration::from_secs(5)));
    let task = world.submit(submission).await;
    world.engine.drain().await;
    let config = Config { template: Some(policy()), ..Config::default() };
    let next = World::on(world.store.clone(), config, 2).await;
    let wait = next.lease(Duration::from_secs(100));
    let moved = async { next.clock.advance(Duration::from_secs(5)) };
    let (leased, ()) = tokio::join!(wait, moved);
    assert_eq!(leased[0].task().spec.id, task.spec.id);
}
