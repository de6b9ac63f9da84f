//! `Retry-After`: what stands still, and what goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use relais_core::outcome::PauseScope;
use relais_core::{EventKind, Policy, RetryPolicy, Status, Task, Timestamp};
use relais_engine::{Config, Hold, LOOK_EVERY, Submission, UpstreamLimits};

use crate::log::Log;
use crate::world::{Call, START, Upstream, World, for_upstream, policy};

const BUSY: &str = "Retry-After: 30\r\n";

fn in_lane(upstream: &Upstream, lane: &str) -> Submission {
    let mut submission = for_upstream(upstream, "POST", false);
    submission.lane = Some(lane.parse().unwrap());
    submission
}

fn of_tenant(upstream: &Upstream, tenant: &str) -> Submission {
    let mut submission = for_upstream(upstream, "POST", false);
    submission.tenant = tenant.parse().unwrap();
    submission
}

/// Submits a task whose call is answered with a status and a pause.
async fn limited(world: &World, upstream: &Upstream, submission: Submission, status: &str) -> Task {
    let task = world.submit(submission).await;
    upstream.answer(status, BUSY, "slow down").await;
    world.until(task.spec.id, EventKind::AttemptFailed).await
}

fn assert_is_of(call: &Call, task: &Task) {
    assert_eq!(call.field("relais-task"), Some(task.spec.id.to_string().as_str()));
}

async fn answered(world: &World, upstream: &Upstream, task: &Task) {
    let call = upstream.answer("200 OK", "", "").await;
    assert_is_of(&call, task);
    world.until(task.spec.id, EventKind::Succeeded).await;
}

fn held(world: &World, task: &Task) -> Option<PauseScope> {
    let (until, hold) = world.engine.hold_of(task)?;
    assert_eq!(until, START.plus(Duration::from_secs(30)));
    let Hold::Paused(scope) = hold else { panic!("{hold:?}") };
    Some(scope)
}

/// One customer's 429 stopped everybody for up to five minutes.
#[tokio::test]
async fn a_429_pauses_its_lane_and_the_others_go_on() {
    let world = World::new().await;
    let log = Log::here();
    let upstream = Upstream::start().await;
    let first = limited(&world, &upstream, in_lane(&upstream, "a"), "429 Slow").await;
    assert_eq!(first.life.run_at(), Some(START.plus(Duration::from_secs(30))));
    // The log had a name of the program's own, "Lane", and not the word of the configuration.
    let told = log.with("asks to be left alone");
    assert!(told[0].contains("scope=\"lane\""), "{told:?}");
    let second = world.submit(in_lane(&upstream, "a")).await;
    assert_eq!(held(&world, &second), Some(PauseScope::Lane));
    let other = world.submit(in_lane(&upstream, "b")).await;
    assert_eq!(held(&world, &other), None);
    answered(&world, &upstream, &other).await;
    let without = world.submit(for_upstream(&upstream, "POST", false)).await;
    answered(&world, &upstream, &without).await;
    assert_eq!(world.engine.task(second.spec.id).await.unwrap().unwrap().life.attempt, 0);
    world.clock.advance(Duration::from_secs(30));
    for _ in 0..2 {
        upstream.answer("200 OK", "", "").await;
    }
    world.until(first.spec.id, EventKind::Succeeded).await;
    world.until(second.spec.id, EventKind::Succeeded).await;
}

/// The pause moved along with the clock, and what wakes its lane did not:
/// it slept for an hour more.
#[tokio::test]
async fn a_paused_lane_is_woken_although_the_clock_was_set_back() {
    let world = World::new().await;
    let upstream = Upstream::start().await;
    limited(&world, &upstream, in_lane(&upstream, "a"), "429 Slow").await;
    let second = world.submit(in_lane(&upstream, "a")).await;
    world.clock.set_by(-3_600_000);
    world.clock.advance(LOOK_EVERY);
    let end = Timestamp::from_ms(START.as_ms() - 3_600_000).plus(Duration::from_secs(30));
    for _ in 0..1_000 {
        if world.engine.hold_of(&second).is_some_and(|(until, _)| until == end) {
            break;
        }
        tokio::task::yield_now().await;
    }
    let other = world.submit(in_lane(&upstream, "b")).await;
    answered(&world, &upstream, &other).await;
    world.clock.advance(Duration::from_secs(30));
    answered(&world, &upstream, &second).await;
}

