//! Every pair of state and command, written to `docs/lifecycle.md` (I2). `UPDATE=1` blesses it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use relais_core::{
    Attendance, BodyKind, CancelReason, Command, Credentials, Effect, Failure, FailureCode, Gone,
    Grace, Progress, Reply, Runner, Settled, Settlement, State, Status, Step, Task, step,
};

use crate::world::*;

/// The moment at which everything in the table happens.
const NOW: i64 = 60_000;
/// The fence of the attempt that runs, waits, has not stopped, or was settled last.
const HOLDER: u128 = 1;
/// A fence that nobody has any more.
const STALE: u128 = 2;
/// The fence an attempt that starts, or an outside system, is given.
const NEW: u128 = 3;
/// The number of an early result.
const EARLY: u128 = 4;
/// The node of whoever comes and leaves.
const NODE: u64 = 5;

/// A representative task.
struct Case {
    name: &'static str,
    task: Task,
}

fn case(name: &'static str, runner: Runner, state: State) -> Case {
    let mut task = task(runner, Credentials::None);
    task.life.version = 10;
    task.life.attempt = 1;
    task.life.updated_at = at(50_000);
    task.life.state = state;
    Case { name, task }
}

/// The attempt was settled by [`HOLDER`].
fn settled(mut case: Case, how: Settlement) -> Case {
    case.task.life.settled_by = Some(Settled { nonce: HOLDER, how });
    case
}

fn sealed(mut case: Case, credentials: Credentials) -> Case {
    case.task.life.credentials = credentials;
    case.task.life.has_checkpoint = true;
    case
}

/// The deadline has passed.
fn overdue(mut case: Case) -> Case {
    case.task.life.deadline = at(55_000);
    case
}

/// Its retention is over.
fn expired(mut case: Case) -> Case {
    let mut spec = (*case.task.spec).clone();
    spec.retention = ms(1_000);
    case.task.spec = spec.into();
    case
}

fn queued(run_at: i64) -> State {
    State::Queued { run_at: at(run_at) }
}

fn running(until: i64) -> State {
    State::Running { lease: lease(HOLDER, until), started_at: at(50_000), early: None, live: None }
}

/// Its holder has stored a result before its settle.
fn with_early_result(mut case: Case) -> Case {
    case.task.life.state = match case.task.life.state {
        State::Running { lease, started_at, .. } => {
            State::Running { lease, started_at, early: Some(EARLY), live: None }
        }
        other => other,
    };
    case
}

/// Its route gives it a grace; 0 is none.
fn graced(mut case: Case, grace: u64, attendance: Option<Attendance>) -> Case {
    let mut spec = (*case.task.spec).clone();
    spec.grace = Some(Grace::of(ms(grace)).unwrap_or(Grace::ZERO));
    case.task.spec = spec.into();
    case.task.life.attendance = attendance;
    case
}

fn succeeded() -> State {
    State::Succeeded { at: at(50_000), message: None, is_other: false }
}

fn waiting(until: i64) -> State {
    State::Waiting { until: at(until), nonce: HOLDER }
}

fn failed(code: FailureCode, holder_until: Option<i64>) -> State {
    let failure = Failure::new(code, None);
    let holder = holder_until.map(|until| lease(HOLDER, until));
    State::Failed { at: at(50_000), failure, holder }
}

fn canceled(holder_until: Option<i64>) -> State {
    let holder = holder_until.map(|until| lease(HOLDER, until));
    State::Canceled { at: at(50_000), holder, reason: CancelReason::Requested }
}

