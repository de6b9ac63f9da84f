//! What time has to do: leases, deadlines and retentions that end, schedules that come due.

use std::sync::Arc;

use relais_core::{Command, FailureCode, Holder, Policy, Reply, Runner, State, Status, TaskId};

use super::fixture::*;
use super::world::World;
use crate::*;

/// An idle store has nothing to do, and says so.
pub async fn nothing_is_due_in_an_idle_store(world: World) {
    let due = world.due(i64::MAX).await;
    assert!(due.tasks.is_empty() && due.pools.is_empty());
    assert_eq!(due.next, None);
}

/// P1: a lease is due at its end, not before; a heartbeat puts it off.
pub async fn a_lease_is_due_at_its_end(world: World) {
    let id = world.accept(task()).await;
    let (_, nonce) = world.start_one(&from("mail")).await;
    let early = world.due(29_999).await;
    assert!(early.tasks.is_empty());
    assert_eq!(early.next, Some(at(30_000)));
    world.step(id, heartbeat(nonce, 50_000), 29_999).await;
    let later = world.due(49_999).await;
    assert!(later.tasks.is_empty());
    assert_eq!(later.next, Some(at(50_000)));
    assert_eq!(world.due(50_000).await.tasks, [id]);
    let rescued = world.step(id, TICK, 50_000).await;
    assert_eq!(rescued.changed.task.life.crashes, 1);
    assert_eq!(rescued.changed.task.life.run_at(), Some(at(50_010)));
    assert!(world.due(50_000).await.tasks.is_empty(), "it was seen to");
}

/// A deadline is due while a task is queued, while it runs, and while it waits.
pub async fn a_deadline_is_due_in_every_state(world: World) {
    let waiting = world.accept(task().deadline_after(100)).await;
    let (_, nonce) = world.start_one(&from("mail").limit(1)).await;
    world.step(waiting, Command::Defer { nonce, until: at(500), callback: 3 }, 1).await;
    let running = world.accept(task().deadline_after(200)).await;
    world.start_one(&from("mail").limit(1)).await;
    let queued = world.accept(task().deadline_after(300)).await;
    for (id, moment) in [(waiting, 100), (running, 200), (queued, 300)] {
        let early = world.due(moment - 1).await;
        assert_eq!((early.tasks, early.next), (vec![], Some(at(moment))));
        assert_eq!(world.due(moment).await.tasks, [id]);
        let ended = world.step(id, TICK, moment).await;
        let State::Failed { failure, .. } = &ended.changed.task.life.state else {
            panic!("{ended:?}")
        };
        assert_eq!(failure.code, FailureCode::DeadlineExceeded);
        assert!(world.due(moment).await.tasks.is_empty());
    }
    let stats = world.stats("mail", 300).await;
    assert_eq!(stats.leases, 1, "the running one's holder was not told yet");
    assert_eq!(world.due(30_000).await.tasks, [running]);
    world.step(running, TICK, 30_000).await;
    assert_eq!(world.stats("mail", 30_000).await.leases, 0);
}

/// The time an outside system has is due at its end.
pub async fn waiting_is_due_at_its_end(world: World) {
    let id = world.accept(task()).await;
    let (_, nonce) = world.start_one(&from("mail")).await;
    world.step(id, Command::Defer { nonce, until: at(500), callback: 3 }, 1).await;
    assert_eq!(world.due(499).await.next, Some(at(500)));
    assert_eq!(world.due(500).await.tasks, [id]);
    assert_eq!(world.step(id, TICK, 500).await.changed.task.life.status(), Status::Failed);
}

/// P57: a finished task is due when its retention ends, and is gone once it is erased.
pub async fn retention_is_due_at_its_end(world: World) {
    let id = world.accept(task().retention(1_000)).await;
    world.run(&from("mail").at(5)).await;
    assert_eq!(world.due(1_004).await.next, Some(at(1_005)));
    assert_eq!(world.due(1_005).await.tasks, [id]);
    assert_eq!(world.step(id, TICK, 1_005).await.reply, Reply::Expired);
    world.commit(erasing(id)).await.expect("it is terminal");
    assert_eq!(world.due(1_005).await.next, None);
}

/// The pool of a scheduled task is named when its moment comes, once.
pub async fn a_pool_is_named_when_its_scheduled_task_is_ready(world: World) {
    world.accept(task().run_at(100)).await;
    world.accept(task().run_at(100)).await;
    world.accept(task().queue("other").runner(Runner::Inline).run_at(200)).await;
    world.accept(task().queue("now")).await;
    let early = world.due(99).await;
    assert_eq!((early.pools, early.next), (vec![], Some(at(100))));
    let due = world.due(100).await;
    assert_eq!(due.pools, [from("mail").pool]);
    assert_eq!(due.next, Some(at(200)));
    assert!(world.due(150).await.pools.is_empty(), "it was named already");
    let other = from("other").run_by(&Runner::Inline).pool;
    assert_eq!(world.due(1_000).await.pools, [other]);
    assert_eq!(world.started(&from("mail").at(100)).await.len(), 2);
}

/// A claim of one pool does not swallow the news that another has become ready.
pub async fn a_claim_leaves_the_news_of_other_pools(world: World) {
    world.accept(task().run_at(100)).await;
    world.accept(task().queue("other").run_at(100)).await;
    assert_eq!(world.started(&from("mail").at(100)).await.len(), 1);
    assert_eq!(world.due(100).await.pools, [from("other").pool]);
}

