//! Tasks that everybody has left.

use relais_core::{
    Attendance, CancelReason, Command, Credentials, Grace, Reply, Runner, State, Step, Task,
    Timestamp, step,
};

use crate::world::*;

const GRACE_MS: i64 = 60_000;

/// A task with a grace, attended by these nodes since it was accepted at 0.
fn attended_by(nodes: &[u64]) -> Task {
    let mut spec = spec(Runner::Workers);
    spec.grace = Grace::of(ms(GRACE_MS as u64));
    let task = relais_core::accept(spec, Credentials::None, false).0;
    let mut task = task.attended_from_the_start(nodes[0]);
    for node in &nodes[1..] {
        take(&mut task, attend(*node), 0);
    }
    task
}

fn take(task: &mut Task, command: Command, now: i64) -> Step {
    let step = step(task, command, &policy(), at(now)).expect("it is not refused");
    task.life = step.life.clone();
    step
}

const LEAVE_1: Command = Command::Leave { node: 1 };

const fn attend(node: u64) -> Command {
    Command::Attend { node, has_broken: None }
}

/// The last of a node that held it has got what it came for.
const fn let_go(node: u64) -> Command {
    Command::LetGo { node, has_broken: Some(false) }
}

/// The last of a node only asked, and was told.
const fn answer(node: u64) -> Command {
    Command::LetGo { node, has_broken: None }
}

fn tick(open_since: i64) -> Command {
    Command::Tick { here_since: Timestamp::MIN, open_since: at(open_since), jitter: 1.0 }
}

/// When it is canceled, milliseconds.
fn abandon_at(task: &Task) -> Option<i64> {
    task.life.abandon_at().map(Timestamp::as_ms)
}

fn is_abandoned(task: &Task) -> bool {
    matches!(task.life.state, State::Canceled { reason: CancelReason::Abandoned, .. })
}

#[test]
fn a_countdown_begins_when_the_last_of_them_breaks_off() {
    let mut task = attended_by(&[1, 2]);
    take(&mut task, Command::Leave { node: 1 }, 10);
    assert_eq!((abandon_at(&task), task.life.attended_by()), (None, &[2][..]));
    take(&mut task, Command::Leave { node: 2 }, 20);
    assert_eq!(abandon_at(&task), Some(20 + GRACE_MS));
    assert_eq!(task.due_at(), at(20 + GRACE_MS), "it is an alarm");
    let early = take(&mut task, tick(0), 19 + GRACE_MS);
    assert_eq!(early.reply, Reply::Nothing);
    let ended = take(&mut task, tick(0), 20 + GRACE_MS);
    assert!(is_abandoned(&task) && ended.entries.len() == 1);
    assert_eq!(task.life.attendance, None);
}

#[test]
fn whoever_got_what_it_came_for_starts_none() {
    let mut task = attended_by(&[1, 2]);
    take(&mut task, Command::Leave { node: 2 }, 10);
    take(&mut task, let_go(1), 20);
    assert_eq!(task.life.attendance, None, "a hand-over to a 202 is no leaving");
    let said_again = take(&mut task, Command::Leave { node: 1 }, 30);
    assert_eq!((said_again.reply, abandon_at(&task)), (Reply::Nothing, None));
}

/// A poll that waited swallowed the leaving of all others: the task went on for nobody.
#[test]
fn whoever_broke_off_before_a_poll_was_answered_was_the_last() {
    for leaves in [true, false] {
        let mut task = attended_by(&[1, 2]);
        take(&mut task, if leaves { LEAVE_1 } else { let_go(1) }, 10);
        take(&mut task, answer(2), 20);
        assert_eq!(abandon_at(&task), leaves.then_some(20 + GRACE_MS));
    }
    let mut spec = spec(Runner::Workers);
    spec.grace = Some(Grace::ZERO);
    let mut task = relais_core::accept(spec, Credentials::None, false).0;
    take(&mut task, attend(1), 0);
    take(&mut task, Command::LetGo { node: 1, has_broken: Some(true) }, 20);
    assert!(!is_abandoned(&task), "whoever asks is there, and asks again");
}

/// It stopped the countdown for good: the task went on for nobody.
#[test]
fn a_poll_that_comes_while_a_countdown_runs_leaves_it_owed() {
    let mut task = attended_by(&[1]);
    take(&mut task, LEAVE_1, 10);
    take(&mut task, attend(2), 20);
    assert_eq!(abandon_at(&task), None, "it is not canceled while somebody waits");
    take(&mut task, answer(2), 30);
    assert_eq!(abandon_at(&task), Some(30 + GRACE_MS));
}

