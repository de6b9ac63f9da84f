//! What a task remembers of the attempt that failed last.

use relais_core::{Command, Credentials, Failure, FailureCode, Runner, State, Task, step};

use crate::world::*;

fn take(task: &mut Task, command: Command, now: i64) {
    task.life = step(task, command, &policy(), at(now)).expect("the step is allowed").life;
}

fn fail_at(task: &mut Task, now: i64, retryable: bool) {
    take(task, Command::Start { lease: lease(1, 50_000) }, now);
    take(task, fail(1, retryable), now + 1);
}

/// When the failure that is remembered happened, and in which attempt.
fn last(task: &Task) -> Option<(i64, u32)> {
    task.life.last_failure.as_ref().map(|last| (last.at.as_ms(), last.attempt))
}

#[test]
fn a_task_that_is_tried_again_remembers_its_last_failure() {
    let mut task = task(Runner::Workers, Credentials::None);
    fail_at(&mut task, 0, true);
    assert_eq!(last(&task), Some((1, 1)));
    fail_at(&mut task, 20_000, true);
    assert_eq!(last(&task), Some((20_001, 2)));
    take(&mut task, Command::Start { lease: lease(2, 50_000) }, 40_000);
    assert_eq!(last(&task), Some((20_001, 2)), "while the next attempt runs");
    take(&mut task, Command::succeed(2), 40_001);
    assert_eq!(last(&task), None);
}

#[test]
fn a_failure_that_ends_the_run_is_its_problem_and_not_told_twice() {
    let mut task = task(Runner::Workers, Credentials::None);
    fail_at(&mut task, 0, true);
    fail_at(&mut task, 20_000, false);
    assert!(matches!(task.life.state, State::Failed { .. }));
    assert_eq!(last(&task), None);
}

#[test]
fn a_task_that_missed_its_deadline_tells_what_went_wrong_before() {
    let mut task = task(Runner::Workers, Credentials::None);
    fail_at(&mut task, 0, true);
    take(&mut task, TICK, 100_000);
    let State::Failed { failure, .. } = &task.life.state else { panic!("{task:?}") };
    assert_eq!(*failure, Failure { detail: failure.detail.clone(), ..deadline_exceeded() });
    assert_eq!(last(&task), Some((1, 1)));
    take(&mut task, Command::Retry { from_start: false }, 100_001);
    assert_eq!(last(&task), None, "another run begins");
}

fn deadline_exceeded() -> Failure {
    Failure::new(FailureCode::DeadlineExceeded, None)
}
