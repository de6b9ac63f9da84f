//! Why a task waits and when it may be done: one estimate, whoever asks.

use std::sync::atomic::Ordering;
use std::time::Duration;

use relais_core::{LeaseToken, Policy, Rate, Task};
use relais_engine::{Config, Obstacle, Outcome, Settle, Submitted};
use relais_store::{Place, QueueChange};

use crate::moody::{self, Moody};
use crate::world::{START, World, for_workers, policy, queue, tenant};

const TWO_A_MINUTE: Rate = Rate { count: 2, period: Duration::from_secs(60) };

async fn world(policy: Policy) -> World {
    World::with(Config { template: Some(policy), ..Config::default() }).await
}

/// A new task of a lane, and the place that a 202 is told.
async fn submit(world: &World, lane: &str) -> (Task, Place) {
    let mut submission = for_workers();
    submission.lane = Some(lane.parse().unwrap());
    let submitted = world.engine.submit(world.engine.draw_id(), submission).await.unwrap();
    let Submitted::New(task, place) = submitted else { panic!("a new task was expected") };
    (task, place)
}

async fn run_one(world: &World) {
    let leased = world.lease(Duration::ZERO).await.pop().unwrap();
    let token = LeaseToken { task: leased.task().spec.id, nonce: leased.nonce };
    let settle = Settle { token, outcome: Outcome::success(None) };
    world.engine.settle(Some(&tenant()), vec![settle]).await.unwrap().pop().unwrap().unwrap();
}

#[tokio::test]
async fn a_task_whose_lane_is_held_by_its_rate_is_told_until_when() {
    // The third of a lane was "probably done now" although it started a minute later, and
    // `why` told its position only.
    let world = world(Policy { rate_per_lane: Some(TWO_A_MINUTE), ..policy() }).await;
    submit(&world, "a").await;
    run_one(&world).await;
    let mut submitted = Vec::new();
    for _ in 0..2 {
        submitted.push(submit(&world, "a").await);
    }
    for ((task, place), seconds) in submitted.iter().zip([30, 60]) {
        let until = START.plus(Duration::from_secs(seconds));
        let why = world.engine.why(task).await.unwrap();
        assert!(why.obstacles.contains(&Obstacle::LaneRate { until }), "{why:?}");
        let (p50, _) = why.estimate.eta.expect("a run was measured");
        assert!(p50 >= until, "{why:?}");
        assert_eq!(world.engine.estimate_at(task, place), why.estimate, "a 202");
        assert_eq!(world.engine.estimate(task).await.unwrap(), why.estimate, "a poll, a stream");
    }
    let (free, _) = submit(&world, "b").await;
    let why = world.engine.why(&free).await.unwrap();
    assert_eq!(why.obstacles, [Obstacle::Position { ahead: 0 }], "another lane is not held");
    run_one(&world).await;
    world.clock.advance(Duration::from_secs(30));
    let leased = world.lease(Duration::ZERO).await.pop().unwrap();
    assert_eq!(leased.task().spec.id, submitted[0].0.spec.id, "it starts as it was told");
}

#[tokio::test]
async fn a_rate_under_which_nothing_has_started_yet_counts() {
    // Until the first start of a queue its rate was left out.
    let world = world(Policy { rate: Some(TWO_A_MINUTE), ..policy() }).await;
    for seconds in [0, 30, 60] {
        let (task, _) = submit(&world, "a").await;
        let why = world.engine.why(&task).await.unwrap();
        let until = START.plus(Duration::from_secs(seconds));
        let told = why.obstacles.contains(&Obstacle::Rate { until });
        assert_eq!(told, seconds > 0, "{why:?}");
    }
}

/// A look at one task or queue, and a change of one, read the queues of all tenants: each grew with
/// what others have.
#[tokio::test]
async fn nothing_that_is_about_one_task_or_queue_reads_all_queues() {
    let store = Moody::new();
    let world = moody::world(&store).await;
    let walks = store.walks.load(Ordering::SeqCst);
    let (task, _) = submit(&world, "a").await;
    world.engine.why(&task).await.unwrap();
    world.engine.estimate(&task).await.unwrap();
    for change in [QueueChange::Pause, QueueChange::Resume, QueueChange::Policy(None)] {
        world.engine.change_queue(tenant(), queue("work"), change).await.unwrap();
    }
    world.engine.queue(&tenant(), &queue("work")).await.unwrap().expect("it has a task");
    run_one(&world).await;
    assert_eq!(store.walks.load(Ordering::SeqCst), walks);
}
