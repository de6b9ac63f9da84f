//! What holds in every history, whatever is said by whom, and whatever the clock does.

use proptest::prelude::*;
use relais_core::{
    Attendance, BodyKind, CancelReason, Command, Credentials, Effect, EventData, EventKind, Gone,
    Grace, Lease, Progress, Refused, Reply, Runner, State, Step, Task, limits, step,
};

use crate::world::*;

/// Whose fence a command carries.
#[derive(Debug, Clone, Copy)]
enum Fence {
    /// Of the attempt that started last.
    Last,
    /// Of the outside system that was asked last.
    Callback,
    /// Of some attempt before.
    Older(u128),
}

#[derive(Debug, Clone, Copy)]
enum Said {
    Start,
    Report(Option<u64>, bool),
    Show,
    StoreEarly,
    Defer(i64),
    Succeed,
    Fail(bool),
    Release,
    Crash,
    Free,
    Cancel,
    Attend(u64, Option<bool>),
    LetGo(u64, Option<bool>),
    Leave(u64),
    Ask,
    Retry(bool),
    Tick,
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        6 => Just(Said::Start),
        2 => (any::<Option<u64>>(), any::<bool>()).prop_map(|(done, says)| Said::Report(done, says)),
        1 => Just(Said::Show),
        1 => Just(Said::StoreEarly),
        1 => (-1_000_i64..60_000).prop_map(Said::Defer),
        1 => Just(Said::Succeed),
        2 => any::<bool>().prop_map(Said::Fail),
        1 => Just(Said::Release),
        2 => Just(Said::Crash),
        1 => Just(Said::Free),
        1 => Just(Said::Cancel),
        2 => (0..3_u64, any::<Option<bool>>()).prop_map(|(node, how)| Said::Attend(node, how)),
        2 => (0..3_u64, any::<Option<bool>>()).prop_map(|(node, how)| Said::LetGo(node, how)),
        2 => (0..3_u64).prop_map(Said::Leave),
        1 => Just(Said::Ask),
        2 => any::<bool>().prop_map(Said::Retry),
        4 => Just(Said::Tick),
    ]
}

fn fence() -> impl Strategy<Value = Fence> {
    prop_oneof![
        6 => Just(Fence::Last),
        2 => Just(Fence::Callback),
        1 => (0..40_u128).prop_map(Fence::Older),
    ]
}

/// How the clock moves: mostly forward, at times far, at times back.
fn elapsed() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => 0_i64..5_000,
        3 => 5_000_i64..40_000,
        1 => 100_000_i64..2_000_000,
        1 => -50_000_i64..0,
    ]
}

fn born() -> impl Strategy<Value = Task> {
    let runner = prop_oneof![Just(Runner::Workers), Just(pushed(true)), Just(pushed(false))];
    let credentials = prop_oneof![Just(Credentials::None), Just(Credentials::Sealed)];
    let version = prop_oneof![
        4 => Just(1),
        1 => limits::EVENTS_PROGRESS_MAX - 4..limits::EVENTS_PROGRESS_MAX,
        1 => limits::EVENTS_MAX - 20..limits::EVENTS_MAX - 4,
    ];
    let grace = prop_oneof![Just(None), Just(Some(Grace::ZERO)), Just(Grace::of(ms(9_000)))];
    let retention = prop_oneof![Just(0), Just(1_000_000_u64)];
    (runner, credentials, version, retention, grace).prop_map(
        |(runner, credentials, version, retention, grace)| {
            let mut spec = spec(runner);
            spec.retention = ms(retention);
            spec.grace = grace;
            let mut task = relais_core::accept(spec, credentials, false).0;
            task.life.version = version;
            task
        },
    )
}

/// A history in the making.
struct History {
    task: Task,
    now: i64,
    started: u128,
    deferred: u128,
    /// Whether the run is over.
    is_over: bool,
}

impl History {
    fn of(task: Task) -> Self {
        Self { task, now: 0, started: 0, deferred: 0, is_over: false }
    }

