//! Lanes: fairness between them, and the strict order within them.

use std::collections::BTreeMap;

use relais_core::{Command, Order, Policy, Rate, Runner, Status, TaskId};

use super::fixture::*;
use super::world::World;

/// Starts and finishes tasks one by one; answers the lane of each, in order.
async fn served(world: &World, ask: &Ask, count: usize) -> Vec<String> {
    let mut lanes = Vec::new();
    for _ in 0..count {
        let id = world.run(ask).await;
        let lane = world.read(id).await.spec.lane.clone();
        lanes.push(lane.map_or_else(String::new, |lane| lane.to_string()));
    }
    lanes
}

fn shares(lanes: &[String]) -> BTreeMap<&str, usize> {
    let mut shares = BTreeMap::new();
    for lane in lanes {
        *shares.entry(lane.as_str()).or_default() += 1;
    }
    shares
}

/// P38: a lane with a flood of tasks gets its turn like any other, no more.
pub async fn lanes_take_turns(world: World) {
    world.accept_many(40, &task().lane("flood")).await;
    world.accept_many(10, &task().lane("a")).await;
    world.accept_many(10, &task()).await;
    let lanes = served(&world, &from("mail"), 30).await;
    assert_eq!(shares(&lanes), BTreeMap::from([("", 10), ("a", 10), ("flood", 10)]));
    for round in lanes.chunks(3) {
        assert_eq!(shares(round).len(), 3, "each lane once a round: {lanes:?}");
    }
}

/// Within one claim lanes take turns, too.
pub async fn lanes_take_turns_within_one_claim(world: World) {
    world.accept_many(5, &task().lane("a")).await;
    world.accept_many(5, &task().lane("b")).await;
    let claims = world.claim(&from("mail").limit(4)).await;
    let lanes: Vec<_> = claims
        .started
        .iter()
        .map(|claimed| claimed.task().spec.lane.clone().expect("it has one").to_string())
        .collect();
    assert_eq!(lanes, ["a", "b", "a", "b"]);
}

/// A heavier lane is served more often, by its weight.
pub async fn weights_divide_the_turns(world: World) {
    let lane_weights = BTreeMap::from([(lane("heavy"), 3)]);
    let ask = from("mail").policy(&Policy { lane_weights, ..policy() });
    world.accept_many(60, &task().lane("heavy")).await;
    world.accept_many(60, &task().lane("light")).await;
    let lanes = served(&world, &ask, 40).await;
    let heavy = shares(&lanes)["heavy"];
    assert!((28..=32).contains(&heavy), "{heavy} of 40 with a weight of 3 to 1");
}

/// P38: a lane that was idle has not saved up turns, nor does it wait behind those who had them.
pub async fn a_lane_that_was_idle_neither_catches_up_nor_queues_behind(world: World) {
    world.accept_many(100, &task().lane("busy")).await;
    world.accept(task().lane("idle")).await;
    served(&world, &from("mail"), 50).await;
    world.accept_many(20, &task().lane("idle")).await;
    world.accept_many(20, &task().lane("new")).await;
    let lanes = served(&world, &from("mail"), 30).await;
    for (lane, share) in shares(&lanes) {
        assert!((9..=11).contains(&share), "{lane} was served {share} times of 30");
    }
}

/// The credit of urgent tasks lets their lane go first, and costs nobody else but these turns.
pub async fn a_lane_behind_an_urgent_one_is_not_pushed_back(world: World) {
    world.accept_many(60, &task().lane("urgent").priority(10)).await;
    world.accept_many(60, &task().lane("calm")).await;
    let first = served(&world, &from("mail"), 40).await;
    assert_eq!(shares(&first), BTreeMap::from([("urgent", 40)]));
    world.accept_many(20, &task().lane("new")).await;
    let then = served(&world, &from("mail"), 60).await;
    let shares = shares(&then);
    assert_eq!(shares["urgent"], 20);
    assert!((19..=21).contains(&shares["calm"]), "{shares:?}");
    assert!((19..=20).contains(&shares["new"]), "{shares:?}");
}

