//! Commits are whole, in order, and decided by the rules alone.

use bytes::Bytes;
use relais_core::{BodyKind, Command, Effect, EventKind, Gone, Refused, Reply, Status, TaskId};

use super::fixture::*;
use super::world::World;
use crate::*;

/// A batch of nothing is answered by nothing.
pub async fn an_empty_batch_does_nothing(world: World) {
    assert!(world.commit_all(Vec::new()).await.is_empty());
    assert!(world.store.queues(Queues::All).await.expect("the store works").is_empty());
    assert_eq!(world.store.health(), Health::Ready);
}

/// Refused commits stand between good ones; each gets its own answer.
pub async fn a_refused_commit_leaves_its_neighbours_alone(world: World) {
    let (first, second) = (world.id(), world.id());
    let unknown = world.id();
    let step = |id, command| Commit::Step(Box::new(World::stepping(id, command, 0)));
    let answers = world
        .commit_all(vec![
            world.accepting(task().id(first)),
            step(first, Command::succeed(1)),
            step(unknown, Command::Cancel),
            world.accepting(task().queue("full").queue_capacity(0)),
            erasing(first),
            world.accepting(task().id(second)),
            step(second, Command::Cancel),
            erasing(unknown),
        ])
        .await;
    assert_eq!(answers.len(), 8);
    assert!(matches!(answers[0], Ok(Committed::Accepted { .. })), "{answers:?}");
    assert!(matches!(answers[1], Err(Rejected::Refused(Refused::StaleLease))), "{answers:?}");
    assert!(matches!(answers[2], Err(Rejected::NotFound)), "{answers:?}");
    assert!(matches!(answers[3], Err(Rejected::QueueFull)), "{answers:?}");
    assert!(matches!(answers[4], Err(Rejected::Refused(Refused::NotTerminal))), "{answers:?}");
    assert!(matches!(answers[5], Ok(Committed::Accepted { .. })), "{answers:?}");
    assert!(matches!(&answers[6], Ok(Committed::Stepped(_))), "{answers:?}");
    assert!(matches!(answers[7], Err(Rejected::NotFound)), "{answers:?}");
    assert_eq!(world.read(first).await.life.status(), Status::Queued);
    assert_eq!(world.read(second).await.life.status(), Status::Canceled);
    assert_eq!(world.kinds(first).await, [EventKind::Accepted]);
    assert_eq!(world.kinds(second).await, [EventKind::Accepted, EventKind::Canceled]);
}

/// Each commit of a batch sees what those before it did.
pub async fn a_batch_is_applied_in_order(world: World) {
    let id = world.id();
    let step = |command| Commit::Step(Box::new(World::stepping(id, command, 5)));
    let answers = world
        .commit_all(vec![
            world.accepting(task().id(id)),
            step(Command::Cancel),
            step(Command::Retry { from_start: false }),
            step(Command::Cancel),
            erasing(id),
            step(Command::Cancel),
        ])
        .await;
    assert!(answers[..5].iter().all(Result::is_ok), "{answers:?}");
    assert!(matches!(answers[5], Err(Rejected::NotFound)), "{answers:?}");
    let Ok(Committed::Erased(erased, _)) = &answers[4] else { panic!("{answers:?}") };
    assert_eq!((erased.life.run, erased.life.version), (2, 4));
    assert!(world.try_read(id).await.is_none());
}

/// What comes back is what was handed in, to the last byte.
pub async fn a_task_is_read_back_as_it_was_accepted(world: World) {
    let odd = task()
        .tenant("t-1")
        .lane("Client n° 17 / «é» \u{1F4E6}")
        .priority(-10)
        .label("ordre", "A-1")
        .label("vide", "\u{202e}x'\";--")
        .runner(upstream(false))
        .created_at(7)
        .run_at(1_000)
        .sealed("sealed")
        .checkpoint("{}");
    let accept = odd.build(world.id());
    let expected = accept.task.clone();
    let entry = accept.entry.clone();
    let id = expected.spec.id;
    let taken = world.commit(Commit::Accept(Box::new(accept))).await;
    let Ok(Committed::Accepted { changed, .. }) = taken else { panic!("{taken:?}") };
    assert_eq!(world.read(id).await, expected);
    let query = EventQuery::Task { id, after: 0, limit: 10 };
    let events = world.store.events(query).await.expect("the store works");
    assert_eq!(events, [Logged { pos: changed.pos, entry }]);
    assert_eq!((&changed.task, changed.started_at), (&expected, None));
    assert!(changed.entries.iter().eq(events.iter().map(|logged| &logged.entry)));
    assert_eq!(changed.effects, [Effect::Wake { at: at(1_000) }]);
}