fn unfinished() -> Vec<Case> {
    let workers = || Runner::Workers;
    let mut third = case("its lease is over, after two crashes", workers(), running(55_000));
    third.task.life.crashes = 2;
    let mut last = case("by a worker, after four failures", workers(), running(90_000));
    last.task.life.failures = 4;
    let released = case("given back by its holder", workers(), queued(50_000));
    vec![
        case("its moment has come", workers(), queued(50_000)),
        case("its moment is to come", workers(), queued(70_000)),
        settled(released, Settlement::Released),
        overdue(case("its deadline has passed", workers(), queued(50_000))),
        sealed(case("by a worker", workers(), running(90_000)), Credentials::Sealed),
        last,
        with_early_result(case("by a worker, with an early result", workers(), running(90_000))),
        case("its lease is over", workers(), running(55_000)),
        third,
        overdue(case("its deadline has passed", workers(), running(90_000))),
        overdue(case("its deadline and its lease are over", workers(), running(55_000))),
        case("pushed, may be repeated", pushed(true), running(90_000)),
        case("pushed, may be repeated; Relais vanished", pushed(true), running(55_000)),
        case("pushed, must not be repeated", pushed(false), running(90_000)),
        case("pushed, must not be repeated; Relais vanished", pushed(false), running(55_000)),
        sealed(
            case("the outside system has time", workers(), waiting(90_000)),
            Credentials::Sealed,
        ),
        case("the outside system is late", workers(), waiting(55_000)),
        overdue(case("its deadline has passed", workers(), waiting(90_000))),
    ]
}

/// Tasks that are canceled when all who attended them have left.
fn attended() -> Vec<Case> {
    let by = |nodes: &[u64]| Some(Attendance::By(nodes.to_vec(), false));
    let until = |moment| Some(Attendance::Until(at(moment)));
    let running = |name| case(name, Runner::Workers, running(90_000));
    vec![
        graced(running("with a grace, which nobody attends"), 9_000, None),
        graced(running("with a grace, attended by this node"), 9_000, by(&[NODE])),
        graced(running("with a grace, attended by this node and another"), 9_000, by(&[NODE, 6])),
        graced(running("left by all, who may come back"), 9_000, until(61_000)),
        graced(running("left by all, and its grace is over"), 9_000, until(60_000)),
        graced(running("canceled at once, attended by this node"), 0, by(&[NODE])),
    ]
}

fn finished() -> Vec<Case> {
    let workers = || Runner::Workers;
    let how = Settlement::Succeeded;
    let gave_up = settled(
        case("by its holder", workers(), failed(FailureCode::HandlerFailed, None)),
        Settlement::Failed,
    );
    let erased = case("its credentials are erased", workers(), canceled(None));
    vec![
        settled(case("kept", workers(), succeeded()), how),
        expired(settled(case("its retention is over", workers(), succeeded()), how)),
        sealed(gave_up, Credentials::Sealed),
        case(
            "by its deadline; its holder has not stopped",
            workers(),
            failed(FailureCode::DeadlineExceeded, Some(90_000)),
        ),
        case(
            "by its deadline; its holder's lease is over",
            workers(),
            failed(FailureCode::DeadlineExceeded, Some(55_000)),
        ),
        expired(case("its retention is over", workers(), failed(FailureCode::HandlerFailed, None))),
        case("while nobody ran it", workers(), canceled(None)),
        case("its holder has not stopped", workers(), canceled(Some(90_000))),
        case("its holder's lease is over", workers(), canceled(Some(55_000))),
        sealed(erased, Credentials::Erased),
        expired(case("its retention is over", workers(), canceled(None))),
    ]
}

/// The commands, as the holder of `nonce` says those that carry a fence.
fn commands(nonce: u128) -> Vec<Command> {
    let progress = Some(Progress { percent: Some(40.0), ..Progress::default() });
    let until = at(NOW + 30_000);
    vec![
        Command::Start { lease: lease(NEW, NOW + 30_000) },
        Command::Spoil { nonce: None, body: BodyKind::Input },
        Command::Spoil { nonce: Some(nonce), body: BodyKind::Input },
        Command::Report { nonce, until, progress, output: Some("{}".into()), checkpoint: true },
        Command::Show { nonce, id: NEW },
        Command::StoreEarly { nonce, id: NEW },
        Command::Defer { nonce, until: at(NOW + 9_000), callback: NEW },
        Command::succeed(nonce),
        fail(nonce, true),
        fail(nonce, false),
        Command::Postpone {
            nonce,
            failure: Failure::new(FailureCode::UpstreamError, None),
            pause: ms(5_000),
        },
        Command::Release { nonce },
        Command::Crash { nonce, gone: Gone::Silent, jitter: 1.0 },
        Command::Free { nonce },
        Command::Cancel,
        Command::Attend { node: NODE, has_broken: None },
        Command::LetGo { node: NODE, has_broken: Some(false) },
        Command::LetGo { node: NODE, has_broken: Some(true) },
        Command::Leave { node: NODE },
        Command::Ask,
        Command::Retry { from_start: false },
        Command::Retry { from_start: true },
        TICK,
    ]
}

