//! Claims: what starts, in which order, and what holds it back.

use std::time::Duration;

use relais_core::{
    BodyKind, Command, EventKind, Gone, Holder, Order, Policy, Rate, Runner, Status, limits,
};

use super::fixture::*;
use super::world::World;
use crate::*;

/// A claim starts an attempt under a lease and brings what it takes to run it.
pub async fn a_claim_brings_lease_and_bodies(world: World) {
    let id = world.accept(task().input(inline("in")).checkpoint("half").sealed("key")).await;
    let policy = Policy { lease: ms(500), ..policy() };
    let claims = world.claim(&from("mail").at(20).policy(&policy)).await;
    let [claimed] = &claims.started[..] else { panic!("{claims:?}") };
    assert_eq!(*claimed.task(), world.read(id).await);
    assert_eq!(claimed.changed.entries[..], world.log(id).await[1..], "and its `started` event");
    assert_eq!(claimed.task().life.attempt, 1);
    let lease = claimed.task().life.lease().expect("it runs");
    assert_eq!((lease.nonce, lease.until), (claimed.nonce, at(520)));
    assert_eq!(lease.holder, Holder::Worker { name: "w".to_owned() });
    assert_eq!(world.kinds(id).await, [EventKind::Accepted, EventKind::Started]);
    let mut bodies = Vec::new();
    for (kind, body) in &claimed.bodies {
        bodies.push((*kind, body.bytes(100).await.expect("the store works")));
    }
    bodies.sort();
    let expected =
        [(BodyKind::Input, "in"), (BodyKind::Checkpoint, "half"), (BodyKind::Sealed, "key")];
    assert_eq!(bodies, expected.map(|(kind, text)| (kind, text.into())));
    assert!(!claims.more && claims.next_at.is_none());
    assert!(world.started(&from("mail").at(21)).await.is_empty(), "it runs already");
}

/// A claim looks at one pool: the others of its queue, other queues and other
/// tenants are not its own.
pub async fn a_claim_takes_from_its_own_pool_only(world: World) {
    let pushed = upstream(true);
    let other = Runner::Upstream { origin: "http://127.0.0.1:9001".into(), repeatable: true };
    let by_workers = world.accept(task()).await;
    let by_push = world.accept(task().runner(pushed.clone())).await;
    let inline = world.accept(task().runner(Runner::Inline)).await;
    let elsewhere = world.accept(task().queue("other")).await;
    let theirs = world.accept(task().tenant("other")).await;
    assert!(world.started(&from("mail").run_by(&other)).await.is_empty());
    assert!(world.started(&from("unknown")).await.is_empty());
    assert_eq!(world.started(&from("mail")).await, [by_workers]);
    assert_eq!(world.started(&from("mail").run_by(&pushed)).await, [by_push]);
    assert_eq!(world.started(&from("mail").run_by(&Runner::Inline)).await, [inline]);
    assert_eq!(world.started(&from("other")).await, [elsewhere]);
    assert_eq!(world.started(&from("mail").tenant("other")).await, [theirs]);
}

/// Whether an upstream's request may be repeated does not divide its pool.
pub async fn repeatable_and_other_requests_share_a_pool(world: World) {
    let first = world.accept(task().runner(upstream(true))).await;
    let second = world.accept(task().runner(upstream(false))).await;
    assert_eq!(world.started(&from("mail").run_by(&upstream(true))).await, [first, second]);
}

/// At most as many attempts start as there are nonces, and the claim says that more could.
pub async fn the_nonces_bound_a_claim(world: World) {
    let ids = world.accept_many(5, &task()).await;
    let first = world.claim(&from("mail").limit(2)).await;
    assert!(first.more && first.next_at.is_none());
    assert_eq!(first.started.len(), 2);
    assert_ne!(first.started[0].nonce, first.started[1].nonce);
    let nothing = world.claim(&from("mail").limit(0)).await;
    assert!(nothing.started.is_empty() && nothing.more);
    let rest = world.claim(&from("mail").limit(3)).await;
    assert!(!rest.more, "nothing is left");
    let order: Vec<_> =
        first.started.iter().chain(&rest.started).map(|c| c.task().spec.id).collect();
    assert_eq!(order, ids);
}