#[tokio::test]
async fn a_429_without_a_lane_pauses_the_queue_of_its_tenant() {
    let world = World::new().await;
    let upstream = Upstream::start().await;
    limited(&world, &upstream, of_tenant(&upstream, "one"), "429 Slow").await;
    let second = world.submit(of_tenant(&upstream, "one")).await;
    assert_eq!(held(&world, &second), Some(PauseScope::Queue));
    let other = world.submit(of_tenant(&upstream, "two")).await;
    answered(&world, &upstream, &other).await;
    world.clock.advance(Duration::from_secs(30));
    for _ in 0..2 {
        upstream.answer("200 OK", "", "").await;
    }
    world.until(second.spec.id, EventKind::Succeeded).await;
}

#[tokio::test]
async fn a_503_pauses_the_service_for_all() {
    let world = World::new().await;
    let upstream = Upstream::start().await;
    limited(&world, &upstream, in_lane(&upstream, "a"), "503 Down").await;
    let other = world.submit(of_tenant(&upstream, "two")).await;
    assert_eq!(held(&world, &other), Some(PauseScope::Origin));
}

#[tokio::test]
async fn what_a_pause_is_about_can_be_configured() {
    for (wished, status, scope) in [
        (PauseScope::Origin, "429 Slow", PauseScope::Origin),
        (PauseScope::Lane, "503 Down", PauseScope::Lane),
        (PauseScope::Queue, "429 Slow", PauseScope::Queue),
    ] {
        let upstream = Upstream::start().await;
        let limits = UpstreamLimits { retry_after: Some(wished), ..UpstreamLimits::default() };
        let upstreams = BTreeMap::from([(upstream.origin.clone(), limits)]);
        let config = Config { template: Some(policy()), upstreams, ..Config::default() };
        let world = World::with(config).await;
        let task = limited(&world, &upstream, in_lane(&upstream, "a"), status).await;
        assert_eq!(held(&world, &task), Some(scope));
    }
}

/// Whoever waited as it was told lost an attempt by it, and failed in the end.
#[tokio::test]
async fn an_answer_that_pauses_uses_no_attempt() {
    let retry = RetryPolicy { max_attempts: 1, ..RetryPolicy::default() };
    let template = Some(Policy { retry, ..policy() });
    let world = World::with(Config { template, ..Config::default() }).await;
    let upstream = Upstream::start().await;
    let task = world.submit(for_upstream(&upstream, "POST", false)).await;
    for attempt in 1..=4 {
        upstream.answer("503 Down", BUSY, "").await;
        while world.kinds(task.spec.id).await.len() < 1 + 2 * attempt {
            tokio::task::yield_now().await;
        }
        world.clock.advance(Duration::from_secs(30));
    }
    upstream.answer("200 OK", "", "").await;
    let task = world.until(task.spec.id, EventKind::Succeeded).await;
    assert_eq!((task.life.attempt, task.life.failures), (5, 0));
    // To come back at once is no pause: it would never end.
    let task = world.submit(for_upstream(&upstream, "POST", false)).await;
    upstream.answer("503 Down", "Retry-After: 0\r\n", "").await;
    let task = world.until(task.spec.id, EventKind::Failed).await;
    assert_eq!(task.life.failures, 1);
}

#[tokio::test]
async fn the_deadline_bounds_how_often_an_upstream_may_put_off() {
    let template = Some(Policy { deadline: Duration::from_secs(50), ..policy() });
    let world = World::with(Config { template, ..Config::default() }).await;
    let upstream = Upstream::start().await;
    let task = limited(&world, &upstream, in_lane(&upstream, "a"), "429 Slow").await;
    world.clock.advance(Duration::from_secs(30));
    upstream.answer("429 Slow", BUSY, "").await;
    while world.kinds(task.spec.id).await.len() < 5 {
        tokio::task::yield_now().await;
    }
    world.clock.advance(Duration::from_secs(20));
    let task = world.until(task.spec.id, EventKind::Failed).await;
    assert_eq!(task.life.status(), Status::Failed);
}