    fn command(&mut self, said: Said, fence: Fence) -> Command {
        let nonce = match fence {
            Fence::Last => self.started,
            Fence::Callback => 1_000 + self.deferred,
            Fence::Older(nonce) => nonce,
        };
        match said {
            Said::Start => {
                self.started += 1;
                Command::Start { lease: lease(self.started, self.now + 30_000) }
            }
            Said::Report(done, speaks) => Command::Report {
                nonce,
                until: at(self.now + 30_000),
                progress: done.map(|done| Progress { done: Some(done), ..Progress::default() }),
                output: speaks.then(|| "{}".into()),
                checkpoint: done.is_some(),
            },
            Said::Show => Command::Show { nonce, id: self.started },
            Said::StoreEarly => Command::StoreEarly { nonce, id: self.started },
            Said::Defer(span) => {
                self.deferred += 1;
                let callback = 1_000 + self.deferred;
                Command::Defer { nonce, until: at(self.now + span), callback }
            }
            Said::Succeed => Command::succeed(nonce),
            Said::Fail(retryable) => fail(nonce, retryable),
            Said::Release => Command::Release { nonce },
            Said::Crash => Command::Crash { nonce, gone: Gone::Silent, jitter: 0.5 },
            Said::Free => Command::Free { nonce },
            Said::Cancel => Command::Cancel,
            Said::Attend(node, has_broken) => Command::Attend { node, has_broken },
            Said::LetGo(node, has_broken) => Command::LetGo { node, has_broken },
            Said::Leave(node) => Command::Leave { node },
            Said::Ask => Command::Ask,
            Said::Retry(from_start) => Command::Retry { from_start },
            Said::Tick => TICK,
        }
    }

    fn take(&mut self, command: &Command) -> Result<(), TestCaseError> {
        let before = self.task.clone();
        let taken = step(&before, command.clone(), &policy(), at(self.now));
        if let Some(nonce) = fence_of(command)
            && !has_right(&before, nonce)
        {
            let changed = taken.as_ref().is_ok_and(|step| changes(&before, step));
            prop_assert!(!changed, "a stale fence changed something: {command:?} {taken:?}");
        }
        let Ok(step) = taken else { return Ok(()) };
        self.check_log(&before, command, &step)?;
        check_counters(&before, command, &step)?;
        check_wakes(&before, &step, self.now)?;
        check_early(&before, command, &step)?;
        check_attendance(&before, command, &step, self.now)?;
        self.task.life = step.life.clone();
        if matches!(command, Command::Tick { .. }) {
            self.check_alarm(&step)?;
        }
        Ok(())
    }

    fn check_log(
        &mut self,
        before: &Task,
        command: &Command,
        step: &Step,
    ) -> Result<(), TestCaseError> {
        let (mut seq, mut time) = (before.life.version, before.life.updated_at);
        for entry in &step.entries {
            prop_assert_eq!(entry.seq, seq + 1, "the version rises by one");
            prop_assert!(entry.at >= time, "time went back: {:?}", entry);
            (seq, time) = (entry.seq, entry.at);
            let kind = entry.data.kind();
            if self.is_over {
                prop_assert_eq!(kind, EventKind::Requeued, "{:?} after the end", command);
                prop_assert!(matches!(command, Command::Retry { .. }), "{:?}", command);
            }
            self.is_over = kind.is_terminal();
        }
        prop_assert_eq!((step.life.version, step.life.updated_at), (seq, time));
        prop_assert!(seq <= limits::EVENTS_MAX, "the log is too long");
        prop_assert_eq!(self.is_over, step.life.status().is_terminal());
        if let Some(last) = step.entries.last() {
            // Streams and pages go by it: a task that waits is told its place.
            prop_assert_eq!(last.data.kind().status(), step.life.status(), "after {:?}", last);
        }
        Ok(())
    }

    /// P46: nothing that was seen to stays due, so that nobody looks at it again and again.
    fn check_alarm(&self, seen: &Step) -> Result<(), TestCaseError> {
        let is_due = self.task.due_at() <= at(self.now);
        match seen.reply {
            Reply::Nothing => prop_assert!(!is_due, "nothing was done, and it is due still"),
            Reply::Done if is_due => {
                // It ended, or its slot was freed, and its retention is over already.
                let next = step(&self.task, TICK, &policy(), at(self.now));
                prop_assert_eq!(next.map(|step| step.reply), Ok(Reply::Expired));
            }
            Reply::Done => {}
            reply => prop_assert_eq!(reply, Reply::Expired),
        }
        Ok(())
    }
}