/// A claim waits for the store while others are served. On a busy machine a task came in
/// between, one millisecond after the claim had looked at the clock: it was taken for
/// overdue, and never started.
pub async fn a_claim_that_looked_at_the_clock_too_early_starts_what_is_ready(world: World) {
    for queue in ["mail", "slow"] {
        let new = task().queue(queue).created_at(20);
        let accepted = world.accept(new.clone().run_at(20)).await;
        let scheduled = world.accept(new.run_at(30)).await;
        let nothing = world.claim(&from(queue).at(30).limit(0)).await;
        assert!(nothing.started.is_empty() && nothing.more, "both are ready now");
        let order = if queue == "slow" { Order::Strict } else { Order::Fair };
        let policy = Policy { order, ..policy() };
        let claims = world.claim(&from(queue).at(19).policy(&policy)).await;
        let first = &claims.started[0].task();
        let lease = first.life.lease().expect("it runs");
        assert_eq!((first.spec.id, first.life.updated_at), (accepted, at(20)), "at its moment");
        assert_eq!(lease.until, at(30_019), "a whole lease of whoever claims");
        if order == Order::Strict {
            world.step(accepted, Command::succeed(lease.nonce), 21).await;
            assert_eq!(world.started(&from(queue).at(22).policy(&policy)).await, [scheduled]);
        } else {
            assert_eq!(claims.started[1].task().spec.id, scheduled);
        }
    }
}

/// Tasks of one lane start in the order in which their moments came, then in that of arrival.
pub async fn tasks_start_in_the_order_of_their_moments(world: World) {
    let late = world.accept(task().run_at(30)).await;
    let first = world.accept(task().run_at(10)).await;
    let second = world.accept(task().run_at(10)).await;
    assert_eq!(world.started(&from("mail").at(100)).await, [first, second, late]);
}

/// Higher priority starts first.
pub async fn urgent_tasks_start_first(world: World) {
    let calm = world.accept(task().priority(-3)).await;
    let usual = world.accept(task()).await;
    let urgent = world.accept(task().priority(10)).await;
    let raised = world.accept(task().priority(1)).await;
    assert_eq!(world.started(&from("mail")).await, [urgent, raised, usual, calm]);
}

/// P39: a level of priority is worth a fixed time of waiting, so a task that
/// waited longer goes first.
pub async fn a_task_that_has_waited_long_enough_overtakes_urgent_ones(world: World) {
    let level = i64::try_from(limits::AGEING_PER_LEVEL.as_millis()).expect("a small constant");
    let now = 2 * level;
    let old = world.accept(task()).await;
    let early = world.accept(task().priority(1).run_at(level - 1)).await;
    let late = world.accept(task().priority(1).run_at(level + 1)).await;
    assert_eq!(world.started(&from("mail").at(now)).await, [early, old, late]);
}

/// P21, P27: a scheduled task is invisible before its moment, and starts once.
pub async fn a_scheduled_task_is_invisible_before_its_moment(world: World) {
    let far = 1_000 * 30_000;
    let id = world.accept(task().run_at(far)).await;
    let early = world.claim(&from("mail").at(far - 1)).await;
    assert!(early.started.is_empty() && !early.more && early.next_at.is_none());
    assert_eq!(world.started(&from("mail").at(far)).await, [id]);
    assert!(world.started(&from("mail").at(far + 1)).await.is_empty());
}

/// A task whose deadline has passed does not start, and does not stand in the way of others.
pub async fn a_task_past_its_deadline_does_not_start(world: World) {
    let dead = world.accept(task().priority(5).deadline_after(10)).await;
    let alive = world.accept(task()).await;
    assert_eq!(world.started(&from("mail").at(10)).await, [alive]);
    assert_eq!(world.read(dead).await.life.status(), Status::Queued);
    let left = world.claim(&from("mail").at(10)).await;
    assert!(!left.more && left.next_at.is_none(), "time has it: {left:?}");
}