/// A task that is tried again is scheduled, too.
pub async fn a_pool_is_named_when_a_task_is_to_be_tried_again(world: World) {
    let id = world.accept(task()).await;
    let (_, nonce) = world.start_one(&from("mail")).await;
    world.step(id, fail(nonce), 5).await;
    assert_eq!(world.due(14).await.next, Some(at(15)));
    assert_eq!(world.due(15).await.pools, [from("mail").pool]);
}

/// P13, P26: at the start every pool with ready tasks is named, whether or not it was before.
pub async fn every_pool_with_ready_tasks_is_named_at_the_start(world: World) {
    world.accept(task()).await;
    world.accept(task().runner(upstream(true))).await;
    world.accept(task().queue("later").run_at(50)).await;
    world.accept(task().queue("later-still").run_at(5_000)).await;
    world.accept(task().queue("busy")).await;
    world.start_one(&from("busy")).await;
    world.due(100).await;
    for _ in 0..2 {
        let mut pools = world.store.pools(None).await.expect("the store works");
        pools.sort();
        let pushed = from("mail").run_by(&upstream(false)).pool;
        let mut expected = [from("later").pool, pushed, from("mail").pool];
        expected.sort();
        assert_eq!(pools, expected);
    }
    assert_eq!(world.due(100).await.next, Some(at(5_000)));
}

/// The pools of one queue are named without those of others.
pub async fn the_pools_of_one_queue_are_named_alone(world: World) {
    let pools = async |name: &str| {
        let of = Some((tenant("default"), queue(name)));
        let mut pools = world.store.pools(of).await.expect("the store works");
        pools.sort();
        pools
    };
    assert!(pools("mail").await.is_empty(), "there is no such queue yet");
    world.accept(task()).await;
    world.accept(task().runner(upstream(true))).await;
    world.accept(task().queue("other")).await;
    world.accept(task().tenant("other").runner(Runner::Inline)).await;
    let mut expected = [from("mail").pool, from("mail").run_by(&upstream(true)).pool];
    expected.sort();
    assert_eq!(pools("mail").await, expected);
    world.start_one(&from("mail")).await;
    assert_eq!(pools("mail").await, [from("mail").run_by(&upstream(true)).pool]);
}

/// The limit cuts what is due: the most overdue come first, and the rest is due at once.
pub async fn the_most_overdue_come_first_and_the_rest_at_once(world: World) {
    let mut ids = Vec::new();
    for deadline in [50, 10, 40, 20, 30] {
        ids.push(world.accept(task().run_at(0).deadline_after(deadline)).await);
    }
    let query = DueQuery { now: at(1_000), limit: 2 };
    let due = world.store.due(query).await.expect("the store works");
    assert_eq!(due.tasks, [ids[1], ids[3]]);
    assert_eq!(due.next, Some(at(30)), "not after now");
    for id in due.tasks {
        world.step(id, TICK, 1_000).await;
    }
    let due = world.store.due(query).await.expect("the store works");
    assert_eq!(due.tasks, [ids[4], ids[2]]);
}

/// The limit cuts the pools, too; none is lost.
pub async fn no_pool_is_lost_to_the_limit(world: World) {
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        world.accept(task().queue(name).run_at(10)).await;
    }
    let query = DueQuery { now: at(10), limit: 2 };
    let mut pools = Vec::new();
    for round in 1..=3 {
        let due = world.store.due(query).await.expect("the store works");
        assert!(due.pools.len() <= 2);
        pools.extend(due.pools);
        let more = due.next.is_some_and(|next| next <= at(10));
        assert_eq!(more, round < 3, "after {} pools", pools.len());
    }
    pools.sort();
    assert_eq!(pools, names.map(|name| from(name).pool));
}

/// P8: ten thousand leases that are in order do not hide the one that is dead.
pub async fn one_dead_lease_among_ten_thousand_is_found_at_once(world: World) {
    const LIVE: usize = 10_000;
    let dead = world.accept(task()).await;
    world.start_one(&from("mail")).await;
    let long = Arc::new(Policy { lease: ms(3_600_000), ..policy() });
    for _ in 0..LIVE / 1_000 {
        let commits = (0..1_000).map(|_| world.accepting(task())).collect();
        world.commit_all(commits).await;
        let claim = Claim {
            pool: from("mail").pool,
            policy: long.clone(),
            holder: Holder::Relais { epoch: 1 },
            nonces: (0..1_000).map(|_| world.nonce()).collect(),
            held: Arc::default(),
            now: at(1),
        };
        let claims = world.store.claim(claim).await.expect("the store works");
        assert_eq!(claims.started.len(), 1_000);
    }
    assert_eq!(world.stats("mail", 1).await.leases, LIVE as u64 + 1);
    let query = DueQuery { now: at(60_000), limit: 10 };
    let due = world.store.due(query).await.expect("the store works");
    assert_eq!(due.tasks, [dead]);
    assert_eq!(due.next, Some(at(3_600_001)));
}

/// P3, P13: what is due stays due until somebody has seen to it.
pub async fn what_nobody_saw_to_stays_due(world: World) {
    let ids: Vec<TaskId> = world.accept_many(3, &task().deadline_after(10)).await;
    for _ in 0..2 {
        let mut tasks = world.due(10).await.tasks;
        tasks.sort();
        assert_eq!(tasks, ids);
    }
}