/// A lane that is held starts nothing, and stands in nobody's way; nor does it want a slot.
pub async fn a_held_lane_waits_and_the_others_go_on(world: World) {
    world.accept_many(2, &task().lane("a")).await;
    let b = world.accept_many(2, &task().lane("b")).await;
    let ask = from("mail").holding("a", 100);
    let claims = world.claim(&ask.clone().at(10)).await;
    let ids: Vec<TaskId> = claims.started.iter().map(|claimed| claimed.task().spec.id).collect();
    assert_eq!(ids, b);
    assert!(!claims.more && claims.next_at.is_none(), "no slot can help");
    assert_eq!(world.started(&ask.at(100)).await.len(), 2, "its moment has come");
}

fn paced(count: u32) -> Ask {
    let rate = Rate { count, period: ms(1_000) };
    from("mail").policy(&Policy { rate_per_lane: Some(rate), ..policy() })
}

/// Each lane has a bucket of its own, and whoever waits for a token stands in nobody's way.
pub async fn a_rate_of_lanes_is_that_of_each_lane(world: World) {
    let a = world.accept_many(4, &task().lane("a")).await;
    let b = world.accept_many(1, &task().lane("b")).await;
    let first = world.claim(&paced(2)).await;
    let ids: Vec<TaskId> = first.started.iter().map(|claimed| claimed.task().spec.id).collect();
    assert_eq!(ids, [a[0], b[0], a[1]]);
    assert_eq!((first.next_at, first.more), (Some(at(500)), false), "no slot can help");
    assert!(world.started(&paced(2).at(499)).await.is_empty());
    let third = world.claim(&paced(2).at(500)).await;
    assert_eq!(third.started[0].task().spec.id, a[2]);
    assert_eq!((third.started.len(), third.next_at), (1, Some(at(1_000))));
    assert_eq!(world.started(&paced(2).at(1_000)).await, [a[3]]);
    assert_eq!(world.claim(&paced(2).at(1_001)).await.next_at, None, "nobody waits");
}

/// A lane that was empty for a moment has not got a full bucket.
pub async fn the_bucket_of_a_lane_outlives_its_tasks(world: World) {
    for moment in [0, 400, 800] {
        let id = world.accept(task().lane("a").run_at(moment)).await;
        let ask = paced(1).at(moment);
        match world.claim(&ask).await.started.first() {
            Some(claimed) => {
                assert_eq!(moment, 0);
                world.step(id, Command::succeed(claimed.nonce), moment).await;
            }
            None => _ = world.step(id, Command::Cancel, moment).await,
        }
    }
    let last = world.accept(task().lane("a").run_at(1_000)).await;
    assert_eq!(world.started(&paced(1).at(1_000)).await, [last]);
}

/// A lane whose rate held it while it was empty starts what comes later: it
/// had lost its turn for good.
pub async fn a_lane_that_was_empty_while_its_rate_held_it_starts_again(world: World) {
    let first = world.accept(task().lane("a")).await;
    let (id, nonce) = world.start_one(&paced(1)).await;
    assert_eq!(id, first);
    world.step(first, Command::succeed(nonce), 1).await;
    let idle = world.claim(&paced(1).at(2)).await;
    assert!(idle.started.is_empty() && idle.next_at.is_none(), "nobody waits");
    let second = world.accept(task().lane("a").created_at(500)).await;
    let held = world.claim(&paced(1).at(500)).await;
    assert_eq!((held.started.len(), held.next_at), (0, Some(at(1_000))));
    assert_eq!(world.started(&paced(1).at(2_000)).await, [second]);
}