fn fence_of(command: &Command) -> Option<u128> {
    match command {
        Command::Report { nonce, .. }
        | Command::Show { nonce, .. }
        | Command::StoreEarly { nonce, .. }
        | Command::Defer { nonce, .. }
        | Command::Succeed { nonce, .. }
        | Command::Fail { nonce, .. }
        | Command::Postpone { nonce, .. }
        | Command::Release { nonce }
        | Command::Crash { nonce, .. }
        | Command::Free { nonce } => Some(*nonce),
        Command::Spoil { nonce, .. } => *nonce,
        Command::Start { .. }
        | Command::Cancel
        | Command::Attend { .. }
        | Command::LetGo { .. }
        | Command::Leave { .. }
        | Command::Ask
        | Command::Retry { .. }
        | Command::Tick { .. } => None,
    }
}

/// Whether a fence is that of the live attempt, of a holder that has not stopped, or of who calls back.
fn has_right(task: &Task, nonce: u128) -> bool {
    let waits_for = match &task.life.state {
        State::Waiting { nonce, .. } => Some(*nonce),
        _ => None,
    };
    task.life.lease().map(|lease| lease.nonce) == Some(nonce) || waits_for == Some(nonce)
}

fn changes(before: &Task, step: &Step) -> bool {
    step.life != before.life
        || !step.entries.is_empty()
        || !step.drops.is_empty()
        || !step.effects.is_empty()
        || step.reply == Reply::Done
}

fn check_counters(before: &Task, command: &Command, step: &Step) -> Result<(), TestCaseError> {
    let (old, new) = (&before.life, &step.life);
    prop_assert!(new.attempt >= old.attempt && new.run >= old.run);
    let is_retry = matches!(command, Command::Retry { .. }) && step.reply == Reply::Done;
    prop_assert_eq!(new.run, old.run + u32::from(is_retry));
    prop_assert_eq!(new.attempt, old.attempt + u32::from(matches!(command, Command::Start { .. })));
    if !is_retry {
        prop_assert!(new.failures >= old.failures && new.deadline == old.deadline);
    }
    let is_silent = !matches!(step.reply, Reply::Done | Reply::Canceled | Reply::TooLate);
    prop_assert!(!is_silent || !changes(before, step), "{:?} changes nothing", step.reply);
    Ok(())
}

/// An early result comes from the holder of the live lease, and is dropped when that lease ends.
fn check_early(before: &Task, command: &Command, step: &Step) -> Result<(), TestCaseError> {
    let (had, has) = (before.life.early(), step.life.early());
    prop_assert_eq!(step.drops.contains(&BodyKind::Early), had.is_some() && has.is_none());
    let is_stored = matches!(command, Command::StoreEarly { .. });
    prop_assert!(has.is_none() || has == had || is_stored, "{:?}", command);
    let nonce = |lease: Option<&Lease>| lease.map(|lease| lease.nonce);
    let is_same_lease = nonce(before.life.lease()) == nonce(step.life.lease());
    prop_assert!(has.is_none() || is_same_lease, "{:?}", command);
    Ok(())
}