/// Several tasks are read in the order asked for; `None` stands where there is none.
pub async fn many_tasks_are_read_in_the_order_asked_for(world: World) {
    let (a, b) = (world.accept(task()).await, world.accept(task()).await);
    let unknown = world.id();
    let read = world.store.read(vec![b, unknown, a, b]).await.expect("the store works");
    let ids: Vec<Option<TaskId>> =
        read.iter().map(|task| task.as_ref().map(|task| task.spec.id)).collect();
    assert_eq!(ids, [Some(b), None, Some(a), Some(b)]);
}

/// A step stores state, events and bodies together, and answers with them.
pub async fn a_step_stores_state_events_and_bodies_together(world: World) {
    let id = world.accept(task()).await;
    let (_, nonce) = world.start_one(&from("mail")).await;
    let result = (BodyKind::Result, inline("done"));
    let stepped = world.step_with(id, Command::succeed(nonce), result, 3).await;
    assert_eq!(stepped.reply, Reply::Done);
    assert_eq!(stepped.changed.task, world.read(id).await);
    assert_eq!(stepped.changed.effects, [Effect::Wake { at: at(3) }]);
    let log = world.log(id).await;
    assert_eq!(stepped.changed.entries, log[2..]);
    assert_eq!(log[2].seq, stepped.changed.task.life.version);
    assert_eq!(world.body(id, BodyKind::Result).await, "done");
}

/// A refused step changes nothing: neither the task, nor its log, nor its bodies.
pub async fn a_refused_step_changes_nothing(world: World) {
    let id = world.accept(task()).await;
    world.start_one(&from("mail")).await;
    let before = world.read(id).await;
    let bodies = vec![(BodyKind::Result, inline("stolen")), (BodyKind::Input, inline("stolen"))];
    let stale = Command::succeed(world.nonce());
    let step = StepOf { bodies, ..World::stepping(id, stale, 9) };
    let refused = world.try_step_of(step).await.expect_err("the fence is nobody's");
    assert_eq!(refused, Rejected::Refused(Refused::StaleLease));
    assert_eq!(world.read(id).await, before);
    assert_eq!(world.log(id).await.len(), 2);
    assert!(world.try_body(id, BodyKind::Result).await.is_none());
    assert_eq!(world.body(id, BodyKind::Input).await, "input");
}

/// A task of another tenant is not found, and not touched.
pub async fn a_step_on_a_task_of_another_tenant_finds_nothing(world: World) {
    let id = world.accept(task().tenant("one")).await;
    let by = |name: &str| {
        let step = World::stepping(id, Command::Cancel, 1);
        StepOf { tenant: Some(tenant(name)), ..step }
    };
    assert_eq!(world.try_step_of(by("two")).await.expect_err("not theirs"), Rejected::NotFound);
    assert_eq!(world.read(id).await.life.status(), Status::Queued);
    world.try_step_of(by("one")).await.expect("their own");
    assert_eq!(world.read(id).await.life.status(), Status::Canceled);
}

/// P4: the holder of an old lease changes nothing in the attempt that followed, whatever it says.
pub async fn a_stale_token_never_changes_anything(world: World) {
    let id = world.accept(task()).await;
    let (_, old) = world.start_one(&from("mail")).await;
    world.step(id, TICK, 30_000).await;
    let (_, live) = world.start_one(&from("mail").at(40_000)).await;
    let before = world.read(id).await;
    let log = world.log(id).await;
    let commands = [
        Command::succeed(old),
        fail(old),
        give_up(old),
        Command::Release { nonce: old },
        Command::Crash { nonce: old, gone: Gone::Silent, jitter: 1.0 },
        Command::Free { nonce: old },
        Command::Defer { nonce: old, until: at(99_000), callback: 3 },
        heartbeat(old, 99_000),
    ];
    for command in commands {
        let bodies = vec![(BodyKind::Result, inline("late"))];
        let step = StepOf { bodies, ..World::stepping(id, command.clone(), 41_000) };
        let taken = world.try_step_of(step).await;
        let changed = taken.is_ok_and(|stepped| stepped.reply != Reply::Nothing);
        assert!(!changed, "{command:?} was taken from a stale holder");
        assert_eq!(world.read(id).await, before, "{command:?}");
        assert_eq!(world.log(id).await, log, "{command:?}");
    }
    assert!(world.try_body(id, BodyKind::Result).await.is_none());
    world.step(id, Command::succeed(live), 42_000).await;
}