/// One that had come back was counted as gone for ever, and the task was canceled although nobody had
/// left it.
#[test]
fn whoever_came_back_while_a_poll_waited_was_not_the_last_that_broke_off() {
    for is_at_another_node in [true, false] {
        let mut task = attended_by(&[1]);
        if is_at_another_node {
            take(&mut task, attend(2), 5);
            take(&mut task, LEAVE_1, 10);
            take(&mut task, attend(3), 20);
            take(&mut task, let_go(3), 30);
        } else {
            take(&mut task, attend(2), 5);
            take(&mut task, Command::Attend { node: 1, has_broken: Some(true) }, 10);
            take(&mut task, Command::Attend { node: 1, has_broken: Some(false) }, 20);
            take(&mut task, answer(1), 30);
        }
        take(&mut task, answer(2), 40);
        assert_eq!(task.life.attendance, None, "{is_at_another_node}");
    }
}

#[test]
fn whoever_comes_back_stops_it_and_whoever_asks_starts_it_anew() {
    let mut task = attended_by(&[1]);
    take(&mut task, Command::Leave { node: 1 }, 0);
    take(&mut task, Command::Ask, 50_000);
    assert_eq!(abandon_at(&task), Some(50_000 + GRACE_MS));
    take(&mut task, attend(2), 60_000);
    assert_eq!(task.life.attendance, Some(Attendance::By(vec![2], true)));
    take(&mut task, Command::Ask, 61_000);
    assert_eq!(abandon_at(&task), None, "where none runs, a poll starts none");
    take(&mut task, tick(0), 99_999);
    assert!(!is_abandoned(&task), "it goes on while somebody is there");
}

#[test]
fn nobody_is_late_while_nobody_could_come_back() {
    let mut task = attended_by(&[1]);
    take(&mut task, Command::Leave { node: 1 }, 0);
    // The server was away in the middle of the grace, and came back after its end.
    let moved = take(&mut task, tick(70_000), 70_000);
    assert_eq!((moved.reply, moved.entries.len()), (Reply::Done, 0));
    // The deadline comes first.
    assert_eq!((abandon_at(&task), task.due_at()), (Some(130_000), at(100_000)));
    let mut other = attended_by(&[1]);
    take(&mut other, Command::Leave { node: 1 }, 71_000);
    take(&mut other, tick(70_000), 72_000);
    assert_eq!(abandon_at(&other), Some(131_000), "it began while the server was there");
}

#[test]
fn a_clock_that_was_set_back_makes_no_grace_longer() {
    let mut task = attended_by(&[1]);
    task.life.deadline = at(10_000_000);
    take(&mut task, Command::Leave { node: 1 }, 3_600_000);
    take(&mut task, tick(0), 5_000);
    assert_eq!(abandon_at(&task), Some(5_000 + GRACE_MS));
    take(&mut task, tick(0), 5_000 + GRACE_MS);
    assert!(is_abandoned(&task));
}

#[test]
fn a_task_that_goes_on_in_any_case_notes_nobody() {
    let mut task = task(Runner::Workers, Credentials::None).attended_from_the_start(1);
    for command in [
        attend(1),
        let_go(1),
        Command::LetGo { node: 1, has_broken: Some(true) },
        Command::Leave { node: 1 },
    ] {
        assert_eq!(take(&mut task, command, 1).reply, Reply::Nothing);
        assert_eq!(task.life.attendance, None);
    }
}

#[test]
fn without_a_grace_the_last_that_breaks_off_cancels() {
    let mut spec = spec(Runner::Workers);
    spec.grace = Some(Grace::ZERO);
    let mut task = relais_core::accept(spec, Credentials::None, false).0;
    take(&mut task, attend(1), 0);
    take(&mut task, attend(2), 0);
    take(&mut task, Command::Leave { node: 1 }, 1);
    assert!(!is_abandoned(&task));
    take(&mut task, Command::Leave { node: 2 }, 2);
    assert!(is_abandoned(&task));
}

#[test]
fn a_run_by_hand_begins_with_nobody() {
    let mut task = attended_by(&[1]);
    take(&mut task, Command::Cancel, 1);
    assert_eq!(take(&mut task, Command::Leave { node: 1 }, 2).reply, Reply::Nothing);
    take(&mut task, Command::Retry { from_start: false }, 3);
    assert_eq!(task.life.attendance, None);
}