/// Whoever attends a task is never canceled by a countdown; one begins when the last of them breaks
/// off, and lasts a grace at most. A task that goes on in any case notes nobody.
fn check_attendance(
    before: &Task,
    command: &Command,
    step: &Step,
    now: i64,
) -> Result<(), TestCaseError> {
    let (old, new) = (&before.life, &step.life);
    let Some(grace) = before.spec.grace else {
        prop_assert_eq!(&new.attendance, &None);
        return Ok(());
    };
    prop_assert!(!new.status().is_terminal() || new.attendance.is_none());
    let mut nodes = new.attended_by().to_vec();
    nodes.sort_unstable();
    nodes.dedup();
    prop_assert_eq!(nodes.len(), new.attended_by().len(), "each once");
    let abandoned = EventData::Canceled { reason: CancelReason::Abandoned };
    if step.entries.iter().any(|entry| entry.data == abandoned) {
        let is_right = match (command, old.abandon_at()) {
            (Command::Leave { node }, None) => grace == Grace::ZERO && old.attended_by() == [*node],
            (Command::Tick { .. }, Some(until)) => until <= at(now),
            _ => false,
        };
        prop_assert!(is_right, "{:?} {:?}", command, old.attendance);
    }
    if old.abandon_at() != new.abandon_at()
        && let Some(until) = new.abandon_at()
    {
        prop_assert!(until <= at(now).plus(grace.span()), "{:?}", command);
        let is_left = match (command, &old.attendance) {
            (Command::Leave { node }, Some(Attendance::By(nodes, _))) => *nodes == [*node],
            (Command::LetGo { node, has_broken }, Some(Attendance::By(nodes, before))) => {
                *nodes == [*node] && has_broken.unwrap_or(*before)
            }
            _ => false,
        };
        prop_assert!(is_left || old.abandon_at().is_some(), "{:?}", command);
    }
    Ok(())
}

/// P10, P11: whenever a slot becomes free, or a task waits, somebody is woken.
fn check_wakes(before: &Task, step: &Step, now: i64) -> Result<(), TestCaseError> {
    let wakes_by = |moment| {
        step.effects.iter().any(|effect| matches!(effect, Effect::Wake { at } if *at <= moment))
    };
    if before.life.lease().is_some() && step.life.lease().is_none() {
        prop_assert!(wakes_by(at(now)), "a slot became free: {:?}", step.effects);
    }
    if step.life.state != before.life.state
        && let Some(run_at) = step.life.run_at()
    {
        prop_assert!(wakes_by(run_at), "it waits until {:?}: {:?}", run_at, step.effects);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn every_history_keeps_the_promises(
        task in born(),
        deeds in prop::collection::vec((elapsed(), said(), fence()), 1..60),
    ) {
        let mut history = History::of(task);
        for (elapsed, said, fence) in deeds {
            history.now = (history.now + elapsed).max(0);
            let command = history.command(said, fence);
            history.take(&command)?;
        }
        // Promise 5: time alone ends everything, within a bounded number of looks.
        for _ in 0..40 {
            if history.task.due_at() > at(history.now) {
                history.now = history.task.due_at().as_ms();
            }
            let tick = TICK;
            let ticked = step(&history.task, tick.clone(), &policy(), at(history.now));
            if ticked.is_ok_and(|step| step.reply == Reply::Expired) {
                return Ok(());
            }
            history.take(&tick)?;
        }
        prop_assert!(false, "it never ends: {:?}", history.task);
    }

    #[test]
    fn a_retry_by_hand_starts_the_next_run_or_says_why_not(
        task in born(),
        deeds in prop::collection::vec((elapsed(), said(), fence()), 1..30),
    ) {
        let mut history = History::of(task);
        for (elapsed, said, fence) in deeds {
            history.now = (history.now + elapsed).max(0);
            let command = history.command(said, fence);
            history.take(&command)?;
        }
        let task = &history.task;
        let room = task.life.version + 8 <= limits::EVENTS_MAX;
        let retried = step(task, Command::Retry { from_start: false }, &policy(), at(history.now));
        match (&task.life.state, task.life.credentials) {
            (State::Succeeded { .. }, _) => prop_assert_eq!(retried, Err(Refused::AlreadySucceeded)),
            (State::Failed { .. } | State::Canceled { .. }, Credentials::Erased) => {
                prop_assert_eq!(retried, Err(Refused::CredentialsErased));
            }
            (State::Failed { .. } | State::Canceled { .. }, _) if room => {
                let life = retried.expect("it may be retried").life;
                prop_assert_eq!((life.failures, life.crashes), (0, 0));
                prop_assert_eq!(life.deadline, at(history.now).plus(task.spec.deadline_after));
            }
            (State::Failed { .. } | State::Canceled { .. }, _) => {}
            (State::Queued { .. } | State::Running { .. } | State::Waiting { .. }, _) => {
                prop_assert_eq!(retried.map(|step| step.reply), Ok(Reply::Nothing));
            }
        }
    }
}