/// A settle whose answer was lost may be said again: it is recorded once,
/// and its body is the first.
pub async fn a_settle_said_twice_is_recorded_once(world: World) {
    let id = world.accept(task()).await;
    let (_, nonce) = world.start_one(&from("mail")).await;
    let result = |text: &'static str| (BodyKind::Result, inline(text));
    world.step_with(id, Command::succeed(nonce), result("first"), 1).await;
    let before = world.read(id).await;
    let again = world.step_with(id, Command::succeed(nonce), result("second"), 2).await;
    assert_eq!(again.reply, Reply::Replayed);
    assert!(again.changed.entries.is_empty() && again.changed.task == before);
    assert_eq!(world.read(id).await, before);
    assert_eq!(world.body(id, BodyKind::Result).await, "first");
    assert_eq!(world.log(id).await.len(), 3);
}

/// P3: whoever found the task overdue comes after its completion, and changes nothing.
pub async fn a_rescue_that_comes_after_the_completion_changes_nothing(world: World) {
    let id = world.accept(task()).await;
    let (_, nonce) = world.start_one(&from("mail")).await;
    assert_eq!(world.due(30_000).await.tasks, [id]);
    world.step(id, Command::succeed(nonce), 30_000).await;
    let before = world.read(id).await;
    for command in [TICK, Command::Crash { nonce, gone: Gone::Silent, jitter: 1.0 }] {
        let late = world.step(id, command, 30_001).await;
        assert_eq!(late.reply, Reply::Nothing);
    }
    assert_eq!(world.read(id).await, before);
    assert_eq!(world.log(id).await.len(), 3);
}

/// The late settle of a task that was called off stores nothing of it, and frees its slot.
pub async fn a_late_settle_of_a_canceled_task_only_frees_its_slot(world: World) {
    let id = world.accept(task().sealed("secret")).await;
    let (_, nonce) = world.start_one(&from("mail")).await;
    world.step(id, Command::Cancel, 1).await;
    assert_eq!(world.stats("mail", 1).await.leases, 1, "until its holder stops");
    let body = (BodyKind::Result, inline("late"));
    let late = world.step_with(id, Command::succeed(nonce), body, 2).await;
    assert_eq!(late.reply, Reply::Canceled);
    assert!(world.try_body(id, BodyKind::Result).await.is_none());
    assert_eq!(world.stats("mail", 2).await.leases, 0);
    assert_eq!(world.read(id).await.life.status(), Status::Canceled);
    assert_eq!(world.log(id).await.len(), 3);
}

/// Positions rise in the order of commits, through claims and across tasks and tenants.
pub async fn positions_rise_in_the_order_of_commits(world: World) {
    let mut seen = Vec::new();
    for name in ["one", "two", "one"] {
        let taken = world.try_accept(task().tenant(name)).await;
        let Ok(Committed::Accepted { changed, .. }) = taken else { panic!("{taken:?}") };
        seen.push(changed.pos);
    }
    let claims = world.claim(&from("mail").tenant("one").limit(1)).await;
    seen.extend(claims.started.iter().map(|claimed| claimed.changed.pos));
    let (id, nonce) = (claims.started[0].task().spec.id, claims.started[0].nonce);
    let failed = world.step(id, give_up(nonce), 1).await;
    assert_eq!(failed.changed.entries.len(), 2);
    seen.push(failed.changed.pos);
    let taken = world.try_accept(task().tenant("two")).await;
    let Ok(Committed::Accepted { changed, .. }) = taken else { panic!("{taken:?}") };
    assert!(changed.pos > failed.changed.pos + 1, "each entry has a position of its own");
    seen.push(changed.pos);
    assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
}

/// An accept whose end was not known is repeated under the same id: there is one task.
pub async fn an_accept_repeated_under_its_id_makes_one_task(world: World) {
    let accept = task().build(world.id());
    let id = accept.task.spec.id;
    let commit = || Commit::Accept(Box::new(accept.clone()));
    world.commit(commit()).await.expect("a new task");
    let answers = world.commit_all(vec![commit(), world.accepting(task()), commit()]).await;
    for index in [0, 2] {
        let Ok(Committed::Attached { id: there, same: true, exists: true }) = answers[index] else {
            panic!("{answers:?}")
        };
        assert_eq!(there, id);
    }
    assert!(answers[1].is_ok(), "its neighbour is accepted");
    assert_eq!(world.log(id).await.len(), 1);
    assert_eq!(world.stats("mail", 0).await.counts[0], 2);
}

