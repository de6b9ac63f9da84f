//! What bounds a life: the log has an end, and absurd numbers stay bounded.

use relais_core::{
    BodyKind, Command, Credentials, EventKind, Failure, FailureCode, Fate, Gone, Refused, Reply,
    Runner, State, Status, Step, Task, limits, step,
};

use crate::world::*;

fn take(task: &mut Task, command: Command, now: i64) -> Step {
    let step = step(task, command, &policy(), at(now)).expect("the step is allowed");
    task.life = step.life.clone();
    step
}

#[test]
fn a_task_that_is_given_back_for_ever_ends_before_its_log_is_full() {
    let mut task = task(Runner::Workers, Credentials::None);
    for round in 0..limits::EVENTS_MAX {
        let nonce = u128::from(round);
        take(&mut task, Command::Start { lease: lease(nonce, 50_000) }, 1);
        take(&mut task, Command::Release { nonce }, 1);
        if task.life.status().is_terminal() {
            break;
        }
    }
    let State::Failed { failure, .. } = &task.life.state else { panic!("{task:?}") };
    assert_eq!(failure.code, FailureCode::WorkerLost);
    assert!(task.life.version <= limits::EVENTS_MAX);
    let retried = step(&task, Command::Retry { from_start: true }, &policy(), at(2));
    assert_eq!(retried, Err(Refused::TooManyEvents));
}

#[test]
fn progress_leaves_room_for_the_outcome() {
    let mut task = task(Runner::Workers, Credentials::None);
    take(&mut task, Command::Start { lease: lease(1, 50_000) }, 1);
    for done in 0..limits::EVENTS_MAX {
        let progress = relais_core::Progress { done: Some(done), ..Default::default() };
        let (until, progress) = (at(50_000), Some(progress));
        let report = Command::Report { nonce: 1, until, progress, output: None, checkpoint: false };
        take(&mut task, report, 2);
    }
    assert_eq!(task.life.version, limits::EVENTS_PROGRESS_MAX);
    let last = task.life.progress.as_ref().and_then(|progress| progress.done);
    assert_eq!(last, Some(limits::EVENTS_MAX - 1), "the last is kept in the task");
    let output = Some("{}".into());
    let report =
        Command::Report { nonce: 1, until: at(90_000), progress: None, output, checkpoint: false };
    assert_eq!(step(&task, report, &policy(), at(3)), Err(Refused::TooManyEvents));
    take(&mut task, Command::succeed(1), 4);
    assert_eq!(task.life.status(), Status::Succeeded);
}

#[test]
fn three_crashes_in_a_row_end_as_worker_lost_and_an_answer_in_between_counts_anew() {
    // P50: a task that kills its worker must not be run for ever.
    let mut task = task(Runner::Workers, Credentials::None);
    let mut now = 0;
    let mut ends = Vec::new();
    for nonce in 1..=6 {
        now += 11_000;
        take(&mut task, Command::Start { lease: lease(nonce, now + 1_000) }, now);
        if nonce == 3 {
            take(&mut task, fail(nonce, true), now);
        } else {
            take(&mut task, Command::Crash { nonce, gone: Gone::Silent, jitter: 1.0 }, now);
        }
        ends.push((task.life.crashes, task.life.failures, task.life.status()));
    }
    let queued = Status::Queued;
    assert_eq!(
        ends,
        [
            (1, 0, queued),
            (2, 0, queued),
            (0, 1, queued),
            (1, 1, queued),
            (2, 1, queued),
            (3, 1, Status::Failed)
        ]
    );
}

#[test]
fn an_absurd_pause_is_bounded() {
    // P53: absurd delays poisoned the store.
    let mut task = task(Runner::Workers, Credentials::None);
    take(&mut task, Command::Start { lease: lease(1, 50_000) }, 1);
    let mut command = fail(1, true);
    if let Command::Fail { retry_after, jitter, .. } = &mut command {
        (*retry_after, *jitter) = (Some(std::time::Duration::MAX), f64::NAN);
    }
    take(&mut task, command, 1);
    assert_eq!(task.life.run_at(), Some(at(1).plus(limits::HORIZON_MAX)));
}

#[test]
fn another_end_than_the_recorded_one_is_not_a_replay() {
    // Who was heard with one outcome must not be told that another was recorded.
    let all = [
        Command::succeed(1),
        fail(1, true),
        Command::Release { nonce: 1 },
        Command::Defer { nonce: 1, until: at(90_000), callback: 3 },
    ];
    for first in &all {
        for second in &all {
            let mut task = task(Runner::Workers, Credentials::None);
            take(&mut task, Command::Start { lease: lease(1, 50_000) }, 1);
            take(&mut task, first.clone(), 2);
            let said = step(&task, second.clone(), &policy(), at(3));
            if first == second {
                let step = said.expect("it is heard again");
                assert_eq!((step.reply, &step.life), (Reply::Replayed, &task.life));
            } else {
                assert_eq!(said, Err(Refused::SettledOtherwise), "{second:?} after {first:?}");
            }
        }
    }
}