/// Nothing starts in a paused queue; what runs goes on; resuming makes up for it.
pub async fn nothing_starts_in_a_paused_queue(world: World) {
    let ids = world.accept_many(3, &task()).await;
    let (_, nonce) = world.start_one(&from("mail").limit(1)).await;
    world.set("mail", QueueChange::Pause).await;
    let paused = world.claim(&from("mail")).await;
    assert!(paused.started.is_empty() && !paused.more && paused.next_at.is_none());
    world.step(ids[0], Command::succeed(nonce), 1).await;
    world.accept(task()).await;
    assert!(world.started(&from("mail")).await.is_empty());
    world.set("mail", QueueChange::Resume).await;
    assert_eq!(world.started(&from("mail")).await.len(), 3);
}

/// A queue may be paused before its first task.
pub async fn a_queue_may_be_paused_before_its_first_task(world: World) {
    world.set("mail", QueueChange::Pause).await;
    world.accept(task()).await;
    assert!(world.started(&from("mail")).await.is_empty());
}

/// P40: no more leases live in a queue than it allows, whoever runs its tasks.
pub async fn a_claim_respects_the_queue_limit(world: World) {
    let limited = Policy { concurrency: Some(2), ..policy() };
    let ask = from("mail").policy(&limited);
    world.accept_many(3, &task()).await;
    world.accept(task().runner(Runner::Inline)).await;
    let first = world.claim(&ask).await;
    assert_eq!(first.started.len(), 2);
    assert!(first.more, "only a slot is missing");
    let inline = world.claim(&ask.clone().run_by(&Runner::Inline)).await;
    assert!(inline.started.is_empty() && inline.more, "the queue is full for all");
    let done = &first.started[0];
    world.step(done.task().spec.id, Command::succeed(done.nonce), 1).await;
    assert_eq!(world.started(&ask.clone().run_by(&Runner::Inline)).await.len(), 1);
    assert!(world.started(&ask).await.is_empty());
    assert_eq!(world.started(&from("mail")).await.len(), 1, "a limit that was lifted holds nobody");
}

/// No more leases live in a lane than it allows; other lanes do not wait for it.
pub async fn a_claim_respects_the_lane_limit(world: World) {
    let limited = Policy { concurrency_per_lane: Some(1), ..policy() };
    let ask = from("mail").policy(&limited);
    let a = world.accept_many(3, &task().lane("a")).await;
    let b = world.accept_many(2, &task().lane("b")).await;
    let none = world.accept_many(2, &task()).await;
    let first = world.claim(&ask).await;
    let started: Vec<_> = first.started.iter().map(|claimed| claimed.task().spec.id).collect();
    assert_eq!(started, [a[0], b[0], none[0]], "tasks without a lane share one");
    assert!(first.more);
    assert!(world.started(&ask).await.is_empty());
    world.step(b[0], Command::succeed(first.started[1].nonce), 1).await;
    assert_eq!(world.started(&ask).await, [b[1]]);
}

/// P10: every way in which an attempt ends frees its slot.
pub async fn every_end_of_an_attempt_frees_its_slot(world: World) {
    let limited = Policy { concurrency: Some(1), concurrency_per_lane: Some(1), ..policy() };
    let ends: [fn(u128) -> Command; 7] = [
        Command::succeed,
        fail,
        give_up,
        |nonce| Command::Release { nonce },
        |nonce| Command::Crash { nonce, gone: Gone::Silent, jitter: 0.0 },
        |nonce| Command::Defer { nonce, until: at(i64::MAX), callback: !nonce },
        |_| TICK,
    ];
    for (round, end) in (0..).zip(ends) {
        let now = round * 100_000;
        let ask = from("mail").policy(&limited).at(now);
        world.accept(task().lane("a").created_at(now)).await;
        let (id, nonce) = world.start_one(&ask).await;
        assert!(world.started(&ask).await.is_empty());
        world.step(id, end(nonce), now + 30_000).await;
        assert_eq!(world.stats("mail", now).await.leases, 0, "{:?}", end(nonce));
        if !world.read(id).await.life.status().is_terminal() {
            world.step(id, Command::Cancel, now + 40_000).await;
        }
    }
}