/// The name of a command; whether it carries a fence.
fn name_of(command: &Command) -> (&'static str, bool) {
    match command {
        Command::Start { .. } => ("start", false),
        Command::Report { .. } => ("report", true),
        Command::Show { .. } => ("show", true),
        Command::StoreEarly { .. } => ("store early", true),
        Command::Defer { .. } => ("defer", true),
        Command::Succeed { .. } => ("succeed", true),
        Command::Fail { retryable: true, .. } => ("fail", true),
        Command::Fail { retryable: false, .. } => ("fail for good", true),
        Command::Postpone { .. } => ("postpone", true),
        Command::Release { .. } => ("release", true),
        Command::Crash { .. } => ("crash", true),
        Command::Spoil { nonce: None, .. } => ("spoil", false),
        Command::Spoil { nonce: Some(_), .. } => ("spoil in mid-attempt", true),
        Command::Free { .. } => ("free", true),
        Command::Cancel => ("cancel", false),
        Command::Attend { .. } => ("attend", false),
        Command::LetGo { has_broken: Some(true), .. } => ("answer", false),
        Command::LetGo { .. } => ("let go", false),
        Command::Leave { .. } => ("leave", false),
        Command::Ask => ("ask", false),
        Command::Retry { from_start: false } => ("retry", false),
        Command::Retry { from_start: true } => ("retry from start", false),
        Command::Tick { .. } => ("tick", false),
    }
}

/// What a command did, in the words of the table: becomes, events, then, answer.
type Row = [String; 4];

fn row_of(before: &Task, taken: &Result<Step, relais_core::Refused>) -> Row {
    let dash = || "–".to_owned();
    let step = match taken {
        Ok(step) => step,
        Err(refused) => return [dash(), dash(), dash(), format!("*{refused}*")],
    };
    let becomes = if step.life.state == before.life.state {
        attendance(before, step).map_or_else(dash, str::to_owned)
    } else if step.life.status() == before.life.status() {
        let is_lost = before.life.lease().is_some() && step.life.lease().is_none();
        let is_stored = before.life.early() != step.life.early();
        let is_shown = before.life.live() != step.life.live();
        let becomes = match (is_lost, is_stored, is_shown) {
            (true, ..) => "slot freed",
            (_, true, _) => "early result stored",
            (.., true) => "answer shown",
            _ => "lease extended",
        };
        becomes.to_owned()
    } else {
        standing(&step.life.state)
    };
    let kinds = step.entries.iter().map(|entry| format!("`{}`", entry.data.kind().as_str()));
    let events = kinds.collect::<Vec<_>>().join(" ");
    let mut then: Vec<String> =
        step.drops.iter().map(|kind| format!("drop {}", body(*kind))).collect();
    then.extend(step.effects.iter().map(effect));
    let or_dash = |text: String| if text.is_empty() { dash() } else { text };
    [becomes, or_dash(events), or_dash(then.join(", ")), answer(step.reply).to_owned()]
}

/// What becomes of who attends it.
fn attendance(before: &Task, step: &Step) -> Option<&'static str> {
    let (old, new) = (&before.life.attendance, &step.life.attendance);
    (old != new).then_some(match new {
        None => "attended by nobody",
        Some(Attendance::By(nodes, _)) if nodes.contains(&NODE) => "attended",
        Some(Attendance::By(..)) => "attended by the other",
        Some(Attendance::Until(_)) if old.is_some() && before.life.abandon_at().is_some() => {
            "countdown anew"
        }
        Some(Attendance::Until(_)) => "countdown",
    })
}