/// What one pool starts of a lane holds it in the others, too, and they are told until when.
pub async fn a_rate_of_lanes_counts_the_starts_of_all_pools(world: World) {
    let first = world.accept(task().lane("a")).await;
    let other = world.accept(task().lane("a").runner(Runner::Inline)).await;
    let inline = paced(1).run_by(&Runner::Inline);
    let (id, nonce) = world.start_one(&paced(1)).await;
    assert_eq!(id, first);
    world.step(first, Command::succeed(nonce), 1).await;
    assert!(world.started(&paced(1).at(2)).await.is_empty());
    let held = world.claim(&inline.clone().at(2)).await;
    assert_eq!((held.started.len(), held.next_at), (0, Some(at(1_000))));
    assert_eq!(world.started(&inline.at(2_000)).await, [other]);
    let last = world.accept(task().lane("a").created_at(2_001)).await;
    assert!(world.started(&paced(1).at(2_001)).await.is_empty());
    assert_eq!(world.started(&paced(1).at(4_000)).await, [last]);
}

/// Without a rate any more nobody waits for what it was.
pub async fn a_rate_of_lanes_that_is_gone_holds_nobody(world: World) {
    let ids = world.accept_many(2, &task().lane("a")).await;
    assert_eq!(world.started(&paced(1)).await, ids[..1]);
    assert_eq!(world.started(&from("mail").at(1)).await, ids[1..]);
}

fn strict(name: &str) -> Ask {
    from(name).policy(&Policy { order: Order::Strict, ..policy() })
}

/// P44: in strict order the next starts only after the one before it is terminal.
pub async fn a_strict_lane_runs_one_task_after_the_other(world: World) {
    let a = world.accept_many(3, &task().lane("a")).await;
    let b = world.accept_many(2, &task().lane("b")).await;
    let first = world.claim(&strict("mail")).await;
    let ids: Vec<TaskId> = first.started.iter().map(|claimed| claimed.task().spec.id).collect();
    assert_eq!(ids, [a[0], b[0]]);
    assert!(!first.more, "what the order holds back no slot can help");
    world.step(a[0], Command::succeed(first.started[0].nonce), 1).await;
    assert_eq!(world.started(&strict("mail")).await, [a[1]]);
    world.step(b[0], give_up(first.started[1].nonce), 2).await;
    assert_eq!(world.started(&strict("mail")).await, [b[1]]);
}

/// P44: priority changes nothing in a strict lane.
pub async fn a_strict_lane_ignores_priority(world: World) {
    let first = world.accept(task().priority(-10)).await;
    let second = world.accept(task().priority(10)).await;
    assert_eq!(world.run(&strict("mail")).await, first);
    assert_eq!(world.run(&strict("mail")).await, second);
}

/// P44: between two tries of the task before it, the next does not start; nor while it is released,
/// or waits for an outside system.
pub async fn a_strict_lane_is_held_through_retries_releases_and_waiting(world: World) {
    let ids = world.accept_many(2, &task().lane("a")).await;
    let (_, nonce) = world.start_one(&strict("mail")).await;
    world.step(ids[0], fail(nonce), 10).await;
    assert!(world.started(&strict("mail").at(11)).await.is_empty(), "the first is tried at 20");
    let (id, nonce) = world.start_one(&strict("mail").at(20)).await;
    assert_eq!(id, ids[0]);
    world.step(id, TICK, 30_020).await;
    assert!(world.started(&strict("mail").at(30_021)).await.is_empty(), "its holder vanished");
    let (id, again) = world.start_one(&strict("mail").at(30_100)).await;
    assert_eq!(id, ids[0]);
    assert_ne!(again, nonce);
    world.step(id, Command::Release { nonce: again }, 30_200).await;
    let (id, last) = world.start_one(&strict("mail").at(30_200)).await;
    assert_eq!(id, ids[0]);
    world.step(id, Command::Defer { nonce: last, until: at(90_000), callback: 3 }, 30_300).await;
    assert!(world.started(&strict("mail").at(30_301)).await.is_empty(), "an outside system has it");
    world.step(id, Command::succeed(3), 30_400).await;
    assert_eq!(world.started(&strict("mail").at(30_401)).await, [ids[1]]);
}