/// Erasing leaves nothing: no task, no log, no bodies, no place in lists, counts or what is due.
pub async fn an_erased_task_leaves_nothing_behind(world: World) {
    let id = world.accept(task().label("k", "v").sealed("s").checkpoint("c")).await;
    let (_, nonce) = world.start_one(&from("mail")).await;
    world.step_with(id, give_up(nonce), (BodyKind::Result, inline("r")), 1).await;
    let before = world.read(id).await;
    let given = world.store.last_pos().await.expect("the store works");
    assert!(given >= before.life.version, "{given}");
    let erased = world.commit(erasing(id)).await;
    let Ok(Committed::Erased(gone, _)) = erased else { panic!("{erased:?}") };
    assert_eq!(*gone, before);
    assert!(world.try_read(id).await.is_none());
    assert!(world.log(id).await.is_empty());
    for kind in BodyKind::ALL {
        assert!(world.try_body(id, kind).await.is_none(), "{kind:?}");
    }
    let label = Some(("k".to_owned(), "v".to_owned()));
    let filter = Filter { label: label.clone(), limit: 10, ..Filter::default() };
    assert!(world.store.list(filter).await.expect("the store works").tasks.is_empty());
    let (tenant, tasks) = (tenant("default"), Vec::new());
    let query = EventQuery::Store { tenant, tasks, label: None, after: 0, limit: 10 };
    assert!(world.store.events(query).await.expect("the store works").is_empty());
    // Its places stay given, and its end takes one: whoever has seen them resumes behind them.
    assert_eq!(world.store.last_pos().await, Ok(given + 1));
    assert!(world.due(i64::MAX).await.tasks.is_empty());
    assert_eq!(world.stats("mail", 1).await.counts, [0; 6]);
    assert_eq!(world.commit(erasing(id)).await.err(), Some(Rejected::NotFound));
}

/// A canceled task is erased although its holder still runs: its slot is free then.
pub async fn erasing_a_task_frees_the_slot_of_its_holder(world: World) {
    let id = world.accept(task()).await;
    world.start_one(&from("mail")).await;
    world.step(id, Command::Cancel, 1).await;
    assert_eq!(world.stats("mail", 1).await.leases, 1);
    world.commit(erasing(id)).await.expect("it is terminal");
    assert_eq!(world.stats("mail", 1).await.leases, 0);
}

/// Small named values are put, replaced, removed and listed.
pub async fn secrets_are_kept_until_they_are_removed(world: World) {
    let put = |name: &str, value: Option<&'static [u8]>| Commit::Secret {
        name: name.to_owned(),
        value: value.map(Bytes::from_static),
    };
    let answers = world
        .commit_all(vec![put("a", Some(b"1")), put("b", Some(b"\0\xff")), put("a", Some(b"2"))])
        .await;
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Committed::Put))), "{answers:?}");
    let secrets = async || world.store.secrets("").await.expect("the store works");
    let (a, b) = (Bytes::from_static(b"2"), Bytes::from_static(b"\0\xff"));
    assert_eq!(secrets().await, [("a".to_owned(), a), ("b".to_owned(), b.clone())]);
    world.commit_all(vec![put("a", None), put("never", None)]).await;
    assert_eq!(secrets().await, [("b".to_owned(), b)]);
}

/// Small named values are found by the beginning of their names, in order.
pub async fn secrets_are_found_by_how_their_names_begin(world: World) {
    for name in ["key/b", "key", "key/", "key0", "a", "key/a", "key/\u{e9}"] {
        let (name, value) = (name.to_owned(), Some(Bytes::from_static(b"1")));
        world.commit(Commit::Secret { name, value }).await.expect("it is taken");
    }
    let names = async |prefix: &str| {
        let secrets = world.store.secrets(prefix).await.expect("the store works");
        secrets.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names("key/").await, ["key/", "key/a", "key/b", "key/\u{e9}"]);
    assert_eq!(names("key/a").await, ["key/a"]);
    assert_eq!(names("key/c").await, Vec::<String>::new());
    assert_eq!(names("").await.len(), 7);
}