fn standing(state: &State) -> String {
    let status = state.status().as_str();
    match state {
        State::Queued { run_at } if *run_at > at(NOW) => format!("{status} for later"),
        State::Failed { failure, holder, .. } => {
            let slot = if holder.is_some() { ", slot held" } else { "" };
            format!("{status} ({}){slot}", failure.code.as_str())
        }
        State::Canceled { holder: Some(_), .. } => format!("{status}, slot held"),
        State::Queued { .. }
        | State::Running { .. }
        | State::Waiting { .. }
        | State::Succeeded { .. }
        | State::Canceled { holder: None, .. } => status.to_owned(),
    }
}

fn body(kind: BodyKind) -> &'static str {
    match kind {
        BodyKind::Input => "input",
        BodyKind::Result => "result",
        BodyKind::Checkpoint => "checkpoint",
        BodyKind::Sealed => "credentials",
        BodyKind::Early => "early result",
    }
}

fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Wake { at: moment } if *moment > at(NOW) => "wake later".to_owned(),
        Effect::Wake { .. } => "wake".to_owned(),
        Effect::Abort { nonce } => {
            assert_eq!(*nonce, HOLDER, "nobody else is aborted");
            "abort".to_owned()
        }
    }
}

fn answer(reply: Reply) -> &'static str {
    match reply {
        Reply::Done => "done",
        Reply::Replayed => "replayed",
        Reply::Nothing => "nothing to do",
        Reply::Canceled => "it was canceled",
        Reply::TooLate => "too late",
        Reply::Expired => "expired: erase it",
    }
}