/// A canceled task keeps its slot until its holder stops, or its lease ends.
pub async fn a_canceled_task_keeps_its_slot_until_its_holder_stops(world: World) {
    let limited = Policy { concurrency: Some(1), ..policy() };
    let ask = from("mail").policy(&limited);
    let ids = world.accept_many(3, &task()).await;
    let (_, nonce) = world.start_one(&ask).await;
    world.step(ids[0], Command::Cancel, 1).await;
    assert!(world.started(&ask).await.is_empty());
    world.step(ids[0], Command::Free { nonce }, 2).await;
    world.start_one(&ask).await;
    world.step(ids[1], Command::Cancel, 3).await;
    assert!(world.started(&ask.clone().at(30_000)).await.is_empty(), "nobody has said it ended");
    assert_eq!(world.due(30_000).await.tasks, [ids[1]]);
    world.step(ids[1], TICK, 30_000).await;
    assert_eq!(world.started(&ask.at(30_000)).await, [ids[2]]);
}

/// P42: a rate lets its burst through, then one start after the other, and says when.
pub async fn a_rate_spaces_starts_and_says_when_the_next_may(world: World) {
    let rate = Rate { count: 2, period: Duration::from_secs(1) };
    let ask = from("mail").policy(&Policy { rate: Some(rate), ..policy() });
    let ids = world.accept_many(5, &task()).await;
    let first = world.claim(&ask.clone().at(1_000)).await;
    assert_eq!(first.started.len(), 2, "a burst of one second");
    assert_eq!((first.next_at, first.more), (Some(at(1_500)), false));
    let early = world.claim(&ask.clone().at(1_499)).await;
    assert!(early.started.is_empty());
    assert_eq!(early.next_at, Some(at(1_500)));
    assert_eq!(world.started(&ask.clone().at(1_500)).await, [ids[2]]);
    assert_eq!(world.started(&ask.clone().at(2_000)).await, [ids[3]]);
    // A clock that went back gives nothing away.
    assert!(world.started(&ask.clone().at(0)).await.is_empty());
    let last = world.claim(&ask.clone().at(2_500)).await;
    assert_eq!((last.started.len(), last.next_at), (1, None), "nothing is left to wait for it");
    assert_eq!(world.claim(&ask.at(2_501)).await.next_at, None);
}

/// Who has no slot does not wait for the rate: it is the slot that is missing.
pub async fn a_full_queue_wants_a_slot_not_a_moment(world: World) {
    let rate = Rate { count: 1_000, period: Duration::from_secs(1) };
    let limited = Policy { rate: Some(rate), concurrency: Some(1), ..policy() };
    world.accept_many(2, &task()).await;
    let claims = world.claim(&from("mail").policy(&limited)).await;
    assert_eq!((claims.started.len(), claims.next_at, claims.more), (1, None, true));
}

/// A task that is tried again starts at its own moment, with the next number.
pub async fn a_failed_attempt_is_followed_by_the_next_at_its_moment(world: World) {
    let id = world.accept(task()).await;
    let (_, nonce) = world.start_one(&from("mail")).await;
    world.step(id, fail(nonce), 5).await;
    assert!(world.started(&from("mail").at(14)).await.is_empty());
    let claims = world.claim(&from("mail").at(15)).await;
    assert_eq!(claims.started[0].task().life.attempt, 2);
    assert_ne!(claims.started[0].nonce, nonce);
}

/// The work of a claim does not depend on the tasks of a blocked lane.
pub async fn a_blocked_lane_of_thousands_hides_no_other(world: World) {
    let limited = Policy { concurrency_per_lane: Some(1), ..policy() };
    let commits = (0..5_000).map(|_| world.accepting(task().lane("full").priority(10))).collect();
    assert!(world.commit_all(commits).await.iter().all(Result::is_ok));
    let other = world.accept(task().lane("other").priority(-10)).await;
    let ask = from("mail").policy(&limited).limit(2);
    let started = world.started(&ask).await;
    assert_eq!(started.len(), 2);
    assert_eq!(started[1], other);
}