/// A result that another took the place of must not become the result by its old number.
#[test]
fn a_settle_takes_the_early_result_that_it_names_and_no_other() {
    let mut task = task(Runner::Workers, Credentials::None);
    take(&mut task, Command::Start { lease: lease(1, 50_000) }, 1);
    let settle = |early| Command::Succeed { nonce: 1, result: None, message: None, early };
    let say = |task: &Task, command| step(task, command, &policy(), at(9));
    assert_eq!(say(&task, settle(Some(7))), Err(Refused::NoSuchResult));
    for id in [7, 8] {
        take(&mut task, Command::StoreEarly { nonce: 1, id }, 2);
    }
    assert_eq!(say(&task, settle(Some(7))), Err(Refused::NoSuchResult));
    let stale = say(&task, Command::StoreEarly { nonce: 2, id: 9 });
    assert_eq!(stale, Err(Refused::StaleLease));
    let settled = say(&task, settle(Some(8))).expect("it is there");
    assert_eq!((settled.reply, settled.life.early()), (Reply::Done, None));
    assert!(settled.drops.contains(&BodyKind::Early));
    task.life = settled.life;
    // Its number is not kept: who says it again is not asked for it.
    assert_eq!(say(&task, settle(Some(7))).map(|step| step.reply), Ok(Reply::Replayed));
}

/// Readers have a part of what was shown under a lease: what comes after it is that, or another version.
#[test]
fn an_answer_is_shown_once_under_a_lease_and_is_the_result_or_not() {
    let mut task = task(Runner::Workers, Credentials::None);
    take(&mut task, Command::Start { lease: lease(1, 50_000) }, 1);
    let say = |task: &Task, command| step(task, command, &policy(), at(9));
    let version = task.life.result_version();
    assert_eq!(say(&task, Command::Show { nonce: 2, id: 7 }), Err(Refused::StaleLease));
    take(&mut task, Command::Show { nonce: 1, id: 7 }, 2);
    assert_eq!(say(&task, Command::Show { nonce: 1, id: 8 }), Err(Refused::AlreadyShown));
    assert_eq!(task.life.fate_of(version), Fate::Open);
    let settle = |early| Command::Succeed { nonce: 1, result: None, message: None, early };
    assert_eq!(say(&task, settle(Some(7))), Err(Refused::NoSuchResult), "it is not whole yet");
    take(&mut task, Command::StoreEarly { nonce: 1, id: 7 }, 3);
    let with = |command| {
        let life = say(&task, command).expect("the lease holds").life;
        (life.fate_of(version), life.result_version().to_string())
    };
    assert_eq!(with(settle(Some(7))), (Fate::Kept, "1.1".to_owned()));
    assert_eq!(with(settle(None)), (Fate::Gone, "1.1.s".to_owned()));
    assert_eq!(with(fail(1, false)).0, Fate::Gone);
    assert_eq!(with(Command::Release { nonce: 1 }).0, Fate::Gone);
    // Another result in its place is another one.
    take(&mut task, Command::StoreEarly { nonce: 1, id: 9 }, 4);
    assert_eq!(say(&task, Command::Show { nonce: 1, id: 8 }), Err(Refused::AlreadyShown));
    let settled = say(&task, settle(Some(9))).expect("the lease holds").life;
    assert_eq!(settled.fate_of(version), Fate::Gone);
    // The next attempt shows its own.
    take(&mut task, Command::Release { nonce: 1 }, 5);
    take(&mut task, Command::Start { lease: lease(3, 50_000) }, 6);
    take(&mut task, Command::Show { nonce: 3, id: 10 }, 7);
}

#[test]
fn an_end_of_the_same_kind_with_another_content_is_not_a_replay() {
    let succeed = |text: &'static str| Command::Succeed {
        nonce: 1,
        result: None,
        message: Some(text.into()),
        early: None,
    };
    let failing = |detail: &str, retryable| {
        let Command::Fail { nonce, cause, failure, retry_after, jitter, .. } = fail(1, retryable)
        else {
            unreachable!("it fails")
        };
        let failure = Failure { detail: Some(detail.to_owned()), ..failure };
        Command::Fail { nonce, cause, failure, retryable, retry_after, jitter }
    };
    for (first, other) in [
        (succeed("{}"), succeed("{\"en\":\"x\"}")),
        (succeed("{}"), Command::succeed(1)),
        (failing("a", false), failing("b", false)),
        // Tried again: the failure is kept beside the state.
        (failing("a", true), failing("b", true)),
    ] {
        let mut task = task(Runner::Workers, Credentials::None);
        take(&mut task, Command::Start { lease: lease(1, 50_000) }, 1);
        take(&mut task, first.clone(), 2);
        let said = |command: &Command| step(&task, command.clone(), &policy(), at(3));
        assert_eq!(said(&first).map(|step| step.reply), Ok(Reply::Replayed), "{first:?}");
        assert_eq!(said(&other), Err(Refused::SettledOtherwise), "{other:?} after {first:?}");
    }
    // What came after the holder's word is not held against it.
    let mut task = task(Runner::Workers, Credentials::None);
    take(&mut task, Command::Start { lease: lease(1, 50_000) }, 1);
    take(&mut task, failing("a", true), 2);
    let next = task.life.run_at().expect("it is tried again");
    task.life.state = State::Queued { run_at: at(3) };
    assert!(next > at(3));
    take(&mut task, Command::Start { lease: lease(2, 50_000) }, 3);
    take(&mut task, Command::Crash { nonce: 2, gone: Gone::Silent, jitter: 1.0 }, 4);
    let said = step(&task, failing("a", true), &policy(), at(5));
    assert_eq!(said.map(|step| step.reply), Ok(Reply::Replayed));
}

#[test]
fn an_outside_system_that_is_late_failed_its_attempt() {
    let mut task = task(Runner::Workers, Credentials::None);
    take(&mut task, Command::Start { lease: lease(1, 50_000) }, 1);
    take(&mut task, Command::Defer { nonce: 1, until: at(60), callback: 3 }, 2);
    let ended = take(&mut task, TICK, 60);
    let kinds: Vec<EventKind> = ended.entries.iter().map(|entry| entry.data.kind()).collect();
    assert_eq!(kinds, [EventKind::AttemptFailed, EventKind::Failed]);
}