/// P44: a canceled holder lets its strict lane go, running or not.
pub async fn canceling_the_holder_lets_a_strict_lane_go(world: World) {
    let ids = world.accept_many(3, &task().lane("a")).await;
    let (_, nonce) = world.start_one(&strict("mail")).await;
    world.step(ids[0], fail(nonce), 10).await;
    world.step(ids[0], Command::Cancel, 11).await;
    assert_eq!(world.started(&strict("mail").at(11)).await, [ids[1]]);
    world.step(ids[1], Command::Cancel, 12).await;
    assert_eq!(world.read(ids[1]).await.life.status(), Status::Canceled);
    assert_eq!(world.started(&strict("mail").at(12)).await, [ids[2]]);
}

/// A task that never started and was called off holds nobody up; nor does an erased one.
pub async fn a_strict_lane_steps_over_what_is_gone(world: World) {
    let ids = world.accept_many(3, &task().lane("a")).await;
    world.step(ids[0], Command::Cancel, 1).await;
    world.step(ids[1], Command::Cancel, 1).await;
    world.commit(erasing(ids[1])).await.expect("it is terminal");
    assert_eq!(world.started(&strict("mail")).await, [ids[2]]);
}

/// Nor does one whose deadline has passed before it started; but the holder
/// does, until time ends it.
pub async fn a_strict_lane_steps_over_what_may_not_start_any_more(world: World) {
    let late = world.accept(task().lane("a").deadline_after(10)).await;
    let held = world.accept(task().lane("a").deadline_after(100)).await;
    let last = world.accept(task().lane("a")).await;
    let (id, nonce) = world.start_one(&strict("mail").at(20)).await;
    assert_eq!(id, held, "not {late:?}");
    world.step(held, Command::Release { nonce }, 30).await;
    assert!(world.started(&strict("mail").at(100)).await.is_empty());
    world.step(held, TICK, 100).await;
    assert_eq!(world.started(&strict("mail").at(101)).await, [last]);
}

/// A scheduled task takes its place in a strict lane at its moment: before those that came later,
/// and after whoever holds the lane then.
pub async fn a_scheduled_task_holds_no_strict_lane_before_its_moment(world: World) {
    let scheduled = world.accept(task().lane("a").run_at(100)).await;
    let others = world.accept_many(2, &task().lane("a")).await;
    let (id, nonce) = world.start_one(&strict("mail").at(50)).await;
    assert_eq!(id, others[0]);
    assert!(world.started(&strict("mail").at(100)).await.is_empty());
    world.step(id, Command::succeed(nonce), 101).await;
    assert_eq!(world.started(&strict("mail").at(101)).await, [scheduled]);
}

/// A strict lane is one line, whoever runs its tasks.
pub async fn a_strict_lane_is_one_line_for_all_its_pools(world: World) {
    let first = world.accept(task().lane("a")).await;
    let second = world.accept(task().lane("a").runner(Runner::Inline)).await;
    let inline = strict("mail").run_by(&Runner::Inline);
    assert!(world.started(&inline).await.is_empty());
    assert_eq!(world.run(&strict("mail")).await, first);
    assert_eq!(world.started(&inline).await, [second]);
}

/// A task retried by hand stands in line again: it does not run beside the holder.
pub async fn a_retried_task_stands_in_the_strict_line_again(world: World) {
    let ids = world.accept_many(3, &task().lane("a")).await;
    let (_, nonce) = world.start_one(&strict("mail")).await;
    world.step(ids[0], give_up(nonce), 1).await;
    let (_, nonce) = world.start_one(&strict("mail").at(1)).await;
    world.step(ids[0], Command::Retry { from_start: false }, 2).await;
    assert!(world.started(&strict("mail").at(2)).await.is_empty());
    world.step(ids[1], Command::succeed(nonce), 3).await;
    assert_eq!(world.started(&strict("mail").at(3)).await, [ids[0]]);
}
