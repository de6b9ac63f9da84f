//! What people are offered to do by hand is what they can do.

use relais_core::{Command, Credentials, Refused, Runner, Task, limits, step};

use crate::world::*;

fn take(task: &mut Task, command: Command) {
    task.life = step(task, command, &policy(), at(1)).expect("the step is allowed").life;
}

/// What is said before a retry, if it is what the retry itself comes to.
fn retry(task: &Task) -> Result<(), Refused> {
    let said = task.takes_retry();
    let taken = step(task, Command::Retry { from_start: false }, &policy(), at(2));
    assert_eq!(said, taken.map(|_| ()));
    said
}

#[test]
fn a_retry_is_offered_exactly_where_it_is_taken() {
    for credentials in [Credentials::None, Credentials::Sealed] {
        let queued = || task(Runner::Workers, credentials);
        let running = || {
            let mut task = queued();
            take(&mut task, Command::Start { lease: lease(1, 50_000) });
            task
        };
        for task in [queued(), running()] {
            assert_eq!(retry(&task), Ok(()), "a run goes on");
        }
        let mut failed = running();
        take(&mut failed, fail(1, false));
        assert_eq!(retry(&failed), Ok(()));
        failed.life.version = limits::EVENTS_MAX;
        assert_eq!(retry(&failed), Err(Refused::TooManyEvents));
        let mut succeeded = running();
        take(&mut succeeded, Command::succeed(1));
        assert_eq!(retry(&succeeded), Err(Refused::AlreadySucceeded));
        let mut canceled = running();
        take(&mut canceled, Command::Cancel);
        let erased = Err(Refused::CredentialsErased);
        let expected = if credentials == Credentials::Sealed { erased } else { Ok(()) };
        assert_eq!(retry(&canceled), expected);
    }
}
