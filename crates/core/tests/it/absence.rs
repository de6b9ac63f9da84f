//! Leases while no server was there, and under a clock that was set.

use relais_core::{
    Command, Credentials, EventKind, Holder, Lease, Reply, Runner, State, Task, Timestamp, step,
};

use crate::world::*;

const SPAN_MS: i64 = 30_000;

fn tick(here_since: i64) -> Command {
    Command::Tick { here_since: at(here_since), open_since: Timestamp::MIN, jitter: 1.0 }
}

/// A task whose only attempt was leased at 0, for [`SPAN`].
fn leased() -> Task {
    let mut task = task(Runner::Workers, Credentials::None);
    let lease = Lease::new(1, at(0), SPAN, Holder::Worker { name: String::new() });
    task.life = step(&task, Command::Start { lease }, &policy(), at(0)).expect("it is ready").life;
    task
}

fn until(task: &Task) -> Option<i64> {
    task.life.lease().map(|lease| lease.until.as_ms())
}

#[test]
fn silence_counts_from_when_a_server_was_there_again() {
    let lease = Lease::new(1, at(0), SPAN, Holder::Worker { name: String::new() });
    let held = |here_since: i64, now: i64| {
        lease.holds_until(at(here_since), at(now)).map(Timestamp::as_ms)
    };
    let always = i64::MIN;
    assert_eq!(held(always, 29_999), Some(SPAN_MS));
    assert_eq!(held(always, 30_000), None, "it could have spoken all the time");
    assert_eq!(held(0, 30_000), None, "from its first moment on");
    assert_eq!(held(29_000, 30_000), Some(59_000), "the server came back a second before");
    assert_eq!(held(70_000, 70_000), Some(100_000), "and after a long absence");
    assert_eq!(held(70_000, 100_000), None, "one more lease, not two");
    assert_eq!(held(always, -3_600_000), Some(-3_570_000), "the clock was set back an hour");
    assert_eq!(held(5_000, -3_600_000), Some(-3_570_000));
}

#[test]
fn a_worker_is_not_lost_because_the_server_was_away_longer_than_its_lease() {
    // Three restarts of 4 s with a lease of 3 s ended as worker-lost.
    let mut task = leased();
    let held = step(&task, tick(60_000), &policy(), at(60_000)).expect("a tick never fails");
    assert_eq!((held.reply, held.entries.len()), (Reply::Done, 0), "nothing happened");
    task.life = held.life;
    assert_eq!((until(&task), task.life.crashes), (Some(90_000), 0));
    let again = step(&task, tick(60_000), &policy(), at(89_999)).expect("a tick never fails");
    assert_eq!(again.reply, Reply::Nothing);
    let gone = step(&task, tick(60_000), &policy(), at(90_000)).expect("a tick never fails");
    assert_eq!(gone.entries[0].data.kind(), EventKind::AttemptFailed, "it was silent for a lease");
}

#[test]
fn a_holder_that_was_told_to_stop_has_as_long_to_say_that_it_did() {
    let mut task = leased();
    task.life = step(&task, Command::Cancel, &policy(), at(1)).expect("it runs").life;
    task.life = step(&task, tick(60_000), &policy(), at(60_000)).expect("a tick never fails").life;
    assert_eq!(until(&task), Some(90_000));
    task.life = step(&task, tick(60_000), &policy(), at(90_000)).expect("a tick never fails").life;
    assert_eq!(until(&task), None, "its slot is free");
}

#[test]
fn a_deadline_that_passed_while_no_server_was_there_does_not_free_the_slot() {
    let task = leased();
    let missed = step(&task, tick(200_000), &policy(), at(200_000)).expect("a tick never fails");
    let State::Failed { holder, .. } = &missed.life.state else { panic!("{missed:?}") };
    assert!(holder.is_some(), "its worker may run still, and was not told");
}

#[test]
fn the_log_never_goes_back_and_a_lease_is_bounded_by_the_clock_that_was_set_back() {
    let mut task = leased();
    task.life = step(&task, tick(-3_600_000), &policy(), at(-3_600_000)).expect("a tick").life;
    assert_eq!(until(&task), Some(-3_600_000 + SPAN_MS));
    let said = step(&task, Command::Release { nonce: 1 }, &policy(), at(-3_590_000));
    let said = said.expect("its holder may give it back");
    assert_eq!(said.entries[0].at, at(0));
    task.life = said.life;
    let lease = Lease::new(2, at(-3_590_000), SPAN, Holder::Worker { name: String::new() });
    task.life = step(&task, Command::Start { lease }, &policy(), at(-3_590_000)).expect("ok").life;
    let State::Running { started_at, .. } = task.life.state else { panic!("{task:?}") };
    assert_eq!(started_at, at(0), "as its log says");
    assert_eq!(until(&task), Some(-3_560_000));
}