/// The rows of a case; commands that do the same share one.
fn rows(case: &Case, edges: &mut BTreeSet<(Status, Status, &'static str)>) -> Vec<(String, Row)> {
    let mut rows: Vec<(Vec<String>, Row)> = Vec::new();
    for nonce in [HOLDER, STALE] {
        for command in commands(nonce) {
            let (name, is_fenced) = name_of(&command);
            if nonce == STALE && !is_fenced {
                continue;
            }
            let taken = step(&case.task, command, &policy(), at(NOW));
            if let Ok(step) = &taken {
                let (from, to) = (case.task.life.status(), step.life.status());
                if from != to {
                    edges.insert((from, to, name));
                }
            }
            let name = if nonce == STALE { format!("{name}°") } else { name.to_owned() };
            let row = row_of(&case.task, &taken);
            match rows.iter_mut().find(|(_, known)| *known == row) {
                Some((names, _)) => names.push(name),
                None => rows.push((vec![name], row)),
            }
        }
    }
    rows.into_iter().map(|(names, row)| (names_of(names), row)).collect()
}

/// The names of a row; if it holds every command with a stale fence, it says so once.
fn names_of(mut names: Vec<String>) -> String {
    let fenced = commands(STALE).iter().filter(|command| name_of(command).1).count();
    let quick = ["crash°", "free°"];
    let is_stale = |name: &String| name.ends_with('°') && !quick.contains(&name.as_str());
    if names.iter().filter(|name| is_stale(name)).count() == fenced - quick.len() {
        names.retain(|name| !is_stale(name));
        names.push("any other°".to_owned());
    }
    names.join(", ")
}

fn document() -> String {
    let mut edges = BTreeSet::new();
    let mut tables = String::new();
    let cases: Vec<Case> = unfinished().into_iter().chain(attended()).chain(finished()).collect();
    for status in Status::ALL {
        let of_status = cases.iter().filter(|case| case.task.life.status() == status);
        write!(tables, "\n## {}\n", status.as_str()).expect("text takes everything");
        for case in of_status {
            let head = "| command | becomes | events | then | answer |\n|---|---|---|---|---|";
            writeln!(tables, "\n### {}: {}\n\n{head}", status.as_str(), case.name)
                .expect("text takes everything");
            for (names, [becomes, events, then, answer]) in rows(case, &mut edges) {
                writeln!(tables, "| {names} | {becomes} | {events} | {then} | {answer} |")
                    .expect("text takes everything");
            }
        }
    }
    format!("{INTRODUCTION}\n{}{LEGEND}{tables}", diagram(&edges))
}

const INTRODUCTION: &str = "<!-- Generated by crates/core/tests/it/table.rs; UPDATE=1 writes it anew. -->

# The life of a task

What each command does to a task in each state: the specification, written by calling
`relais_core::step` on every pair, so it cannot drift from the code. A change here is the review of a
change there. People, workers and time give commands; a task answers with a new state, with events for
its log, and with what is to be done once both are stored, or it refuses and nothing changes.
";

const LEGEND: &str = "
How to read the tables:

- **becomes**: the state afterwards, `–` if it stays. *slot held*: the holder of the lease was not told yet
  and uses its slot until it stops, is aborted, or its lease ends.
- **events**: what is appended to the log, in order.
- **then**: bodies that are dropped with it; and, after it is durable: *wake* who may start tasks (*later*: at
  the new moment), *abort* the attempt that runs.
- **answer**: what the caller hears; a refusal is in italics, and changes nothing.
- A command that carries a fence is said by the holder of the attempt: the one that runs,
  waits to be called back, has not stopped, or was settled last. Marked with ° it is said with a fence that
  nobody has any more; *any other°* is all of these but those with a row of their own.
- *Early result*: what a worker stored before its settle. It ends with its lease, unless the settle makes it the
  result.
- `attend`, `let go`, `answer` and `leave` are said of the connections of one node: its first that attends the
  task, and its last, which got what it came for, was told how the task stands (where others had broken off
  before), or broke off. The *countdown* is 9 s; `ask` is a poll.
- The policy tries an attempt again 10 s later, 5 times in all; `report` brings progress, output and a
  checkpoint.
";

/// The states, and the commands that lead from one to the other.
fn diagram(edges: &BTreeSet<(Status, Status, &'static str)>) -> String {
    let mut text = "```mermaid\nstateDiagram-v2\n    [*] --> queued: accept\n".to_owned();
    let mut pairs: Vec<(Status, Status)> = edges.iter().map(|(from, to, _)| (*from, *to)).collect();
    pairs.dedup();
    for (from, to) in pairs {
        let by = edges.iter().filter(|edge| (edge.0, edge.1) == (from, to)).map(|edge| edge.2);
        let by = by.collect::<Vec<_>>().join(", ");
        writeln!(text, "    {} --> {}: {by}", from.as_str(), to.as_str()).expect("text");
    }
    for status in Status::ALL.iter().filter(|status| status.is_terminal()) {
        writeln!(text, "    {} --> [*]: retention ends, or erased", status.as_str()).expect("text");
    }
    text + "```\n"
}

#[test]
fn the_written_life_of_a_task_is_the_one_the_rules_lead() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/lifecycle.md");
    let document = document();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &document).expect("the documentation can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = written.lines().zip(document.lines()).find(|(old, new)| old != new);
    assert!(
        written == document,
        "docs/lifecycle.md is not what the rules do; look at the change and bless it with UPDATE=1. \
         The first difference: {differs:#?}"
    );
}

#[test]
fn every_status_and_every_command_is_in_the_table() {
    let cases = || unfinished().into_iter().chain(finished());
    for status in Status::ALL {
        assert!(cases().any(|case| case.task.life.status() == status), "{status:?}");
    }
    let names: BTreeSet<&str> = commands(HOLDER).iter().map(|command| name_of(command).0).collect();
    assert_eq!(names.len(), 23, "a command with a name of its own is in the list: {names:?}");
}

#[test]
fn a_stale_fence_is_refused_in_every_state() {
    for case in unfinished().into_iter().chain(finished()) {
        for command in commands(STALE).into_iter().filter(|command| name_of(command).1) {
            let taken = step(&case.task, command.clone(), &policy(), at(NOW));
            if let Ok(step) = taken {
                assert_eq!(step.reply, Reply::Nothing, "{}: {command:?}", case.name);
                assert_eq!(step.life, case.task.life, "{}: {command:?}", case.name);
            }
        }
    }
}
